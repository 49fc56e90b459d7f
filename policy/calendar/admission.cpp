// Whether a call gets a place in the certificate, and which.
#include "policy/calendar/search.hpp"
#include "policy/calendar/state.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <tuple>

namespace squall::policy::calendar {

namespace {
constexpr std::int64_t unpriced = std::numeric_limits<std::int64_t>::max() / 256;
constexpr ns no_deadline_span = 2'000'000'000; ///< a call without a deadline stands in line as if it had this one
} // namespace

slot state::open_call(const placing::call_arrived& fact, slot dag) {
  const slot s = g.add_call();
  call_entry& call = g.calls[s];
  const dag_entry& d = g.dags[dag];
  call.id = fact.id;
  call.client = fact.client;
  call.dag = dag;
  call.arrival = now;
  call.deadline = fact.deadline == never ? far_off : to_ns(fact.deadline);
  call.max_cost = fact.max_cost;
  call.cost = 0;
  call.assurance_ppm = fact.assurance_ppm;
  call.priority = fact.priority;
  call.preference = fact.preference;
  call.order = ++arrivals;
  call.held = false;
  call.stages.assign(d.stages.size(), {});
  call.tasks.clear();
  call.stages_left = static_cast<std::uint32_t>(d.stages.size());
  for (std::uint32_t i = 0; i < d.stages.size(); ++i) {
    stage_entry& stage = call.stages[i];
    stage.first = static_cast<std::uint32_t>(call.tasks.size());
    stage.width = d.stages[i].info.map ? std::max<std::uint32_t>(1, d.stages[i].info.width_max) : 1;
    stage.left = stage.width;
    for (std::uint32_t e = 0; e < stage.width; ++e)
      call.tasks.push_back({none, i, 1'000'000, false});
  }
  return s;
}

std::int64_t state::stage_price(const variant_entry& v, std::uint64_t odds) const {
  if (g.lane_count[v.resource()] == 0)
    return unpriced;
  if (v.replicas.empty() && v.resource() == 1)
    return unpriced;
  ns growth = v.times.front();
  if (v.times.size() > 1 && v.resource() == 1 && !v.open.empty())
    growth = (v.times.back() - v.times.front()) / static_cast<ns>(v.times.size() - 1);
  return price.of(v.resource(), growth * static_cast<ns>(odds) / 1'000'000);
}

void state::rank_plans(const call_entry& call) {
  const dag_entry& dag = g.dags[call.dag];
  price.refresh(g.booked, g.lane_count);
  stage_prices.clear();
  for (const dag_stage& stage : dag.stages)
    for (const slot v : stage.variants)
      stage_prices.push_back(stage_price(g.variants[v], 1'000'000));
  ranked.clear();
  for (std::uint32_t p = 0; p < dag.plans.size(); ++p) {
    const plan_entry& plan = dag.plans[p];
    if (plan.cost > call.max_cost || now + plan.latency > call.deadline)
      continue;
    std::int64_t sum = 0;
    std::size_t at = 0;
    for (std::size_t s = 0; s < dag.stages.size(); ++s) {
      sum = std::min(unpriced, sum + stage_prices[at + plan.choice[s]] * std::max<std::int64_t>(1, call.stages[s].width));
      at += dag.stages[s].variants.size();
    }
    if (sum < unpriced)
      ranked.push_back({sum, p});
  }
  if (call.preference == placing::preference::least_loaded)
    std::sort(ranked.begin(), ranked.end());
  else if (call.preference == placing::preference::fastest)
    std::sort(ranked.begin(), ranked.end(), [&](const candidate& a, const candidate& b) {
      return std::tuple{dag.plans[a.plan].latency, a} < std::tuple{dag.plans[b.plan].latency, b};
    });
  else
    std::sort(ranked.begin(), ranked.end(), [&](const candidate& a, const candidate& b) {
      return std::tuple{dag.plans[a.plan].cost, a} < std::tuple{dag.plans[b.plan].cost, b};
    });
}

state::verdict state::place_call(slot s) {
  const dag_entry& dag = g.dags[g.calls[s].dag];
  rank_plans(g.calls[s]);
  if (ranked.empty())
    return verdict::impossible;
  const std::uint32_t priority = std::min<std::uint32_t>(g.calls[s].priority, 16);
  const std::int64_t limit = prices::limit << (2 * priority);
  std::size_t failed_on = resources;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> failed; // plan, the stage at which it failed
  std::uint32_t tried = 0;
  for (const candidate& c : ranked) {
    if (c.price > limit)
      continue;
    const plan_entry& plan = dag.plans[c.plan];
    // What failed once fails again: the same choices up to there.
    const bool again = std::any_of(failed.begin(), failed.end(), [&](const auto& f) {
      const auto& other = dag.plans[f.first].choice;
      return std::equal(other.begin(), other.begin() + f.second + 1, plan.choice.begin());
    });
    if (again)
      continue;
    if (tried++ == config.plans_tried)
      break;
    std::int64_t paid = 0;
    std::uint32_t failed_at = 0;
    g.begin();
    if (!place_plan(s, plan, paid, failed_at)) {
      g.take_back();
      for (stage_entry& stage : g.calls[s].stages)
        stage.placed = false;
      if (getenv("FAILS")) { std::string q; for (auto x : plan.choice) q += char('0' + x); fprintf(stderr, "F %u lat%ld plan %s at %u t %ld\n", g.calls[s].dag, (g.calls[s].deadline-g.calls[s].arrival)/1000000, q.c_str(), failed_at, now/1000000); }
      failed.emplace_back(c.plan, failed_at);
      if (failed_on == resources)
        failed_on = g.variants[dag.stages[failed_at].variants[plan.choice[failed_at]]].resource();
      continue;
    }
    if (paid > limit) {
      g.take_back();
      for (stage_entry& stage : g.calls[s].stages)
        stage.placed = false;
      continue;
    }
    g.keep();
    g.calls[s].cost = plan.cost;
    price.note(true, 0, config.no_place_ppm);
    return verdict::admitted;
  }
  if (failed_on == resources)
    return verdict::too_dear;
  price.note(false, failed_on, config.no_place_ppm);
  return verdict::no_place;
}

bool state::place_plan(slot s, const plan_entry& plan, std::int64_t& paid, std::uint32_t& failed_at) {
  call_entry& call = g.calls[s];
  const dag_entry& dag = g.dags[call.dag];
  const ns span = std::min(call.deadline - call.arrival, no_deadline_span);
  for (std::uint32_t i = 0; i < dag.stages.size(); ++i) {
    const dag_stage& stage = dag.stages[i];
    const slot variant = stage.variants[plan.choice[i]];
    call.stages[i].variant = variant;
    call.stages[i].placed = true;
    const ns key = call.arrival + span / 1024 * stage.share;
    for (std::uint32_t e = 0; e < call.stages[i].width; ++e)
      if (!place_task({s, call.stages[i].first + e}, variant, key, paid)) {
        failed_at = i;
        return false;
      }
  }
  return true;
}

bool state::place_task(task_ref task, slot variant, ns key, std::int64_t& paid) {
  const std::size_t resource = g.variants[variant].resource();
  const auto pay = [&](ns before) { paid += price.of(resource, g.booked[resource] - before); };
  const ns before = g.booked[resource];
  if (resource == 1)
    if (const auto batch = find_join(g, task, variant)) {
      g.join(task, *batch);
      pay(before);
      return true;
    }
  if (const auto where = find_place(g, task, variant, key, arrivals)) {
    g.insert(task, variant, *where, key);
    pay(before);
    return true;
  }
  if (resource == 0)
    if (const auto batch = find_join(g, task, variant)) {
      g.join(task, *batch);
      pay(before);
      return true;
    }
  if (!load_for(task, variant, key))
    return false;
  pay(before);
  return true;
}

/// Books the task on a replica that is loaded for it, where memory is free.
bool state::load_for(task_ref task, slot variant, ns key) {
  const variant_entry& v = g.variants[variant];
  for (const slot r : v.replicas)
    if (!g.replicas[r].ready)
      return false; // one is on its way
  if (v.resource() == 1)
    return false;
  const ns ready = now + v.info.load.count();
  if (ready + g.time_of(variant, 1'000'000) > g.latest_end(task))
    return false;
  slot best = none;
  for (slot n = 0; n < g.nodes.size(); ++n) {
    const node_entry& node = g.nodes[n];
    if (!node.id || node.lanes[v.resource()].empty() || node.used + v.info.memory_bytes > node.memory)
      continue;
    if (best == none || node.memory - node.used > g.nodes[best].memory - g.nodes[best].used)
      best = n;
  }
  if (best == none)
    return false;
  const slot replica = g.add_replica(best, variant, ready);
  const auto where = find_place(g, task, variant, key, g.variants[variant].replicas.size() - 1);
  if (!where)
    return false; // the trial takes the replica back
  g.insert(task, variant, *where, key);
  g.replicas[replica].id = {};
  return true;
}

ns state::finish_of(const call_entry& call) const {
  ns end = now;
  for (const task_entry& t : call.tasks)
    if (t.batch != none)
      end = std::max(end, g.batches[t.batch].end());
  return end;
}

/// What the call gains where its plan with the least price may use GPUs, as if all were resident there: spread over the
/// memory that this takes.
void state::want_gpu(const call_entry& call, verdict v) {
  const dag_entry& dag = g.dags[call.dag];
  std::int64_t best = unpriced, without = unpriced;
  std::uint32_t best_plan = 0, without_plan = 0;
  for (std::uint32_t p = 0; p < dag.plans.size(); ++p) {
    const plan_entry& plan = dag.plans[p];
    if (plan.cost > call.max_cost || now + plan.latency > call.deadline)
      continue;
    std::int64_t sum = 0;
    bool gpu = false;
    for (std::size_t s = 0; s < dag.stages.size(); ++s) {
      const variant_entry& v = g.variants[dag.stages[s].variants[plan.choice[s]]];
      if (v.resource() == 1) {
        gpu = true;
        sum += price.of(1, v.times.back() / static_cast<ns>(v.times.size()));
      } else {
        sum += price.of(0, v.times.front());
      }
    }
    if (!gpu && sum < without) {
      without = sum;
      without_plan = p;
    }
    if (sum < best) {
      best = sum;
      best_plan = p;
    }
  }
  if (std::min(best, without) > price.limit || best == unpriced)
    return;
  for (std::size_t s = 0; s < dag.stages.size() && (v == verdict::admitted || v == verdict::no_place); ++s) {
    const dag_stage& stage = dag.stages[s];
    const slot chosen = v == verdict::admitted ? call.stages[s].variant
                                               : stage.variants[dag.plans[without == unpriced ? best_plan : without_plan].choice[s]];
    if (g.variants[chosen].resource() == 0)
      g.variants[chosen].demand += g.variants[chosen].times.front() * call.stages[s].width;
  }
  if (best >= without)
    return;
  const std::int64_t gain = std::min(without, prices::limit) - best;
  std::int64_t memory = 1;
  const plan_entry& plan = dag.plans[best_plan];
  for (std::size_t s = 0; s < dag.stages.size(); ++s) {
    const variant_entry& v = g.variants[dag.stages[s].variants[plan.choice[s]]];
    if (v.resource() == 1)
      memory += 1 + static_cast<std::int64_t>(v.info.memory_bytes / 1'000'000);
  }
  for (std::size_t s = 0; s < dag.stages.size(); ++s) {
    variant_entry& v = g.variants[dag.stages[s].variants[plan.choice[s]]];
    if (v.resource() == 1) {
      v.demand += v.times.back() / static_cast<ns>(v.times.size());
      v.worth += gain * (1 + static_cast<std::int64_t>(v.info.memory_bytes / 1'000'000)) / memory * 64;
    }
  }
}

} // namespace squall::policy::calendar
