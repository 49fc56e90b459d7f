// What is resident where.
#include "policy/calendar/plans.hpp"
#include "policy/calendar/state.hpp"

#include <algorithm>
#include <tuple>

namespace squall::policy::calendar {

slot state::new_replica(slot node, slot variant) {
  const slot r = g.add_replica(node, variant, now + g.variants[variant].info.load.count());
  to_load.push_back(r);
  return r;
}

void state::order_loads() {
  for (const slot s : to_load) {
    replica_entry& r = g.replicas[s];
    if (r.variant == none || r.ordered)
      continue; // its trial was taken back
    r.id = replica_id{++last_id};
    r.ordered = true;
    put(replica_slots, r.id, s);
    load_ends.set(s, from_ns(r.ready_at), r.id.value);
    out->emplace_back(placing::load_replica{r.id, g.nodes[r.node].id, g.variants[r.variant].info.id});
  }
  to_load.clear();
}

void state::evict(slot replica) {
  const replica_entry& r = g.replicas[replica];
  out->emplace_back(placing::evict_replica{r.id, g.nodes[r.node].id});
  replica_slots.erase(replica_slots.find_slot(r.id));
  g.drop_replica(replica);
}

/// What one more replica beside `count` is worth: the work asked for a replica, for its memory.
std::int64_t state::replica_value(const variant_entry& v, std::size_t count) const {
  if (v.demand == 0)
    return 0;
  if (count == 0)
    return far_off;
  const auto size = 1 + static_cast<std::int64_t>(v.info.memory_bytes / 1'000'000);
  return v.demand / static_cast<std::int64_t>(count + 1) * 100 / size;
}

/// Evicts idle replicas of the node until so much memory is free: least value first, and only such as are worth clearly
/// less. All or nothing.
bool state::make_room(slot node, std::uint64_t bytes, std::int64_t value) {
  const node_entry& n = g.nodes[node];
  struct victim {
    std::int64_t value;
    slot replica;
  };
  std::vector<victim> victims;
  std::vector<slot> counted;
  for (const slot r : n.replicas) {
    const replica_entry& replica = g.replicas[r];
    if (!replica.order.empty() || !replica.ready)
      continue;
    const variant_entry& v = g.variants[replica.variant];
    const auto same = static_cast<std::size_t>(std::count(counted.begin(), counted.end(), replica.variant));
    counted.push_back(replica.variant);
    victims.push_back({replica_value(v, v.replicas.size() - same - 1), r});
  }
  std::sort(victims.begin(), victims.end(), [](const victim& a, const victim& b) {
    return std::tie(a.value, a.replica) < std::tie(b.value, b.replica);
  });
  std::uint64_t freed = n.memory - n.used;
  std::size_t count = 0;
  while (freed < bytes && count < victims.size() && part_of(victims[count].value, config.swap_ppm) < value)
    freed += g.variants[g.replicas[victims[count++].replica].variant].info.memory_bytes;
  if (freed < bytes)
    return false;
  for (std::size_t i = 0; i < count; ++i)
    evict(victims[i].replica);
  return true;
}

/// CPU memory goes to the variants with the most work asked for a replica and its memory.
void state::fill_cpu() {
  const std::int64_t least = config.demand_half_life.count() / 16;
  std::vector<slot> order;
  for (slot i = 0; i < g.variants.size(); ++i) {
    const variant_entry& v = g.variants[i];
    if (v.resource() == 0 && v.retry_at <= now && v.demand / static_cast<std::int64_t>(1 + v.replicas.size()) > least)
      order.push_back(i);
  }
  const auto value = [&](slot i) { return replica_value(g.variants[i], g.variants[i].replicas.size()); };
  for (std::uint32_t rounds = 0; rounds < config.loads_at_once && !order.empty(); ++rounds) {
    const auto best = std::min_element(order.begin(), order.end(), [&](slot a, slot b) {
      return std::tuple{-value(a), a} < std::tuple{-value(b), b};
    });
    if (!add_cpu_replica(*best, value(*best)))
      order.erase(best);
  }
}

std::optional<std::size_t> state::replicas_beside(slot node, slot variant) const {
  const node_entry& at = g.nodes[node];
  const auto mine = static_cast<std::size_t>(
      std::count_if(at.replicas.begin(), at.replicas.end(), [&](slot r) { return g.replicas[r].variant == variant; }));
  return mine < at.lanes[0].size() ? std::optional{mine} : std::nullopt;
}

/// On the node with the fewest of it, then the most free memory; else where less is lost.
bool state::add_cpu_replica(slot variant, std::int64_t value) {
  const std::uint64_t bytes = g.variants[variant].info.memory_bytes;
  slot best = none;
  std::size_t fewest = 0;
  for (slot n = 0; n < g.nodes.size(); ++n) {
    const node_entry& at = g.nodes[n];
    const auto mine = replicas_beside(n, variant);
    if (!mine || at.used + bytes > at.memory)
      continue;
    if (best == none || *mine < fewest ||
        (*mine == fewest && at.memory - at.used > g.nodes[best].memory - g.nodes[best].used)) {
      best = n;
      fewest = *mine;
    }
  }
  for (slot n = 0; n < g.nodes.size() && best == none; ++n)
    if (replicas_beside(n, variant) && make_room(n, bytes, value))
      best = n;
  if (best == none)
    return false;
  new_replica(best, variant);
  return true;
}

namespace {
/// What goes with a replica: little where another is left.
std::int64_t left_worth(const variant_entry& v) { return v.replicas.size() > 1 ? v.worth / 8 : v.worth; }
} // namespace

/// GPU memory goes to the variants that are worth most for their size.
void state::pack_gpu() {
  struct want {
    std::int64_t density;
    slot variant;
  };
  std::vector<want> wants;
  for (slot i = 0; i < g.variants.size(); ++i) {
    const variant_entry& v = g.variants[i];
    if (v.resource() == 1 && v.worth > 0 && v.replicas.empty() && v.retry_at <= now)
      wants.push_back({v.worth / static_cast<std::int64_t>(1 + v.info.memory_bytes / 1'000'000), i});
  }
  std::sort(wants.begin(), wants.end(), [](const want& a, const want& b) {
    return std::tie(b.density, a.variant) < std::tie(a.density, b.variant);
  });
  for (const want& w : wants)
    load_on_gpu(w.variant);
  const bool all_in =
      std::none_of(wants.begin(), wants.end(), [&](const want& w) { return g.variants[w.variant].replicas.empty(); });
  for (slot n = 0; n < g.nodes.size() && all_in; ++n)
    if (!g.nodes[n].lanes[1].empty())
      fill_gpu(n);
}

/// What is left free takes second replicas of what is worth most: then either GPU may run it.
void state::fill_gpu(slot n) {
  for (;;) {
    const node_entry& node = g.nodes[n];
    slot best = none;
    for (slot i = 0; i < g.variants.size(); ++i) {
      const variant_entry& v = g.variants[i];
      if (v.resource() != 1 || v.worth == 0 || v.replicas.size() != 1 ||
          v.info.memory_bytes > node.memory - node.used || g.replicas[v.replicas.front()].node == n || v.retry_at > now)
        continue;
      if (best == none || v.worth > g.variants[best].worth)
        best = i;
    }
    if (best == none)
      return;
    new_replica(n, best);
  }
}

/// On the node with the least work asked of what stays there, among those where what has to go is worth clearly less.
void state::load_on_gpu(slot variant) {
  const variant_entry& v = g.variants[variant];
  struct leaver {
    std::int64_t density;
    slot replica;
  };
  slot best = none;
  std::vector<slot> best_gone;
  std::int64_t best_load = 0;
  for (slot n = 0; n < g.nodes.size(); ++n) {
    const node_entry& node = g.nodes[n];
    if (node.lanes[1].empty() || v.info.memory_bytes > node.memory)
      continue;
    std::vector<leaver> idle;
    std::int64_t load = 0, loss = 0;
    for (const slot r : node.replicas) {
      const variant_entry& u = g.variants[g.replicas[r].variant];
      load += u.demand;
      if (g.replicas[r].order.empty() && g.replicas[r].ready)
        idle.push_back({left_worth(u) / static_cast<std::int64_t>(1 + u.info.memory_bytes / 1'000'000), r});
    }
    std::sort(idle.begin(), idle.end(), [](const leaver& a, const leaver& b) {
      return std::tie(a.density, a.replica) < std::tie(b.density, b.replica);
    });
    std::uint64_t free = node.memory - node.used;
    std::vector<slot> gone;
    for (const leaver& u : idle) {
      if (free >= v.info.memory_bytes)
        break;
      const variant_entry& left = g.variants[g.replicas[u.replica].variant];
      free += left.info.memory_bytes;
      loss += left_worth(left);
      load -= left.demand;
      gone.push_back(u.replica);
    }
    if (free < v.info.memory_bytes || part_of(loss, config.gpu_swap_ppm) >= v.worth ||
        (best != none && load >= best_load))
      continue;
    best = n;
    best_load = load;
    best_gone = std::move(gone);
  }
  if (best == none)
    return;
  for (const slot r : best_gone)
    evict(r);
  new_replica(best, variant);
}

void state::manage() {
  if (std::exchange(times_changed, false))
    derive_all();
  forget_variants();
  fill_cpu();
  pack_gpu();
  const std::int64_t keep_q10 =
      1024 - 1024 * config.manage_every.count() * 7 / 10 / std::max<std::int64_t>(1, config.demand_half_life.count());
  for (variant_entry& v : g.variants) {
    v.demand = v.demand * keep_q10 / 1024;
    v.worth = v.worth / 1024 * keep_q10;
  }
}

} // namespace squall::policy::calendar
