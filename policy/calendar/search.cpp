#include "policy/calendar/search.hpp"

#include <algorithm>
#include <functional>

namespace squall::policy::calendar {

std::optional<slot> find_join(const graph& g, task_ref task, slot variant) {
  const variant_entry& v = g.variants[variant];
  const call_entry& call = g.calls[task.call];
  const task_entry& t = call.tasks[task.index];
  if (v.info.max_batch < 2 || v.open.empty())
    return std::nullopt;
  const ns inputs = g.inputs_end(call, t.stage);
  const ns least_end = g.latest_end(task);
  const std::uint64_t full = std::uint64_t{v.info.max_batch} * 1'000'000;
  std::optional<slot> best;
  ns best_end = 0;
  const std::size_t first = v.open.size() > max_joins_tried ? v.open.size() - max_joins_tried : 0;
  for (std::size_t i = first; i < v.open.size(); ++i) {
    const batch_entry& b = g.batches[v.open[i]];
    if (b.weight + t.odds > full)
      continue;
    const ns end = std::max(b.earliest, inputs) + g.time_of(variant, b.weight + t.odds);
    if (end > least_end || end > b.latest_end() || (best && end >= best_end) || !g.precedes(call, t.stage, v.open[i]) ||
        !g.follows(call, t.stage, v.open[i], std::max(b.earliest, inputs)))
      continue;
    best = v.open[i];
    best_end = end;
  }
  return best;
}

namespace {

/// One search for a place of a new batch.
struct place_search {
  const graph& g;
  const call_entry& call;
  std::uint32_t stage;
  ns inputs;    ///< when they are there
  ns time;      ///< that the batch takes
  ns least_end; ///< by when it has to have ended
  ns key;
  std::optional<graph::place> best;

  /// Whether what comes before may come before `next`, which is not to be one of them.
  [[nodiscard]] bool ordered(slot before, slot next) const {
    return before == none || next == none || (before != next && g.batches[before].earliest < g.batches[next].end());
  }

  [[nodiscard]] bool too_late(ns start) const { return start + time > least_end || (best && start >= best->start); }
  /// Nothing better can be found.
  [[nodiscard]] bool best_of_all() const { return best && best->start <= inputs; }

  bool try_at(slot lane, slot replica, std::size_t at) {
    const auto& order = g.lanes[lane].order;
    const auto& mates = g.replicas[replica].order;
    const slot lane_before = at > 0 ? order[at - 1] : none;
    const slot lane_after = at < order.size() ? order[at] : none;
    ns start = inputs;
    if (lane_before != none)
      start = std::max(start, g.batches[lane_before].end());
    if (too_late(start)) // which is often known before the replica is looked at
      return false;
    const std::size_t fixed = g.running_of(mates) == none ? 0 : 1;
    auto r =
        static_cast<std::size_t>(std::partition_point(mates.begin() + static_cast<std::ptrdiff_t>(fixed), mates.end(),
                                                      [&](slot m) { return g.batches[m].earliest < start; }) -
                                 mates.begin());
    const slot replica_before = r > 0 ? mates[r - 1] : none;
    const slot replica_after = r < mates.size() ? mates[r] : none;
    if (replica_before != none)
      start = std::max(start, g.batches[replica_before].end());
    if (!g.replicas[replica].ready)
      start = std::max(start, g.replicas[replica].ready_at);
    const ns end = start + time;
    if (too_late(start))
      return false;
    for (const slot next : {lane_after, replica_after})
      if (next != none && (end > g.batches[next].latest || !g.precedes(call, stage, next)))
        return false;
    if (!ordered(lane_before, replica_after) || !ordered(replica_before, lane_after))
      return false;
    best = graph::place{lane, replica, static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(r), start};
    return true;
  }

