#include "bench/python/parts.hpp"

#include "base/check.hpp"
#include "bench/calls/no_ops.hpp"
#include "wire/worker.hpp"

#include <array>
#include <csignal>
#include <cstdlib>
#include <deque>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace squall::bench {

namespace fs = std::filesystem;
namespace messages = wire::worker;

namespace {

fs::path beside_this_program(const std::string& name) {
  return fs::read_symlink("/proc/self/exe").parent_path() / name;
}

int run(const std::vector<std::string>& words) {
  auto started = or_fail(executors::detail::spawn(words.front(), {words.begin() + 1, words.end()}));
  int status = -1;
  waitpid(started.pid, &status, 0);
  return status;
}

executors::detail::child_process start_zygote() {
  return or_fail(executors::detail::spawn(
      "/usr/bin/env",
      {"-i", "PATH=/usr/bin:/bin", "HOME=/tmp", "LANG=C.UTF-8", "OPENBLAS_NUM_THREADS=1", "OMP_NUM_THREADS=1",
       "SQUALL_PRELOAD=numpy", "SQUALL_SANDBOX_LIBRARY=" + beside_this_program("libsquall-sandbox.so").string(),
       python_program(), "-I", "-B", python_worker(), "--zygote"}));
}

} // namespace

std::string python_program() { return SQUALL_VENV_DIR "/bin/python"; }
std::string python_worker() { return SQUALL_SOURCE_DIR "/client/python/squall/_worker.py"; }
std::string hop_program() { return SQUALL_SOURCE_DIR "/bench/python/hop.py"; }

python_functions::python_functions() {
  std::string pattern = (fs::temp_directory_path() / "squall-bench-functions-XXXXXX").string();
  SQUALL_CHECK(mkdtemp(pattern.data()) != nullptr, pattern);
  folder_ = pattern;
  if (run({python_program(), SQUALL_SOURCE_DIR "/bench/python/functions.py", folder_}) != 0)
    fail({errc::failed, "bench/python/functions.py cannot be run by " + python_program(), {}});
}

python_functions::~python_functions() {
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

bare_zygote::bare_zygote() : process_(start_zygote()) {
  wait_for_packets(1); // it is ready
}

bare_zygote::~bare_zygote() {
  process_.socket.reset();
  waitpid(process_.pid, nullptr, 0);
}

void bare_zygote::wait_for_packets(std::size_t count) {
  std::deque<executors::detail::unique_fd> none;
  fcntl(process_.socket.get(), F_SETFL, 0); // may wait
  for (;;) {
    while (count > 0 && reader_.next())
      --count;
    if (count == 0)
      return;
    const auto got = executors::receive(process_.socket.get(), reader_.room(), none);
    if (got <= 0)
      fail({errc::failed, "the zygote of Python workers has ended", {}});
    or_fail(reader_.advance(static_cast<std::size_t>(got)));
  }
}

double bare_zygote::fork_us() {
  std::array<int, 2> pair{};
  SQUALL_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) == 0);
  std::vector<executors::detail::unique_fd> handed;
  handed.emplace_back(pair[1]);
  handed.emplace_back(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10));
  messages::spawn spawn;
  spawn.worker = ++workers_;
  spawn.bounds.memory_limit_bytes = std::uint64_t{2} << 30;
  spawn.bounds.scratch_bytes = std::uint64_t{64} << 20;
  spawn.bounds.open_files = 256;
  spawn.bounds.processes = 64;
  const auto began = now_ns();
  executors::packet_writer writer;
  or_fail(writer.add(wire::encode(spawn, request_id{}), std::move(handed)));
  or_fail(writer.write_to(process_.socket.get()));
  char first = 0;
  SQUALL_CHECK(read(pair[0], &first, 1) == 1);
  const auto took = now_ns() - began;
  close(pair[0]);
  wait_for_packets(2); // spawned, exited
  return static_cast<double>(took) * 1e-3;
}

} // namespace squall::bench
