// Calls that another scheduler admitted, and that nodes go on with: they count as if they had been admitted here.
#include "policy/detail/scheduler_state.hpp"

#include <algorithm>

namespace squall::policy {

using namespace detail;

namespace {

bool dispatched(const placing::adopted_call& found) { return found.plan.stages.empty(); }

std::vector<node_id> nodes_of(const calls::plan& plan) {
  std::vector<node_id> out;
  if (plan.exit)
    out.push_back(plan.exit);
  for (const calls::placement& stage : plan.stages) {
    out.push_back(stage.home);
    out.insert(out.end(), stage.spread.begin(), stage.spread.end());
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

} // namespace

result<> scheduler::state::check_adoption(const placing::adopted_call& found) const {
  const dag_state* dag = dags.find(found.call.dag);
  if (dag == nullptr)
    return {errc::not_found, "DAG " + to_string(found.call.dag) + " is not registered any more"};
  if (dispatched(found) && (!late.policy || !late.in_force || !late.policy->adopts()))
    return {errc::unavailable, "the policy '" + policy_name + "' does not go on with calls that another one began"};
  if (dispatched(found))
    return {};
  if (found.plan.stages.size() != dag->stages.size())
    return {errc::corrupt, "its plan has " + std::to_string(found.plan.stages.size()) + " stages, its DAG " +
                               std::to_string(dag->stages.size())};
  for (std::size_t i = 0; i < dag->stages.size(); ++i) {
    const auto& known = dag->stages[i].info.variants;
    const variant_id wanted = found.plan.stages[i].variant;
    if (std::find(known.begin(), known.end(), wanted) == known.end() || variants.find(wanted) == nullptr)
      return {errc::corrupt, "its plan runs stage " + std::to_string(i) + " by variant " + to_string(wanted) +
                                 ", which the stage does not have"};
  }
  for (const node_id id : nodes_of(found.plan))
    if (std::none_of(nodes.begin(), nodes.end(), [id](const node_state& n) { return n.id == id; }))
      return {errc::unavailable, "node " + to_string(id) + ", which had work of the call, is lost"};
  return {};
}

void scheduler::state::refuse_adoption(const placing::adopted_call& found, const error& why) {
  placing::abandon command{found.call.id, why.code, why.message, {}};
  for (const node_id id : nodes_of(found.plan))
    if (find_node(id) != nullptr)
      command.nodes.push_back(id);
  commands.emplace_back(std::move(command));
}

/// Charges the plan's nodes with all of it: what of it has ended is not known.
void scheduler::state::adopt_placed(const placing::adopted_call& found) {
  dag_state& dag = *dags.find(found.call.dag);
  draft.variants.assign(dag.stages.size(), 0);
  draft.charges.clear();
  node_id state_node = found.plan.exit;
  for (std::size_t i = 0; i < dag.stages.size(); ++i) {
    const stage_state& stage = dag.stages[i];
    const calls::placement& where = found.plan.stages[i];
    const auto& known = stage.info.variants;
    variant_choice choice;
    choice.index = static_cast<std::uint32_t>(std::find(known.begin(), known.end(), where.variant) - known.begin());
    const placing::variant_info& info = variants.find(where.variant)->info;
    choice.resource = info.resource;
    choice.expected = stage.executed[choice.index].count() > 0 ? stage.executed[choice.index]
                      : info.expected.count() > 0              ? info.expected
                                                               : unknown_execution;
    draft.variants[i] = choice.index;
    charge_stage(stage, choice, where);
    if (stage.stateful)
      state_node = where.home;
  }
  if (dag.stages.empty())
    draft.charges.push_back({found.plan.exit, resource_type::cpu, duration{0}});
  if (found.call.sequence.id) {
    const slot_index known = sequences.find_slot(found.call.sequence.id);
    enter_sequence(known == no_slot ? begin_sequence(found.call.sequence.id, state_node) : sequences.at(known),
                   found.call);
  }
  charge_draft(found.call, dag);
}

void scheduler::state::late_fact(const placing::plans_adopted& fact) {
  placing::plans_adopted rest{fact.replicas, {}, fact.batches};
  for (const placing::adopted_call& found : fact.calls) {
    if (in_flight.find(found.call.id) != nullptr)
      continue; // said twice
    if (const auto fits = check_adoption(found); !fits.ok()) {
      refuse_adoption(found, fits.error());
      continue;
    }
    if (!dispatched(found)) {
      adopt_placed(found);
      continue;
    }
    enter_late(found.call, *dags.find(found.call.dag));
    rest.calls.push_back(found);
  }
  std::erase_if(rest.replicas, [&](const placing::adopted_replica& r) {
    const auto at = std::lower_bound(late.replicas.begin(), late.replicas.end(), r.replica,
                                     [](const late_replica& known, replica_id id) { return known.id < id; });
    if (find_node(r.node) == nullptr || (at != late.replicas.end() && at->id == r.replica))
      return true;
    late.replicas.insert(at, {r.replica, r.node});
    return false;
  });
  if (late.policy && late.in_force && late.policy->adopts())
    return tell_policy(rest);
  for (const placing::adopted_replica& r : rest.replicas) { // nobody here will use them
    commands.emplace_back(placing::evict_replica{r.replica, r.node});
    note(commands.back(), late.replicas);
  }
}

} // namespace squall::policy