  void try_lane(slot lane, slot replica) {
    const auto& order = g.lanes[lane].order;
    const std::size_t fixed = g.running_of(order) == none ? 0 : 1;
    const auto& keys = g.lanes[lane].keys;
    const auto wanted = static_cast<std::size_t>(
        std::find_if(keys.begin() + static_cast<std::ptrdiff_t>(fixed), keys.end(), [&](ns k) { return k > key; }) -
        keys.begin());
    // Nothing that has to start before this could end may come after it.
    const auto may_wait = [&](slot b) { return g.batches[b].latest >= inputs + time; };
    const auto from = static_cast<std::size_t>(
        std::partition_point(order.begin() + static_cast<std::ptrdiff_t>(wanted), order.end(), std::not_fn(may_wait)) -
        order.begin());
    std::size_t tries = 0;
    for (std::size_t at = from; at <= order.size() && tries < max_gaps_tried; ++at, ++tries) {
      const ns free = at > 0 ? g.batches[order[at - 1]].end() : inputs;
      if (at > 0 && free + time > least_end)
        break;
      if (best && std::max(inputs, free) >= best->start) {
        tries = std::min(max_gaps_tried, order.size() + 1 - from);
        break; // nor does a later one end sooner
      }
      if (try_at(lane, replica, at))
        return;
    }
    for (std::size_t at = from; at > fixed && tries < 2 * max_gaps_tried && may_wait(order[at - 1]); ++tries)
      if (try_at(lane, replica, --at))
        return;
  }
};

} // namespace

std::optional<graph::place> find_place(const graph& g, task_ref task, slot variant, ns key, std::uint64_t turn) {
  const variant_entry& v = g.variants[variant];
  const call_entry& call = g.calls[task.call];
  const task_entry& t = call.tasks[task.index];
  place_search s{g,   call, t.stage, g.inputs_end(call, t.stage), g.time_of(variant, t.odds), g.latest_end(task),
                 key, {}};
  if (s.inputs + s.time > s.least_end)
    return std::nullopt;
  const std::size_t count = std::min(v.replicas.size(), max_replicas_tried);
  const std::size_t first = v.replicas.size() > count ? turn % v.replicas.size() : 0;
  for (std::size_t i = 0; i < count && !s.best_of_all(); ++i) {
    const slot replica = v.replicas[(first + i) % v.replicas.size()];
    const auto& lanes = g.nodes[g.replicas[replica].node].lanes[v.resource()];
    const std::size_t tried = std::min(lanes.size(), max_lanes_tried);
    const std::size_t start = lanes.size() > tried ? turn % lanes.size() : 0;
    for (std::size_t l = 0; l < tried && !s.best_of_all(); ++l)
      s.try_lane(lanes[(start + l) % lanes.size()], replica);
  }
  return s.best;
}

std::optional<graph::place> find_place_at(const graph& g, const std::vector<task_ref>& tasks, slot lane, slot replica,
                                          std::size_t at) {
  ns inputs = 0, least_end = far_off;
  std::uint64_t weight = 0;
  for (const task_ref t : tasks) {
    const call_entry& call = g.calls[t.call];
    inputs = std::max(inputs, g.inputs_end(call, call.tasks[t.index].stage));
    least_end = std::min(least_end, g.latest_end(t));
    weight += call.tasks[t.index].odds;
  }
  const call_entry& first = g.calls[tasks.front().call];
  const ns time = g.time_of(g.replicas[replica].variant, weight);
  place_search s{g, first, first.tasks[tasks.front().index].stage, inputs, time, least_end, 0, {}};
  if (!s.try_at(lane, replica, at))
    return std::nullopt;
  const auto in = [](const std::vector<slot>& order, std::size_t i) { return i < order.size() ? order[i] : none; };
  const slot after[] = {in(g.lanes[lane].order, at), in(g.replicas[replica].order, s.best->replica_at)};
  for (const task_ref t : tasks) {
    const call_entry& call = g.calls[t.call];
    const std::uint32_t stage = call.tasks[t.index].stage;
    if (!g.follows(call, stage, none, s.best->start))
      return std::nullopt;
    for (const slot next : after)
      if (next != none && !g.precedes(call, stage, next))
        return std::nullopt;
  }
  return s.best;
}

} // namespace squall::policy::calendar
