#include "policy/detail/selection_state.hpp"

#include <algorithm>

namespace squall::policy {

namespace {

__extension__ using wide = __int128;

/// Load per executor, as a fraction that is compared exactly.
struct pressure {
  wide load = 0;
  std::uint32_t owned = 0;

  [[nodiscard]] bool infinite() const { return owned == 0 && load > 0; }
  /// The same fraction with a divisor that is not 0.
  [[nodiscard]] wide divisor() const { return owned == 0 ? 1 : owned; }
};

/// a * x compared with b * y.
std::strong_ordering compare(wide a, const pressure& x, wide b, const pressure& y) {
  if (x.infinite() || y.infinite())
    return x.infinite() <=> y.infinite();
  const wide left = a * x.load * y.divisor();
  const wide right = b * y.load * x.divisor();
  return left < right   ? std::strong_ordering::less
         : left > right ? std::strong_ordering::greater
                        : std::strong_ordering::equal;
}

/// What has arrived times its execution time. Elapsed time, by which the thesis divides, is the same for all groups.
template <class Group>
pressure pressure_of(const Group& g) {
  return {wide{g.seen} * g.expected.count(), g.owned};
}

} // namespace

void selection::settle(time_point now) {
  state& s = *state_;
  if (s.config.policy != "exclusive" || s.row.empty() || s.waiting == 0)
    return;
  if (now >= s.config.rebalance_from && s.config.rebalance == rebalance_rule::pressure)
    s.by_pressure();
  if (now >= s.config.rebalance_from && s.config.rebalance == rebalance_rule::group_size)
    s.by_group_size();
  if (s.config.make_room)
    s.make_room();
}

/// Each executor to a group of its kind, in turn.
void selection::state::deal() {
  for (group& g : groups)
    g.owned = 0;
  std::vector<std::pair<std::uint64_t, group_index>> last; // by kind, the group that got the last one
  for (executor& e : executors) {
    e.owner = no_group;
    if (!e.alive || groups.empty())
      continue;
    const auto count = static_cast<group_index>(groups.size());
    auto at = std::find_if(last.begin(), last.end(), [&](const auto& entry) { return entry.first == e.kind; });
    if (at == last.end())
      at = last.insert(last.end(), {e.kind, count - 1});
    for (group_index i = 1; i <= count; ++i) {
      const group_index g = (at->second + i) % count;
      if ((groups[g].kinds & e.kind) == 0)
        continue;
      e.owner = at->second = g;
      ++groups[g].owned;
      break;
    }
  }
}

std::strong_ordering selection::state::compare_pressure(group_index a, group_index b) const {
  return compare(1, pressure_of(groups[a]), 1, pressure_of(groups[b]));
}

group_index selection::state::greatest_pressure(std::uint64_t kind) const {
  group_index best = no_group;
  for (group_index g = 0; g < groups.size(); ++g)
    if ((groups[g].kinds & kind) != 0 && (best == no_group || compare_pressure(g, best) > 0))
      best = g;
  return best;
}

void selection::state::pass(executor_index e, group_index to) {
  if (const group_index from = executors[e].owner; from != no_group) {
    --groups[from].owned;
    groups[from].gave_at = ++given;
  }
  executors[e].owner = to;
  ++groups[to].owned;
}

std::optional<executor_index> selection::state::free_of(group_index owner, std::uint64_t kinds) const {
  for (const executor_index e : row)
    if (executors[e].owner == owner && (executors[e].kind & kinds) != 0)
      return e;
  return std::nullopt;
}

void selection::state::by_pressure() {
  for (;;) {
    group_index high = 0;
    group_index low = 0;
    for (group_index g = 1; g < groups.size(); ++g) {
      if (compare_pressure(g, high) > 0)
        high = g;
      if (compare_pressure(g, low) < 0)
        low = g;
    }
    const pressure of_high = pressure_of(groups[high]);
    const pressure of_low = pressure_of(groups[low]);
    const std::uint32_t least = of_low.load == 0 ? 1 : 2;
    if (groups[high].empty() || of_low.owned < least || compare(2, of_high, 3, of_low) <= 0)
      return;
    // The sorted pressures fall with every move, so this ends.
    if (compare(1, {of_low.load, of_low.owned - 1}, 1, of_high) >= 0)
      return;
    const auto e = free_of(low, groups[high].kinds);
    if (!e)
      return;
    pass(*e, high);
  }
}

void selection::state::by_group_size() {
  for (group_index asker = 0; asker < groups.size(); ++asker) {
    if (groups[asker].empty() || free_of(asker, groups[asker].kinds))
      continue;
    group_index giver = 0;
    for (group_index g = 1; g < groups.size(); ++g)
      if (groups[g].owned > groups[giver].owned ||
          (groups[g].owned == groups[giver].owned && groups[g].gave_at < groups[giver].gave_at))
        giver = g;
    if (groups[asker].owned > 0 && groups[asker].owned + 1 >= groups[giver].owned)
      continue;
    if (const auto e = free_of(giver, groups[asker].kinds))
      pass(*e, asker);
  }
}

void selection::state::make_room() {
  std::vector<group_index> askers;
  for (group_index g = 0; g < groups.size(); ++g)
    if (!groups[g].empty() && groups[g].owned == 0)
      askers.push_back(g);
  // The oldest task first, or the first group would always be the one that is served.
  std::sort(askers.begin(), askers.end(),
            [&](group_index a, group_index b) { return groups[a].head().task < groups[b].head().task; });
  for (const group_index asker : askers) {
    group_index giver = no_group;
    for (group_index g = 0; g < groups.size(); ++g)
      if (free_of(g, groups[asker].kinds) && (giver == no_group || compare_pressure(g, giver) < 0))
        giver = g;
    if (giver != no_group)
      pass(*free_of(giver, groups[asker].kinds), asker);
  }
}

} // namespace squall::policy
