// What the scheduler orders of a node: replicas of its own, and batches that it put together.
#include "policy/detail/node_queue_state.hpp"

#include <algorithm>
#include <tuple>

namespace squall::policy {

using namespace detail;

namespace {

auto place_of(std::vector<replica_state>& replicas, replica_id id) {
  return std::lower_bound(replicas.begin(), replicas.end(), id,
                          [](const replica_state& r, replica_id i) { return r.id < i; });
}

bool starts_before(const queueing::ordered& a, const queueing::ordered& b) {
  return std::tie(a.latest_start, a.order) < std::tie(b.latest_start, b.order);
}

} // namespace

// -- replicas
// ------------------------------------------------------------------------------------------------------------------

replica_state* node_queue::state::find_replica(replica_id id) {
  const auto at = place_of(replicas, id);
  return at != replicas.end() && at->id == id ? &*at : nullptr;
}

void node_queue::state::on(const queueing::replica_wanted& fact) {
  const auto at = place_of(replicas, fact.replica);
  if (at != replicas.end() && at->id == fact.replica)
    return;
  const auto refuse = [&](errc code, std::string why) {
    commands.emplace_back(queueing::replica_failed{fact.replica, code, std::move(why)});
  };
  const queued_variant* v = variants.find(fact.variant);
  if (v == nullptr || v->forgotten)
    return refuse(errc::not_found, "variant " + to_string(fact.variant) + " is not known on this node");
  if (too_large(*v))
    return refuse(errc::too_large, "variant " + to_string(fact.variant) + " takes " +
                                       std::to_string(v->info.memory_bytes) + " bytes of memory, the node has " +
                                       std::to_string(config.memory_bytes) + " for resident variants");
  const std::uint64_t bytes = v->info.needs_load ? v->info.memory_bytes : 0;
  replicas.insert(at, {fact.replica, fact.variant, replica_phase::waiting, false, {}, bytes});
  replicas_wait = true;
}

/// In the order of their ids: what was asked for first is there first.
void node_queue::state::load_waiting_replicas() {
  if (!replicas_wait)
    return;
  for (replica_state& r : replicas) {
    if (r.phase != replica_phase::waiting)
      continue;
    if (!make_room(r.memory_bytes, std::nullopt))
      return;
    r.phase = replica_phase::loading;
    used_bytes += r.memory_bytes;
    commands.emplace_back(queueing::load_replica{r.id, r.variant});
  }
  replicas_wait = false;
}

void node_queue::state::on(const queueing::replica_unwanted& fact) {
  replica_state* replica = find_replica(fact.replica);
  if (replica == nullptr)
    return;
  drop_orders_of(fact.replica, errc::cancelled, "replica " + to_string(fact.replica) + " was taken away");
  if (replica->running)
    replica->unwanted = true;
  else
    remove_replica(fact.replica);
}

void node_queue::state::on(const queueing::replica_loaded& fact) {
  replica_state* replica = find_replica(fact.replica);
  if (replica == nullptr || replica->phase != replica_phase::loading)
    return;
  replica->phase = replica_phase::ready;
  if (fact.code != errc::ok)
    fail_replica(fact.replica, fact.code, "replica " + to_string(fact.replica) + " could not be loaded");
}

/// It runs nothing.
void node_queue::state::remove_replica(replica_id id) {
  const auto at = place_of(replicas, id);
  if (at->phase != replica_phase::waiting) {
    used_bytes -= at->memory_bytes;
    commands.emplace_back(queueing::evict_replica{id});
  }
  replicas.erase(at);
}

void node_queue::state::fail_replica(replica_id id, errc code, const std::string& message) {
  drop_orders_of(id, code, message);
  const auto at = place_of(replicas, id);
  if (at->phase != replica_phase::waiting)
    used_bytes -= at->memory_bytes;
  replicas.erase(at);
  commands.emplace_back(queueing::replica_failed{id, code, message});
}

void node_queue::state::lose_replicas(resource_type r) {
  std::vector<replica_id> lost;
  for (const replica_state& replica : replicas) {
    const queued_variant* v = variants.find(replica.variant);
    if (v != nullptr && v->info.resource == r && v->info.needs_load && replica.phase != replica_phase::waiting)
      lost.push_back(replica.id);
  }
  for (const replica_id id : lost)
    fail_replica(id, errc::unavailable, "the process that held replica " + to_string(id) + " died");
}

// -- batches
// -------------------------------------------------------------------------------------------------------------------

void node_queue::state::on(const queueing::ordered& fact) {
  const auto refuse = [&](errc code, std::string why) {
    commands.emplace_back(queueing::drop_order{fact.order, code, std::move(why)});
  };
  const replica_state* replica = find_replica(fact.replica);
  if (replica == nullptr || replica->unwanted)
    return refuse(errc::not_found, "replica " + to_string(fact.replica) + " is not on this node");
  const queued_variant* v = variants.find(replica->variant);
  if (v == nullptr || fact.items.empty() || fact.items.size() > v->info.max_batch)
    return refuse(errc::invalid_argument, "a batch of " + std::to_string(fact.items.size()) + " items cannot be run");
  if (fact.latest_start < now)
    return refuse(errc::deadline_exceeded, "its latest start had passed when it arrived");
  for (const queueing::ordered_item& i : fact.items)
    last_item = std::max(last_item, i.item);
  orders.insert(std::lower_bound(orders.begin(), orders.end(), fact, starts_before), fact);
}

void node_queue::state::drop_orders_of(replica_id replica, errc code, const std::string& message) {
  std::erase_if(orders, [&](const queueing::ordered& o) {
    if (o.replica == replica)
      commands.emplace_back(queueing::drop_order{o.order, code, message});
    return o.replica == replica;
  });
}

void node_queue::state::expire_orders() {
  std::size_t late = 0;
  while (late < orders.size() && orders[late].latest_start < now)
    commands.emplace_back(
        queueing::drop_order{orders[late++].order, errc::deadline_exceeded, "it could not start by its latest start"});
  orders.erase(orders.begin(), orders.begin() + static_cast<std::ptrdiff_t>(late));
}

void node_queue::state::withdraw_ordered(const queueing::call_withdrawn& fact) {
  const auto meant = [&](const queueing::ordered_item& i) {
    return i.call == fact.id &&
           (fact.items.empty() || std::binary_search(fact.items.begin(), fact.items.end(), i.item));
  };
  for (queueing::ordered& o : orders)
    std::erase_if(o.items, meant);
  std::erase_if(orders, [&](const queueing::ordered& o) {
    if (o.items.empty())
      commands.emplace_back(queueing::drop_order{o.order, errc::cancelled, "its calls were withdrawn"});
    return o.items.empty();
  });
}

void node_queue::state::start_orders() {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < orders.size(); ++i) {
    replica_state& replica = *find_replica(orders[i].replica);
    const queued_variant* v = variants.find(replica.variant);
    const bool can = v != nullptr && replica.phase == replica_phase::ready && !replica.running &&
                     resource(v->info.resource).idle > 0;
    if (can)
      start_order(orders[i], replica);
    else if (kept++ != i)
      orders[kept - 1] = std::move(orders[i]);
  }
  orders.resize(kept);
}

lane_id node_queue::state::take_lane(resource_state& on, batch_id batch) {
  const auto lane = std::find_if(on.lanes.begin(), on.lanes.end(), [](const lane_state& l) { return !l.batch; });
  lane->batch = batch;
  --on.idle;
  return lane->id;
}

void node_queue::state::start_order(const queueing::ordered& order, replica_state& replica) {
  queued_variant& v = *variants.find(replica.variant);
  const batch_id id{++batches};
  const lane_id lane = take_lane(resource(v.info.resource), id);
  running_batch& batch = running.at(running.insert(id));
  batch.lane = lane;
  batch.variant = replica.variant;
  batch.order = order.order;
  batch.replica = replica.id;
  for (const queueing::ordered_item& i : order.items)
    batch.items.push_back(i.item);
  replica.running = id;
  ++v.running;
  v.last_used = now;
  commands.emplace_back(queueing::run_order{id, lane, order.order, replica.id, replica.variant, batch.items});
}

} // namespace squall::policy
