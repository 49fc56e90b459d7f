// A warm no-op Python function that gives its array of 1 MiB back, in its sandbox, as a call of a client; against the
// bare hop: the bytes written to shared memory, a byte through a pipe to a Python process, whose numpy copies them to
// the other half, and a byte back. p50 of one at a time, all processes on one core; both sides compare what they get.
// `python-call-relayed`: against the same hop and the messages of a call over plain ZeroMQ processes.
#include "base/check.hpp"
#include "bench/calls/hops.hpp"
#include "bench/native/calls.hpp"
#include "bench/python/parts.hpp"

#include <array>
#include <cstring>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace squall;
using namespace squall::bench;

namespace {

constexpr std::size_t array_bytes = 1 << 20;

/// A Python process at the other end of two pipes and a segment.
class bare_hop {
public:
  explicit bare_hop(std::span<const std::byte> array) : array_(array) {
    std::array<int, 2> to{};
    std::array<int, 2> from{};
    const int segment = memfd_create("squall-bench", 0);
    SQUALL_CHECK(segment >= 0 && ftruncate(segment, 2 * array_bytes) == 0);
    SQUALL_CHECK(pipe2(to.data(), O_CLOEXEC) == 0 && pipe2(from.data(), O_CLOEXEC) == 0);
    memory_ = static_cast<std::byte*>(
        mmap(nullptr, 2 * array_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, segment, 0));
    SQUALL_CHECK(memory_ != MAP_FAILED);
    pid_ = fork();
    SQUALL_CHECK(pid_ >= 0);
    if (pid_ == 0)
      become_python(segment, to[0], from[1]);
    close(segment);
    close(to[0]);
    close(from[1]);
    write_ = to[1];
    read_ = from[0];
  }
  ~bare_hop() {
    close(write_);
    close(read_);
    waitpid(pid_, nullptr, 0);
    munmap(memory_, 2 * array_bytes);
  }
  bare_hop(const bare_hop&) = delete;
  bare_hop& operator=(const bare_hop&) = delete;

  double p50_us(std::size_t count) {
    std::vector<double> us;
    for (std::size_t i = 0; i < count; ++i) {
      const auto began = now_ns();
      std::memcpy(memory_, array_.data(), array_bytes);
      char byte = 1;
      SQUALL_CHECK(write(write_, &byte, 1) == 1 && read(read_, &byte, 1) == 1);
      us.push_back(static_cast<double>(now_ns() - began) * 1e-3);
      SQUALL_CHECK(std::memcmp(memory_ + array_bytes, array_.data(), array_bytes) == 0);
    }
    return median(std::move(us));
  }

private:
  [[noreturn]] static void become_python(int segment, int in, int out) {
    // Out of each other's way first.
    const int high_in = fcntl(in, F_DUPFD, 20);
    const int high_out = fcntl(out, F_DUPFD, 20);
    const int high_segment = fcntl(segment, F_DUPFD, 20);
    dup2(high_in, 3);
    dup2(high_out, 4);
    const auto python = python_program();
    const auto program = hop_program();
    const auto place = std::to_string(high_segment);
    const auto size = std::to_string(array_bytes);
    execl(python.c_str(), python.c_str(), "-I", "-B", program.c_str(), place.c_str(), size.c_str(), nullptr);
    _exit(127);
  }

  const std::span<const std::byte> array_;
  std::byte* memory_ = nullptr;
  pid_t pid_ = -1;
  int write_ = -1;
  int read_ = -1;
};

} // namespace

int main(int argc, char** argv) {
  const settings s = parse(argc, argv);
  pin_to_one_core();
  std::string bytes(array_bytes, 'x');
  for (std::size_t i = 0; i < bytes.size(); i += 64)
    bytes[i] = static_cast<char>(i >> 6);
  const functions::value array{functions::tensor{
      functions::datatype::uint8, {static_cast<std::int64_t>(array_bytes)}, shared_bytes::take(std::move(bytes))}};
  // Before there is a second thread.
  bare_hop hop{array.as_tensor()->data.span()};
  const auto messages = relay::through_scheduler(call_hops());
  const python_functions functions;
  const running_cluster cluster{1, "fifo"};
  const auto client = connect_with_no_ops(cluster);
  register_code(*client, "passing", functions::variant_kind::python, functions.file("passing").string(), {});
  const std::size_t count = s.size(500, 10);
  const auto ours = [&] { return calls_p50_us(*client, "passing", count, array); };
  fnv1a work;
  work.add(array_bytes);
  work.add(count);
  (void)ours(); // warms up
  (void)hop.p50_us(count);
  (void)relay_p50_us(*messages, count);
  const auto c = compare(s.size(9, 2), ours, [&] { return hop.p50_us(count); });
  report(s, "python-call", c, "us", work);
  std::vector<double> relayed;
  for (std::size_t i = 0; i < s.size(5, 1); ++i)
    relayed.push_back(relay_p50_us(*messages, count));
  report(s, "python-call-relayed", {c.ours, c.reference + median(std::move(relayed))}, "us", work);
}
