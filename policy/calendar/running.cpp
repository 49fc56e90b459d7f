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

/// The most urgent of the ready tasks, as many as may run on the replica now; taken if more urgent than the best so
/// far. On GPUs a batch that saves more lane time counts as more urgent.
void state::consider(slot lane, slot replica, const std::vector<task_ref>& from, pick& best) {
  const slot variant = g.replicas[replica].variant;
  const variant_entry& v = g.variants[variant];
  sorted.clear();
  for (const task_ref t : from)
    sorted.push_back({g.latest_end(t), g.calls[t.call].order, t});
  const std::size_t most = v.resource() == 1 ? v.info.max_batch : 1;
  const std::size_t count = std::min(most, sorted.size());
  std::partial_sort(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(count), sorted.end(),
                    [](const urgent_task& a, const urgent_task& b) {
                      return std::tie(a.latest_end, a.order, a.task) < std::tie(b.latest_end, b.order, b.task);
                    });
  trial.clear();
  for (std::size_t i = 0; i < count; ++i)
    trial.push_back(sorted[i].task);
  for (std::size_t k = count; k > 0; --k) {
    const ns time = g.time_of(variant, k * whole_task);
    const ns end = now + time;
    if (end > sorted.front().latest_end || end > room_before(g.lanes[lane].order, trial, k) ||
        end > room_before(g.replicas[replica].order, trial, k))
      continue;
    const ns slack = std::min(sorted.front().latest_end - end, far_off / 1'000'000) / 1000;
    const std::int64_t urgency =
        v.resource() == 1 ? slack * (time / 1000) / static_cast<ns>(k) / std::max<ns>(1, v.times.front() / 1000)
                          : slack;
    if (best.replica == none || urgency < best.urgency) {
      best.replica = replica;
      best.urgency = urgency;
      best.tasks.assign(trial.begin(), trial.begin() + static_cast<std::ptrdiff_t>(k));
    }
    return;
  }
}

/// Work that is booked with a variant that is resident here, wherever its place is; else the first batch as booked.
bool state::run_lane(slot lane) {
  const lane_entry& l = g.lanes[lane];
  pick best;
  for (const slot r : g.nodes[l.node].replicas) {
    const replica_entry& replica = g.replicas[r];
    const variant_entry& v = g.variants[replica.variant];
    if (v.info.resource == l.resource && replica.ready && !v.ready.empty() && g.running_of(replica.order) == none)
      consider(lane, r, v.ready, best);
  }
  if (best.replica == none && !l.order.empty()) {
    const batch_entry& head = g.batches[l.order.front()];
    const replica_entry& replica = g.replicas[head.replica];
    const bool can_start = replica.ready && replica.order.front() == l.order.front();
    const bool complete = std::all_of(head.tasks.begin(), head.tasks.end(), [&](task_ref t) {
      const call_entry& call = g.calls[t.call];
      return call.stages[call.tasks[t.index].stage].phase == stage_phase::ready;
    });
    if (can_start && complete) {
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
  pick best;
  for (const slot r : g.nodes[l.node].replicas) {
    const replica_entry& replica = g.replicas[r];
    const variant_entry& v = g.variants[replica.variant];
    if (v.info.resource != l.resource || !replica.ready || g.running_of(replica.order) != none)
      continue;
    affordable.clear();
    for (const slot sibling : v.siblings)
      for (const task_ref t : g.variants[sibling].ready) {
        const call_entry& call = g.calls[t.call];
        const std::uint32_t stage = call.tasks[t.index].stage;
        const auto& allowed = g.dags[call.dag].stages[stage].variants;
        if (call.stages[stage].width == 1 && call.cost - g.variants[sibling].info.cost + v.info.cost <= call.max_cost &&
            std::find(allowed.begin(), allowed.end(), replica.variant) != allowed.end() &&
            std::none_of(affordable.begin(), affordable.end(), [&](task_ref other) { return other.call == t.call; }))
          affordable.push_back(t); // one of each call: each of them spends what the call has left
      }
    if (!affordable.empty())
      consider(lane, r, affordable, best);
  }
  if (best.replica == none)
    return false;
  launch(lane, best.replica, best.tasks);
  return true;
}

void state::launch(slot lane, slot replica, std::vector<task_ref>& tasks) {
  const slot variant = g.replicas[replica].variant;
  ns latest = far_off;
  for (const task_ref t : tasks) {
    latest = std::min(latest, g.latest_end(t));
    call_entry& call = g.calls[t.call];
    stage_entry& stage = call.stages[call.tasks[t.index].stage];
    forget_ready(t, stage.variant);
    call.cost += g.variants[variant].info.cost - g.variants[stage.variant].info.cost;
    stage.variant = variant;
  }
  const slot s = g.start(lane, replica, tasks);
  batch_entry& b = g.batches[s];
  b.id = batch_id{++last_id};
  put(batch_slots, b.id, s);
  batch_ends.set(s, from_ns(b.end()), b.id.value);
  placing::dispatch command;
  command.batch = b.id;
  command.node = g.nodes[g.lanes[lane].node].id;
  command.replica = g.replicas[replica].id;
  command.variant = g.variants[variant].info.id;
  for (const task_ref t : b.tasks) {
    const call_entry& call = g.calls[t.call];
    const std::uint32_t stage = call.tasks[t.index].stage;
    command.tasks.push_back({call.id, stage, t.index - call.stages[stage].first});
  }
  command.latest_start = latest == far_off ? never : from_ns(std::max(now, latest - b.duration));
  out->emplace_back(std::move(command));
}

/// Nodes that have an idle replica of something that is ready: other lanes have nothing to look for.
void state::find_work(bool exchange) {
  for (auto& found : work_nodes)
    found.clear();
  const auto look = [&](const variant_entry& v) {
    for (const slot r : v.replicas)
      if (g.replicas[r].ready && g.running_of(g.replicas[r].order) == none)
        work_nodes[v.resource()].push_back(g.replicas[r].node);
  };
  for (const variant_entry& v : g.variants) {
    if (v.ready.empty())
      continue;
    if (!exchange)
      look(v);
    else
      for (const slot s : v.siblings)
        look(g.variants[s]);
  }
  for (auto& found : work_nodes) {
    std::sort(found.begin(), found.end());
    found.erase(std::unique(found.begin(), found.end()), found.end());
  }
}

void state::run_idle() {
  // What one lane takes may be what another waited behind: until nothing more starts.
  for (bool again = true; again;) {
    again = false;
    for (const std::size_t resource : {std::size_t{1}, std::size_t{0}})
      for (const bool exchange : {false, true}) {
        find_work(exchange);
        for (const slot n : work_nodes[resource])
          for (const slot lane : g.nodes[n].lanes[resource])
            if (g.running_of(g.lanes[lane].order) == none)
              again = (exchange ? run_exchange(lane) : run_lane(lane)) || again;
      }
  }
}

} // namespace squall::policy::calendar
