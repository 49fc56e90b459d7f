#include "executors/worker/zygote.hpp"

#include <csignal>
#include <cstdio>
#include <string_view>

/// squall-worker: started by a node inside its sandbox, never by hand.
int main(int count, char** words) {
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
