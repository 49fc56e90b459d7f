#pragma once

#include "wire/zmq/socket.hpp"

#include <zmq.h>

#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <poll.h>

namespace squall::testing {

/// Polls a condition for up to ten seconds.
template <class F>
bool eventually(F condition) {
  for (const auto end = std::chrono::steady_clock::now() + std::chrono::seconds{10};
       std::chrono::steady_clock::now() < end;) {
    if (condition())
      return true;
    std::this_thread::sleep_for(std::chrono::milliseconds{1});
  }
  return condition();
}

/// A client of our own making, which waits.
class peer {
public:
  explicit peer(const std::string& endpoint, const wire::connect_options& base = {}) {
    auto context = wire::zmq_context::create();
    SQUALL_CHECK(context.ok());
    context_ = *std::move(context);
    wire::connect_options options = base;
    options.endpoint = endpoint;
    auto socket = wire::client_socket::connect(*context_, options);
    SQUALL_CHECK(socket.ok(), socket.error().message);
    socket_ = *std::move(socket);
  }

  template <class Message>
  void send(const Message& m, std::uint64_t request, wire::role to = Message::to) {
    const auto sent = socket_->send(wire::encode(m, request_id{request}, {}, to));
    SQUALL_CHECK(sent.ok(), sent.error().message);
    socket_->flush();
  }
  void send(const wire::frames& f) {
    SQUALL_CHECK(socket_->send(f).ok());
    socket_->flush();
  }

  std::optional<wire::frames> receive(std::chrono::milliseconds patience = std::chrono::seconds{10}) {
    wire::arrival a;
    const auto end = std::chrono::steady_clock::now() + patience;
    while (!socket_->receive(a)) {
      if (std::chrono::steady_clock::now() > end)
        return {};
      std::this_thread::sleep_for(std::chrono::microseconds{200});
    }
    return a.message;
  }
  std::optional<wire::reply> receive_reply() {
    const auto f = receive();
    if (!f)
      return {};
    auto r = wire::decode<wire::reply>(*f, nullptr);
    if (!r.ok())
      return {};
    return *std::move(r);
  }
  wire::client_socket& socket() { return *socket_; }

private:
  std::unique_ptr<wire::zmq_context> context_;
  std::unique_ptr<wire::client_socket> socket_;
};

/// A client that sends whatever frames it is told to.
class raw_peer {
public:
  /// With a `mark` ZeroMQ reads no more than so many messages ahead.
  explicit raw_peer(const std::string& endpoint, const std::string& name = {}, int mark = 1000) {
    zmq_setsockopt(socket_, ZMQ_RCVHWM, &mark, sizeof mark);
    if (!name.empty())
      zmq_setsockopt(socket_, ZMQ_ROUTING_ID, name.data(), name.size());
    const int linger = 0;
    zmq_setsockopt(socket_, ZMQ_LINGER, &linger, sizeof linger);
    const int patience_ms = 10'000;
    zmq_setsockopt(socket_, ZMQ_RCVTIMEO, &patience_ms, sizeof patience_ms);
    SQUALL_CHECK(zmq_connect(socket_, endpoint.c_str()) == 0, endpoint);
  }
  ~raw_peer() {
    zmq_close(socket_);
    zmq_ctx_term(context_);
  }
  void send(const std::vector<std::string>& parts) {
    for (std::size_t i = 0; i < parts.size(); ++i)
      SQUALL_CHECK(zmq_send(socket_, parts[i].data(), parts[i].size(), i + 1 < parts.size() ? ZMQ_SNDMORE : 0) >= 0);
  }
  /// The first frame of the next message; empty when none comes.
  std::string receive() {
    std::string buffer(1 << 16, '\0');
    const int got = zmq_recv(socket_, buffer.data(), buffer.size(), 0);
    buffer.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
    return buffer;
  }
  std::optional<wire::reply> receive_reply() {
    auto r = wire::decode<wire::reply>({shared_bytes::take(receive()), {}}, nullptr);
    if (!r.ok())
      return {};
    return *std::move(r);
  }
  void* socket() { return socket_; }

private:
  void* context_ = zmq_ctx_new();
  void* socket_ = zmq_socket(context_, ZMQ_DEALER);
};

} // namespace squall::testing
