// What runs now: booked work as early as the certificate allows.
#include "policy/calendar/state.hpp"

#include <algorithm>
#include <tuple>

namespace squall::policy::calendar {

/// By when something that is put in front of the order must have ended: the latest start of the first batch that waits
/// there, once the first `count` of the taken tasks have left.
ns state::room_before(const std::vector<slot>& order, const std::vector<task_ref>& taken, std::size_t count) const {
  for (const slot s : order) {
    const batch_entry& b = g.batches[s];
    if (b.running)
      continue;
    std::uint64_t leaving = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const task_entry& t = g.calls[taken[i].call].tasks[taken[i].index];
      if (t.batch == s)
        leaving += t.odds;
    }
    if (leaving == b.weight)
      continue;
    return leaving == 0 ? b.latest : b.latest_end() - g.time_of(b.variant, b.weight - leaving);
  }
  return far_off;
}

/// The most urgent of the ready tasks, as many as may run on the replica now; better than the best so far if more urgent.
void state::consider(slot lane, slot replica, const std::vector<task_ref>& from, std::size_t most, pick& best) {
  const slot variant = g.replicas[replica].variant;
  sorted.clear();
  for (const task_ref t : from)
    sorted.push_back({g.latest_end(t), g.calls[t.call].order, t});
  const std::size_t count = std::min(most, sorted.size());
  std::partial_sort(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(count), sorted.end(),
                    [](const urgent_task& a, const urgent_task& b) {
                      return std::tie(a.latest_end, a.order, a.task) < std::tie(b.latest_end, b.order, b.task);
                    });
  trial.clear();
  for (std::size_t i = 0; i < count; ++i)
    trial.push_back(sorted[i].task);
  for (std::size_t k = count; k > 0; --k) {
    const ns time = g.time_of(variant, k * 1'000'000);
    const ns end = now + time;
    if (knob[3] && g.variants[variant].resource() == 1) {
      // Only if no booked member is left behind that could come soon.
      ns soon = far_off;
      std::size_t waiting = 0;
      for (const slot o : g.variants[variant].open) {
        const batch_entry& b = g.batches[o];
        waiting += b.tasks.size();
        soon = std::min(soon, b.latest);
      }
      if (knob[3] == 1 && k * 100 < waiting * static_cast<std::size_t>(knob[4]) && k < g.variants[variant].info.max_batch)
        continue;
      if (knob[3] == 2 && k * 100 < static_cast<std::size_t>(knob[4]) && sorted.front().latest_end - end > knob[5] * 1'000'000)
        continue;
    }
    if (end > sorted.front().latest_end)
      continue;
    if (end > room_before(g.lanes[lane].order, trial, k) || end > room_before(g.replicas[replica].order, trial, k))
      continue;
    ns urgency = sorted.front().latest_end - time;
    if (g.variants[variant].resource() == 1) {
      if (knob[0] == 1) urgency = -static_cast<ns>(k) * g.variants[variant].times[0] * 1000 / time;
      if (knob[0] == 2) urgency = -(static_cast<ns>(k) * g.variants[variant].times[0] - time);
      if (knob[0] == 3) urgency = -static_cast<ns>(k);
      if (knob[0] == 4) urgency = (sorted.front().latest_end - time - now) * time / static_cast<ns>(k) / g.variants[variant].times[0];
    }
    if (best.replica == none || urgency < best.urgency) {
      best.replica = replica;
      best.urgency = urgency;
      best.tasks.assign(trial.begin(), trial.begin() + static_cast<std::ptrdiff_t>(k));
    }
    return;
  }
}

bool state::run_lane(slot lane) {
  const lane_entry& l = g.lanes[lane];
  const auto resource = index_of(l.resource);
  pick best;
  for (const slot r : g.nodes[l.node].replicas) {
    const replica_entry& replica = g.replicas[r];
    const variant_entry& v = g.variants[replica.variant];
    if (v.resource() != resource || !replica.ready || v.ready.empty() || g.running_of(replica.order) != none)
      continue;
    consider(lane, r, v.ready, resource == 1 || knob[2] ? v.info.max_batch : 1, best);
  }
  if (best.replica == none && !l.order.empty()) {
    // As booked, if all of it is ready.
    const batch_entry& head = g.batches[l.order.front()];
    if (head.earliest <= now && g.replicas[head.replica].ready && g.running_of(g.replicas[head.replica].order) == none &&
        g.replicas[head.replica].order.front() == l.order.front()) {
      best.replica = head.replica;
      best.tasks = head.tasks;
    }
  }
  if (best.replica == none)
    return false;
  launch(lane, best.replica, best.tasks);
  return true;
}

