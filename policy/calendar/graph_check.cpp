// The books compared with themselves: for tests.
#include "policy/calendar/graph.hpp"

#include <algorithm>
#include <string>

namespace squall::policy::calendar {

namespace {

std::string check_order(const graph& g, const std::vector<slot>& order, slot batch_entry::*before,
                        slot batch_entry::*after, const std::string& what) {
  for (std::size_t i = 0; i < order.size(); ++i) {
    const batch_entry& b = g.batches[order[i]];
    if (b.*before != (i > 0 ? order[i - 1] : none) || b.*after != (i + 1 < order.size() ? order[i + 1] : none))
      return what + ": the links of batch " + std::to_string(order[i]) + " are not its neighbours";
    if (b.running && i > 0)
      return what + ": a running batch is not the first";
    if (i > 0 && g.batches[order[i - 1]].end() > b.earliest)
      return what + ": batch " + std::to_string(order[i]) + " begins before the one in front of it ends";
  }
  return {};
}

} // namespace

std::string graph::check_batch(slot s, bool feasible) const {
  const batch_entry& b = batches[s];
  const std::string what = "batch " + std::to_string(s);
  std::uint64_t weight = 0;
  for (const task_ref t : b.tasks) {
    if (calls[t.call].dag == none || calls[t.call].tasks[t.index].batch != s)
      return what + " holds a task that is not booked there";
    weight += b.running ? whole_task : calls[t.call].tasks[t.index].odds;
  }
  if (weight != b.weight)
    return what + " weighs " + std::to_string(b.weight) + ", its tasks " + std::to_string(weight);
  if (b.running)
    return {};
  if (b.earliest < earliest_of(b) && (earliest_of(b) != now_ || b.earliest > now_))
    return what + " starts at " + std::to_string(b.earliest) + ", what it waits for ends at " +
           std::to_string(earliest_of(b));
  if (b.latest > latest_of(b))
    return what + " starts at the latest at " + std::to_string(b.latest) + ", what follows says " +
           std::to_string(latest_of(b));
  if (feasible && std::max(b.earliest, now_) > b.latest)
    return what + " starts at " + std::to_string(b.earliest) + ", after its latest start " + std::to_string(b.latest);
  return {};
}

std::string graph::sound() const {
  const auto all = [](const std::vector<slot>& names, std::size_t count) {
    return std::all_of(names.begin(), names.end(), [&](slot s) { return s < count; });
  };
  const auto link = [&](slot s) { return s == none || s < batches.size(); };
  const auto task = [&](task_ref t) { return t.call < calls.size() && t.index < calls[t.call].tasks.size(); };
  for (const variant_entry& v : variants)
    if (v.times.empty() || !all(v.replicas, replicas.size()) || !all(v.open, batches.size()) ||
        !all(v.siblings, variants.size()) || !std::all_of(v.ready.begin(), v.ready.end(), task))
      return "a variant";
  for (const lane_entry& l : lanes)
    if ((l.node == none ? !l.order.empty() : l.node >= nodes.size()) || !all(l.order, batches.size()))
      return "a lane";
  for (const replica_entry& r : replicas)
    if (r.variant != none && (r.variant >= variants.size() || r.node >= nodes.size() || !all(r.order, batches.size())))
      return "a replica";
  for (const node_entry& n : nodes)
    if (!all(n.lanes[0], lanes.size()) || !all(n.lanes[1], lanes.size()) || !all(n.replicas, replicas.size()))
      return "a node";
  for (const batch_entry& b : batches)
    if (b.variant != none && (b.variant >= variants.size() || b.lane >= lanes.size() || b.replica >= replicas.size() ||
                              !link(b.lane_before) || !link(b.lane_after) || !link(b.replica_before) ||
                              !link(b.replica_after) || !std::all_of(b.tasks.begin(), b.tasks.end(), task)))
      return "a batch";
  for (const call_entry& c : calls) {
    if (c.dag == none)
      continue;
    if (c.dag >= dags.size() || c.stages.size() != dags[c.dag].stages.size())
      return "a call";
    for (const stage_entry& s : c.stages)
      if (s.first > c.tasks.size() || s.width > c.tasks.size() - s.first || (s.placed && s.variant >= variants.size()))
        return "a stage of a call";
    for (const task_entry& t : c.tasks)
      if (!link(t.batch) || t.stage >= c.stages.size())
        return "a task";
  }
  for (const dag_entry& d : dags)
    for (const dag_stage& s : d.stages)
      if (!all(s.variants, variants.size()))
        return "a DAG";
  return {};
}

std::string graph::check(bool feasible) const {
  std::array<ns, resources> sums{};
  for (slot l = 0; l < lanes.size(); ++l)
    if (auto wrong = check_order(*this, lanes[l].order, &batch_entry::lane_before, &batch_entry::lane_after,
                                 "lane " + std::to_string(l));
        !wrong.empty())
      return wrong;
  for (slot r = 0; r < replicas.size(); ++r)
    if (replicas[r].variant != none)
      if (auto wrong = check_order(*this, replicas[r].order, &batch_entry::replica_before, &batch_entry::replica_after,
                                   "replica " + std::to_string(r));
          !wrong.empty())
        return wrong;
  for (slot s = 0; s < batches.size(); ++s) {
    if (batches[s].variant == none)
      continue;
    if (auto wrong = check_batch(s, feasible); !wrong.empty())
      return wrong;
    if (!batches[s].running)
      sums[variants[batches[s].variant].resource()] += batches[s].duration;
  }
  for (const node_entry& n : nodes) {
    std::uint64_t used = 0;
    for (const slot r : n.replicas)
      used += variants[replicas[r].variant].info.memory_bytes;
    if (used != n.used || used > n.memory)
      return "node " + to_string(n.id) + " accounts for " + std::to_string(n.used) + " bytes of " +
             std::to_string(n.memory) + ", its replicas take " + std::to_string(used);
  }
  return sums == booked ? std::string{} : "the sum of what is booked is wrong";
}

} // namespace squall::policy::calendar
