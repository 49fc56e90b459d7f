// Why a call was decided as it was, for who asks: the plans looked at, what binds, and what would have been enough.
#include "policy/calendar/state.hpp"

#include <algorithm>

namespace squall::policy::calendar {

namespace {

constexpr ns probe_pause = 100'000'000; ///< between searches for what would be enough
constexpr int probes = 5;

std::string in_us(ns time) { return std::to_string(time / 1000) + " us"; }

} // namespace

void state::note_plan(const call_entry& call, std::uint32_t plan, std::string came_of_it) {
  const dag_entry& dag = g.dags[call.dag];
  placing::considered_plan& seen = how.looked_at.emplace_back();
  for (std::size_t s = 0; s < dag.stages.size(); ++s)
    seen.variants.push_back(g.variants[dag.stages[s].variants[dag.plans[plan].choice[s]]].info.id);
  seen.latency = duration{dag.plans[plan].latency};
  seen.cost = plan_cost(call, dag.plans[plan]);
  seen.came_of_it = std::move(came_of_it);
}

/// Of the admitted: which SLO it is nearer to, and what the next plan would have been.
void state::explain_admission(slot s, std::uint32_t taken) {
  const call_entry& call = g.calls[s];
  const dag_entry& dag = g.dags[call.dag];
  how.looked_at.back().finish = duration{finish_of(call) - call.arrival};
  how.margin = margins(call);
  how.binding = "nothing: the call has no SLO";
  const bool late = call.deadline < far_off, dear = call.max_cost != placing::no_cost_limit;
  if (late || dear) {
    const ns time_left = late ? (call.deadline - finish_of(call)) * 1000 / std::max<ns>(1, call.span) : 1000;
    const micro_cost money_left =
        dear ? (call.max_cost - call.cost) / std::max<micro_cost>(1, call.max_cost / 1000) : 1000;
    how.binding = time_left <= money_left ? "the latency SLO" : "the cost SLO";
  }
  const auto next = std::find_if(ranked.begin(), ranked.end(), [&](const candidate& c) {
    return c.plan != taken &&
           std::none_of(failed.begin(), failed.end(), [&](const auto& f) { return f.first == c.plan; });
  });
  if (next == ranked.end()) {
    how.margin += "; no other plan meets both SLOs";
    return;
  }
  const plan_entry& mine = dag.plans[taken];
  const plan_entry& other = dag.plans[next->plan];
  how.margin += "; the next plan takes " + in_us(std::abs(other.latency - mine.latency)) +
                (other.latency < mine.latency ? " less" : " more") + " and costs " +
                std::to_string(std::abs(other.cost - mine.cost)) + " micro-units " +
                (other.cost < mine.cost ? "less" : "more");
  note_plan(call, next->plan, "the next by the caller's preference");
}

/// Of the refused: what stood in the way.
void state::explain_refusal(slot s, verdict v) {
  const call_entry& call = g.calls[s];
  const dag_entry& dag = g.dags[call.dag];
  if (dag.least_cost > call.max_cost)
    how.binding = "the cost SLO";
  else if (call.arrival + dag.least_latency > call.deadline)
    how.binding = "the latency SLO";
  else if (v == verdict::impossible)
    how.binding = "residency: what could meet both SLOs is loaded nowhere";
  else if (v == verdict::too_dear)
    how.binding = g.booked[1] > 0 && price.per_us[1] > price.per_us[0] ? "lane time of GPUs" : "lane time of CPUs";
  else {
    const auto& first = failed.front();
    const dag_stage& stage = dag.stages[first.second];
    const bool gpu = g.variants[stage.variants[dag.plans[first.first].choice[first.second]]].resource() == 1;
    how.binding = std::string{"lanes of "} + (gpu ? "GPUs" : "CPUs") + " for stage #" + std::to_string(first.second);
  }
  suggest(s);
}

/// A deadline and a cost with which the call would have been admitted now. Found by trials that are taken back; now and
/// then only, since it takes longer than a decision.
void state::suggest(slot s) {
  if (now < suggest_after)
    return;
  suggest_after = now + probe_pause;
  const dag_entry& dag = g.dags[g.calls[s].dag];
  const ns asked = g.calls[s].deadline < far_off ? g.calls[s].deadline - g.calls[s].arrival : 0;
  ns deadline = std::max(asked, dag.least_latency);
  for (const micro_cost cost : {g.calls[s].max_cost, placing::no_cost_limit}) {
    micro_cost enough = cost;
    if (cost == placing::no_cost_limit && !dag.plans.empty())
      enough = std::max_element(dag.plans.begin(), dag.plans.end(), [](const plan_entry& a, const plan_entry& b) {
                 return a.cost < b.cost;
               })->cost;
    for (int i = 0; i < probes; ++i, deadline += deadline / 2) {
      if (!would_admit(s, deadline, enough))
        continue;
      how.enough_deadline = duration{deadline};
      how.enough_cost = enough;
      return;
    }
    deadline = std::max(asked, dag.least_latency);
  }
}

/// Whether the same call with these SLOs would be admitted at this moment. Leaves the books as they are.
bool state::would_admit(slot s, ns deadline, micro_cost max_cost) {
  const slot copy = copy_call(s, 0);
  call_entry& call = g.calls[copy];
  call.deadline = call.arrival + deadline;
  call.span = std::min(deadline, no_deadline_span);
  call.max_cost = max_cost;
  rank_plans(call);
  const std::int64_t limit = prices::limit << (2 * call.priority);
  std::uint32_t tried = 0;
  bool placed = false;
  const std::size_t loads = to_load.size();
  for (const candidate& c : ranked) {
    if (c.price > limit)
      continue;
    if (placed || tried++ == config.plans_tried)
      break;
    std::int64_t paid = 0;
    std::uint32_t failed_at = 0;
    g.begin();
    placed = place_plan(copy, g.dags[g.calls[copy].dag].plans[c.plan], paid, failed_at) && paid <= limit;
    g.take_back();
    for (stage_entry& stage : g.calls[copy].stages)
      stage.placed = false;
  }
  to_load.resize(loads);
  g.free_call(copy);
  return placed;
}

} // namespace squall::policy::calendar
