#pragma once

#include "actors/role.hpp"
#include "wire/codec.hpp"

#include <deque>
#include <stdexcept>

namespace squall::kvs {

/// A post whose messages lie in a queue until the test takes them, and whose clock the test moves.
class manual_post final : public actors::post {
public:
  struct sent {
    actors::peer_id to;
    wire::frames message;
  };

  result<> send(actors::peer_id to, wire::frames message) override {
    if (refuse)
      return *refuse;
    outbox.push_back({to, std::move(message)});
    return {};
  }
  result<actors::peer_id> connect(const std::string&, const std::string&) override {
    return {errc::unsupported, "not in this test"};
  }
  void close(actors::peer_id) override {}
  actors::peer_id local(wire::role) const override { return {}; }
  time_point now() const override { return clock; }
  void set_alarm(time_point at) override { alarm = at; }
  void watch(int, std::function<void()>) override {}
  void later(std::function<void()> task) override { task(); }

  /// What was sent since the last call, as it arrives at a peer that knows the sender as `from`.
  std::vector<actors::incoming> take(actors::peer_id from) {
    std::vector<actors::incoming> out;
    for (sent& s : std::exchange(outbox, {})) {
      auto head = wire::peek(s.message.header.span());
      if (!head.ok())
        throw std::runtime_error{head.error().message};
      out.push_back({from, *head, std::move(s.message)});
    }
    return out;
  }

  std::deque<sent> outbox;
  std::optional<error> refuse;
  time_point clock = from_ns(1'000'000'000);
  time_point alarm = never;
};

} // namespace squall::kvs
