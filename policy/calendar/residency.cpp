// What is resident where.
#include "policy/calendar/state.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <tuple>

namespace squall::policy::calendar {

void state::order_load(slot replica) {
  replica_entry& r = g.replicas[replica];
  r.id = placing::replica_id{++replicas_named};
  r.ordered = true;
  replica_slots.at(replica_slots.insert(r.id)).at = replica;
  out->emplace_back(placing::load_replica{r.id, g.nodes[r.node].id, g.variants[r.variant].info.id});
}

void state::evict(slot replica) {
  replica_entry& r = g.replicas[replica];
  if (r.ordered) {
    out->emplace_back(placing::evict_replica{r.id, g.nodes[r.node].id});
    replica_slots.erase(replica_slots.find_slot(r.id));
  }
  g.drop_replica(replica);
}

/// What one more replica beside `count` is worth, for its memory.
std::int64_t state::replica_value(const variant_entry& v, std::size_t count) const {
  const std::int64_t n = static_cast<std::int64_t>(count);
  if (v.demand == 0)
    return 0;
  if (n == 0)
    return far_off;
  const std::int64_t mem = 1 + static_cast<std::int64_t>(v.info.memory_bytes / 1'000'000);
  switch (knob[6]) {
    case 0: return v.demand / (n + 1);
    case 1: return v.demand / (n + 1) * 100 / mem;
    case 2: return v.demand / (n * (n + 1)) * 100 / mem;
    case 3: return v.demand / 1000000 * v.demand / (n * (n + 1)) * 100 / mem;
    case 4: return v.demand / (n * (n + 1));
    case 6: return v.demand / (n + 1) * 1000 / mem * 100 / mem;
    case 7: return v.demand / (2*n + 1) * 100 / mem;
    default: return v.demand / 1000000 * v.demand / (n * (n + 1));
  }
}

/// Evicts idle replicas of the node until so much memory is free: least value first, and only such as are worth clearly
/// less. All or nothing.
bool state::make_room(slot node, std::uint64_t bytes, std::int64_t value) {
  node_entry& n = g.nodes[node];
  if (n.used + bytes <= n.memory)
    return true;
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
    if (v.replicas.size() <= same + 1 && v.demand > 0)
      continue;
    victims.push_back({replica_value(v, v.replicas.size() - same - 1), r});
  }
  std::sort(victims.begin(), victims.end(),
            [](const victim& a, const victim& b) { return std::tie(a.value, a.replica) < std::tie(b.value, b.replica); });
  std::uint64_t freed = n.memory - n.used;
  std::size_t count = 0;
  while (freed < bytes && count < victims.size() && victims[count].value / 100 * (knob[7] ? knob[7] : 150) < value)
    freed += g.variants[g.replicas[victims[count++].replica].variant].info.memory_bytes;
  if (freed < bytes)
    return false;
  for (std::size_t i = 0; i < count; ++i)
    evict(victims[i].replica);
  return true;
}

/// CPU memory goes to the variants with the most work asked for a replica.
void state::fill_cpu() {
  std::vector<slot> order;
  for (slot i = 0; i < g.variants.size(); ++i)
    if (g.variants[i].resource() == 0 &&
        g.variants[i].demand / static_cast<std::int64_t>(1 + g.variants[i].replicas.size()) > config.demand_half_life.count() / 16)
      order.push_back(i);
  const auto value = [&](slot i) { return replica_value(g.variants[i], g.variants[i].replicas.size()); };
  for (int rounds = 0; rounds < 64 && !order.empty(); ++rounds) {
    const auto best = std::min_element(order.begin(), order.end(), [&](slot a, slot b) {
      return std::tuple{-value(a), a} < std::tuple{-value(b), b};
    });
    if (value(*best) == 0)
      return;
    if (!add_cpu_replica(*best, value(*best)))
      order.erase(best);
  }
}

bool state::add_cpu_replica(slot variant, std::int64_t value) {
  const variant_entry& v = g.variants[variant];
  const std::uint64_t bytes = v.info.memory_bytes;
  slot best = none;
  std::size_t fewest = 0;
  for (slot n = 0; n < g.nodes.size(); ++n) {
    const node_entry& at = g.nodes[n];
    if (!at.id || at.lanes[0].empty() || at.used + bytes > at.memory)
      continue;
    const auto mine = static_cast<std::size_t>(
        std::count_if(at.replicas.begin(), at.replicas.end(), [&](slot r) { return g.replicas[r].variant == variant; }));
    if (best == none || mine < fewest ||
        (mine == fewest && at.memory - at.used > g.nodes[best].memory - g.nodes[best].used)) {
      best = n;
      fewest = mine;
    }
  }
  for (slot n = 0; n < g.nodes.size() && best == none; ++n)
    if (g.nodes[n].id && !g.nodes[n].lanes[0].empty() && make_room(n, bytes, value))
      best = n;
  if (best == none)
    return false;
  g.add_replica(best, variant, now + v.info.load.count());
  return true;
}

