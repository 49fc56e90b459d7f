#pragma once

#include "actors/role.hpp"

#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <vector>

namespace squall::testing {

/// The world of a role under test: keeps what the role sends, and does nothing by itself. The test moves `time`, calls
/// on_alarm() when `alarm` has come, and run_tasks() for what other threads handed over. send() and later() may be
/// called from any thread.
class fake_post final : public actors::post {
public:
  struct sent_message {
    actors::peer_id to;
    wire::envelope_head head;
    wire::frames message;
  };
  struct connection {
    actors::peer_id peer;
    std::string endpoint;
    std::string server_key;
  };

  time_point time{};
  time_point alarm = never;
  std::vector<sent_message> sent;
  std::vector<connection> connections;               ///< made and not closed
  std::set<wire::role> local_roles;                  ///< hosted in the same process
  std::map<actors::peer_id, errc> failing;           ///< sends there fail so
  std::map<actors::peer_id, std::size_t> most_bytes; ///< payloads of more are overloaded there
  std::map<int, std::function<void()>> watched;

  result<> send(actors::peer_id to, wire::frames message) override {
    const std::lock_guard lock{mutex_};
    if (const auto fails = failing.find(to); fails != failing.end())
      return {fails->second, "as the test wants"};
    if (const auto most = most_bytes.find(to); most != most_bytes.end())
      for (const auto& payload : message.payloads)
        if (payload.size() > most->second)
          return {errc::overloaded, "too much waits for the peer"};
    SQUALL_TRY(wire::within_limits(message));
    SQUALL_ASSIGN(head, wire::peek(message.header.span()));
    sent.push_back({to, head, std::move(message)});
    return {};
  }

  result<actors::peer_id> connect(const std::string& endpoint, const std::string& server_key) override {
    const actors::peer_id peer{(1ULL << 40) + made_++};
    connections.push_back({peer, endpoint, server_key});
    return peer;
  }

  void close(actors::peer_id peer) override {
    std::erase_if(connections, [peer](const connection& c) { return c.peer == peer; });
  }

  [[nodiscard]] actors::peer_id local(wire::role role) const override {
    return local_roles.contains(role) ? actors::peer_id{static_cast<std::uint64_t>(role)} : actors::peer_id{};
  }

  [[nodiscard]] time_point now() const override { return time; }
  void set_alarm(time_point at) override { alarm = at; }

  void watch(int fd, std::function<void()> ready) override {
    if (ready)
      watched[fd] = std::move(ready);
    else
      watched.erase(fd);
  }

  void later(std::function<void()> task) override {
    const std::lock_guard lock{mutex_};
    tasks_.push_back(std::move(task));
  }

  /// Runs what was handed over, also what that hands over; returns how many.
  std::size_t run_tasks() {
    std::size_t ran = 0;
    for (;; ++ran) {
      std::function<void()> task;
      {
        const std::lock_guard lock{mutex_};
        if (tasks_.empty())
          return ran;
        task = std::move(tasks_.front());
        tasks_.pop_front();
      }
      task();
    }
  }

  template <class Message>
  struct taken {
    actors::peer_id to;
    wire::envelope_head head;
    Message body;
  };

  /// Takes the first message of this type out of `sent`; none when there is none or it does not decode.
  template <class Message>
  std::optional<taken<Message>> take(wire::arena_map* arenas = nullptr) {
    const std::lock_guard lock{mutex_};
    for (auto s = sent.begin(); s != sent.end(); ++s) {
      if (s->head.type != Message::type)
        continue;
      auto body = wire::decode<Message>(s->message, arenas);
      if (!body.ok())
        return {};
      taken<Message> out{s->to, s->head, *std::move(body)};
      sent.erase(s);
      return out;
    }
    return {};
  }

private:
  std::mutex mutex_;
  std::deque<std::function<void()>> tasks_;
  std::uint64_t made_ = 0;
};

/// A message as the bridge would hand it to a role.
template <class Message>
[[nodiscard]] actors::incoming incoming_of(const Message& body, actors::peer_id from, request_id request = {},
                                           wire::role to = Message::to, const wire::encode_options& options = {}) {
  wire::frames message = wire::encode(body, request, options, to);
  return {from, {wire::protocol_version, Message::type, to, request}, std::move(message)};
}

/// Hands one message to a role.
template <class Message>
void give(actors::role_service& role, const Message& body, actors::peer_id from, request_id request = {}) {
  actors::incoming one = incoming_of(body, from, request);
  role.on_messages({&one, 1});
}

} // namespace squall::testing
