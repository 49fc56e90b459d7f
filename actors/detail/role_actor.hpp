#pragma once

#include "actors/bridge.hpp"
#include "actors/caf_shim.hpp"
#include "actors/role.hpp"

#include <atomic>

namespace squall::actors::detail {

/// Several messages at once: one CAF message for many of ours is what makes the bridge fast under load.
struct mail_batch {
  std::vector<incoming> messages;
};

/// What a role is told beside messages.
struct notice {
  enum class kind : std::uint8_t { start, alarm, peer_lost, stop };
  kind what = kind::start;
  std::uint64_t number = 0; ///< of the alarm; the peer
};

struct role_task {
  std::function<void()> run;
};

/// Of all payloads.
[[nodiscard]] std::uint64_t payload_bytes(const incoming& one);

/// A role of this process, shared between the bridge's thread and the one that runs the role.
struct role_slot {
  wire::role role = wire::role::any;
  placing how = placing::pooled;
  std::unique_ptr<role_service> service;
  std::unique_ptr<post> out;
  caf::actor actor;
  std::function<void()> on_stopped; ///< called in the role's context after stop()

  /// Messages handed over and not yet served: the bound of the mailbox.
  std::atomic<std::uint32_t> waiting{0};
  std::atomic<std::uint64_t> waiting_bytes{0}; ///< of their payloads
  /// Counts settings: an alarm that was set again while it was on its way is not one.
  std::atomic<std::uint64_t> alarm_number{0};

  // Only the bridge's thread:
  time_point alarm = never;
  std::uint64_t alarm_armed = 0; ///< alarm_number of `alarm`
  std::vector<incoming> arrived; ///< collected while a socket is drained
};

/// Hosts a role_service. Spawned lazily; ends after `stop`.
class role_actor : public caf::event_based_actor {
public:
  role_actor(caf::actor_config& config, role_slot* slot) : caf::event_based_actor(config), slot_(slot) {}

  caf::behavior make_behavior() override;

private:
  // An exception out of a role is a programmer's error and ends the process here, not in silence somewhere in CAF.
  void serve(std::span<incoming> messages) noexcept;
  void recycle(std::vector<incoming>& messages);
  void tell(const notice& n) noexcept;
  static void run(const role_task& task) noexcept { task.run(); }

  role_slot* slot_;
};

} // namespace squall::actors::detail

CAF_BEGIN_TYPE_ID_BLOCK(squall_actors, first_custom_type_id)
SQUALL_LOCAL_MESSAGE(squall_actors, squall::actors::incoming)
SQUALL_LOCAL_MESSAGE(squall_actors, squall::actors::detail::mail_batch)
SQUALL_LOCAL_MESSAGE(squall_actors, squall::actors::detail::notice)
SQUALL_LOCAL_MESSAGE(squall_actors, squall::actors::detail::role_task)
CAF_END_TYPE_ID_BLOCK(squall_actors)
