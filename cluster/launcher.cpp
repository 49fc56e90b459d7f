#include "cluster/launcher.hpp"

#include "calls/json.hpp"
#include "cluster/core/supervision.hpp"
#include "cluster/process.hpp"
#include "wire/arena.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace squall::cluster {

namespace {

constexpr int start_timeout_ms = 20'000;

struct child {
  std::string label; ///< "store", "controller" or "node NAME"
  process_spec spec;
  pid_t pid = 0;
};

time_point steady_now() {
  return from_ns(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
          .count());
}

/// The file of this program, which an upgrade may replace while the cluster runs.
class program_file {
public:
  [[nodiscard]] const std::string& path() const { return path_; }

  /// Another file lies where this program was started from.
  [[nodiscard]] bool replaced() const {
    struct stat running {};
    struct stat there {};
    return ::stat(self, &running) == 0 && ::stat(path_.c_str(), &there) == 0 &&
           (running.st_ino != there.st_ino || running.st_dev != there.st_dev);
  }

private:
  static constexpr const char* self = "/proc/self/exe";
  std::string path_ = std::filesystem::read_symlink(self).string();
};

/// What a fork of the launcher does: it becomes the process of a cluster that `spec` describes. `ready_fd` is as of
/// run_process().
[[noreturn]] void become(const process_spec& spec, const std::string& log_file, int ready_fd, pid_t launcher,
                         const program_file& program) {
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != launcher)
    ::_exit(1);
  ::setpgid(0, 0); // Ctrl-C reaches the launcher, which then stops them in order
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  const int file = ::open(log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (file >= 0)
    ::dup2(file, STDERR_FILENO), ::dup2(file, STDOUT_FILENO);
  // Only this stays open of what the launcher has.
  constexpr int kept_fd = STDERR_FILENO + 1;
  if (ready_fd != kept_fd)
    ::dup2(ready_fd, kept_fd);
  ::fcntl(kept_fd, F_SETFD, 0);
  ::close_range(kept_fd + 1, ~0U, 0);
  if (!program.replaced())
    std::exit(serve_roles(spec, kept_fd));
  const std::string fd = std::to_string(kept_fd);
  const std::string text = calls::to_json(spec);
  const char* const arguments[] = {"squall", "serve", "--ready-fd", fd.c_str(), "--spec", text.c_str(), nullptr};
  ::execv(program.path().c_str(), const_cast<char* const*>(arguments));
  ::_exit(127);
}

/// Starts a process; its log goes to a file of its own beside the data. Returns the read end of the pipe on which it
/// says that it is ready.
///
/// It is a fork of this process, and runs the program anew only where that was replaced (docs/decisions/0012). This
/// process has one thread and must stay so.
result<int> spawn(child& c, const std::string& log_folder, const program_file& program) {
  int ready[2];
  if (::pipe2(ready, O_CLOEXEC) != 0)
    return error{errc::unavailable, std::string{"no pipe: "} + std::strerror(errno), {}};
  std::string file = log_folder + "/" + c.label + ".log";
  std::replace(file.begin(), file.end(), ' ', '-');
  const pid_t launcher = ::getpid();
  std::fflush(nullptr); // else both processes write what waits in buffers
  const pid_t pid = ::fork();
  if (pid == 0)
    become(c.spec, file, ready[1], launcher, program);
  ::close(ready[1]);
  if (pid < 0) {
    ::close(ready[0]);
    return error{errc::unavailable, std::string{"cannot start a process: "} + std::strerror(errno), {}};
  }
  c.pid = pid;
  return ready[0];
}

/// Waits for the line "ENDPOINT HTTP".
result<launched> await_ready(const child& c, int fd, const std::string& log_folder) {
  std::string line;
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds{start_timeout_ms};
  while (line.find('\n') == std::string::npos) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now()).count();
    pollfd wait{fd, POLLIN, 0};
    char buffer[512];
    const ssize_t n = left > 0 && ::poll(&wait, 1, static_cast<int>(left)) > 0 ? ::read(fd, buffer, sizeof buffer) : 0;
    if (n <= 0) {
      ::close(fd);
      return error{errc::unavailable, "the " + c.label + " process did not start; its log is in " + log_folder, {}};
    }
    line.append(buffer, static_cast<std::size_t>(n));
  }
  ::close(fd);
  line.resize(line.find('\n'));
  const auto space = line.find(' ');
  return launched{line.substr(0, space), space == std::string::npos ? "" : line.substr(space + 1)};
}

} // namespace

process_spec base_spec(const cluster_config& config, std::string roles, const std::string& folder) {
  process_spec spec;
  spec.roles = std::move(roles);
  spec.cluster = config.name;
  spec.data_folder = config.data_folder + "/" + folder;
  spec.keys_folder = config.keys_folder;
  spec.policy = config.policy;
  spec.event_log = config.event_log;
  spec.unix_sockets = config.unix_sockets;
  spec.default_deadline = config.default_deadline;
  spec.cpu_price = config.cpu_price;
  spec.gpu_price = config.gpu_price;
  spec.assurance_ppm = config.assurance_ppm;
  spec.lease = config.lease;
  spec.etcd = config.etcd;
  return spec;
}

namespace {

class cluster_run {
public:
  cluster_run(const cluster_config& config, logger& log)
      : config_(config), log_(log), logs_(config.data_folder + "/logs") {}
  ~cluster_run() {
    for (const child& c : children_)
      if (c.pid > 0) {
        ::kill(c.pid, SIGKILL);
        ::waitpid(c.pid, nullptr, 0);
      }
  }

