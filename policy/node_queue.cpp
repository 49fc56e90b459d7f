#include "policy/node_queue.hpp"

#include "policy/detail/node_queue_state.hpp"

#include <algorithm>

namespace squall::policy {

using namespace detail;

namespace {

auto find_lane(std::vector<lane_state>& lanes, lane_id id) {
  return std::lower_bound(lanes.begin(), lanes.end(), id, [](const lane_state& l, lane_id i) { return l.id < i; });
}

bool has_lane(std::vector<lane_state>& lanes, lane_id id) {
  const auto at = find_lane(lanes, id);
  return at != lanes.end() && at->id == id;
}

} // namespace

// -- the face
// -----------------------------------------------------------------------------------------------------------------

node_queue::node_queue(const node_queue_config& config, std::uint64_t seed) : state_(std::make_unique<state>()) {
  state_->config = config;
  state_->seed = seed;
}
node_queue::node_queue(std::unique_ptr<state> restored) : state_(std::move(restored)) {}
node_queue::~node_queue() = default;

void node_queue::step(time_point now, const queueing::event& fact) {
  SQUALL_CHECK(now >= state_->now, to_ns(now), to_ns(state_->now));
  state_->now = now;
  state_->ticking = std::holds_alternative<queueing::tick>(fact);
  std::visit([this](const auto& f) { state_->on(f); }, fact);
  state_->expire();
  state_->load_waiting_replicas();
  state_->retry_wanting();
  state_->dispatch();
}

std::vector<queueing::command> node_queue::take_commands() { return std::exchange(state_->commands, {}); }

std::optional<time_point> node_queue::next_deadline() const {
  std::optional<time_point> next = state_->latest_starts.first();
  if (const auto hold = state_->holds.first(); hold && (!next || *hold < *next))
    next = hold;
  if (!state_->orders.empty() && state_->orders.front().latest_start != never)
    if (const auto late = state_->orders.front().latest_start + duration{1}; !next || late < *next)
      next = late;
  return next;
}

time_point node_queue::now() const { return state_->now; }
std::size_t node_queue::queued() const { return state_->items.size(); }
bool node_queue::resident(variant_id variant) const {
  const queued_variant* v = state_->variants.find(variant);
  return v != nullptr && v->where == residency::resident;
}

// -- variants
// -----------------------------------------------------------------------------------------------------------------

void node_queue::state::on(const queueing::variant_known& fact) {
  slot_index slot = variants.find_slot(fact.id);
  const bool fresh = slot == no_slot;
  if (fresh)
    slot = variants.insert(fact.id);
  queued_variant& v = variants.at(slot);
  v.forgotten = false;
  if (!fresh && v.info.resource != fact.resource)
    return; // a variant never changes its resource; another one has another id
  const bool in_memory = v.where != residency::absent && v.info.needs_load;
  const std::uint64_t measured = v.info.memory_bytes;
  const bool needed_load = v.info.needs_load;
  v.info = fact;
  v.info.max_batch = std::max<std::uint32_t>(1, fact.max_batch);
  if (fresh) {
    v.where = fact.needs_load ? residency::absent : residency::resident;
    return;
  }
  v.info.needs_load = needed_load;
  if (in_memory)
    v.info.memory_bytes = measured; // what is there keeps its measured size until it is loaded anew
}

void node_queue::state::on(const queueing::variant_forgotten& fact) {
  const slot_index slot = variants.find_slot(fact.id);
  if (slot == no_slot)
    return;
  drop_all(slot, errc::not_found, "variant " + to_string(fact.id) + " was removed", duration{0});
  variants.at(slot).forgotten = true;
  forget_if_idle(slot);
}

void node_queue::state::forget_if_idle(slot_index slot) {
  queued_variant& v = variants.at(slot);
  if (!v.forgotten || v.running > 0 || v.where == residency::loading)
    return;
  if (v.where == residency::resident && v.info.needs_load)
    evict(slot);
  variants.erase(slot);
}

// -- lanes
// --------------------------------------------------------------------------------------------------------------------

void node_queue::state::on(const queueing::lane_opened& fact) {
  if (has_lane(cpu.lanes, fact.id) || has_lane(gpu.lanes, fact.id))
    return;
  resource_state& r = resource(fact.resource);
  r.lanes.insert(find_lane(r.lanes, fact.id), {fact.id, fact.resource, {}, false});
  ++r.idle;
}

void node_queue::state::on(const queueing::lane_closed& fact) {
  resource_state& r = has_lane(cpu.lanes, fact.id) ? cpu : gpu;
  const auto lane = find_lane(r.lanes, fact.id);
  if (lane == r.lanes.end() || lane->id != fact.id)
    return;
  if (lane->batch) {
    const slot_index batch = running.find_slot(lane->batch);
    const std::string why = "lane " + to_string(fact.id) + ", on which it ran, closed";
    if (const batch_id order = running.at(batch).order)
      commands.emplace_back(queueing::drop_order{order, errc::unavailable, why});
    else
      for (const item_id item : running.at(batch).items)
        drop(item, errc::unavailable, why);
    end_batch(batch);
  }
  // A retired one went with its batch.
  if (has_lane(r.lanes, fact.id)) {
    --r.idle;
    r.lanes.erase(find_lane(r.lanes, fact.id));
  }
}

void node_queue::state::on(const queueing::lane_retired& fact) {
  for (resource_state* r : {&cpu, &gpu}) {
    const auto lane = find_lane(r->lanes, fact.id);
    if (lane == r->lanes.end() || lane->id != fact.id || std::exchange(lane->retired, true) || lane->batch)
      continue;
    --r->idle;
    r->lanes.erase(lane);
  }
}

// -- items and batches
// --------------------------------------------------------------------------------------------------------

void node_queue::state::drop(item_id item, errc code, std::string message, duration retry_after) {
  commands.emplace_back(queueing::drop{item, code, std::move(message), retry_after});
}

result<> node_queue::state::check_arrival(const queueing::arrived& fact, const queued_variant* variant) const {
  if (!(last_item < fact.id))
    return {errc::invalid_argument,
            "item " + to_string(fact.id) + " came after item " + to_string(last_item) + "; ids ascend"};
  const std::string name = "variant " + to_string(fact.variant);
  if (variant == nullptr || variant->forgotten)
    return {errc::not_found, name + " is not known on this node"};
  if (fact.latest_start < now)
    return {errc::deadline_exceeded, "its latest start had passed when it arrived"};
  if (items.size() >= config.max_queued)
    return error{
        errc::overloaded,
        std::to_string(items.size()) + " items wait on the node; the limit is " + std::to_string(config.max_queued),
        drain_time(item_gap_ns, config.max_queued)};
  if (variant->queued >= config.max_queued_per_variant)
    return error{errc::overloaded,
                 std::to_string(variant->queued) + " items of " + name + " wait on the node; the limit is " +
                     std::to_string(config.max_queued_per_variant),
                 drain_time(item_gap_ns, config.max_queued_per_variant)};
  if (variant->where == residency::absent && now < variant->failed_until)
    return error{variant->failure.code, variant->failure.message, variant->failed_until - now};
  if (too_large(*variant))
    return {errc::too_large, name + " takes " + std::to_string(variant->info.memory_bytes) +
                                 " bytes of memory, the node has " + std::to_string(config.memory_bytes) +
                                 " for resident variants"};
  return {};
}

void node_queue::state::on(const queueing::arrived& fact) {
  const slot_index variant = variants.find_slot(fact.variant);
  const auto fine = check_arrival(fact, variant == no_slot ? nullptr : &variants.at(variant));
  last_item = std::max(last_item, fact.id);
  if (!fine.ok())
    return drop(fact.id, fine.error().code, fine.error().message, fine.error().retry_after);
  enqueue(fact, variant);
  if (variants.at(variant).where == residency::absent)
    want(fact.variant);
}

void node_queue::state::on(const queueing::batch_ended& fact) {
  const slot_index slot = running.find_slot(fact.id);
  if (slot == no_slot)
    return;
  const running_batch& batch = running.at(slot);
  if (queued_variant* v = variants.find(batch.variant); v != nullptr && fact.code == errc::ok && !batch.items.empty())
    v->item_cost_ns = averaged(v->item_cost_ns, time_of_one(fact.executed, std::ssize(batch.items)).count());
  end_batch(slot);
}

void node_queue::state::end_batch(slot_index slot) {
  running_batch& batch = running.at(slot);
  for (resource_state* r : {&cpu, &gpu}) {
    const auto lane = find_lane(r->lanes, batch.lane);
    if (lane != r->lanes.end() && lane->batch == running.id_of(slot)) {
      lane->batch = {};
      if (lane->retired)
        r->lanes.erase(lane);
      else
        ++r->idle;
    }
  }
  const slot_index variant = variants.find_slot(batch.variant);
  const replica_id on = batch.replica;
  running.erase(slot);
  if (on)
    if (replica_state* replica = find_replica(on)) {
      replica->running = {};
      if (replica->unwanted)
        remove_replica(on);
    }
  if (variant == no_slot)
    return;
  queued_variant& v = variants.at(variant);
  --v.running;
  v.last_used = now;
  forget_if_idle(variant);
}

void node_queue::state::drop_all(slot_index variant, errc code, const std::string& message, duration retry_after) {
  while (variants.at(variant).items.first != no_slot) {
    const slot_index item = variants.at(variant).items.first;
    drop(items.id_of(item), code, message, retry_after);
    dequeue(item);
  }
}

void node_queue::state::on(const queueing::call_withdrawn& fact) {
  if (!fact.items.empty())
    return withdraw_items(fact);
  // The call is forgotten with its last item.
  for (slot_index slot = queued_calls.find_slot(fact.id); slot != no_slot; slot = queued_calls.find_slot(fact.id))
    dequeue(queued_calls.at(slot).items.first);
  withdraw_ordered(fact);
}

/// Some of the call's items, which may run already, or be part of what the scheduler ordered.
void node_queue::state::withdraw_items(const queueing::call_withdrawn& fact) {
  for (const item_id item : fact.items)
    if (const slot_index slot = items.find_slot(item); slot != no_slot)
      dequeue(slot);
  withdraw_ordered(fact);
}

void node_queue::state::expire() {
  for (slot_index item = latest_starts.due(now); item != no_slot; item = latest_starts.due(now)) {
    drop(items.id_of(item), errc::deadline_exceeded, "it could not start by its latest start");
    dequeue(item);
  }
  expire_orders();
  for (slot_index variant = holds.due(now); variant != no_slot && !held(variants.at(variant)); variant = holds.due(now))
    disarm(variant);
}

} // namespace squall::policy
