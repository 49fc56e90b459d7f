// Which variant and which node for each stage of one call. docs/policies.md states the rules.
#include "base/mix.hpp"
#include "policy/detail/scheduler_state.hpp"

#include <algorithm>
#include <tuple>

namespace squall::policy {

using namespace detail;

namespace {

/// Expected elements of a stage, at least one.
std::int64_t expected_width(const stage_state& stage) {
  return stage.info.map ? std::max<std::int64_t>(1, (stage.width_q8 + 128) / 256) : 1;
}

/// A list of nodes travels with the call: this bounds it.
constexpr std::size_t max_spread = 256;

} // namespace

result<> scheduler::state::place(call_id call, bool stateful, const dag_state& dag, node_id state_node) {
  draft.plan.stages.assign(dag.stages.size(), {});
  draft.variants.assign(dag.stages.size(), 0);
  draft.charges.clear();
  draft.finish.assign(dag.stages.size(), duration{0});
  draft.state_node = state_node;
  draft.wait = duration{0};
  draft.known = true;
  if (dag.stages.empty()) {
    if (nodes.empty())
      return {errc::unavailable, "no node has joined the cluster"};
    draft.plan.exit = nodes.front().id;
    draft.charges.push_back({draft.plan.exit, resource_type::cpu, duration{0}});
    return {};
  }
  std::uint32_t depth = 0;
  for (node_state& n : nodes)
    n.own = {};
  for (const stage_index index : dag.order) {
    // Stages at one depth may run at the same time, so they are in each other's way; those before them are done by
    // then.
    if (dag.stages[index].depth != depth) {
      depth = dag.stages[index].depth;
      for (node_state& n : nodes)
        n.own = {};
    }
    SQUALL_TRY(place_stage(call, stateful, dag, index));
  }
  draft.plan.exit = draft.plan.stages.back().home;
  if (!draft.state_node)
    draft.state_node = draft.plan.stages.front().home;
  return {};
}

result<> scheduler::state::place_stage(call_id call, bool stateful, const dag_state& dag, stage_index index) {
  const stage_state& stage = dag.stages[index];
  const bool keeps_state = stateful && stage.stateful;
  const node_state* only = keeps_state && draft.state_node ? find_node(draft.state_node) : nullptr;
  SQUALL_ASSIGN(choice, choose_variant(stage, index, only));
  find_candidates(stage.info.variants[choice.index], choice.resource, only);
  placement_request request;
  request.call = call;
  request.stage = index;
  request.move_cost = config.move_cost;
  set_near(stage, request);
  if (draft.affinity != 0)
    request.near = keeper_of(draft.affinity);
  const std::size_t home = only != nullptr ? 0 : policy->choose(request, candidates);
  SQUALL_CHECK(home < candidates.size(), home, candidates.size());

  calls::placement& where = draft.plan.stages[index];
  where.variant = stage.info.variants[choice.index];
  where.home = candidates[home].node;
  draft.variants[index] = choice.index;
  if (keeps_state)
    draft.state_node = where.home;
  else if (stage.info.map)
    spread(stage, choice, home, where);
  draft.wait = std::max(draft.wait, candidates[home].load);
  estimate(stage, index, choice, where);
  charge_stage(stage, choice, where);
  return {};
}

/// The candidate that keeps what calls of this affinity read: each affinity ranks all nodes in its own way, so that few
/// of them move when a node comes or goes (rendezvous hashing).
std::size_t scheduler::state::keeper_of(std::uint64_t affinity) const {
  const auto rank = [affinity](node_id node) { return mixed_bits(affinity ^ (node.value * 0x9e3779b97f4a7c15ULL)); };
  std::size_t best = 0;
  for (std::size_t i = 1; i < candidates.size(); ++i)
    if (rank(candidates[i].node) > rank(candidates[best].node))
      best = i;
  return best;
}

void scheduler::state::set_near(const stage_state& stage, placement_request& request) const {
  if (stage.info.producers.empty())
    return;
  const node_id home = draft.plan.stages[stage.info.producers.back()].home;
  const auto at = std::lower_bound(candidates.begin(), candidates.end(), home,
                                   [](const node_candidate& c, node_id id) { return c.node < id; });
  if (at != candidates.end() && at->node == home)
    request.near = static_cast<std::size_t>(at - candidates.begin());
}

result<scheduler::state::variant_choice> scheduler::state::choose_variant(const stage_state& stage, stage_index index,
                                                                          const node_state* only) const {
  std::optional<variant_choice> best;
  bool best_resident = false;
  for (std::uint32_t i = 0; i < stage.info.variants.size(); ++i) {
    const variant_state* variant = variants.find(stage.info.variants[i]);
    if (variant == nullptr)
      continue;
    const resource_type resource = variant->info.resource;
    const auto has_lane = [&](const node_state& n) { return n.share(resource).lanes > 0; };
    if (only != nullptr ? !has_lane(*only) : std::none_of(nodes.begin(), nodes.end(), has_lane))
      continue;
    const duration learned = stage.executed[i].count() > 0 ? stage.executed[i] : variant->info.expected;
    const bool known = learned.count() > 0;
    const variant_choice choice{i, resource, known ? learned : unknown_execution, known};
    const bool resident = variant->resident_nodes > 0;
    if (!best || (resident && !best_resident) || (resident == best_resident && choice.expected < best->expected)) {
      best = choice;
      best_resident = resident;
    }
  }
  if (best)
    return *best;
  return no_lane(stage, index, only);
}

error scheduler::state::no_lane(const stage_state& stage, stage_index index, const node_state* only) const {
  bool known = false;
  std::string wanted;
  for (const resource_type resource : {resource_type::cpu, resource_type::gpu})
    for (const variant_id id : stage.info.variants)
      if (const variant_state* v = variants.find(id); v != nullptr && v->info.resource == resource) {
        known = true;
        wanted += (wanted.empty() ? "" : " or ") + std::string{functions::to_string(resource)};
        break;
      }
  const std::string where = "stage " + std::to_string(index);
  if (!known)
    return {errc::not_found, "no variant of the function of " + where + " is registered", {}};
  if (only != nullptr)
    return {errc::unavailable,
            "node " + to_string(only->id) + ", which holds the state of the sequence, has no " + wanted + " lane for " +
                where,
            {}};
  return {errc::unavailable, "no node has a " + wanted + " lane, which " + where + " needs", {}};
}

duration scheduler::state::load_of(const node_state& node, resource_type resource) const {
  const node_share& share = node.share(resource);
  return (share.work + node.own[index_of(resource)]) / share.lanes;
}

void scheduler::state::find_candidates(variant_id variant, resource_type resource, const node_state* only) {
  candidates.clear();
  candidate_nodes.clear();
  const bool resident_somewhere = variants.find(variant)->resident_nodes > 0;
  for (std::uint32_t i = 0; i < nodes.size(); ++i) {
    const node_state& n = nodes[i];
    const node_share& share = n.share(resource);
    if (share.lanes == 0 || (only != nullptr && only != &n))
      continue;
    const bool resident = resident_somewhere && std::binary_search(n.resident.begin(), n.resident.end(), variant);
    const bool idle = share.charges == 0 && n.own[index_of(resource)].count() == 0;
    candidates.push_back({n.id, load_of(n, resource), resident, share.freed, idle});
    candidate_nodes.push_back(i);
  }
}

/// Gives the elements of a map that is wider than its home to free lanes elsewhere: in rounds, home first, then the
/// others by load, each node once a round while it has free lanes, until there are as many turns as elements.
void scheduler::state::spread(const stage_state& stage, const variant_choice& choice, std::size_t home,
                              calls::placement& out) {
  const auto width = static_cast<std::size_t>(expected_width(stage));
  const node_share& own = nodes[candidate_nodes[home]].share(choice.resource);
  if (width <= own.lanes)
    return;
  struct giver {
    duration load;
    node_id node;
    std::size_t lanes;
  };
  std::vector<giver> others;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const node_state& n = nodes[candidate_nodes[i]];
    const std::uint32_t lanes = n.share(choice.resource).lanes;
    // A lane counts as taken for each element's worth of work that is outstanding.
    const auto taken = static_cast<std::uint64_t>(candidates[i].load * lanes / choice.expected);
    if (i != home && taken < lanes)
      others.push_back({candidates[i].load, n.id, lanes - static_cast<std::size_t>(taken)});
  }
  if (others.empty())
    return;
  std::sort(others.begin(), others.end(),
            [](const giver& a, const giver& b) { return std::tie(a.load, a.node) < std::tie(b.load, b.node); });
  others.insert(others.begin(), {duration{0}, out.home, own.lanes});
  const std::size_t turns = std::min(width, max_spread);
  for (std::size_t round = 0; out.spread.size() < turns; ++round) {
    const std::size_t before = out.spread.size();
    for (const giver& g : others)
      if (g.lanes > round && out.spread.size() < turns)
        out.spread.push_back(g.node);
    if (out.spread.size() == before)
      break;
  }
}

