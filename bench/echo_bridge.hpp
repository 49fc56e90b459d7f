#pragma once

#include "actors/bridge.hpp"

#include <functional>
#include <memory>
#include <string>
#include <utility>

namespace squall::bench {

/// Sends every message back.
class echo_role final : public actors::role_service {
public:
  void start(actors::post& out) override { out_ = &out; }
  void on_messages(std::span<actors::incoming> messages) override {
    for (auto& m : messages)
      static_cast<void>(out_->send(m.from, std::move(m.message)));
  }
  void on_peer_lost(actors::peer_id) override {}
  void on_alarm() override {}
  void stop() override {}

private:
  actors::post* out_ = nullptr;
};

/// Serves one role, inline, as production does.
inline void serve_bridge(std::unique_ptr<actors::role_service> service,
                         const std::function<void(const std::string&)>& tell) {
  null_logger log;
  auto made = actors::bridge::create({}, log);
  SQUALL_CHECK(made.ok(), made.error().message);
  auto& bridge = **made;
  bridge.host(wire::role::controller, std::move(service), actors::placing::inline_in_bridge);
  tell(bridge.endpoint());
  bridge.run();
}

} // namespace squall::bench
