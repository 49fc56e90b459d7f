// What the calendar hears.
#include "policy/calendar/plans.hpp"
#include "policy/calendar/state.hpp"
#include "policy/detail/averages.hpp"

#include <algorithm>

namespace squall::policy::calendar {

namespace {

/// Where one more goes: to the first that is free, else to the end.
template <class Entry, class Free>
slot place_in(std::vector<Entry>& pool, const Free& is_free) {
  const auto at = std::find_if(pool.begin(), pool.end(), is_free);
  if (at != pool.end())
    return static_cast<slot>(at - pool.begin());
  pool.emplace_back();
  return static_cast<slot>(pool.size() - 1);
}

} // namespace

// -- the catalogue
// ------------------------------------------------------------------------------------------------------------

/// Times per batch size: the profile's, by what executions were found to take longer.
void state::set_times(variant_entry& v) {
  v.times.clear();
  const auto& profile = v.info.batch_times;
  for (std::uint32_t b = 1; b <= v.info.max_batch; ++b) {
    ns time = v.info.expected.count() * b;
    if (b <= profile.size())
      time = profile[b - 1].count();
    else if (!profile.empty())
      time = profile.back().count() / static_cast<ns>(profile.size()) * b;
    if (v.stretch_ppm > 1'000'000)
      time += time / 1'000'000 * (v.stretch_ppm - 1'000'000);
    v.times.push_back(std::max<ns>({1, time, v.times.empty() ? 1 : v.times.back()}));
  }
}

/// A factor that was learned over an assumption, before anything was measured, is not counted on top of the first
/// measurement, which says by itself what executions take.
void state::keep_booked_time(variant_entry& v, ns before) {
  if (v.info.batch_times.empty() || v.info.batch_times.front().count() <= 0 || before <= 0 ||
      v.stretch_ppm <= 1'000'000)
    return;
  const auto same = static_cast<ns>(static_cast<__int128>(before) * 1'000'000 / v.info.batch_times.front().count());
  v.stretch_ppm = std::clamp<ns>(same, 1'000'000, v.stretch_ppm);
}

void state::on(const placing::function_registered& fact) {
  std::vector<slot> all;
  for (const placing::variant_info& info : fact.variants) {
    if (!info.id)
      continue;
    slot s = find(variant_slots, info.id);
    if (s == none) {
      s = place_in(g.variants, [](const variant_entry& v) { return !v.info.id; });
      put(variant_slots, info.id, s);
    }
    variant_entry& v = g.variants[s];
    const ns before = v.times.empty() || !v.info.batch_times.empty() ? 0 : v.times.front();
    v.info = info;
    v.removed = false;
    v.info.max_batch = std::clamp<std::uint32_t>(info.max_batch, 1, max_batch_known);
    keep_booked_time(v, before);
    set_times(v);
    all.push_back(s);
  }
  for (const slot s : all) {
    g.variants[s].siblings.clear();
    for (const slot other : all)
      if (other != s)
        g.variants[s].siblings.push_back(other);
  }
  derive_all();
}

void state::on(const placing::function_removed& fact) {
  for (const variant_id id : fact.variants)
    if (const slot s = find(variant_slots, id); s != none) {
      g.variants[s].removed = true;
      g.variants[s].demand = g.variants[s].worth = 0; // nothing loads it any more
    }
  forget_variants();
}

/// Evicts what is idle of removed variants; those that nothing names leave their places to others.
void state::forget_variants() {
  for (slot s = 0; s < g.variants.size(); ++s) {
    if (!g.variants[s].removed || is_named(s))
      continue;
    for (const slot r : std::vector<slot>{g.variants[s].replicas})
      if (g.replicas[r].ready)
        evict(r);
    if (!g.variants[s].replicas.empty())
      continue;
    for (variant_entry& other : g.variants)
      std::erase(other.siblings, s);
    if (const auto at = variant_slots.find_slot(g.variants[s].info.id); at != no_slot)
      variant_slots.erase(at);
    g.variants[s] = {};
  }
}

bool state::is_named(slot variant) const {
  const variant_entry& v = g.variants[variant];
  if (!v.open.empty() || !v.ready.empty() ||
      std::any_of(v.replicas.begin(), v.replicas.end(), [&](slot r) { return !g.replicas[r].order.empty(); }))
    return true;
  if (std::any_of(g.dags.begin(), g.dags.end(), [&](const dag_entry& dag) {
        return std::any_of(dag.stages.begin(), dag.stages.end(), [&](const dag_stage& stage) {
          return std::find(stage.variants.begin(), stage.variants.end(), variant) != stage.variants.end();
        });
      }))
    return true;
  return std::any_of(g.calls.begin(), g.calls.end(), [&](const call_entry& call) {
    return call.dag != none && std::any_of(call.stages.begin(), call.stages.end(),
                                           [&](const stage_entry& stage) { return stage.variant == variant; });
  });
}

void state::derive_all() {
  for (dag_entry& dag : g.dags)
    if (dag.id) {
      static_cast<void>(derive(dag, g.variants)); // it was a DAG before
      want_front(dag);
    }
}

/// Where there are too many plans to list, the efficient ones are looked for off the hot path, and again when times or
/// costs have moved by an eighth. Until they are here those of the sweep have to do.
void state::want_front(dag_entry& dag) {
  const auto moved = [](std::int64_t is, std::int64_t was) { return std::abs(is - was) > was / 8; };
  if (dag.listed || dag.removed || dag.front_wanted ||
      !(moved(dag.least_latency, dag.asked_latency) || moved(dag.least_cost, dag.asked_cost)))
    return;
  dag.front_wanted = true;
  dag.asked_latency = dag.least_latency;
  dag.asked_cost = dag.least_cost;
  out->emplace_back(front_problem(dag, g.variants));
}

void state::on(const placing::front_ready& fact) {
  const slot s = find(dag_slots, fact.dag);
  if (s == none || !g.dags[s].front_wanted)
    return;
  dag_entry& dag = g.dags[s];
  dag.front_wanted = false;
  std::vector<std::vector<std::uint8_t>> front;
  for (const auto& plan : fact.plans)
    if (is_plan_of(dag, plan) && front.size() < max_plans)
      front.emplace_back(plan.begin(), plan.end());
  dag.front = std::move(front);
  static_cast<void>(derive(dag, g.variants)); // it was a DAG before
}

void state::on(const placing::dag_registered& fact) {
  dag_entry dag;
  dag.id = fact.id;
  for (const placing::stage_info& info : fact.stages) {
    dag_stage& stage = dag.stages.emplace_back();
    stage.info = info;
    stage.info.width_max = info.map ? std::clamp<std::uint32_t>(info.width_max, 1, max_width_booked) : 1;
    stage.odds_ppm = info.conditional ? info.chance_ppm : 1'000'000;
    for (const variant_id v : info.variants)
      if (const slot s = find(variant_slots, v); s != none)
        stage.variants.push_back(s);
  }
  if (!derive(dag, g.variants))
    return; // calls of it are told that it is not registered
  slot s = find(dag_slots, fact.id);
  if (s != none && g.dags[s].calls > 0) {
    g.dags[s].removed = false;
    return; // an id names one version, which calls in flight rely on
  }
  if (s == none) {
    s = place_in(g.dags, [](const dag_entry& d) { return !d.id; });
    put(dag_slots, fact.id, s);
  }
  g.dags[s] = std::move(dag);
  want_front(g.dags[s]);
}

void state::on(const placing::dag_removed& fact) {
  const slot s = find(dag_slots, fact.id);
  if (s == none)
    return;
  g.dags[s].removed = true;
  forget_dag(s);
}

/// A removed DAG leaves its place to another once its last call has ended and no offer names it.
void state::forget_dag(slot s) {
  dag_entry& dag = g.dags[s];
  if (!dag.removed || dag.calls > 0 ||
      std::any_of(tickets.begin(), tickets.end(), [&](const held_ticket& t) { return g.calls[t.call].dag == s; }))
    return;
  dag_slots.erase(dag_slots.find_slot(dag.id));
  dag = {};
}

// -- nodes
// --------------------------------------------------------------------------------------------------------------------

void state::on(const placing::node_joined& fact) {
  dirty = true;
  if (find(node_slots, fact.id) != none)
    on(placing::node_lost{fact.id}); // its former life is over
  const slot s = place_in(g.nodes, [](const node_entry& n) { return !n.id; });
  g.nodes[s] = {};
  g.nodes[s].id = fact.id;
  g.nodes[s].memory = fact.memory_bytes;
  for (const placing::lane_info& lane : fact.lanes) {
    const slot l = place_in(g.lanes, [](const lane_entry& free) { return free.node == none; });
    g.lanes[l] = {s, lane.resource, {}, {}};
    g.nodes[s].lanes[index_of(lane.resource)].push_back(l);
    ++g.lane_count[index_of(lane.resource)];
  }
  put(node_slots, fact.id, s);
}

void state::on(const placing::node_lost& fact) {
  const slot n = find(node_slots, fact.id);
  if (n == none)
    return;
  dirty = true;
  node_slots.erase(node_slots.find_slot(fact.id));
  std::vector<std::pair<std::uint64_t, slot>> hit;
  const auto unbook_all = [&](std::vector<slot> order) {
    for (const slot b : order) {
      const std::vector<task_ref> tasks = g.batches[b].tasks;
      const bool running = g.batches[b].running;
      if (running) {
        batch_slots.erase(batch_slots.find_slot(g.batches[b].id));
        batch_ends.erase(b);
        g.abort(b);
      }
      for (const task_ref t : tasks) {
        call_entry& call = g.calls[t.call];
        stage_entry& stage = call.stages[call.tasks[t.index].stage];
        if (!running)
          g.remove(t);
        else
          g.variants[stage.variant].ready.push_back(t);
        hit.emplace_back(call.order, t.call);
      }
    }
  };
  for (const auto& lanes : g.nodes[n].lanes)
    for (const slot l : lanes) {
      unbook_all(g.lanes[l].order);
      --g.lane_count[index_of(g.lanes[l].resource)];
    }
  for (const slot r : std::vector<slot>(g.nodes[n].replicas)) {
    unbook_all(g.replicas[r].order);
    load_ends.erase(r);
    if (g.replicas[r].ordered)
      replica_slots.erase(replica_slots.find_slot(g.replicas[r].id));
    g.drop_replica(r);
  }
  std::erase_if(to_load, [&](slot r) { return g.replicas[r].variant == none; });
  g.nodes[n].id = {};
  for (auto& lanes : g.nodes[n].lanes) {
    for (const slot l : lanes)
      g.lanes[l].node = none;
    lanes.clear();
  }
  std::sort(hit.begin(), hit.end());
  hit.erase(std::unique(hit.begin(), hit.end()), hit.end());
  for (const auto& [order, call] : hit)
    if (!place_again(call))
      give_up(call, errc::unavailable, "node " + to_string(fact.id) + ", which was to run a part of it, was lost");
}

// -- calls
// --------------------------------------------------------------------------------------------------------------------

void state::on(const placing::call_arrived& fact) {
  dirty = true;
  if (manage_at == far_off)
    manage_at = now;
  const auto refuse = [&](errc code, std::string why) {
    out->emplace_back(placing::refuse{fact.id, code, std::move(why), {}, {}});
  };
  const slot dag = find(dag_slots, fact.dag);
  if (dag == none || g.dags[dag].removed)
    return refuse(errc::not_found, "the DAG is not registered with variants that can run");
  if (fact.deadline != never && to_ns(fact.deadline) <= now)
    return refuse(errc::invalid_argument,
                  "the latency SLO is zero, negative or in the past; ask for a finish that lies ahead");
  if (fact.max_cost <= 0)
    return refuse(errc::invalid_argument,
                  "the cost SLO is zero or negative; the least that a call of this DAG costs is " +
                      std::to_string(g.dags[dag].least_cost) + " micro-units");
  if (call_slots.size() + tickets.size() >= config.max_calls)
    return refuse(errc::overloaded, "the calendar holds " + std::to_string(config.max_calls) + " calls, its limit");
  const slot s = open_call(fact, dag);
  const verdict v = place_call(s);
  note_demand(g.calls[s], v);
  if (v != verdict::admitted) {
    refuse_call(s, v);
    g.free_call(s);
    return;
  }
  put(call_slots, fact.id, s);
  ++g.dags[dag].calls;
  admit_call(s, fact.assurance_ppm > 0);
}

void state::on(const placing::call_ended& fact) {
  const slot s = find(call_slots, fact.id);
  if (s == none)
    return;
  dirty = true;
  const call_entry& call = g.calls[s];
  if (call.assurance_ppm > 0 && call.assurance_ppm < placing::firm_ppm)
    odds.note(now <= call.deadline, call.assurance_ppm);
  drop_call(s);
}

void state::on(const placing::cancel_requested& fact) {
  const slot s = find(call_slots, fact.id);
  if (s == none)
    return;
  dirty = true;
  give_up(s, errc::cancelled, "the client withdrew the call");
}

void state::give_up(slot s, errc code, const std::string& why) {
  const call_entry& call = g.calls[s];
  if (call.held) {
    std::erase_if(tickets, [&](const held_ticket& t) { return t.call == s; });
    drop_call(s);
    return;
  }
  if (code != errc::cancelled && call.assurance_ppm > 0 && call.assurance_ppm < placing::firm_ppm)
    odds.note(false, call.assurance_ppm);
  placing::abandon command{call.id, code, why, {}};
  for (const task_entry& t : call.tasks)
    if (t.batch != none && g.batches[t.batch].running)
      command.nodes.push_back(g.nodes[g.lanes[g.batches[t.batch].lane].node].id);
  std::sort(command.nodes.begin(), command.nodes.end());
  command.nodes.erase(std::unique(command.nodes.begin(), command.nodes.end()), command.nodes.end());
  drop_call(s);
  out->emplace_back(std::move(command));
}

void state::drop_call(slot s) {
  unbook(s);
  call_entry& call = g.calls[s];
  const slot dag = call.dag;
  for (std::uint32_t i = 0; i < call.tasks.size(); ++i)
    if (call.tasks[i].batch != none)
      g.detach({s, i});
  if (!call.held) {
    call_slots.erase(call_slots.find_slot(call.id));
    --g.dags[dag].calls;
  }
  g.free_call(s);
  forget_dag(dag);
}

void state::on(const placing::stage_ready& fact) {
  const slot s = find(call_slots, fact.call);
  if (s == none || fact.stage >= g.calls[s].stages.size())
    return;
  dirty = true;
  call_entry& call = g.calls[s];
  stage_entry& stage = call.stages[fact.stage];
  if (stage.phase != stage_phase::waiting)
    return;
  dag_stage& known = g.dags[call.dag].stages[fact.stage];
  if (fact.width > stage.width)
    return give_up(s, errc::invalid_argument,
                   "stage " + std::to_string(fact.stage) + " is " + std::to_string(fact.width) +
                       " wide, declared are " + std::to_string(stage.width));
  if (known.info.conditional || known.info.map) {
    const auto seen = static_cast<std::int64_t>(std::uint64_t{fact.width} * 1'000'000 / stage.width);
    known.odds_ppm = static_cast<std::uint32_t>(known.odds_ppm + (seen - known.odds_ppm) / 64);
  }
  while (stage.width > fact.width) {
    g.remove({s, stage.first + stage.width - 1});
    call.tasks[stage.first + stage.width - 1].done = true;
    --stage.width;
    --stage.left;
    call.cost -= g.variants[stage.variant].info.cost;
  }
  if (stage.width == 0) {
    stage.phase = stage_phase::done;
    g.touch_stage(s, fact.stage);
    return;
  }
  make_ready(s, fact.stage);
  if (known.info.best_effort > 0)
    go_on_without(s, fact.stage);
  if (!settle_odds(s, fact.stage) && !place_again(s))
    give_up(s, errc::deadline_exceeded,
            "stage " + std::to_string(fact.stage) + " runs after all, and its odds were not booked in full");
}

void state::make_ready(slot s, std::uint32_t index) {
  stage_entry& stage = g.calls[s].stages[index];
  stage.phase = stage_phase::ready;
  for (std::uint32_t e = 0; e < stage.width; ++e)
    g.variants[stage.variant].ready.push_back({s, stage.first + e});
}

void state::forget_ready(task_ref task, slot variant) {
  auto& ready = g.variants[variant].ready;
  const auto at = std::find(ready.begin(), ready.end(), task);
  if (at != ready.end())
    ready.erase(at);
}

void state::on(const placing::batch_done& fact) {
  const slot b = find(batch_slots, fact.batch);
  if (b == none)
    return;
  dirty = true;
  batch_slots.erase(batch_slots.find_slot(fact.batch));
  batch_ends.erase(b);
  const std::vector<task_ref> tasks = g.batches[b].tasks;
  if (fact.code != errc::ok) {
    // It was not run: what it held is ready as before.
    g.abort(b);
    for (const task_ref t : tasks)
      g.variants[g.calls[t.call].stages[g.calls[t.call].tasks[t.index].stage].variant].ready.push_back(t);
    for (const task_ref t : tasks)
      if (const std::uint32_t stage = g.calls[t.call].tasks[t.index].stage; needless(g.calls[t.call], stage))
        leave_out(t.call, stage); // nobody waits for it any more
    for (const task_ref t : tasks)
      if (g.calls[t.call].dag != none && g.calls[t.call].tasks[t.index].batch == none &&
          !g.calls[t.call].tasks[t.index].done && !place_again(t.call))
        give_up(t.call, errc::deadline_exceeded, "a batch of it was not started in time");
    return;
  }
  if (!tasks.empty() && tasks.size() * whole_task == g.batches[b].weight)
    learn_time(g.batches[b].variant, tasks.size(),
               fact.executed.count() > 0 ? std::min(fact.executed, detail::longest_work).count()
                                         : now - g.batches[b].earliest);
  for (const task_ref t : tasks) {
    call_entry& call = g.calls[t.call];
    stage_entry& stage = call.stages[call.tasks[t.index].stage];
    if (--stage.left == 0)
      stage.phase = stage_phase::done;
  }
  g.finish(b);
}

void state::on(const placing::replica_loaded& fact) {
  const slot r = find(replica_slots, fact.replica);
  if (r == none)
    return;
  dirty = true;
  load_ends.erase(r);
  if (fact.code == errc::ok) {
    g.set_ready(r, true, now);
    return;
  }
  replica_slots.erase(replica_slots.find_slot(fact.replica));
  g.variants[g.replicas[r].variant].retry_at = now + config.load_retry.count();
  std::vector<std::pair<std::uint64_t, slot>> hit;
  for (const slot b : std::vector<slot>(g.replicas[r].order))
    for (const task_ref t : std::vector<task_ref>(g.batches[b].tasks)) {
      g.remove(t);
      hit.emplace_back(g.calls[t.call].order, t.call);
    }
  g.drop_replica(r);
  std::sort(hit.begin(), hit.end());
  hit.erase(std::unique(hit.begin(), hit.end()), hit.end());
  for (const auto& [order, call] : hit)
    if (!place_again(call))
      give_up(call, errc::unavailable, "what it needs could not be loaded");
}

void state::on(const placing::tick&) {
  check_overruns();
  if (now >= manage_at) {
    manage();
    manage_at = call_slots.empty() && tickets.empty() ? far_off : now + config.manage_every.count();
  }
  order_loads();
  if (dirty) {
    tidy();
    run_idle();
  }
  dirty = false;
}

std::optional<time_point> state::next_deadline() const {
  if (dirty)
    return from_ns(now);
  ns next = manage_at;
  if (!tickets.empty())
    next = std::min(next, tickets.front().expires);
  for (const auto* timers : {&batch_ends, &load_ends})
    if (const auto first = timers->first())
      next = std::min(next, to_ns(*first));
  return next == far_off ? std::nullopt : std::optional{from_ns(std::max(now, next))};
}

} // namespace squall::policy::calendar