/// GPU memory goes to the variants that are worth most for their size.
void state::pack_gpu() {
  struct want {
    std::int64_t density;
    slot variant;
  };
  std::vector<want> wants;
  for (slot i = 0; i < g.variants.size(); ++i) {
    const variant_entry& v = g.variants[i];
    if (v.resource() == 1 && v.worth > 0)
      wants.push_back({v.worth / static_cast<std::int64_t>(1 + v.info.memory_bytes / 1'000'000), i});
  }
  std::sort(wants.begin(), wants.end(),
            [](const want& a, const want& b) { return std::tie(b.density, a.variant) < std::tie(a.density, b.variant); });
  for (const want& w : wants) {
    const variant_entry& v = g.variants[w.variant];
    if (!v.replicas.empty())
      continue;
    slot best = none;
    std::vector<slot> best_out;
    std::int64_t best_load = 0;
    for (slot n = 0; n < g.nodes.size(); ++n) {
      const node_entry& node = g.nodes[n];
      if (!node.id || node.lanes[1].empty() || v.info.memory_bytes > node.memory)
        continue;
      std::vector<want> idle;
      for (const slot r : node.replicas)
        if (g.replicas[r].order.empty() && g.replicas[r].ready) {
          const variant_entry& u = g.variants[g.replicas[r].variant];
          idle.push_back({u.worth / static_cast<std::int64_t>(1 + u.info.memory_bytes / 1'000'000), r});
        }
      std::sort(idle.begin(), idle.end(),
                [](const want& a, const want& b) { return std::tie(a.density, a.variant) < std::tie(b.density, b.variant); });
      std::uint64_t free = node.memory - node.used;
      std::int64_t loss = 0, load = 0;
      for (const slot r : node.replicas)
        load += g.variants[g.replicas[r].variant].demand;
      std::vector<slot> gone;
      for (const want& u : idle) {
        if (free >= v.info.memory_bytes)
          break;
        free += g.variants[g.replicas[u.variant].variant].info.memory_bytes;
        loss += g.variants[g.replicas[u.variant].variant].worth;
        load -= g.variants[g.replicas[u.variant].variant].demand;
        gone.push_back(u.variant);
      }
      if (free < v.info.memory_bytes || loss * config.swap_ppm / 1'000'000 >= v.worth)
        continue;
      if (best == none || load < best_load) {
        best = n;
        best_load = load;
        best_out = gone;
      }
    }
    if (best == none)
      continue;
    for (const slot r : best_out)
      evict(r);
    g.add_replica(best, w.variant, now + v.info.load.count());
  }
}

void state::manage() {
  if (getenv("GPUS")) {
    fprintf(stderr, "t=%ld limit %ld usual %ld w %ld %ld booked %ld %ld |", now / 1000000, price.factor[0], price.factor[1], price.per_us[0], price.per_us[1], g.booked[0]/1000000, g.booked[1]/1000000);
    for (auto& n : g.nodes) if (!n.lanes[1].empty()) { for (slot r : n.replicas) fprintf(stderr, " %d(%ld)", (int)(g.replicas[r].variant/2), g.variants[g.replicas[r].variant].worth/1000); fprintf(stderr, " ;"); }
    fprintf(stderr, " CPU");
    for (slot i = 0; i < g.variants.size(); ++i) if (g.variants[i].resource() == 0) { int busy=0; for (slot r : g.variants[i].replicas) busy += g.running_of(g.replicas[r].order) != none; fprintf(stderr, " %d:%zu/%d/%ld/%ld", i/2, g.variants[i].replicas.size(), busy, g.variants[i].booked/1000000, g.variants[i].demand/1000000); }
    fprintf(stderr, "\n");
  }
  fill_cpu();
  pack_gpu();
  const std::int64_t keep_q10 =
      1024 - 1024 * config.manage_every.count() * 7 / 10 / std::max<std::int64_t>(1, config.demand_half_life.count());
  for (variant_entry& v : g.variants) {
    v.demand = v.demand / 1024 * keep_q10;
    v.worth = v.worth / 1024 * keep_q10;
  }
}

} // namespace squall::policy::calendar
