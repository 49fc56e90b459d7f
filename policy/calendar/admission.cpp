// Whether a call gets a place in the certificate, and which.
#include "policy/calendar/search.hpp"
#include "policy/calendar/state.hpp"

#include <algorithm>
#include <tuple>

namespace squall::policy::calendar {

namespace {
constexpr std::int64_t unpriced = std::numeric_limits<std::int64_t>::max() / 65'536;
constexpr std::uint32_t most_priority = 16;
} // namespace

std::uint32_t state::odds_of(const call_entry& call, const dag_stage& stage) const {
  if (call.assurance_ppm >= placing::firm_ppm || (!stage.info.conditional && !stage.info.map))
    return whole_task;
  return static_cast<std::uint32_t>(
      std::clamp<std::uint64_t>(std::uint64_t{stage.odds_ppm} * odds.safety_ppm / 1'000'000, 20'000, whole_task));
}

/// The share of what a task books that it pays for. A branch that is booked in full often gives its place back: it pays
/// for the middle between full and its odds.
std::uint32_t state::paid_ppm(const task_entry& task, const dag_stage& stage) const {
  return stage.info.conditional && task.odds == whole_task ? (1'000'000 + stage.odds_ppm) / 2 : 1'000'000;
}

slot state::open_call(const placing::call_arrived& fact, slot dag) {
  const slot s = g.add_call();
  call_entry& call = g.calls[s];
  const dag_entry& d = g.dags[dag];
  call.id = fact.id;
  call.client = fact.client;
  call.dag = dag;
  call.arrival = now;
  call.deadline = fact.deadline == never ? far_off : to_ns(fact.deadline);
  call.span = std::min(call.deadline - call.arrival, no_deadline_span);
  call.release = 0;
  call.max_cost = fact.max_cost;
  call.cost = 0;
  call.assurance_ppm = fact.assurance_ppm;
  call.priority = std::min(fact.priority, most_priority);
  call.preference = fact.preference;
  call.order = ++arrivals;
  call.held = false;
  call.answer_at = far_off;
  call.without.clear();
  call.stages.assign(d.stages.size(), {});
  call.tasks.clear();
  for (std::uint32_t i = 0; i < d.stages.size(); ++i) {
    stage_entry& stage = call.stages[i];
    stage.first = static_cast<std::uint32_t>(call.tasks.size());
    stage.width = stage.left = d.stages[i].info.width_max;
    const std::uint32_t weight = odds_of(call, d.stages[i]);
    for (std::uint32_t e = 0; e < stage.width; ++e)
      call.tasks.push_back({none, i, weight, false});
  }
  return s;
}

/// What a task of the variant would pay: all of its time, or only what a batch grows by where one waits.
std::int64_t state::stage_price(const variant_entry& v) const {
  if (g.lane_count[v.resource()] == 0 || (v.replicas.empty() && v.resource() == 1))
    return unpriced;
  ns growth = v.times.front();
  if (v.times.size() > 1 && v.resource() == 1 && !v.open.empty())
    growth = (v.times.back() - v.times.front()) / static_cast<ns>(v.times.size() - 1);
  return price.of(v.resource(), growth);
}

void state::refresh_prices() {
  std::array<ns, resources> booked = g.booked;
  for (const held_ticket& t : tickets) {
    booked[0] -= t.cpu;
    booked[1] -= t.gpu;
  }
  price.refresh({std::max<ns>(0, booked[0]), std::max<ns>(0, booked[1])}, g.lane_count);
}

/// The plans that could meet both SLOs, best first by the caller's preference.
void state::rank_plans(const call_entry& call) {
  const dag_entry& dag = g.dags[call.dag];
  refresh_prices();
  stage_prices.clear();
  for (const dag_stage& stage : dag.stages)
    for (const slot v : stage.variants)
      stage_prices.push_back(stage_price(g.variants[v]));
  ranked.clear();
  for (std::uint32_t p = 0; p < dag.plans.size(); ++p) {
    const plan_entry& plan = dag.plans[p];
    if (plan_cost(call, plan) > call.max_cost || now + (fresh(call) ? plan.latency : 0) > call.deadline)
      continue;
    std::int64_t sum = 0;
    std::size_t at = 0;
    for (std::size_t s = 0; s < dag.stages.size(); ++s) {
      const std::int64_t one = stage_prices[at + plan.choice[s]];
      if (call.stages[s].phase != stage_phase::done) {
        const task_entry& task = call.tasks[call.stages[s].first];
        const std::int64_t booked_ppm = std::int64_t{task.odds} * paid_ppm(task, dag.stages[s]) / 1'000'000;
        sum = std::min(unpriced, sum + part_of(one * call.stages[s].width, booked_ppm));
      }
      at += dag.stages[s].variants.size();
    }
    if (sum < unpriced)
      ranked.push_back({sum, p});
  }
  std::sort(ranked.begin(), ranked.end(), [&](const candidate& a, const candidate& b) {
    const auto key = [&](const candidate& c) -> std::int64_t {
      const plan_entry& plan = dag.plans[c.plan];
      return call.preference == placing::preference::cheapest  ? plan.cost
             : call.preference == placing::preference::fastest ? plan.latency
                                                               : c.price;
    };
    return std::tuple{key(a), a} < std::tuple{key(b), b};
  });
}

bool state::fresh(const call_entry& call) const {
  return std::all_of(call.stages.begin(), call.stages.end(),
                     [](const stage_entry& s) { return s.phase == stage_phase::waiting; });
}

/// What the call costs if what is not started yet goes by the plan.
micro_cost state::plan_cost(const call_entry& call, const plan_entry& plan) const {
  const dag_entry& dag = g.dags[call.dag];
  micro_cost sum = 0;
  for (std::size_t s = 0; s < dag.stages.size(); ++s) {
    const stage_entry& stage = call.stages[s];
    const slot planned = dag.stages[s].variants[plan.choice[s]];
    sum += g.variants[fixed(call, s) ? stage.variant : planned].info.cost * stage.width;
  }
  return sum;
}

/// Whether the stage's variant cannot be chosen any more: a part of it runs or has run.
bool state::fixed(const call_entry& call, std::size_t s) const {
  const stage_entry& stage = call.stages[s];
  if (stage.phase == stage_phase::done || stage.left < stage.width)
    return true;
  for (std::uint32_t e = 0; e < stage.width; ++e)
    if (const slot b = call.tasks[stage.first + e].batch; b != none && g.batches[b].running)
      return true;
  return false;
}

/// Whether as many batches wait as half of the resource's lanes. If not, a call finds no place for other reasons than
/// that the resource is too cheap: what it needs is not resident, or its SLO is very short.
bool state::crowded(std::size_t resource) const {
  std::size_t waiting = 0;
  for (const variant_entry& v : g.variants)
    waiting += v.resource() == resource ? v.open.size() : 0;
  return static_cast<std::int64_t>(2 * waiting) >= g.lane_count[resource];
}

state::verdict state::place_call(slot s) {
  const dag_entry& dag = g.dags[g.calls[s].dag];
  rank_plans(g.calls[s]);
  failed.clear();
  how = {};
  how.plans = static_cast<std::uint32_t>(dag.plans.size());
  if (ranked.empty())
    return verdict::impossible;
  const bool promised = g.calls[s].deadline < far_off;
  const std::int64_t limit = promised ? prices::limit << (2 * g.calls[s].priority) : far_off;
  std::size_t failed_on = resources;
  std::uint32_t tried = 0;
  for (const candidate& c : ranked) {
    const plan_entry& plan = dag.plans[c.plan];
    // What failed once fails again: the same choices up to there.
    const bool again = std::any_of(failed.begin(), failed.end(), [&](const auto& f) {
      const auto& other = dag.plans[f.first].choice;
      return std::equal(other.begin(), other.begin() + f.second + 1, plan.choice.begin());
    });
    if (c.price > limit || again)
      continue;
    if (tried++ == config.plans_tried)
      break;
    std::uint32_t failed_at = 0;
    if (try_plan(s, plan, limit, failed_at)) {
      price.note(true, 0, config.no_place_ppm);
      note_plan(g.calls[s], c.plan, "taken");
      explain_admission(s, c.plan);
      return verdict::admitted;
    }
    if (failed_at == too_dear_at) {
      note_plan(g.calls[s], c.plan, "takes more of the cluster than calls may now");
      continue;
    }
    note_plan(g.calls[s], c.plan, "no place for stage #" + std::to_string(failed_at));
    failed.emplace_back(c.plan, failed_at);
    if (failed_on == resources)
      failed_on = g.variants[dag.stages[failed_at].variants[plan.choice[failed_at]]].resource();
  }
  if (failed.empty()) {
    price.note(true, 0, config.no_place_ppm);
    return verdict::too_dear;
  }
  if (promised && failed_on != resources && crowded(failed_on))
    price.note(false, failed_on, config.no_place_ppm);
  return verdict::no_place;
}

bool state::try_plan(slot s, const plan_entry& plan, std::int64_t limit, std::uint32_t& failed_at) {
  std::int64_t paid = 0;
  g.begin();
  bool placed = place_plan(s, plan, paid, failed_at);
  if (placed && paid > limit) {
    placed = false;
    failed_at = too_dear_at;
  }
  call_entry& call = g.calls[s];
  if (placed) {
    g.keep();
    call.cost = plan_cost(call, plan);
    return true;
  }
  g.take_back();
  for (std::size_t i = 0; i < call.stages.size(); ++i)
    if (!fixed(call, i))
      call.stages[i].placed = false;
  return false;
}

bool state::place_plan(slot s, const plan_entry& plan, std::int64_t& paid, std::uint32_t& failed_at) {
  call_entry& call = g.calls[s];
  const dag_entry& dag = g.dags[call.dag];
  for (std::uint32_t i = 0; i < dag.stages.size(); ++i) {
    const dag_stage& stage = dag.stages[i];
    stage_entry& mine = call.stages[i];
    if (mine.phase == stage_phase::done)
      continue;
    if (!fixed(call, i))
      mine.variant = stage.variants[plan.choice[i]];
    mine.placed = true;
    const ns key = std::max(call.release, call.arrival) + call.span / 1024 * stage.share;
    for (std::uint32_t e = 0; e < mine.width; ++e) {
      const task_entry& task = call.tasks[mine.first + e];
      if (!task.done && task.batch == none && !place_task({s, mine.first + e}, mine.variant, key, paid)) {
        failed_at = i;
        return false;
      }
    }
  }
  return true;
}

/// Joins a batch, else opens one; on CPUs, where a batch saves little, the other way round. Pays for what is booked
/// more.
bool state::place_task(task_ref task, slot variant, ns key, std::int64_t& paid) {
  const std::size_t resource = g.variants[variant].resource();
  const ns before = g.booked[resource];
  const auto join = [&] {
    const auto batch = find_join(g, task, variant);
    if (batch)
      g.join(task, *batch);
    return batch.has_value();
  };
  const auto open = [&] {
    const auto where = find_place(g, task, variant, key, arrivals);
    if (where)
      g.insert(task, variant, *where, key);
    return where.has_value();
  };
  const bool placed = resource == 1 ? join() || open() : open() || join();
  if (!placed && !load_for(task, variant, key))
    return false;
  const call_entry& call = g.calls[task.call];
  const task_entry& mine = call.tasks[task.index];
  paid += price.of(resource, g.booked[resource] - before) / 1000 * paid_ppm(mine, g.dags[call.dag].stages[mine.stage]) /
          1000;
  return true;
}

/// Books the task on a replica that is loaded for it, where CPU memory is free.
bool state::load_for(task_ref task, slot variant, ns key) {
  const variant_entry& v = g.variants[variant];
  const bool coming = std::any_of(v.replicas.begin(), v.replicas.end(), [&](slot r) { return !g.replicas[r].ready; });
  if (v.resource() == 1 || coming || v.retry_at > now)
    return false;
  const ns ready = now + v.info.load.count();
  if (ready + g.time_of(variant, whole_task) > g.latest_end(task))
    return false;
  slot best = none;
  for (slot n = 0; n < g.nodes.size(); ++n) {
    const node_entry& node = g.nodes[n];
    if (!node.id || !replicas_beside(n, variant) || node.used + v.info.memory_bytes > node.memory)
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
  to_load.push_back(replica);
  return true;
}

/// Members of a best-effort join do not count once the call is admitted: what they feed does.
ns state::finish_of(const call_entry& call) const {
  const dag_entry& dag = g.dags[call.dag];
  ns end = now;
  for (const task_entry& t : call.tasks)
    if (t.batch != none && (call.answer_at == far_off || !dag.stages[t.stage].optional))
      end = std::max(end, g.batches[t.batch].end());
  return end;
}

// -- what is asked for
// --------------------------------------------------------------------------------------------------------------

/// The price of a plan if all it needs were resident, and GPU batches full.
std::int64_t state::ideal_price(const dag_entry& dag, const plan_entry& plan, bool& gpu) const {
  std::int64_t sum = 0;
  gpu = false;
  for (std::size_t s = 0; s < dag.stages.size(); ++s) {
    const variant_entry& v = g.variants[dag.stages[s].variants[plan.choice[s]]];
    if (g.lane_count[v.resource()] == 0)
      return unpriced;
    gpu = gpu || v.resource() == 1;
    sum +=
        price.of(v.resource(), v.resource() == 1 ? v.times.back() / static_cast<ns>(v.times.size()) : v.times.front());
  }
  return std::min(sum, unpriced);
}

/// What residency is decided by: the CPU time that calls within the price limit ask for, and what GPUs are worth to
/// them.
void state::note_demand(const call_entry& call, verdict v) {
  const dag_entry& dag = g.dags[call.dag];
  std::int64_t best = unpriced, without = unpriced;
  std::uint32_t best_plan = 0, without_plan = 0;
  for (std::uint32_t p = 0; p < dag.plans.size(); ++p) {
    const plan_entry& plan = dag.plans[p];
    if (plan.cost > call.max_cost || now + plan.latency > call.deadline)
      continue;
    bool gpu = false;
    const std::int64_t sum = ideal_price(dag, plan, gpu);
    if (!gpu && sum < without) {
      without = sum;
      without_plan = p;
    }
    if (sum < best) {
      best = sum;
      best_plan = p;
    }
  }
  if (best >= prices::limit)
    return;
  const plan_entry& wanted = dag.plans[without == unpriced ? best_plan : without_plan];
  if (v == verdict::admitted || v == verdict::no_place)
    for (std::size_t s = 0; s < dag.stages.size(); ++s) {
      variant_entry& used =
          g.variants[v == verdict::admitted ? call.stages[s].variant : dag.stages[s].variants[wanted.choice[s]]];
      if (used.resource() == 0)
        used.demand += part_of(used.times.front() * call.stages[s].width, call.tasks[call.stages[s].first].odds);
    }
  if (best < without)
    note_worth(call, dag.plans[best_plan], std::min(without, prices::limit) - best);
}

/// Spreads the gain over the memory that it takes.
void state::note_worth(const call_entry& call, const plan_entry& plan, std::int64_t gain) {
  const dag_entry& dag = g.dags[call.dag];
  const auto size = [](const variant_entry& v) {
    return 1 + static_cast<std::int64_t>(v.info.memory_bytes / 1'000'000);
  };
  std::int64_t memory = 0;
  for (std::size_t s = 0; s < dag.stages.size(); ++s)
    if (const variant_entry& v = g.variants[dag.stages[s].variants[plan.choice[s]]]; v.resource() == 1)
      memory += size(v);
  for (std::size_t s = 0; s < dag.stages.size(); ++s) {
    variant_entry& v = g.variants[dag.stages[s].variants[plan.choice[s]]];
    if (v.resource() != 1)
      continue;
    v.demand += v.times.back() / static_cast<ns>(v.times.size());
    v.worth += gain * size(v) / memory * 64;
  }
}

} // namespace squall::policy::calendar
