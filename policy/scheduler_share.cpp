// Two policies at once: a share of the calls is decided by a second policy, on nodes of its own.
#include "base/hash.hpp"
#include "policy/detail/scheduler_state.hpp"
#include "policy/dispatch_policies.hpp"

#include <algorithm>

namespace squall::policy {

using namespace detail;

namespace {

constexpr std::uint32_t whole_ppm = 1'000'000;

bool holds(const std::vector<node_id>& ascending, node_id id) {
  return std::binary_search(ascending.begin(), ascending.end(), id);
}

} // namespace

bool scheduler::state::shared_out(node_id id) const { return holds(late.second.nodes, id); }

/// The same call always goes the same way.
bool scheduler::state::drawn_for_second(const placing::call_arrived& fact) const {
  const share_state& second = late.second;
  if (!second.policy || second.ending || fact.sequence.id)
    return false;
  fnv1a hash;
  hash.add(fact.id.value);
  hash.add(seed);
  return (hash.value() >> 20) % whole_ppm < second.share_ppm;
}

/// So many nodes as come nearest to the share, one at least for each: the last ones that hold no state of sequences.
std::vector<node_id> scheduler::state::nodes_for_share(std::uint32_t share_ppm) const {
  const std::size_t all = late.nodes.size();
  if (all < 2)
    return {};
  const auto nearest = static_cast<std::size_t>((std::uint64_t{share_ppm} * all + whole_ppm / 2) / whole_ppm);
  const std::size_t wanted = std::clamp<std::size_t>(nearest, 1, all - 1);
  std::vector<node_id> out;
  for (auto node = late.nodes.rbegin(); node != late.nodes.rend() && out.size() < wanted; ++node) {
    bool stateful = false;
    for (const sequence_id s : sequences.sorted_ids())
      stateful = stateful || (sequences.find(s)->node == node->id && !sequences.find(s)->lost);
    if (!stateful)
      out.push_back(node->id);
  }
  std::sort(out.begin(), out.end());
  return out;
}

void scheduler::state::set_share(const placing::policy_set& fact) {
  const auto refuse = [&](std::string why) {
    commands.emplace_back(placing::policy_refused{fact.name, std::move(why)});
  };
  if (fact.share_ppm == 0)
    return end_share();
  if (const auto wanted = next_dispatch_policy(fact.name); !wanted.ok())
    return refuse(wanted.error().message);
  if (late.second.policy && late.second.name == fact.name && !late.second.ending) {
    late.second.share_ppm = fact.share_ppm;
    return;
  }
  if (late.second.policy)
    return refuse("the policy '" + late.second.name +
                  "' still has a share; end that with a share of 0 first, and wait until its calls have ended");
  std::vector<node_id> nodes = nodes_for_share(fact.share_ppm);
  if (nodes.empty())
    return refuse(late.nodes.size() < 2
                      ? "a share needs two nodes, since each of the two policies has nodes of its own, and there "
                        "is " +
                            std::to_string(late.nodes.size()) +
                            "; add one, or compare without running anything (a shadow)"
                      : "every node holds the state of a sequence, so none can change hands; try again when they end");
  late.second = {};
  late.second.name = fact.name;
  late.second.share_ppm = fact.share_ppm;
  late.second.nodes = std::move(nodes);
  for (const node_id id : late.second.nodes)
    if (node_state* node = find_node(id))
      node->cpu.lanes = node->gpu.lanes = 0; // nothing more is placed there
  // A dispatch policy cannot give up nodes while it uses them: it begins anew without them when its calls have ended.
  if (late.policy && late.in_force && late.next.empty())
    late.next = late.name;
  late.second.waiting = true;
}

/// Starts it when its nodes are free.
void scheduler::state::start_second() {
  share_state& second = late.second;
  if (!second.waiting || !late.next.empty() || (late.policy && !late.in_force))
    return;
  for (const node_id id : second.nodes)
    if (const node_state* node = find_node(id); node != nullptr && node->cpu.charges + node->gpu.charges > 0)
      return;
  auto made = next_dispatch_policy(second.name);
  second.waiting = false;
  if (!made.ok())
    return end_share();
  second.number = late.policies++;
  second.policy = std::move(*made);
  for (const placing::event& fact : known_facts(second.nodes, true))
    tell_second(fact);
}

void scheduler::state::tell_second(const placing::event& fact) {
  if (!late.second.policy)
    return;
  const std::size_t before = commands.size();
  late.second.policy->step(now, fact, commands);
  for (std::size_t i = before; i < commands.size(); ++i)
    note(commands[i], late.second.replicas);
}

/// Its calls end under it; new ones are all the other policy's.
void scheduler::state::end_share() {
  share_state& second = late.second;
  if (second.waiting || !second.policy)
    retire_second();
  else
    second.ending = true;
}

void scheduler::state::retire_second() {
  share_state ended = std::exchange(late.second, {});
  for (const late_replica& r : ended.replicas)
    commands.emplace_back(placing::evict_replica{r.id, r.node});
  for (const placing::node_joined& node : late.nodes)
    if (holds(ended.nodes, node.id)) {
      on(node);
      tell_policy(node);
    }
}

/// A node has come: the second policy gets it if it has fewer than its share.
bool scheduler::state::second_wants(node_id id) {
  share_state& second = late.second;
  if (shared_out(id))
    return true;
  if (!second.policy || second.ending || nodes_for_share(second.share_ppm).size() <= second.nodes.size())
    return false;
  second.nodes.insert(std::lower_bound(second.nodes.begin(), second.nodes.end(), id), id);
  return true;
}

/// A node has gone: true if it was the second policy's. Where one of the two has none left, the share ends.
bool scheduler::state::second_lost(node_id id) {
  share_state& second = late.second;
  const bool its = shared_out(id);
  if (its) {
    std::erase_if(second.replicas, [&](const late_replica& r) { return r.node == id; });
    tell_second(placing::node_lost{id});
    std::erase(second.nodes, id);
  }
  if ((second.policy || second.waiting) && (second.nodes.empty() || second.nodes.size() == late.nodes.size()))
    end_share();
  return its;
}

share_view scheduler::state::share() const {
  const share_state& second = late.second;
  share_view out;
  if (!second.policy && !second.waiting)
    return out;
  out.policy = second.name;
  out.share_ppm = second.share_ppm;
  out.state = second.waiting ? "waits for its nodes" : second.ending ? "ends with its calls" : "runs";
  out.calls = second.calls;
  out.decided = second.decided;
  out.admitted = second.admitted;
  out.nodes = second.nodes;
  return out;
}

} // namespace squall::policy
