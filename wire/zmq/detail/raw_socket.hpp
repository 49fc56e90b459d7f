#pragma once

#include "base/result.hpp"
#include "base/time.hpp"
#include "wire/bundle.hpp"
#include "wire/detail/small_copies.hpp"
#include "wire/zmq/detail/backlog.hpp"
#include "wire/zmq/socket.hpp"

#include <zmq.h>

#include <cstdint>
#include <string>

/// The RAII layer under the sockets of socket.hpp. Each function names what failed; errno does not leave this folder.
namespace squall::wire::detail {

/// A zmq_msg_t that is always valid.
class raw_message {
public:
  raw_message() { zmq_msg_init(&message_); }
  ~raw_message() { zmq_msg_close(&message_); }
  raw_message(const raw_message&) = delete;
  raw_message& operator=(const raw_message&) = delete;
  raw_message(raw_message&& other) noexcept : raw_message() { zmq_msg_move(&message_, &other.message_); }

  [[nodiscard]] zmq_msg_t* get() { return &message_; }
  [[nodiscard]] std::span<const std::byte> bytes() {
    return {static_cast<const std::byte*>(zmq_msg_data(&message_)), zmq_msg_size(&message_)};
  }
  [[nodiscard]] std::string_view text() {
    return {static_cast<const char*>(zmq_msg_data(&message_)), zmq_msg_size(&message_)};
  }
  [[nodiscard]] bool more() { return zmq_msg_more(&message_) != 0; }

private:
  zmq_msg_t message_;
};

class raw_socket {
public:
  raw_socket() = default;
  raw_socket(zmq_context& context, int type) : socket_(zmq_socket(context.raw(), type)) {}
  ~raw_socket() { close(); }
  raw_socket(const raw_socket&) = delete;
  raw_socket& operator=(const raw_socket&) = delete;
  raw_socket(raw_socket&& other) noexcept : socket_(std::exchange(other.socket_, nullptr)) {}
  raw_socket& operator=(raw_socket&& other) noexcept {
    std::swap(socket_, other.socket_);
    return *this;
  }

  [[nodiscard]] explicit operator bool() const { return socket_ != nullptr; }
  [[nodiscard]] void* get() const { return socket_; }
  void close() {
    if (socket_ != nullptr)
      zmq_close(std::exchange(socket_, nullptr));
  }

  bool set(int option, int value) { return zmq_setsockopt(socket_, option, &value, sizeof value) == 0; }
  bool set(int option, std::int64_t value) { return zmq_setsockopt(socket_, option, &value, sizeof value) == 0; }
  bool set(int option, const std::string& text) {
    return zmq_setsockopt(socket_, option, text.c_str(), text.size()) == 0;
  }
  [[nodiscard]] std::string text(int option) const;
  [[nodiscard]] int fd() const;
  /// Also makes ZeroMQ handle what its I/O thread has to say, after which fd() tells of news again.
  [[nodiscard]] bool readable() const;

  /// False when there is nothing (or the context ends).
  bool receive(raw_message& m) { return zmq_msg_recv(m.get(), socket_, ZMQ_DONTWAIT) >= 0; }

private:
  void* socket_ = nullptr;
};

/// What both kinds of socket have: limits, heartbeats, linger, keep-alive, and an end for who does not read.
[[nodiscard]] result<> set_common_options(raw_socket& socket, const std::string& endpoint, int high_water_mark,
                                          duration linger);

/// Takes messages off a socket.
class frame_reader {
public:
  /// Receives the header and the payloads of one message whose first part is the next. False when there is none.
  bool receive(raw_socket& socket, arrival& out) {
    if (!begin(socket))
      return false;
    finish(socket, out);
    return true;
  }
  /// The same in two steps, between which header() has what ZeroMQ says of the message.
  bool begin(raw_socket& socket) { return socket.receive(header_); }
  [[nodiscard]] raw_message& header() { return header_; }
  void finish(raw_socket& socket, arrival& out);

private:
  raw_message header_;
  small_copies headers_;
};

/// The bundle whose messages are being received.
class open_bundle {
public:
  /// False when it is none. A damaged one is a message without a header.
  bool open(const frames& message) {
    if (!bundle_reader::is_bundle(message.header.span()))
      return false;
    messages_.open(message.header);
    return true;
  }
  [[nodiscard]] bool empty() const { return messages_.empty(); }
  void drop() { messages_.drop(); }
  /// The next message of it; false when there is none.
  bool next(arrival& out);

private:
  bundle_reader messages_;
};

/// Sends one part by copying it; 0 or errno.
int send_small(raw_socket& socket, std::span<const std::byte> part, int flags);

/// Sends a last part by copying it; 0 or errno. It counts as in send_frames().
int send_copy(raw_socket& socket, std::span<const std::byte> part, const std::shared_ptr<backlog::share>& of);

/// Sends header and payloads; 0 or errno. The first part decides: after it the rest is taken. They count in `of` while
/// ZeroMQ has them.
int send_frames(raw_socket& socket, const frames& message, const std::shared_ptr<backlog::share>& of);

/// What ZeroMQ's I/O thread tells of a socket's connections.
class socket_monitor {
public:
  struct event {
    int what = 0;            ///< ZMQ_EVENT_...
    std::uint32_t value = 0; ///< the descriptor, or the reason of a failed handshake
  };
  socket_monitor() = default;
  ~socket_monitor();
  socket_monitor(const socket_monitor&) = delete;
  socket_monitor& operator=(const socket_monitor&) = delete;

  /// `watched` outlives this.
  [[nodiscard]] result<> start(zmq_context& context, const raw_socket& watched, int events);
  bool next(event& out);
  [[nodiscard]] const raw_socket& socket() const { return pair_; }

private:
  void* watched_ = nullptr;
  raw_socket pair_;
};

[[nodiscard]] error zmq_failure(const std::string& what, const std::string& endpoint);
[[nodiscard]] bool is_key(const std::string& text);

} // namespace squall::wire::detail