/// An idle lane takes ready work that is booked with another variant of the function, if its call can pay.
bool state::run_exchange(slot lane) {
  const lane_entry& l = g.lanes[lane];
  const auto resource = index_of(l.resource);
  pick best;
  std::vector<task_ref> affordable;
  for (const slot r : g.nodes[l.node].replicas) {
    const replica_entry& replica = g.replicas[r];
    const variant_entry& v = g.variants[replica.variant];
    if (v.resource() != resource || !replica.ready || g.running_of(replica.order) != none)
      continue;
    affordable.clear();
    for (const slot sibling : v.siblings)
      for (const task_ref t : g.variants[sibling].ready) {
        const call_entry& call = g.calls[t.call];
        const auto& allowed = g.dags[call.dag].stages[call.tasks[t.index].stage].variants;
        if (std::find(allowed.begin(), allowed.end(), replica.variant) == allowed.end())
          continue;
        if (call.cost - g.variants[sibling].info.cost + v.info.cost <= call.max_cost)
          affordable.push_back(t);
      }
    if (!affordable.empty())
      consider(lane, r, affordable, resource == 1 ? v.info.max_batch : 1, best);
  }
  if (best.replica == none)
    return false;
  launch(lane, best.replica, best.tasks);
  return true;
}

void state::forget_ready(task_ref task, slot variant) {
  auto& ready = g.variants[variant].ready;
  const auto at = std::find(ready.begin(), ready.end(), task);
  if (at != ready.end())
    ready.erase(at);
}

void state::launch(slot lane, slot replica, std::vector<task_ref>& tasks) {
  const slot variant = g.replicas[replica].variant;
  ns latest = far_off;
  for (const task_ref t : tasks) {
    latest = std::min(latest, g.latest_end(t));
    call_entry& call = g.calls[t.call];
    stage_entry& stage = call.stages[call.tasks[t.index].stage];
    forget_ready(t, stage.variant);
    if (stage.variant != variant && stage.width == 1) {
      call.cost += g.variants[variant].info.cost - g.variants[stage.variant].info.cost;
      stage.variant = variant;
    }
  }
  const slot s = g.start(lane, replica, tasks);
  batch_entry& b = g.batches[s];
  b.id = batch_id{++batches_named};
  batch_slots.at(batch_slots.insert(b.id)).at = s;
  g.variants[variant].last_used = g.replicas[replica].last_used = batches_named;
  placing::dispatch d;
  d.batch = b.id;
  d.node = g.nodes[g.lanes[lane].node].id;
  d.replica = g.replicas[replica].id;
  d.variant = g.variants[variant].info.id;
  for (const task_ref t : b.tasks) {
    const call_entry& call = g.calls[t.call];
    const std::uint32_t stage = call.tasks[t.index].stage;
    d.tasks.push_back({call.id, stage, t.index - call.stages[stage].first});
  }
  d.latest_start = from_ns(std::max(now, latest - b.duration));
  out->emplace_back(std::move(d));
}

void state::run_idle() {
  // What one lane takes may be what another waited behind: until nothing more starts.
  for (bool again = true; again;) {
    again = false;
    for (const std::size_t resource : {std::size_t{1}, std::size_t{0}})
      for (const bool exchange : {false, true})
        for (slot n = 0; n < g.nodes.size(); ++n)
          for (const slot lane : g.nodes[n].lanes[resource])
            if (g.running_of(g.lanes[lane].order) == none)
              again = (exchange ? knob[1] >> resource & 1 ? false : run_exchange(lane) : run_lane(lane)) || again;
  }
}

} // namespace squall::policy::calendar
