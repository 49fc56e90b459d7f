#include "actors/detail/role_actor.hpp"

namespace squall::actors::detail {

std::uint64_t payload_bytes(const incoming& one) {
  std::uint64_t bytes = 0;
  for (const auto& payload : one.message.payloads)
    bytes += payload.size();
  return bytes;
}

caf::behavior role_actor::make_behavior() {
  return {
      [this](incoming& one) {
        serve({&one, 1});
      },
      [this](mail_batch& batch) {
        serve(batch.messages);
        recycle(batch.messages);
      },
      [this](const notice& n) { tell(n); },
      [](const role_task& task) { run(task); },
  };
}

void role_actor::serve(std::span<incoming> messages) noexcept {
  std::uint64_t bytes = 0;
  for (const incoming& one : messages)
    bytes += payload_bytes(one);
  slot_->service->on_messages(messages);
  if (bytes > 0)
    slot_->waiting_bytes.fetch_sub(bytes, std::memory_order_relaxed);
  slot_->waiting.fetch_sub(static_cast<std::uint32_t>(messages.size()), std::memory_order_relaxed);
}

/// Gives the memory of a batch back for the next one. A block of this size, made and freed each time, makes malloc tidy
/// up all small ones.
void role_actor::recycle(std::vector<incoming>& messages) {
  if (slot_->how != placing::inline_in_bridge || slot_->arrived.capacity() > 0)
    return;
  messages.clear();
  slot_->arrived = std::move(messages);
}

void role_actor::tell(const notice& n) noexcept {
  role_service& service = *slot_->service;
  switch (n.what) {
    case notice::kind::start:
      service.start(*slot_->out);
      break;
    case notice::kind::peer_lost:
      service.on_peer_lost(peer_id{n.number});
      break;
    case notice::kind::alarm:
      if (slot_->alarm_number.load(std::memory_order_relaxed) == n.number)
        service.on_alarm();
      break;
    case notice::kind::stop:
      service.stop();
      quit();
      slot_->on_stopped();
      break;
  }
}

} // namespace squall::actors::detail
