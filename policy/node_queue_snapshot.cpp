#include "policy/detail/node_queue_state.hpp"
#include "policy/detail/snapshot.hpp"

namespace squall::policy {

using namespace detail;

namespace {

constexpr std::uint32_t snapshot_version = 4;

template <class T, class Key>
bool ascends(const std::vector<T>& v, Key key) {
  for (std::size_t i = 1; i < v.size(); ++i)
    if (!(key(v[i - 1]) < key(v[i])))
      return false;
  return true;
}

error damaged(std::string what) { return {errc::corrupt, "node queue snapshot: " + std::move(what), {}}; }

} // namespace

void node_queue::state::save(calls::binary_writer& out) const {
  out.write(snapshot_version);
  out.write(config);
  out.write(seed);
  out.write(now);
  out.write(cpu);
  out.write(gpu);
  write_map(out, variants);
  write_map(out, items);
  write_map(out, queued_calls);
  write_map(out, running);
  out.write(wanting);
  out.write(last_item);
  out.write(batches);
  out.write(item_gap_ns);
  out.write(last_start);
  out.write(replicas);
  out.write(orders);
  out.write(commands);
}

result<> node_queue::state::load(std::span<const std::byte> snapshot) {
  calls::binary_reader in{snapshot};
  std::uint32_t version = 0;
  in.read(version);
  SQUALL_TRY(in.status("node queue snapshot"));
  if (version != snapshot_version)
    return {errc::unsupported, "node queue snapshot: is of version " + std::to_string(version) +
                                   ", this program reads version " + std::to_string(snapshot_version)};
  in.read(config);
  in.read(seed);
  in.read(now);
  in.read(cpu);
  in.read(gpu);
  read_map(in, variants);
  read_map(in, items);
  read_map(in, queued_calls);
  read_map(in, running);
  in.read(wanting);
  in.read(last_item);
  in.read(batches);
  in.read(item_gap_ns);
  in.read(last_start);
  in.read(replicas);
  in.read(orders);
  in.read(commands);
  SQUALL_TRY(in.finish("node queue snapshot"));
  return rebuild();
}

/// Checks what the code relies on, and fills in what the snapshot leaves out because it follows from the rest.
result<> node_queue::state::rebuild() {
  std::size_t busy = 0;
  for (resource_state* r : {&cpu, &gpu}) {
    if (!ascends(r->lanes, [](const lane_state& l) { return l.id; }) ||
        !ascends(r->classes, [](const priority_class& c) { return c.priority; }))
      return damaged("its lanes or priorities do not ascend");
    for (const priority_class& c : r->classes)
      if (!ascends(c.clients, [](const client_share& s) { return s.client; }))
        return damaged("the clients of priority " + std::to_string(c.priority) + " do not ascend");
    for (const lane_state& lane : r->lanes) {
      const running_batch* batch = running.find(lane.batch);
      if (lane.batch && (batch == nullptr || batch->lane != lane.id))
        return damaged("lane " + to_string(lane.id) + " runs a batch that does not run there");
      if (lane.retired && !lane.batch)
        return damaged("lane " + to_string(lane.id) + " is retired and idle");
      busy += lane.batch ? 1 : 0;
      r->idle += lane.batch ? 0 : 1;
    }
  }
  const auto last_of = [](const auto& ids) { return ids.empty() ? std::uint64_t{0} : ids.back().value; };
  if (busy != running.size() || last_of(running.sorted_ids()) > batches ||
      last_of(items.sorted_ids()) > last_item.value)
    return damaged("its counters do not fit its batches and items");
  for (const variant_id id : variants.sorted_ids()) {
    const slot_index slot = variants.find_slot(id);
    const queued_variant& v = variants.at(slot);
    if (v.info.id != id || v.info.max_batch == 0 || v.where > residency::resident)
      return damaged("variant " + to_string(id) + " does not fit together");
    if (v.info.needs_load && v.where != residency::absent)
      used_bytes += v.info.memory_bytes;
    if (v.armed)
      holds.set(slot, v.hold, id.value);
  }
  SQUALL_TRY(rebuild_replicas());
  // Items ascend in order of arrival, which is the order of the lists.
  for (const item_id id : items.sorted_ids()) {
    const slot_index slot = items.find_slot(id);
    const item_state& item = items.at(slot);
    const slot_index variant = variants.find_slot(item.variant);
    if (variant == no_slot || queued_calls.find(item.call) == nullptr)
      return damaged("item " + to_string(id) + " has no variant or no call");
    if (variants.at(variant).forgotten)
      return damaged("item " + to_string(id) + " is of a variant that was forgotten");
    index_item(slot, variant);
  }
  if (!ascends(wanting, [](variant_id id) { return id; }))
    return damaged("what is to be loaded does not ascend");
  for (const variant_id id : wanting)
    if (const queued_variant* v = variants.find(id); v == nullptr || v->queued == 0)
      return damaged("variant " + to_string(id) + " is to be loaded without need");
  for (const call_id id : queued_calls.sorted_ids())
    if (queued_calls.find(id)->items.first == no_slot)
      return damaged("call " + to_string(id) + " has no items");
  return {};
}

result<> node_queue::state::rebuild_replicas() {
  if (!ascends(replicas, [](const replica_state& r) { return r.id; }) ||
      !ascends(orders, [](const queueing::ordered& o) {
        return std::pair{o.latest_start, o.order};
      }))
    return damaged("its replicas or orders do not ascend");
  for (const replica_state& r : replicas) {
    const running_batch* batch = running.find(r.running);
    if (r.phase > replica_phase::ready || (r.running && (batch == nullptr || batch->replica != r.id)))
      return damaged("replica " + to_string(r.id) + " does not fit together");
    if (r.phase == replica_phase::waiting)
      replicas_wait = true;
    else
      used_bytes += r.memory_bytes;
  }
  for (const queueing::ordered& o : orders)
    if (find_replica(o.replica) == nullptr)
      return damaged("order " + to_string(o.order) + " is for a replica that is not there");
  return {};
}

std::vector<std::byte> node_queue::save() const {
  calls::binary_writer out;
  state_->save(out);
  return out.take();
}

result<std::unique_ptr<node_queue>> node_queue::restore(std::span<const std::byte> snapshot) {
  auto restored = std::make_unique<state>();
  SQUALL_TRY(restored->load(snapshot));
  return std::unique_ptr<node_queue>{new node_queue(std::move(restored))};
}

std::uint64_t node_queue::hash() const {
  fnv1a hash;
  hash.add(save());
  return hash.value();
}

} // namespace squall::policy
