// Offers of less: a cascade that stops early, an ensemble without a member, CPUs only.
#include "policy/calendar/state.hpp"

#include <algorithm>

namespace squall::policy::calendar {

namespace {
constexpr ns least_validity = 2'000'000; ///< offers that could not be held for longer are not made
}

/// The call does without the stage, from before its start.
void state::omit(slot s, std::uint32_t index) {
  call_entry& call = g.calls[s];
  stage_entry& stage = call.stages[index];
  for (std::uint32_t i = 0; i < stage.width; ++i)
    call.tasks[stage.first + i].done = true;
  stage.width = stage.left = 0;
  stage.variant = g.dags[call.dag].stages[index].variants.front(); // of which it takes none
  stage.phase = stage_phase::done;
  call.without.push_back(index);
}

/// What takes longest of the plan when the stages that are done take nothing.
ns state::latency_of(const call_entry& call, const plan_entry& plan) const {
  const dag_entry& dag = g.dags[call.dag];
  std::vector<ns> ends(dag.stages.size(), 0);
  ns latency = 0;
  for (std::size_t s = 0; s < dag.stages.size(); ++s) {
    for (const stage_index p : dag.stages[s].info.producers)
      ends[s] = std::max(ends[s], ends[p]);
    if (call.stages[s].phase != stage_phase::done)
      ends[s] += g.variants[dag.stages[s].variants[plan.choice[s]]].times.front();
    latency = std::max(latency, ends[s]);
  }
  return latency;
}

/// At the SLOs that were asked for, but without the stages (ascending).
void state::offer_without(slot s, const std::vector<std::uint32_t>& stages, const std::string& what,
                          std::vector<placing::offer>& offers) {
  const dag_entry& dag = g.dags[g.calls[s].dag];
  if (stages.empty() || stages.size() == dag.stages.size() || g.calls[s].deadline >= far_off)
    return;
  const slot copy = copy_call(s, now);
  for (const std::uint32_t stage : stages)
    omit(copy, stage);
  rank_plans(g.calls[copy]);
  std::uint32_t tried = 0;
  for (const candidate& c : std::vector<candidate>(ranked)) {
    const plan_entry& plan = dag.plans[c.plan];
    const ns spare = (g.calls[copy].deadline - now - latency_of(g.calls[copy], plan)) / 2;
    if (spare < least_validity)
      continue;
    if (tried++ == config.plans_tried)
      break;
    g.calls[copy].release = now + std::min<ns>(config.ticket_valid.count(), spare);
    if (hold(copy, plan, what, offers))
      return;
  }
  g.free_call(copy);
}

/// All branches that are not sure to run, and what needs them.
void state::offer_early_end(slot s, std::vector<placing::offer>& offers) {
  const dag_entry& dag = g.dags[g.calls[s].dag];
  std::vector<std::uint32_t> out;
  for (std::uint32_t i = 0; i < dag.stages.size(); ++i) {
    const auto& needs = dag.stages[i].info.needs;
    if (dag.stages[i].info.conditional || std::any_of(needs.begin(), needs.end(), [&](stage_index p) {
          return std::binary_search(out.begin(), out.end(), p);
        }))
      out.push_back(i);
  }
  offer_without(s, out, "the cascade stops early", offers);
}

/// Of the members of a best-effort join that has more than it needs, the one that takes longest.
void state::offer_fewer_members(slot s, std::vector<placing::offer>& offers) {
  const dag_entry& dag = g.dags[g.calls[s].dag];
  for (const dag_stage& join : dag.stages) {
    if (join.info.best_effort == 0 || join.info.producers.size() <= join.info.best_effort)
      continue;
    std::uint32_t longest = none;
    ns most = -1;
    for (const stage_index p : join.info.producers) {
      if (!dag.stages[p].optional)
        continue;
      ns least = far_off;
      for (const slot v : dag.stages[p].variants)
        least = std::min(least, g.variants[v].times.front());
      if (least > most) {
        most = least;
        longest = p;
      }
    }
    if (longest != none)
      return offer_without(s, {longest}, "without stage #" + std::to_string(longest), offers);
  }
}

bool state::cpu_only(const dag_entry& dag, const plan_entry& plan) const {
  for (std::size_t s = 0; s < dag.stages.size(); ++s)
    if (g.variants[dag.stages[s].variants[plan.choice[s]]].resource() == 1)
      return false;
  return true;
}

/// The cheapest plan without a GPU, whenever it is done; nothing where no plan takes one, or an offer is that already.
void state::offer_cpu_only(slot s, std::vector<placing::offer>& offers) {
  const dag_entry& dag = g.dags[g.calls[s].dag];
  const auto on_cpus = [&](const plan_entry& p) { return cpu_only(dag, p); };
  const auto first = std::find_if(dag.plans.begin(), dag.plans.end(), on_cpus);
  if (first == dag.plans.end() || std::all_of(dag.plans.begin(), dag.plans.end(), on_cpus) ||
      std::any_of(offers.begin(), offers.end(),
                  [](const placing::offer& o) { return o.how.find("CPUs") != std::string::npos; }))
    return;
  const slot copy = copy_call(s, now + config.ticket_valid.count());
  g.calls[copy].deadline = far_off;
  g.calls[copy].span = 2 * first->latency;
  if (!hold(copy, *first, "a later finish", offers))
    g.free_call(copy);
}

} // namespace squall::policy::calendar
