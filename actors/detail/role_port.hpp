#pragma once

#include "actors/detail/hub.hpp"

namespace squall::actors::detail {

/// A role's way to the hub: the hub's functions with the role filled in.
class role_port final : public post {
public:
  role_port(hub& to, role_slot& self) : hub_(to), self_(self) {}

  result<> send(peer_id to, wire::frames message) override { return hub_.send(self_, to, std::move(message)); }
  result<peer_id> connect(const std::string& endpoint, const std::string& server_key) override {
    return hub_.connect(self_, endpoint, server_key);
  }
  void close(peer_id peer) override { hub_.close(peer); }
  [[nodiscard]] peer_id local(wire::role role) const override { return hub_.local(role); }
  [[nodiscard]] time_point now() const override { return hub_.now(); }
  void set_alarm(time_point at) override { hub_.set_alarm(self_, at); }
  void watch(int fd, std::function<void()> ready) override { hub_.watch(fd, std::move(ready)); }
  void later(std::function<void()> task) override { hub_.later(self_, std::move(task)); }

private:
  hub& hub_;
  role_slot& self_;
};

} // namespace squall::actors::detail