  result<launched> start() {
    std::filesystem::create_directories(logs_);
    child store{"store", base_spec(config_, "store", "store-process"), 0};
    store.spec.endpoint = config_.store_listen;
    SQUALL_ASSIGN(store_at, launch(std::move(store)));
    child controller{"controller", base_spec(config_, "controller", "controller"), 0};
    controller.spec.endpoint = config_.listen;
    controller.spec.store_endpoint = store_at.endpoint;
    controller.spec.http = config_.http;
    SQUALL_ASSIGN(controller_at, launch(std::move(controller)));
    SQUALL_TRY(start_standbys(store_at.endpoint, controller_at));
    for (const node_config& node : config_.nodes) {
      child c{"node " + node.name, base_spec(config_, "node", "node-" + node.name), 0};
      c.spec.endpoint = node.listen;
      c.spec.controller_endpoint = controller_at.endpoint;
      c.spec.node_name = node.name;
      c.spec.slots = node.slots;
      c.spec.memory_bytes = node.memory_bytes;
      SQUALL_TRY(launch(std::move(c)));
    }
    return controller_at;
  }

  void supervise() {
    supervisor keeper{{}, children_.size(), steady_now()};
    sigset_t signals;
    sigemptyset(&signals);
    for (const int s : {SIGCHLD, SIGTERM, SIGINT, SIGHUP})
      sigaddset(&signals, s);
    for (bool done = false; !done;) {
      const auto deadline = keeper.next_deadline();
      const duration wait = deadline ? std::max(duration{0}, *deadline - steady_now()) : std::chrono::hours{1};
      const timespec timeout{static_cast<time_t>(wait.count() / 1'000'000'000),
                             static_cast<long>(wait.count() % 1'000'000'000)};
      const int signal = ::sigtimedwait(&signals, nullptr, &timeout);
      if (signal == SIGCHLD)
        reap(keeper);
      else if (signal > 0)
        keeper.step(steady_now(), stop_wanted{});
      else
        keeper.step(steady_now(), supervision_tick{});
      done = carry_out(keeper);
    }
  }

private:
  /// Adds where they are to the controller's address.
  result<> start_standbys(const std::string& store, launched& controllers) {
    int number = 0;
    for (const standby_config& standby : config_.standby) {
      const std::string label = "standby " + std::to_string(++number);
      child c{label, base_spec(config_, "controller", "standby-" + std::to_string(number)), 0};
      c.spec.endpoint = standby.listen;
      c.spec.store_endpoint = store;
      c.spec.http = standby.http;
      c.spec.controllers = controllers.endpoint;
      SQUALL_ASSIGN(at, launch(std::move(c)));
      controllers.endpoint += "," + at.endpoint;
    }
    return {};
  }

  /// Starts a process and waits until it listens; from then on it is always started at that address.
  result<launched> launch(child c) {
    SQUALL_ASSIGN(fd, spawn(c, logs_, program_));
    children_.push_back(c);
    SQUALL_ASSIGN(at, await_ready(c, fd, logs_));
    children_.back().spec.endpoint = at.endpoint;
    if (!at.http.empty())
      children_.back().spec.http = at.http;
    log_.info("launcher", "started", {{"process", c.label}, {"pid", std::to_string(c.pid)}, {"endpoint", at.endpoint}});
    return at;
  }

  void reap(supervisor& keeper) {
    int status = 0;
    for (pid_t pid = 0; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;)
      for (process_index i = 0; i < children_.size(); ++i)
        if (children_[i].pid == pid) {
          children_[i].pid = 0;
          const bool wanted = WIFEXITED(status) && WEXITSTATUS(status) == shutdown_status;
          const bool retired = WIFEXITED(status) && WEXITSTATUS(status) == retired_status;
          log_.info("launcher", "ended", {{"process", children_[i].label}, {"status", std::to_string(status)}});
          keeper.step(steady_now(), process_exited{i, wanted, retired});
        }
  }

  bool carry_out(supervisor& keeper) {
    bool done = false;
    for (const supervision_command& command : keeper.take_commands()) {
      if (const auto* start = std::get_if<start_process>(&command)) {
        child& c = children_[start->process];
        if (auto fd = spawn(c, logs_, program_); fd) {
          ::close(*fd); // nobody waits: it is at its old address
          log_.warn("launcher", "started again", {{"process", c.label}, {"pid", std::to_string(c.pid)}});
        } else {
          keeper.step(steady_now(), process_exited{start->process, false, false});
        }
      } else if (const auto* ask = std::get_if<ask_to_stop>(&command))
        ::kill(children_[ask->process].pid, SIGTERM);
      else if (const auto* end = std::get_if<kill_process>(&command))
        ::kill(children_[end->process].pid, SIGKILL);
      else
        done = true;
    }
    return done;
  }

  const cluster_config& config_;
  logger& log_;
  std::string logs_;
  program_file program_;
  std::vector<child> children_;
};

} // namespace

result<> run_cluster(const cluster_config& config, const std::function<void(const launched&)>& ready, logger& log) {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int s : {SIGCHLD, SIGTERM, SIGINT, SIGHUP})
    sigaddset(&signals, s);
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  cluster_run run{config, log};
  SQUALL_ASSIGN(at, run.start());
  ready(at);
  run.supervise();
  wire::sweep_dead_arenas();
  return {};
}

} // namespace squall::cluster