void scheduler::state::estimate(const stage_state& stage, stage_index index, const variant_choice& choice,
                                const calls::placement& where) {
  draft.known = draft.known && choice.known;
  duration ready{0};
  for (const stage_index producer : stage.info.producers)
    ready = std::max(ready, draft.finish[producer]);
  const auto lanes = static_cast<std::int64_t>(
      where.spread.empty() ? find_node(where.home)->share(choice.resource).lanes : where.spread.size());
  const std::int64_t rounds = (expected_width(stage) + lanes - 1) / lanes;
  draft.finish[index] = ready + work_of(choice.expected, rounds);
}

void scheduler::state::charge_stage(const stage_state& stage, const variant_choice& choice,
                                    const calls::placement& where) {
  const std::int64_t chance_q10 = stage.info.conditional ? stage.ran_q10 : 1024;
  const duration work = work_of(work_of(choice.expected, expected_width(stage)), chance_q10, 1024);
  const auto add = [&](node_id id, duration part) {
    draft.charges.push_back({id, choice.resource, part});
    find_node(id)->own[index_of(choice.resource)] += part;
  };
  if (where.spread.empty())
    return add(where.home, work);
  const auto turns = static_cast<std::int64_t>(where.spread.size());
  for (const node_id id : where.spread)
    add(id, work / turns);
}

} // namespace squall::policy
