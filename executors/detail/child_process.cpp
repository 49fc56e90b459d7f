#include "executors/detail/child_process.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace squall::executors::detail {

namespace {

error cannot_start(const std::string& program, int reason) {
  const auto code = reason == ENOENT ? errc::not_found : errc::unavailable;
  return {code, "cannot start " + program + ": " + std::strerror(reason), {}};
}

/// What the child does between fork and exec.
class spawn_plan {
public:
  spawn_plan() {
    posix_spawn_file_actions_init(&actions_);
    posix_spawnattr_init(&attributes_);
  }
  ~spawn_plan() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  spawn_plan(const spawn_plan&) = delete;
  spawn_plan& operator=(const spawn_plan&) = delete;

  int run(const std::string& program, const std::vector<std::string>& arguments, int socket, int errors, pid_t& pid) {
    posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions_, errors, STDERR_FILENO);
    posix_spawn_file_actions_adddup2(&actions_, errors, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions_, socket, child_socket);
    posix_spawn_file_actions_addclosefrom_np(&actions_, child_socket + 1);
    // The node blocks signals in its threads; the child starts with none blocked and defaults for all.
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &all);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    std::vector<char*> words{const_cast<char*>(program.c_str())};
    for (const auto& argument : arguments)
      words.push_back(const_cast<char*>(argument.c_str()));
    words.push_back(nullptr);
    return posix_spawn(&pid, program.c_str(), &actions_, &attributes_, words.data(), environ);
  }

private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

/// Moves a descriptor out of the way of 0 to 3, which the child's are put on.
result<> lift(unique_fd& fd) {
  unique_fd lifted(fcntl(fd.get(), F_DUPFD_CLOEXEC, child_socket + 1));
  if (!lifted)
    return {errc::unavailable, std::string("no descriptor for a worker: ") + std::strerror(errno)};
  fd = std::move(lifted);
  return {};
}

} // namespace

result<child_process> spawn(const std::string& program, const std::vector<std::string>& arguments) {
  std::array<int, 2> pair{};
  std::array<int, 2> pipe{};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) != 0)
    return cannot_start(program, errno);
  unique_fd own_socket(pair[0]);
  unique_fd their_socket(pair[1]);
  if (pipe2(pipe.data(), O_CLOEXEC) != 0)
    return cannot_start(program, errno);
  unique_fd own_errors(pipe[0]);
  unique_fd their_errors(pipe[1]);
  SQUALL_TRY(lift(their_socket));
  SQUALL_TRY(lift(their_errors));
  // Only this end: the child reads and writes in threads that may wait. A pipe's ends have flags of their own, and so
  // have a pair's.
  fcntl(own_socket.get(), F_SETFL, O_NONBLOCK);
  fcntl(own_errors.get(), F_SETFL, O_NONBLOCK);

  child_process child;
  spawn_plan plan;
  if (const int failed = plan.run(program, arguments, their_socket.get(), their_errors.get(), child.pid); failed != 0)
    return cannot_start(program, failed);
  child.exited = unique_fd(static_cast<int>(syscall(SYS_pidfd_open, child.pid, 0)));
  if (!child.exited) {
    const int reason = errno;
    kill(child.pid, SIGKILL);
    waitpid(child.pid, nullptr, 0);
    return cannot_start(program, reason);
  }
  child.socket = std::move(own_socket);
  child.errors = std::move(own_errors);
  return child;
}

std::string describe_status(int status) {
  if (WIFEXITED(status))
    return "exit status " + std::to_string(WEXITSTATUS(status));
  if (!WIFSIGNALED(status))
    return "status " + std::to_string(status);
  const int number = WTERMSIG(status);
  const char* name = sigabbrev_np(number);
  return std::string("killed by SIG") + (name != nullptr ? name : std::to_string(number).c_str()) + " (" +
         strsignal(number) + ")";
}

} // namespace squall::executors::detail
