#pragma once

#include "client/cluster.hpp"
#include "client/detail/pending.hpp"
#include "wire/endpoints.hpp"
#include "wire/zmq/ready_set.hpp"
#include "wire/zmq/socket.hpp"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace squall::client::detail {

/// One connection and what it takes to keep it: hello, pings, giving up on a silent server, connecting again. Used by
/// one thread; nothing here waits. The controller's link is ready when it was welcomed; that of a store or a node,
/// which have no welcome of their own, as soon as it said hello. A node's link only brings results, so it is never
/// pinged.
class link {
public:
  link(wire::zmq_context& context, const options& options, wire::role peer, client_id self);

  /// Begins to connect. After a failure tick() tries again: of several endpoints (wire/endpoints.hpp) the next, for
  /// another controller may have taken over.
  void open(const std::string& endpoints, clock::time_point now);
  void close();

  [[nodiscard]] bool is_open() const { return socket_ != nullptr; }
  [[nodiscard]] bool ready() const { return ready_; }
  [[nodiscard]] const std::string& endpoint() const { return endpoints_.current(); }
  /// Why it is not ready, for people.
  [[nodiscard]] const error& trouble() const { return trouble_; }

  [[nodiscard]] result<> send(const wire::frames& message);
  /// Sends what waits to be sent together.
  void flush() {
    if (socket_)
      socket_->flush();
  }

  /// The next message that is not the link's own; sees to welcomes and pongs by itself. False when there is none now.
  bool receive(answer& out, clock::time_point now);

  /// Pings, and finds out whether the server is still there. When the link was ready and is no more, says why.
  [[nodiscard]] std::optional<error> tick(clock::time_point now);
  [[nodiscard]] clock::time_point next_tick() const { return next_tick_; }

  /// Where else to look, as the controller says.
  void learn(const std::vector<std::string>& controllers) { endpoints_.learn(controllers); }

  /// A welcome that came since the last time this was asked.
  [[nodiscard]] std::optional<wire::welcome> take_welcome() { return std::exchange(welcome_, std::nullopt); }

  [[nodiscard]] bool idle() {
    const bool nothing = !socket_ || socket_->idle();
    waiting_ |= !nothing;
    return nothing;
  }
  /// Adds what to wait for; after the wait, woken() is told where that begins in the list, and returns its length.
  void watch(std::vector<int>& out) const;
  std::size_t woken(const wire::ready_set& ready, std::size_t first);
  /// Counts its sockets: a new one may have the descriptors of the last.
  [[nodiscard]] std::uint64_t sockets() const { return sockets_; }

private:
  void connect(clock::time_point now);
  void say_hello(clock::time_point now);
  void on_welcome(const wire::frames& message);
  void on_pong(const wire::frames& message);
  void on_hello_refused(const wire::frames& message);
  [[nodiscard]] std::string silence() const;
  /// Drops the connection; the next one is tried at once if this one worked, else after a while.
  void fail(errc code, std::string why, clock::time_point now);

  wire::zmq_context& context_;
  const options& options_;
  const wire::role peer_;
  const client_id self_;
  wire::endpoint_list endpoints_;
  std::unique_ptr<wire::client_socket> socket_;
  std::uint64_t sockets_ = 0;
  mutable std::size_t watched_ = 0; ///< descriptors
  bool news_ = true;                ///< of the connection may be there
  bool waiting_ = true; ///< messages may be: asking ZeroMQ costs system calls, and a link may be one of many
  bool ready_ = false;
  bool lost_ = false; ///< was ready, is no more, and tick() has not said so yet
  std::uint64_t epoch_ = 0;
  std::optional<wire::welcome> welcome_;
  error trouble_{errc::unavailable, "not connected yet", {}};
  clock::time_point opened_;
  clock::time_point heard_;
  clock::time_point pinged_;
  clock::time_point retry_at_ = clock::time_point::max();
  clock::time_point next_tick_;
};

} // namespace squall::client::detail
