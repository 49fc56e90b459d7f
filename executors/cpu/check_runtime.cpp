#include "executors/cpu/detail/network.hpp"
#include "executors/cpu/inference.hpp"

#include <openvino/opsets/opset11.hpp>

#include <chrono>
#include <cmath>
#include <csignal>
#include <cstring>

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace squall::executors::cpu {

namespace {

constexpr std::chrono::seconds patience{20};

/// A matrix product and a ReLU of known result: enough to make the runtime generate and run code for this CPU. Empty
/// when it is right.
std::string try_model(ov::Core& core, ov::element::Type precision) {
  constexpr std::size_t width = 64;
  const auto input = std::make_shared<ov::op::v0::Parameter>(ov::element::f32, ov::Shape{1, width});
  const auto weights =
      ov::op::v0::Constant::create(ov::element::f32, {width, width}, std::vector<float>(width * width, 0.5F));
  const auto product = std::make_shared<ov::op::v0::MatMul>(input, weights);
  const auto relu = std::make_shared<ov::op::v0::Relu>(product);
  const auto network = std::make_shared<ov::Model>(ov::OutputVector{relu}, ov::ParameterVector{input});
  auto compiled = core.compile_model(network, "CPU", ov::hint::inference_precision(precision), ov::num_streams(1),
                                     ov::inference_num_threads(1));
  auto request = compiled.create_infer_request();
  ov::Tensor ones(ov::element::f32, {1, width});
  std::fill_n(ones.data<float>(), width, 1.0F);
  request.set_input_tensor(ones);
  request.infer();
  const auto found = request.get_output_tensor().data<float>()[0];
  return std::abs(found - 32.0F) < 0.5F ? "" : "computes " + std::to_string(found) + " where 32 is right";
}

/// In the child; what it writes is the complaint.
[[noreturn]] void smoke_test(int answer) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  std::string complaint;
  try {
    ov::Core core;
    complaint = try_model(core, ov::element::f32);
    if (complaint.empty())
      complaint = try_model(core, ov::element::bf16);
  } catch (const std::exception& failure) {
    complaint = detail::reason(failure);
  }
  // Nothing reads a complaint that does not fit; the exit status tells that there is one.
  [[maybe_unused]] const auto written = write(answer, complaint.data(), complaint.size());
  _exit(complaint.empty() ? 0 : 1);
}

/// All that comes until the pipe is closed; false when patience ends first.
bool read_answer(int fd, std::string& text) {
  const auto end = std::chrono::steady_clock::now() + patience;
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()).count();
    pollfd waiting{fd, POLLIN, 0};
    if (left <= 0 || poll(&waiting, 1, static_cast<int>(left)) == 0)
      return false;
    char chunk[512];
    const auto got = read(fd, chunk, sizeof chunk);
    if (got <= 0)
      return true;
    text.append(chunk, static_cast<std::size_t>(got));
  }
}

} // namespace

result<> check_runtime() {
  const auto unusable = [](const std::string& why) {
    return error{errc::unsupported, "inference runtime unusable on this CPU: " + why, {}};
  };
  int answer[2];
  if (pipe2(answer, O_CLOEXEC) != 0)
    return unusable(std::string("no pipe for its test: ") + std::strerror(errno));
  const auto child = fork();
  if (child < 0)
    return unusable(std::string("no process for its test: ") + std::strerror(errno));
  if (child == 0)
    smoke_test(answer[1]);
  close(answer[1]);
  std::string complaint;
  const bool ended = read_answer(answer[0], complaint);
  close(answer[0]);
  if (!ended)
    kill(child, SIGKILL);
  int status = 0;
  waitpid(child, &status, 0);
  if (!ended)
    return unusable("its test took more than " + std::to_string(patience.count()) + " s");
  if (WIFSIGNALED(status))
    return unusable(std::string("its test was ended by SIG") + sigabbrev_np(WTERMSIG(status)) + " (" +
                    strsignal(WTERMSIG(status)) + ")");
  if (status != 0)
    return unusable("its test says: " + complaint);
  return {};
}

} // namespace squall::executors::cpu
