#pragma once

#include "executors/packet.hpp"

#include <deque>
#include <functional>

namespace squall::executors::detail {

/// A non-blocking socket of packets in an epoll set of its owner's.
class packet_socket {
public:
  /// `tag` is what epoll says of it. The set outlives it.
  packet_socket(unique_fd socket, int epoll, std::uint64_t tag);
  ~packet_socket();
  packet_socket(const packet_socket&) = delete;
  packet_socket& operator=(const packet_socket&) = delete;

  /// Fails as too_large, or as overloaded when `max_unsent_bytes` are waiting. That the other end is gone shows when it
  /// is read.
  [[nodiscard]] result<> send(wire::frames message, std::vector<unique_fd> descriptors = {});
  /// Between these two nothing is written but all at the end, in as few system calls as it takes.
  void hold() { held_ = true; }
  void let_go();
  void on_writable() { write_out(); }

  /// Reads up to about `limit` bytes and hands packets on. An error: the stream has ended (unavailable), or a packet
  /// was none, or was refused. Descriptors that come along are closed: nobody who writes here has any to send.
  [[nodiscard]] result<> read(std::size_t limit, const std::function<result<>(const wire::frames&)>& on_packet);

  /// Ends the stream; the set forgets it.
  void close();
  [[nodiscard]] bool open() const { return static_cast<bool>(socket_); }

  static constexpr std::size_t max_unsent_bytes = std::size_t{64} << 20;

private:
  void write_out();

  unique_fd socket_;
  const int epoll_;
  const std::uint64_t tag_;
  packet_reader reader_;
  packet_writer writer_;
  bool waits_for_room_ = false;
  bool held_ = false;
};

} // namespace squall::executors::detail
