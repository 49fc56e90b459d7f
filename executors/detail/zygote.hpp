#pragma once

#include "actors/role.hpp"
#include "base/log.hpp"
#include "executors/detail/child_process.hpp"
#include "executors/detail/log_reader.hpp"
#include "executors/detail/packet_socket.hpp"
#include "wire/worker.hpp"

#include <map>
#include <memory>

namespace squall::executors::detail {

class zygote;

class zygote_listener {
public:
  virtual ~zygote_listener() = default;
  virtual void on_spawned(const wire::worker::spawned& message) = 0;
  virtual void on_exited(const wire::worker::exited& message) = 0;
  /// It is gone, and with it all of its workers. Not to be destroyed from here.
  virtual void on_zygote_lost(const zygote& which, const std::string& why) = 0;
};

/// The process that forks workers of one kind, inside its sandbox.
class zygote {
public:
  struct command {
    std::string program;
    std::vector<std::string> arguments;
  };

  /// Its descriptors get the tags `tag`, `tag` + 1 and `tag` + 2 in the set.
  [[nodiscard]] static result<std::unique_ptr<zygote>> start(std::string name, const command& line, int epoll,
                                                             std::uint64_t tag, zygote_listener& listener,
                                                             actors::post& post, logger& log);
  ~zygote();

  [[nodiscard]] result<> spawn(std::uint64_t worker, const functions::worker_spec& bounds, unique_fd socket,
                               unique_fd log);
  void kill(std::uint64_t worker);
  /// Asks it to end, with all of its workers; the listener hears of it as of any other end.
  void retire() { socket_.close(); }

  /// `which`: 0 socket, 1 log, 2 its end. After 2 the listener has heard that it is lost.
  void on_event(int which, std::uint32_t events);
  [[nodiscard]] time_point next_alarm() const { return log_lines_.next_alarm(); }
  void on_alarm() { log_lines_.on_alarm(post_.now()); }

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] bool ready() const { return ready_; }
  /// From a process's id as the zygote sees it to the host's.
  [[nodiscard]] std::map<std::uint64_t, std::uint64_t> host_pids() const;

private:
  zygote(std::string name, child_process child, int epoll, std::uint64_t tag, zygote_listener& listener,
         actors::post& post, logger& log);
  result<> on_packet(const wire::frames& packet);
  void on_end();

  const std::string name_;
  const pid_t pid_;
  unique_fd exited_;
  const int epoll_;
  zygote_listener& listener_;
  actors::post& post_;
  logger& log_;
  packet_socket socket_;
  log_reader log_lines_;
  bool ready_ = false;
  bool ended_ = false;
  std::string why_;
};

} // namespace squall::executors::detail
