// What is resident on a node: loads on demand, evicts what is idle, within the memory bound.
#include "policy/detail/node_queue_state.hpp"

#include <algorithm>
#include <tuple>

namespace squall::policy {

using namespace detail;

bool node_queue::state::too_large(const queued_variant& v) const {
  return v.info.needs_load && config.memory_bytes > 0 && v.info.memory_bytes > config.memory_bytes;
}

void node_queue::state::want(variant_id id) {
  const auto at = std::lower_bound(wanting.begin(), wanting.end(), id);
  if (at == wanting.end() || *at != id)
    wanting.insert(at, id);
}

/// In the order of their first items, so that a small variant does not overtake a large one for ever.
void node_queue::state::retry_wanting() {
  draining.reset();
  while (!wanting.empty()) {
    slot_index first = no_slot;
    for (const variant_id id : wanting) {
      const slot_index slot = variants.find_slot(id);
      if (first == no_slot || first_key(variants.at(slot)) < first_key(variants.at(first)))
        first = slot;
    }
    const std::uint64_t bytes = variants.at(first).info.memory_bytes;
    const order_key head = first_key(variants.at(first));
    if (!make_room(bytes, head)) {
      if (room_can_come(bytes, head))
        draining = head;
      return;
    }
    wanting.erase(std::lower_bound(wanting.begin(), wanting.end(), variants.id_of(first)));
    begin_load(first);
  }
}

/// Whether a resident variant with items makes room for items that come before its own. One that was just loaded is
/// kept for as long as its load took, so that two variants that do not fit together spend at most half of the time
/// loading.
bool node_queue::state::yields(const queued_variant& v, const order_key& head) const {
  return now >= v.kept_until && head < first_key(v);
}

bool node_queue::state::make_room(std::uint64_t bytes, const std::optional<order_key>& head) {
  if (config.memory_bytes == 0 || used_bytes + bytes <= config.memory_bytes)
    return true;
  struct victim {
    bool has_items;
    time_point last_used;
    variant_id id;
    std::uint64_t bytes;
  };
  std::vector<victim> victims;
  for (const variant_id id : variants.sorted_ids()) {
    const queued_variant& v = *variants.find(id);
    if (v.where != residency::resident || !v.info.needs_load || v.running > 0)
      continue;
    const bool has_items = v.queued > 0;
    if (!has_items || (head && yields(v, *head)))
      victims.push_back({has_items, v.last_used, id, v.info.memory_bytes});
  }
  std::sort(victims.begin(), victims.end(), [](const victim& a, const victim& b) {
    return std::tie(a.has_items, a.last_used, a.id) < std::tie(b.has_items, b.last_used, b.id);
  });
  const std::uint64_t needed = used_bytes + bytes - config.memory_bytes;
  std::uint64_t freed = 0;
  std::size_t count = 0;
  while (count < victims.size() && freed < needed)
    freed += victims[count++].bytes;
  if (freed < needed)
    return false;
  // A large one taken late may have made small ones needless: spare those, the most recently used first.
  victims.resize(count);
  for (std::size_t i = count; i-- > 0;)
    if (freed - victims[i].bytes >= needed) {
      freed -= victims[i].bytes;
      victims.erase(victims.begin() + static_cast<std::ptrdiff_t>(i));
    }
  for (const victim& v : victims) {
    evict(variants.find_slot(v.id));
    if (v.has_items)
      want(v.id);
  }
  return true;
}

bool node_queue::state::room_can_come(std::uint64_t bytes, const order_key& head) const {
  std::uint64_t freed = 0;
  for (const variant_id id : variants.sorted_ids()) {
    const queued_variant& v = *variants.find(id);
    if (v.where == residency::resident && v.info.needs_load && (v.queued == 0 || yields(v, head)))
      freed += v.info.memory_bytes;
  }
  return used_bytes + bytes <= config.memory_bytes + freed;
}

void node_queue::state::begin_load(slot_index slot) {
  queued_variant& v = variants.at(slot);
  v.where = residency::loading;
  v.load_began = now;
  used_bytes += v.info.memory_bytes;
  commands.emplace_back(queueing::load{v.info.id});
}

void node_queue::state::leave_memory(slot_index slot) {
  queued_variant& v = variants.at(slot);
  v.where = residency::absent;
  used_bytes -= v.info.memory_bytes;
}

void node_queue::state::evict(slot_index slot) {
  commands.emplace_back(queueing::evict{variants.id_of(slot)});
  leave_memory(slot);
}

void node_queue::state::on(const queueing::loaded& fact) {
  const slot_index slot = variants.find_slot(fact.variant);
  if (slot == no_slot || variants.at(slot).where != residency::loading)
    return;
  queued_variant& v = variants.at(slot);
  v.where = residency::resident;
  v.last_used = now;
  v.kept_until = now + (now - v.load_began);
  if (fact.memory_bytes > 0) {
    used_bytes = used_bytes - v.info.memory_bytes + fact.memory_bytes;
    v.info.memory_bytes = fact.memory_bytes;
  }
  if (too_large(v)) {
    evict(slot);
    drop_all(slot, errc::too_large,
             "variant " + to_string(fact.variant) + " took " + std::to_string(fact.memory_bytes) +
                 " bytes of memory when it was loaded, the node has " + std::to_string(config.memory_bytes) +
                 " for resident variants",
             duration{0});
  } else {
    // It may be larger than declared. Where all others are busy the bound is exceeded until the next load makes room.
    const auto head = v.queued == 0 ? std::nullopt : std::optional{first_key(v)};
    [[maybe_unused]] const bool fits = make_room(0, head);
  }
  forget_if_idle(slot);
}

void node_queue::state::on(const queueing::load_failed& fact) {
  const slot_index slot = variants.find_slot(fact.variant);
  if (slot != no_slot && variants.at(slot).where == residency::loading)
    fail_load(slot, fact);
}

void node_queue::state::fail_load(slot_index slot, const queueing::load_failed& failure) {
  leave_memory(slot);
  queued_variant& v = variants.at(slot);
  v.failure = failure;
  v.failed_until = now + config.load_backoff;
  drop_all(slot, failure.code, failure.message, config.load_backoff);
  forget_if_idle(slot);
}

void node_queue::state::on(const queueing::residents_lost& fact) {
  lose_replicas(fact.resource);
  for (const variant_id id : variants.sorted_ids()) {
    const slot_index slot = variants.find_slot(id);
    const queued_variant& v = variants.at(slot);
    if (v.info.resource != fact.resource || !v.info.needs_load || v.where == residency::absent)
      continue;
    if (v.where == residency::loading) {
      // The load may be what killed the process: back off, so that it does not kill it again at once.
      fail_load(slot, {id, errc::unavailable, "the process that was loading variant " + to_string(id) + " died"});
      continue;
    }
    leave_memory(slot);
    if (v.queued > 0)
      want(id);
    forget_if_idle(slot);
  }
}

void node_queue::state::on(const queueing::preload_wanted& fact) {
  const slot_index slot = variants.find_slot(fact.variant);
  if (slot == no_slot)
    return;
  const queued_variant& v = variants.at(slot);
  if (v.where != residency::absent || v.forgotten || now < v.failed_until || too_large(v))
    return;
  if (std::binary_search(wanting.begin(), wanting.end(), fact.variant))
    return; // items wait for it, which get it in their turn
  if (make_room(v.info.memory_bytes, std::nullopt))
    begin_load(slot);
}

} // namespace squall::policy
