#pragma once

#include "base/time.hpp"
#include "wire/zmq/socket.hpp"

#include <cstdint>
#include <string>
#include <unordered_map>

/// Processes of one host talk over Unix sockets, which take less of the processor than TCP does on loopback: a server
/// on loopback listens on both (docs/wire.md).
namespace squall::wire::detail {

/// The Unix endpoint beside a loopback one: "ipc://@squall/127.0.0.1:7700" for "tcp://127.0.0.1:7700". Abstract, so
/// that no file is left behind, and known where the address is known: in its network namespace. Empty for all that is
/// no number of a port at 127.0.0.1.
[[nodiscard]] std::string unix_twin_of(const std::string& endpoint);

/// Where to connect for an endpoint: its twin if somebody listens there, or nobody at either. Does not wait.
[[nodiscard]] std::string best_way_to(const std::string& endpoint);

/// Ends connections over Unix sockets whose peer takes nothing, for which TCP has a time-out of its own. Used by one
/// thread.
class unread_guard {
public:
  explicit unread_guard(duration limit = unread_limit) : limit_(limit) {}

  /// Descriptors of other kinds are left alone.
  void watch(int fd);
  void forget(int fd) { watched_.erase(fd); }
  /// Call it after something was sent; cheap. Ends what has not moved for so long: the descriptor stays ZeroMQ's, which
  /// finds it at its end.
  void look();

private:
  struct queue {
    int bytes = 0;
    time_point since{}; ///< it has not changed
  };
  duration limit_;
  std::unordered_map<int, queue> watched_;
  time_point looked_{};
};

} // namespace squall::wire::detail
