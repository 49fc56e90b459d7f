// The first call of a native function that no process has loaded, against a fork by a zygote into namespaces and a
// sandbox of its own up to the first message: median, all processes on one core. `coldstart`: a pause before each call,
// in which the node forks a process to spare; `coldstart-burst`: one after the other, so that the fork is a part of it.
#include "bench/native/calls.hpp"
#include "executors/worker/sandbox.h"

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace squall;
using namespace squall::bench;

namespace {

double fork_us() {
  std::array<int, 2> pair{};
  SQUALL_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) == 0);
  const squall_bounds bounds{std::uint64_t{2} << 30, std::uint64_t{64} << 20, 256, 64};
  std::array<char, 256> problem{};
  const auto began = now_ns();
  const int pid = squall_sandbox_fork(&bounds, pair[1], STDERR_FILENO, problem.data(), problem.size());
  if (pid == 0) {
    char hello = 1;
    _exit(write(3, &hello, 1) == 1 ? 0 : 1);
  }
  if (pid < 0)
    fail({errc::unsupported, problem.data(), {}});
  close(pair[1]);
  char hello = 0;
  SQUALL_CHECK(read(pair[0], &hello, 1) == 1);
  const auto took = now_ns() - began;
  close(pair[0]);
  waitpid(pid, nullptr, 0);
  return static_cast<double>(took) * 1e-3;
}

} // namespace

int main(int argc, char** argv) {
  const settings s = parse(argc, argv);
  pin_to_one_core();
  // Before there is a second thread: the zygote has none.
  std::vector<double> forks;
  for (std::size_t i = 0; i < s.size(60, 4); ++i)
    forks.push_back(fork_us());
  const running_cluster cluster{1, "fifo"};
  fnv1a work;
  const auto client = connect_with_native(cluster, work);
  const auto registered = [&](const std::string& name) { register_native(*client, name, "pass"); };
  report_first_calls(s, "coldstart", *client, registered, s.size(60, 4), median(std::move(forks)), work);
}
