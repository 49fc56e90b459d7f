// In which order the items of a node run, and which of them together.
#include "policy/detail/node_queue_state.hpp"

#include <algorithm>
#include <bit>

namespace squall::policy {

using namespace detail;

namespace {

/// Of one variant: emptied queues of clients whose memory is kept for the next client.
constexpr std::size_t spare_queues = 4;

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

/// The most clients and priorities that have nothing queued and are remembered.
constexpr std::size_t remembered = 16;

/// Of a resource, by its number; of const ones, too.
template <class Classes>
auto class_of(Classes& classes, std::uint32_t priority) {
  return std::lower_bound(classes.begin(), classes.end(), priority,
                          [](const priority_class& c, std::uint32_t p) { return c.priority < p; });
}

template <class Clients>
auto entry_of(Clients& clients, client_id client) {
  return std::lower_bound(clients.begin(), clients.end(), client,
                          [](const client_share& s, client_id c) { return s.client < c; });
}

/// Adds one that is not known.
client_share& share_of(priority_class& among, client_id client) {
  auto at = entry_of(among.clients, client);
  if (at != among.clients.end() && at->client == client)
    return *at;
  if (const auto known = among.clients.size(); known >= remembered && std::has_single_bit(known)) {
    std::erase_if(among.clients, [&](const client_share& s) { return s.queued == 0 && s.share <= among.share; });
    at = entry_of(among.clients, client);
  }
  return *among.clients.insert(at, {client, among.share, 0, 0, 0});
}

std::int64_t cost_of(const queued_variant& v) { return v.item_cost_ns > 0 ? v.item_cost_ns : unknown_cost_ns; }

constexpr auto of_call = [](item_state& i) -> item_links& { return i.of_call; };
constexpr auto of_variant = [](item_state& i) -> item_links& { return i.of_variant; };

} // namespace

// -- the queue
// ----------------------------------------------------------------------------------------------------------------

priority_class& node_queue::state::priority_of(resource_type r, std::uint32_t priority) {
  auto& classes = resource(r).classes;
  auto at = class_of(classes, priority);
  if (at != classes.end() && at->priority == priority)
    return *at;
  if (classes.size() >= remembered) {
    std::erase_if(classes, [](const priority_class& c) { return c.queued == 0; });
    at = class_of(classes, priority);
  }
  return *classes.insert(at, {priority, 0, {}, 0});
}

/// Start-time fair queueing (Goyal, Vin and Cheng 1996) in two levels, all of equal weight. Clients: whoever has items
/// has a start tag, the virtual time when its first item came or the end of what it was given before, whichever is
/// later; the least goes first. Within a client there is one flow per stage of a call: an item's turn is the client's
/// virtual time at its arrival or the end of its flow's item before it, whichever is later.
std::int64_t node_queue::state::next_turn(const queueing::arrived& fact, const queued_variant& variant) {
  slot_index call = queued_calls.find_slot(fact.call);
  if (call == no_slot)
    call = queued_calls.insert(fact.call);
  auto& flows = queued_calls.at(call).flows;
  auto flow = std::find_if(flows.begin(), flows.end(), [&](const flow_state& f) { return f.stage == fact.stage; });
  if (flow == flows.end())
    flow = flows.insert(flows.end(), {fact.stage, 0});
  client_share& client = share_of(priority_of(variant.info.resource, fact.priority), fact.client);
  const std::int64_t turn = std::max(client.turn, flow->finish);
  flow->finish = turn + cost_of(variant);
  return turn;
}

void node_queue::state::enqueue(const queueing::arrived& fact, slot_index variant) {
  queued_variant& v = variants.at(variant);
  note_arrival(v);
  const slot_index slot = items.insert(fact.id);
  item_state& item = items.at(slot);
  item.call = fact.call;
  item.client = fact.client;
  item.stage = fact.stage;
  item.variant = fact.variant;
  item.priority = fact.priority;
  item.latest_start = fact.latest_start;
  item.lone = fact.lone;
  item.arrived = now;
  item.turn = next_turn(fact, v);
  priority_class& among = priority_of(v.info.resource, fact.priority);
  if (client_share& client = share_of(among, fact.client); client.queued == 0)
    client.share = std::max(client.share, among.share);
  index_item(slot, variant);
  set_hold(variant);
}

/// Enters an item into what finds it: its call, its client, its variant, and the timers.
void node_queue::state::index_item(slot_index slot, slot_index variant) {
  queued_variant& v = variants.at(variant);
  const item_state& item = items.at(slot);
  const item_id id = items.id_of(slot);
  append(items, queued_calls.find(item.call)->items, slot, of_call);
  append(items, v.items, slot, of_variant);
  v.lone += item.lone ? 1 : 0;
  if (v.queued++ == 0)
    activate(variant);
  const auto own = std::find_if(v.queues.begin(), v.queues.begin() + static_cast<std::ptrdiff_t>(v.clients),
                                [&](const client_queue& q) { return q.client == item.client; });
  client_queue& queue = own == v.queues.end() ? v.queues.emplace_back() : *own;
  if (queue.order.empty()) {
    queue.client = item.client;
    ++v.clients;
  }
  queue.order.push(order_positions, slot, {~item.priority, item.turn, id.value});
  priority_class& among = priority_of(v.info.resource, item.priority);
  ++among.queued;
  ++share_of(among, item.client).queued;
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
  const auto queue =
      std::find_if(v.queues.begin(), v.queues.end(), [&](const client_queue& q) { return q.client == item.client; });
  queue->order.erase(order_positions, slot);
  if (queue->order.empty()) {
    --v.clients;
    std::swap(*queue, v.queues[v.clients]);
    if (v.queues.size() > v.clients + spare_queues)
      v.queues.pop_back();
  }
  unlink(items, v.items, slot, of_variant);
  v.lone -= item.lone ? 1 : 0;
  if (--v.queued == 0) {
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
  const auto among = class_of(r.classes, item.priority);
  const auto client = entry_of(among->clients, item.client);
  if (--client->queued == 0) {
    client->turn = 0;
    if (client->share <= among->share)
      among->clients.erase(client);
  }
  if (--among->queued == 0 && among->clients.empty())
    r.classes.erase(among);
  latest_starts.erase(slot);
  items.erase(slot);
}

// -- waiting for company
// ------------------------------------------------------------------------------------------------------

/// Only arrivals that find an item of the variant queued or running tell of company: one client that calls again and
/// again after each answer would else look like a stream and wait for itself.
void node_queue::state::note_arrival(queued_variant& v) const {
  v.crowded = v.queued > 0 || v.running > 0;
  v.gap_ns = v.crowded ? averaged(v.gap_ns, (now - v.last_arrival).count()) : 0;
  v.last_arrival = now;
}

void node_queue::state::set_hold(slot_index variant) {
  queued_variant& v = variants.at(variant);
  disarm(variant);
  v.waits = v.queued > 0 && v.queued < v.info.max_batch && v.lone == 0 && v.info.max_delay.count() > 0;
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
  if (on.active.empty() && on.idle == on.lanes.size())
    on.classes.clear(); // nobody is owed anything
}

node_queue::state::first_item node_queue::state::first_of(const queued_variant& v) const {
  const auto& classes = (v.info.resource == resource_type::gpu ? gpu : cpu).classes;
  first_item first{{}, no_slot};
  for (std::size_t i = 0; i < v.clients; ++i) {
    const client_queue& queue = v.queues[i];
    const item_key& item = queue.order.top().key;
    const auto client = entry_of(class_of(classes, ~item.unpriority)->clients, queue.client);
    const order_key key{item.unpriority, client->share, item.turn, item.item};
    if (first.slot == no_slot || key < first.key)
      first = {key, queue.order.top().slot};
  }
  return first;
}

/// The variant whose first item comes first among those that may start now. Those that wait for company get a timer:
/// only while a lane is idle does it matter when they stop waiting.
slot_index node_queue::state::best_variant(const resource_state& on) {
  slot_index best = no_slot;
  order_key best_key;
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
    if (const order_key key = first_key(v); best == no_slot || key < best_key) {
      best = slot;
      best_key = key;
    }
  }
  return best;
}

void node_queue::state::start_batch(resource_state& on, slot_index variant) {
  queued_variant& v = variants.at(variant);
  const batch_id id{++batches};
  std::vector<item_id> chosen;
  chosen.reserve(std::min(v.info.max_batch, v.queued));
  while (chosen.size() < v.info.max_batch && v.queued > 0) {
    const slot_index item = first_of(v).slot;
    charge(v, items.at(item), id, chosen.empty());
    chosen.push_back(items.id_of(item));
    unindex_item(item, variant);
  }
  set_hold(variant);
  std::sort(chosen.begin(), chosen.end());

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

void node_queue::state::charge(const queued_variant& v, const item_state& item, batch_id batch, bool head) {
  priority_class& among = priority_of(v.info.resource, item.priority);
  client_share& client = share_of(among, item.client);
  if (head)
    among.share = std::max(among.share, client.share);
  if (std::exchange(client.batch, batch.value) != batch.value)
    client.turn = std::max(client.turn, item.turn);
  client.share += cost_of(v);
}

} // namespace squall::policy
