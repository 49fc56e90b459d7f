#pragma once

#include "base/result.hpp"
#include "executors/detail/unique_fd.hpp"

#include <string>
#include <vector>

#include <sys/types.h>

namespace squall::executors::detail {

/// A process that was started here, with one end of a socket pair as its descriptor 3, its standard error in a pipe,
/// and nothing else of this process open.
struct child_process {
  pid_t pid = 0;
  unique_fd socket; ///< non-blocking
  unique_fd errors; ///< read end of its standard error, non-blocking
  unique_fd exited; ///< readable once it has ended (a pidfd)
};

/// The child's end of the socket pair, as it knows it.
inline constexpr int child_socket = 3;

/// Starts `program` (a path). Costs about 0.6 ms whatever this process's size. Fails as not_found or unavailable,
/// naming the program.
[[nodiscard]] result<child_process> spawn(const std::string& program, const std::vector<std::string>& arguments);

/// How a process ended, from waitpid's status: "killed by SIGSEGV (Segmentation fault)", "exit status 1".
[[nodiscard]] std::string describe_status(int status);

} // namespace squall::executors::detail
