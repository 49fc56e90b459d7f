// Calls that another scheduler admitted by its calendar: what of them runs keeps its lane, the rest is booked anew.
#include "policy/calendar/state.hpp"

#include <algorithm>
#include <tuple>

namespace squall::policy::calendar {

void state::adopt_replica(const placing::adopted_replica& found) {
  const slot node = find(node_slots, found.node);
  const slot variant = find(variant_slots, found.variant);
  if (find(replica_slots, found.replica) != none)
    return;
  if (node == none || variant == none ||
      g.nodes[node].used + g.variants[variant].info.memory_bytes > g.nodes[node].memory) {
    out->emplace_back(placing::evict_replica{found.replica, found.node});
    return;
  }
  const slot r = g.add_replica(node, variant, now);
  g.replicas[r].id = found.replica;
  g.replicas[r].ordered = true;
  put(replica_slots, found.replica, r);
  g.set_ready(r, true, now);
}

/// Nothing of it is booked yet. `none`: it cannot go on, and was abandoned.
slot state::adopt_call(const placing::adopted_call& found) {
  const slot dag = find(dag_slots, found.call.dag);
  const auto abandon = [&](errc code, std::string why) {
    out->emplace_back(placing::abandon{found.call.id, code, std::move(why), {}});
    return none;
  };
  if (dag == none)
    return abandon(errc::not_found, "the DAG is not registered with variants that can run");
  if (find(call_slots, found.call.id) != none)
    return none;
  const slot s = open_call(found.call, dag);
  put(call_slots, found.call.id, s);
  ++g.dags[dag].calls;
  call_entry& call = g.calls[s];
  call.arrival = std::min(now, to_ns(found.arrived));
  call.span = std::min(call.deadline - call.arrival, no_deadline_span);
  for (const placing::adopted_stage& come : found.come) {
    if (come.stage >= call.stages.size() || (!come.ended && come.width > call.stages[come.stage].width)) {
      give_up(s, errc::corrupt, "what its nodes say of it does not fit its DAG");
      return none;
    }
    set_progress(s, come);
  }
  return s;
}

void state::set_progress(slot s, const placing::adopted_stage& come) {
  call_entry& call = g.calls[s];
  stage_entry& stage = call.stages[come.stage];
  const dag_stage& known = g.dags[call.dag].stages[come.stage];
  if (stage.phase != stage_phase::waiting)
    return; // said twice
  // By what it ran is not known: of what it may have cost, the least.
  stage.variant = *std::min_element(known.variants.begin(), known.variants.end(), [&](slot a, slot b) {
    return std::tuple{g.variants[a].info.cost, a} < std::tuple{g.variants[b].info.cost, b};
  });
  const std::uint32_t left = come.ended ? 0 : come.width;
  stage.width = std::min(stage.width, come.width);
  stage.left = left;
  stage.phase = left > 0 ? stage_phase::ready : stage_phase::done;
  for (std::uint32_t i = 0; stage.first + i < call.tasks.size(); ++i) {
    task_entry& t = call.tasks[stage.first + i];
    if (t.stage != come.stage)
      break;
    t.odds = whole_task;
    t.done = i >= left;
  }
}

/// The tasks of a batch of which the books know that they have not ended; its variant is theirs from now on.
std::vector<task_ref> state::tasks_of(const placing::adopted_batch& found, slot variant) {
  std::vector<task_ref> out;
  for (const placing::task& t : found.tasks) {
    const slot s = find(call_slots, t.call);
    if (s == none || t.stage >= g.calls[s].stages.size())
      continue;
    call_entry& call = g.calls[s];
    stage_entry& stage = call.stages[t.stage];
    const auto& allowed = g.dags[call.dag].stages[t.stage].variants;
    if (stage.phase != stage_phase::ready || t.element >= stage.width ||
        std::find(allowed.begin(), allowed.end(), variant) == allowed.end())
      continue;
    const task_ref ref{s, stage.first + t.element};
    if (call.tasks[ref.index].done || call.tasks[ref.index].batch != none ||
        std::find(out.begin(), out.end(), ref) != out.end())
      continue;
    stage.variant = variant;
    out.push_back(ref);
  }
  return out;
}

/// It keeps a lane of its node until it should have ended.
void state::adopt_batch(const placing::adopted_batch& found) {
  const slot node = find(node_slots, found.node);
  const slot replica = find(replica_slots, found.replica);
  if (node == none || replica == none || g.replicas[replica].node != node || find(batch_slots, found.batch) != none ||
      g.running_of(g.replicas[replica].order) != none)
    return;
  const slot variant = g.replicas[replica].variant;
  const auto& lanes = g.nodes[node].lanes[g.variants[variant].resource()];
  const auto lane =
      std::find_if(lanes.begin(), lanes.end(), [&](slot l) { return g.running_of(g.lanes[l].order) == none; });
  const std::vector<task_ref> tasks = tasks_of(found, variant);
  if (lane == lanes.end() || tasks.empty())
    return;
  const slot s = g.start(*lane, replica, tasks);
  batch_entry& b = g.batches[s];
  b.id = found.batch;
  put(batch_slots, b.id, s);
  const ns whole = b.duration;
  b.earliest = b.latest = now - std::max<ns>(0, found.executed.count());
  const ns end = std::max(b.earliest + whole, now + config.overrun_margin.count());
  g.move_end(s, end);
  batch_ends.set(s, from_ns(end), b.id.value);
}

void state::on(const placing::plans_adopted& fact) {
  dirty = true;
  if (manage_at == far_off)
    manage_at = now;
  for (const placing::adopted_replica& r : fact.replicas)
    adopt_replica(r);
  std::vector<std::tuple<std::uint32_t, std::uint64_t, slot>> taken; // the strongest promises are booked first
  for (const placing::adopted_call& found : fact.calls)
    if (const slot s = adopt_call(found); s != none)
      taken.emplace_back(placing::firm_ppm - g.calls[s].assurance_ppm, g.calls[s].order, s);
  for (const placing::adopted_batch& b : fact.batches)
    adopt_batch(b);
  std::sort(taken.begin(), taken.end());
  for (const auto& [assurance, order, s] : taken) {
    const call_entry& call = g.calls[s];
    const bool all_runs = std::all_of(call.tasks.begin(), call.tasks.end(),
                                      [](const task_entry& t) { return t.done || t.batch != none; });
    if (!all_runs && !place_again(s)) {
      give_up(s, errc::deadline_exceeded,
              "the controller that had admitted it was lost, and the rest of it fits nowhere within its deadline and "
              "cost");
      continue;
    }
    g.calls[s].cost = cost_so_far(g.calls[s]);
    set_answer_time(s);
  }
}

/// By the variants that it is booked with.
micro_cost state::cost_so_far(const call_entry& call) const {
  micro_cost sum = 0;
  for (const stage_entry& stage : call.stages)
    if (stage.variant != none)
      sum += g.variants[stage.variant].info.cost * stage.width;
  return sum;
}

} // namespace squall::policy::calendar
