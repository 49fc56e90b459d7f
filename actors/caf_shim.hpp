#pragma once

#include <caf/all.hpp>

#include <functional>
#include <memory>
#include <span>
#include <vector>

/// Everything that differs between CAF 0.17 and 1.x: the configuration, the registration of message types, and running
/// an actor in a thread of ours.
namespace squall::actors {

/// Policy `sharing`: work stealing is not fair and polls when idle. At most 50 messages of one actor in a row, else one
/// with an ever full mailbox holds its thread for ever.
class system_config : public caf::actor_system_config {
public:
  explicit system_config(int threads);
};

/// Runs actors in the thread that owns it: those that were adopted, and no others. CAF hands to the unit whatever an
/// adopted actor sends to; others go to the pool. Not thread-safe.
class inline_unit final : public caf::execution_unit {
public:
  explicit inline_unit(caf::actor_system& system) : execution_unit(&system) {}
  ~inline_unit() override;

  /// From now on the actor runs here and only here, as long as every message to it is sent with this unit.
  void adopt(const caf::actor& one);

  /// Runs until no adopted actor has anything to do.
  void run();

  void exec_later(caf::resumable* job) override;

private:
  std::vector<caf::resumable*> adopted_;
  std::vector<caf::resumable*> ready_;
};

/// Sends a message of one element. `unit` null: from a thread that runs no unit.
template <class T>
void mail(const caf::actor& to, T&& element, caf::execution_unit* unit) {
  to->enqueue(caf::make_mailbox_element(nullptr, caf::make_message_id(), {}, std::forward<T>(element)), unit);
}

/// Makes an actor that does nothing before its first message.
template <class Actor, class... Args>
caf::actor spawn_lazily(caf::actor_system& system, bool own_thread, Args&&... args) {
  if (own_thread)
    return system.spawn<Actor, caf::detached>(std::forward<Args>(args)...);
  return system.spawn<Actor, caf::lazy_init>(std::forward<Args>(args)...);
}

} // namespace squall::actors

/// Registers a message type that never leaves the process, so that it needs no serialization. At global scope, inside a
/// block of CAF's type ids.
#define SQUALL_LOCAL_MESSAGE(block, type)                                                                              \
  CAF_ADD_TYPE_ID(block, (type))                                                                                       \
  CAF_ALLOW_UNSAFE_MESSAGE_TYPE(type)
