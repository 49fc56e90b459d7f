// In which order the items of a node run, and which of them together.
#include "policy/detail/node_queue_state.hpp"

#include <algorithm>

namespace squall::policy {

using namespace detail;

namespace {

/// What an item is taken to cost before one of its variant has run.
constexpr std::int64_t unknown_cost_ns = 1'000'000;

template <class Items, class Links>
void append(Items& items, item_list& list, slot_index slot, Links links) {
  links(items.at(slot)) = {list.last, no_slot};
  if (list.last == no_slot)
    list.first = slot;
  else
    links(items.at(list.last)).after = slot;
  list.last = slot;
}

template <class Items, class Links>
void unlink(Items& items, item_list& list, slot_index slot, Links links) {
  const item_links own = links(items.at(slot));
  if (own.before == no_slot)
    list.first = own.after;
  else
    links(items.at(own.before)).after = own.after;
  if (own.after == no_slot)
    list.last = own.before;
  else
    links(items.at(own.after)).before = own.before;
}

constexpr auto of_call = [](item_state& i) -> item_links& { return i.of_call; };
constexpr auto of_variant = [](item_state& i) -> item_links& { return i.of_variant; };

} // namespace

// -- the queue
// ----------------------------------------------------------------------------------------------------------------

priority_class& node_queue::state::priority_of(resource_type r, std::uint32_t priority) {
  auto& classes = resource(r).classes;
  const auto at = std::lower_bound(classes.begin(), classes.end(), priority,
                                   [](const priority_class& c, std::uint32_t p) { return c.priority < p; });
  if (at != classes.end() && at->priority == priority)
    return *at;
  return *classes.insert(at, {priority, 0, 0});
}

/// Start-time fair queueing (Goyal, Vin and Cheng 1996), one flow per stage of a call, all of equal weight: an item's
/// turn is the virtual time at its arrival or the end of its flow's item before it, whichever is later.
std::int64_t node_queue::state::next_turn(const queueing::arrived& fact, const queued_variant& variant) {
  slot_index call = queued_calls.find_slot(fact.call);
  if (call == no_slot)
    call = queued_calls.insert(fact.call);
  auto& flows = queued_calls.at(call).flows;
  auto flow = std::find_if(flows.begin(), flows.end(), [&](const flow_state& f) { return f.stage == fact.stage; });
  if (flow == flows.end())
    flow = flows.insert(flows.end(), {fact.stage, 0});
  const std::int64_t turn = std::max(priority_of(variant.info.resource, fact.priority).turn, flow->finish);
  flow->finish = turn + (variant.item_cost_ns > 0 ? variant.item_cost_ns : unknown_cost_ns);
  return turn;
}

void node_queue::state::enqueue(const queueing::arrived& fact, slot_index variant) {
  queued_variant& v = variants.at(variant);
  note_arrival(v);
  const slot_index slot = items.insert(fact.id);
  item_state& item = items.at(slot);
  item.call = fact.call;
  item.stage = fact.stage;
  item.variant = fact.variant;
  item.priority = fact.priority;
  item.latest_start = fact.latest_start;
  item.lone = fact.lone;
  item.arrived = now;
  item.turn = next_turn(fact, v);
  index_item(slot, variant);
  ++priority_of(v.info.resource, fact.priority).queued;
  set_hold(variant);
}

/// Enters an item into what finds it: its call, its variant, and the timers.
void node_queue::state::index_item(slot_index slot, slot_index variant) {
  queued_variant& v = variants.at(variant);
  const item_state& item = items.at(slot);
  const item_id id = items.id_of(slot);
  append(items, queued_calls.find(item.call)->items, slot, of_call);
  append(items, v.items, slot, of_variant);
  v.lone += item.lone ? 1 : 0;
  if (v.order.empty())
    activate(variant);
  v.order.push(order_positions, slot, {~item.priority, item.turn, id.value});
  if (item.latest_start != never)
    latest_starts.set(slot, item.latest_start + duration{1}, id.value);
}

void node_queue::state::activate(slot_index variant) {
  auto& active = resource(variants.at(variant).info.resource).active;
  const auto at = std::lower_bound(active.begin(), active.end(), variant, [this](slot_index a, slot_index b) {
    return variants.id_of(a) < variants.id_of(b);
  });
  active.insert(at, variant);
}

void node_queue::state::dequeue(slot_index slot) {
  const slot_index variant = variants.find_slot(items.at(slot).variant);
  unindex_item(slot, variant);
  set_hold(variant);
}

void node_queue::state::unindex_item(slot_index slot, slot_index variant) {
  const item_state& item = items.at(slot);
  queued_variant& v = variants.at(variant);
  resource_state& r = resource(v.info.resource);
  v.order.erase(order_positions, slot);
  unlink(items, v.items, slot, of_variant);
  v.lone -= item.lone ? 1 : 0;
  if (v.order.empty()) {
    r.active.erase(std::find(r.active.begin(), r.active.end(), variant));
    if (const auto w = std::lower_bound(wanting.begin(), wanting.end(), item.variant);
        w != wanting.end() && *w == item.variant)
      wanting.erase(w);
  }
  const slot_index call = queued_calls.find_slot(item.call);
  unlink(items, queued_calls.at(call).items, slot, of_call);
  if (queued_calls.at(call).items.first == no_slot) {
    queued_calls.at(call).items = {};
    queued_calls.erase(call);
  }
  priority_class& c = priority_of(v.info.resource, item.priority);
  if (--c.queued == 0)
    r.classes.erase(r.classes.begin() + (&c - r.classes.data()));
  latest_starts.erase(slot);
  items.erase(slot);
}

// -- waiting for company
// ------------------------------------------------------------------------------------------------------

/// Only arrivals that find an item of the variant queued or running tell of company: one client that calls again and
/// again after each answer would else look like a stream and wait for itself.
void node_queue::state::note_arrival(queued_variant& v) const {
  v.crowded = !v.order.empty() || v.running > 0;
  v.gap_ns = v.crowded ? averaged(v.gap_ns, (now - v.last_arrival).count()) : 0;
  v.last_arrival = now;
}

void node_queue::state::set_hold(slot_index variant) {
  queued_variant& v = variants.at(variant);
  disarm(variant);
  const std::size_t count = v.order.size();
  v.waits = count > 0 && count < v.info.max_batch && v.lone == 0 && v.info.max_delay.count() > 0;
  if (!v.waits)
    return;
  const time_point bound = items.at(v.items.first).arrived + v.info.max_delay;
  const duration gap{v.gap_ns};
  // What arrives at this very moment may run together, whoever sends it: the elements of a map do.
  const bool likely = v.crowded && v.last_arrival + gap <= bound;
  v.hold = std::min(bound, likely ? v.last_arrival + 2 * gap : v.last_arrival);
  for (slot_index slot = v.items.first; slot != no_slot; slot = items.at(slot).of_variant.after)
    v.hold = std::min(v.hold, items.at(slot).latest_start);
}

/// At the moment itself only a tick ends the wait: other facts of the same moment may bring company.
bool node_queue::state::held(const queued_variant& v) const {
  return v.waits && (now < v.hold || (now == v.hold && !ticking));
}

void node_queue::state::disarm(slot_index variant) {
  if (variants.at(variant).armed)
    holds.erase(variant);
  variants.at(variant).armed = false;
}

// -- starting batches
// ---------------------------------------------------------------------------------------------------------

void node_queue::state::dispatch() {
  start_orders();
  dispatch(cpu);
  dispatch(gpu);
}

void node_queue::state::dispatch(resource_state& on) {
  while (on.idle > 0 && !on.active.empty()) {
    const slot_index variant = best_variant(on);
    if (variant == no_slot)
      return;
    start_batch(on, variant);
  }
}

/// The variant whose first item comes first among those that may start now. Those that wait for company get a timer:
/// only while a lane is idle does it matter when they stop waiting.
slot_index node_queue::state::best_variant(const resource_state& on) {
  slot_index best = no_slot;
  for (const slot_index slot : on.active) {
    queued_variant& v = variants.at(slot);
    if (v.where != residency::resident)
      continue;
    if (held(v)) {
      if (!v.armed)
        holds.set(slot, v.hold, variants.id_of(slot).value);
      v.armed = true;
      continue;
    }
    if (draining && v.info.needs_load && yields(v, *draining))
      continue;
    if (best == no_slot || v.order.top().key < variants.at(best).order.top().key)
      best = slot;
  }
  return best;
}

void node_queue::state::start_batch(resource_state& on, slot_index variant) {
  queued_variant& v = variants.at(variant);
  const item_state& head = items.at(v.order.top().slot);
  priority_class& c = priority_of(v.info.resource, head.priority);
  c.turn = std::max(c.turn, head.turn);

  std::vector<item_id> chosen;
  chosen.reserve(std::min<std::size_t>(v.info.max_batch, v.order.size()));
  while (chosen.size() < v.info.max_batch && !v.order.empty()) {
    const slot_index item = v.order.top().slot;
    chosen.push_back(items.id_of(item));
    unindex_item(item, variant);
  }
  set_hold(variant);
  std::sort(chosen.begin(), chosen.end());

  const batch_id id{++batches};
  const lane_id lane = take_lane(on, id);
  running_batch& batch = running.at(running.insert(id));
  batch.lane = lane;
  batch.variant = v.info.id;
  batch.items.assign(chosen.begin(), chosen.end());
  ++v.running;
  v.last_used = now;
  const std::int64_t gap = std::min<std::int64_t>((now - last_start).count(), longest_gap_ns);
  item_gap_ns = averaged(item_gap_ns, std::max<std::int64_t>(1, gap / std::ssize(chosen)));
  last_start = now;
  commands.emplace_back(queueing::run{id, lane, v.info.id, std::move(chosen)});
}

} // namespace squall::policy
