#include "executors/worker/sandbox.h"
#include "executors/worker/zygote.hpp"

#include <array>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <string_view>

#include <sys/wait.h>
#include <unistd.h>

namespace {

/// Forks a worker that does nothing. 0: it was shut in.
int check() {
  const squall_bounds bounds{std::uint64_t{2} << 30, std::uint64_t{64} << 20, 256, 64};
  std::array<char, 256> problem{};
  const int pid = squall_sandbox_fork(&bounds, STDERR_FILENO, STDERR_FILENO, problem.data(), problem.size());
  if (pid == 0)
    _exit(0);
  int status = 0;
  if (pid > 0 && waitpid(pid, &status, 0) == pid && status == 0)
    return 0;
  std::fprintf(stderr, "%s\n", problem.data());
  return 1;
}

} // namespace

/// squall-worker: started by a node inside its sandbox, or by `squall doctor`, never by hand.
int main(int count, char** words) {
  if (count == 2 && std::string_view{words[1]} == "--check")
    return check();
  if (count != 2 || std::string_view{words[1]} != "--zygote") {
    std::fputs(
        "usage: squall-worker --zygote\nForks workers of native code for the node that holds the other end of "
        "descriptor 3.\n",
        stderr);
    return 2;
  }
  std::signal(SIGPIPE, SIG_IGN);
  std::setvbuf(stdout, nullptr, _IOLBF, 0); // prints reach the log line by line
  return squall::executors::worker::serve_zygote(3);
}
