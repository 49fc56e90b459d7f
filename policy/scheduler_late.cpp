// Late placement: a dispatch policy decides, the scheduler checks limits, counts calls and changes policies.
#include "policy/detail/scheduler_state.hpp"
#include "policy/dispatch_policies.hpp"

#include <algorithm>

namespace squall::policy {

using namespace detail;

namespace {

/// So many ids of one kind one policy may name.
constexpr int id_bits = 40;

auto place_of(std::vector<late_replica>& replicas, replica_id id) {
  return std::lower_bound(replicas.begin(), replicas.end(), id,
                          [](const late_replica& r, replica_id i) { return r.id < i; });
}

} // namespace

void scheduler::state::tell_policy(const placing::event& fact) {
  if (!late.policy)
    return;
  const std::size_t before = commands.size();
  late.policy->step(now, fact, commands);
  for (std::size_t i = before; i < commands.size(); ++i)
    note(commands[i], late.replicas);
}

void scheduler::state::note(const placing::command& command, std::vector<late_replica>& replicas) {
  if (const auto* r = std::get_if<placing::refuse>(&command))
    return release_if_known(r->id);
  if (const auto* a = std::get_if<placing::abandon>(&command))
    return release_if_known(a->id);
  if (const auto* l = std::get_if<placing::load_replica>(&command)) {
    replicas.insert(place_of(replicas, l->replica), {l->replica, l->node});
    return;
  }
  if (const auto* e = std::get_if<placing::evict_replica>(&command))
    if (const auto at = place_of(replicas, e->replica); at != replicas.end() && at->id == e->replica)
      replicas.erase(at);
}

void scheduler::state::release_if_known(call_id call) {
  if (const slot_index slot = in_flight.find_slot(call); slot != no_slot)
    release(slot);
}

// -- facts
// ---------------------------------------------------------------------------------------------------------------------

void scheduler::state::late_fact(const placing::function_registered& fact) {
  on(fact);
  late.functions[fact.id] = fact;
  tell_policy(fact);
  tell_second(fact);
}

void scheduler::state::late_fact(const placing::function_removed& fact) {
  on(fact);
  late.functions.erase(fact.id);
  tell_policy(fact);
  tell_second(fact);
}

void scheduler::state::late_fact(const placing::dag_registered& fact) {
  on(fact);
  const dag_state* dag = dags.find(fact.id);
  if (dag == nullptr || dag->stages.size() != fact.stages.size())
    return;
  tell_policy(fact);
  tell_second(fact);
}

void scheduler::state::late_fact(const placing::node_joined& fact) {
  on(fact);
  const auto at = std::lower_bound(late.nodes.begin(), late.nodes.end(), fact.id,
                                   [](const placing::node_joined& n, node_id i) { return n.id < i; });
  if (at != late.nodes.end() && at->id == fact.id)
    *at = fact;
  else
    late.nodes.insert(at, fact);
  if (!second_wants(fact.id))
    return tell_policy(fact);
  node_state* node = find_node(fact.id);
  node->cpu.lanes = node->gpu.lanes = 0;
  tell_second(fact);
}

void scheduler::state::late_fact(const placing::node_lost& fact) {
  on(fact);
  std::erase_if(late.nodes, [&](const placing::node_joined& n) { return n.id == fact.id; });
  std::erase_if(late.replicas, [&](const late_replica& r) { return r.node == fact.id; });
  if (!second_lost(fact.id))
    tell_policy(fact);
}

/// To a dispatch policy it is lost already: what it dispatched there is ready again, for others.
void scheduler::state::late_fact(const placing::node_draining& fact) {
  on(fact);
  std::erase_if(late.nodes, [&](const placing::node_joined& n) { return n.id == fact.id; });
  std::erase_if(late.replicas, [&](const late_replica& r) { return r.node == fact.id; });
  if (!second_lost(fact.id))
    tell_policy(placing::node_lost{fact.id});
}

void scheduler::state::late_fact(const placing::replica_loaded& fact) {
  if (const auto at = place_of(late.replicas, fact.replica);
      fact.code != errc::ok && at != late.replicas.end() && at->id == fact.replica)
    late.replicas.erase(at);
  if (const auto at = place_of(late.second.replicas, fact.replica);
      fact.code != errc::ok && at != late.second.replicas.end() && at->id == fact.replica)
    late.second.replicas.erase(at);
  tell_policy(fact);
  tell_second(fact);
}

void scheduler::state::late_fact(const placing::call_arrived& fact) {
  const bool second = drawn_for_second(fact);
  // The state of a sequence is on one node: its calls are placed there.
  if (!second && (!late.in_force || (fact.sequence.id && policy)))
    return on(fact);
  const auto refuse = [&](const error& e) {
    commands.emplace_back(placing::refuse{fact.id, e.code, e.message, e.retry_after});
  };
  dag_state* dag = dags.find(fact.dag);
  if (const auto fine = check_arrival(fact, dag); !fine.ok())
    return refuse(fine.error());
  if (fact.sequence.id)
    return refuse({errc::unsupported, "calls of a sequence cannot be placed late", {}});
  enter_late(fact, *dag, second);
  if (second) {
    ++late.second.decided;
    tell_second(fact);
    late.second.admitted += in_flight.find(fact.id) != nullptr ? 1 : 0;
  } else if (late.next.empty())
    tell_policy(fact);
  else
    late.held.push_back(fact);
}

void scheduler::state::late_fact(const placing::ticket_redeemed& fact) {
  const bool second = late.second.policy && fact.ticket.value >> id_bits == late.second.number;
  second ? tell_second(fact) : tell_policy(fact);
  // It was refused when it arrived; from now on it counts.
  const auto admitted = std::any_of(commands.begin(), commands.end(), [&](const placing::command& c) {
    const auto* a = std::get_if<placing::admit>(&c);
    return a != nullptr && a->id == fact.call;
  });
  if (!admitted || in_flight.find(fact.call) != nullptr)
    return;
  placing::call_arrived as_new;
  as_new.id = fact.call;
  as_new.client = fact.client;
  dag_state none;
  enter_late(as_new, none, second);
}

void scheduler::state::enter_late(const placing::call_arrived& fact, dag_state& dag, bool second) {
  call_state& call = in_flight.at(enter(fact, dag));
  call.late = true;
  call.second = second;
  ++(second ? late.second.calls : late.calls);
}

void scheduler::state::late_fact(const placing::call_ended& fact) {
  const call_state* call = in_flight.find(fact.id);
  if (call != nullptr && !call->late)
    return on(fact);
  call != nullptr && call->second ? tell_second(fact) : tell_policy(fact);
  if (const slot_index slot = in_flight.find_slot(fact.id); slot != no_slot)
    release_ended(slot);
}

void scheduler::state::late_fact(const placing::cancel_requested& fact) {
  const call_state* call = in_flight.find(fact.id);
  if (call != nullptr && !call->late)
    return on(fact);
  if (call != nullptr && call->second)
    return tell_second(fact);
  const auto held = find_held(fact.id);
  if (held == late.held.end())
    return tell_policy(fact);
  late.held.erase(held);
  abandon(in_flight.find_slot(fact.id), errc::cancelled, "the client withdrew the call");
}

/// A width that no map has would become as many tasks; no policy hears of it.
void scheduler::state::late_fact(const placing::stage_ready& fact) {
  if (fact.width <= functions::max_map_width) {
    tell_policy(fact);
    tell_second(fact);
    return;
  }
  const call_state* call = in_flight.find(fact.call);
  if (call == nullptr || !call->late || find_held(fact.call) != late.held.end()) // held calls have no stages yet
    return;
  const placing::call_ended over{fact.call, errc::invalid_argument, {}};
  call->second ? tell_second(over) : tell_policy(over);
  abandon(in_flight.find_slot(fact.call), errc::invalid_argument,
          "stage " + std::to_string(fact.stage) + " is " + std::to_string(fact.width) + " wide; the limit is " +
              std::to_string(functions::max_map_width));
}

void scheduler::state::late_fact(const placing::tick& fact) {
  const auto due = [&](const dispatch_policy* p) { return p != nullptr && p->next_deadline().value_or(never) <= now; };
  if (due(late.policy.get()))
    tell_policy(fact);
  if (due(late.second.policy.get()))
    tell_second(fact);
}

result<> check_policy(std::string_view name) {
  if (make_placement_policy(name, 0))
    return {};
  const auto wanted = make_dispatch_policy(name, 0, 0);
  if (wanted.ok())
    return {};
  if (wanted.error().code != errc::not_found)
    return wanted.error();
  std::vector<std::string> known = placement_policy_names();
  for (const std::string& n : dispatch_policy_names())
    if (!make_placement_policy(n, 0))
      known.push_back(n);
  std::string list;
  for (const std::string& n : known)
    list += (list.empty() ? "" : ", ") + n;
  return {errc::invalid_argument, "no policy is called '" + std::string{name} + "'; known: " + list};
}

// -- policies
// ------------------------------------------------------------------------------------------------------------------

result<std::unique_ptr<dispatch_policy>> scheduler::state::next_dispatch_policy(const std::string& name) {
  return make_dispatch_policy(name, seed, late.policies << id_bits);
}

void scheduler::state::use_dispatch_policy(const std::string& name) {
  auto wanted = next_dispatch_policy(name);
  late.name = name;
  if (!wanted.ok()) {
    commands.emplace_back(placing::policy_refused{name, wanted.error().message});
    if (policy) // placing goes on
      return;
    late.name = "fifo";
    wanted = next_dispatch_policy(late.name);
  }
  late.policy = std::move(*wanted);
  late.in_force = true;
  policy_name = late.name;
  ++late.policies;
}

void scheduler::state::set_shadow(const std::string& name) {
  if (name == "none") {
    late.shadow.reset();
    return;
  }
  auto wanted = shadow::create(name, seed, 0);
  if (!wanted.ok()) {
    commands.emplace_back(placing::policy_refused{name, wanted.error().message});
    return;
  }
  late.shadow = std::move(*wanted);
  for (const placing::event& fact : known_facts({}, false))
    late.shadow->observe(now, fact, {});
}

void scheduler::state::late_fact(const placing::policy_set& fact) {
  if (fact.shadow)
    return set_shadow(fact.name);
  if (fact.share_ppm < 1'000'000)
    return set_share(fact);
  if (policy && make_placement_policy(fact.name, seed)) {
    late.next.clear();
    end_share();
    if (fact.name != placing_name)
      use_policy(fact.name);
    late.in_force = false;
    policy_name = placing_name;
    return place_again(std::exchange(late.held, {}));
  }
  if (const auto wanted = next_dispatch_policy(fact.name); !wanted.ok()) {
    const auto checked = policy ? check_policy(fact.name) : result<>{wanted.error()};
    commands.emplace_back(placing::policy_refused{fact.name, checked.error().message});
    return;
  }
  end_share();
  late.in_force = true;
  policy_name = fact.name;
  if (!late.policy || fact.name != late.name) {
    late.next = fact.name;
    return;
  }
  late.next.clear(); // back to the one that still has calls
  for (const placing::call_arrived& call : std::exchange(late.held, {}))
    tell_policy(call);
}

/// Calls that waited for a dispatch policy that did not come.
std::vector<placing::call_arrived>::iterator scheduler::state::find_held(call_id call) {
  return std::find_if(late.held.begin(), late.held.end(), [&](const placing::call_arrived& c) { return c.id == call; });
}

void scheduler::state::place_again(const std::vector<placing::call_arrived>& held) {
  for (const placing::call_arrived& call : held) {
    release_if_known(call.id);
    on(call);
  }
}

void scheduler::state::settle_policies() {
  if (!late.next.empty() && late.calls == late.held.size())
    hand_over();
  else if (!late.in_force && late.policy && late.calls == 0)
    retire_policy();
  if (late.second.ending && late.second.calls == 0)
    retire_second();
  start_second();
}

void scheduler::state::retire_policy() {
  for (const late_replica& r : std::exchange(late.replicas, {}))
    commands.emplace_back(placing::evict_replica{r.id, r.node});
  late.policy.reset();
  late.name.clear();
}

std::vector<placing::event> scheduler::state::known_facts(const std::vector<node_id>& nodes, bool these) const {
  std::vector<placing::event> out;
  for (const auto& [id, function] : late.functions)
    out.emplace_back(function);
  for (const dag_id id : dags.sorted_ids()) {
    placing::dag_registered fact{id, {}};
    for (const stage_state& stage : dags.find(id)->stages)
      fact.stages.push_back(stage.info);
    out.emplace_back(std::move(fact));
  }
  for (const placing::node_joined& node : late.nodes)
    if (std::binary_search(nodes.begin(), nodes.end(), node.id) == these)
      out.emplace_back(node);
  return out;
}

/// The last call of the old policy has ended.
void scheduler::state::hand_over() {
  retire_policy();
  use_dispatch_policy(std::exchange(late.next, {}));
  for (const placing::event& fact : known_facts(late.second.nodes, false))
    tell_policy(fact);
  for (const placing::call_arrived& call : std::exchange(late.held, {}))
    tell_policy(call);
}

// -- snapshots
// -----------------------------------------------------------------------------------------------------------------

void scheduler::state::save_late(calls::binary_writer& out) const {
  out.write(late.in_force);
  out.write(late.calls);
  out.write(late.name);
  out.write(late.policies);
  out.write(late.next);
  out.write(late.held);
  out.write(late.functions);
  out.write(late.nodes);
  out.write(late.replicas);
  out.write(late.policy != nullptr);
  if (late.policy)
    late.policy->save(out);
  out.write(late.second);
  out.write(late.second.policy != nullptr);
  if (late.second.policy)
    late.second.policy->save(out);
  out.write(late.shadow ? late.shadow->report().policy : std::string{});
  if (late.shadow)
    late.shadow->save(out);
}

result<> scheduler::state::load_late(calls::binary_reader& in) {
  bool has_policy = false;
  in.read(late.in_force);
  in.read(late.calls);
  in.read(late.name);
  in.read(late.policies);
  in.read(late.next);
  in.read(late.held);
  in.read(late.functions);
  in.read(late.nodes);
  in.read(late.replicas);
  in.read(has_policy);
  SQUALL_TRY(in.status("scheduler snapshot"));
  if (has_policy) {
    --late.policies;
    auto saved = next_dispatch_policy(late.name);
    ++late.policies;
    if (!saved.ok())
      return {errc::corrupt, "scheduler snapshot: " + saved.error().message};
    late.policy = std::move(*saved);
    late.policy->restore(in);
  }
  in.read(late.second);
  in.read(has_policy);
  SQUALL_TRY(in.status("scheduler snapshot"));
  if (has_policy) {
    auto saved = make_dispatch_policy(late.second.name, seed, late.second.number << id_bits);
    if (!saved.ok())
      return {errc::corrupt, "scheduler snapshot: " + saved.error().message};
    late.second.policy = std::move(*saved);
    late.second.policy->restore(in);
  }
  std::string shadow_name;
  in.read(shadow_name);
  SQUALL_TRY(in.status("scheduler snapshot"));
  if (shadow_name.empty())
    return {};
  auto saved = shadow::create(shadow_name, seed, 0);
  if (!saved.ok())
    return {errc::corrupt, "scheduler snapshot: " + saved.error().message};
  late.shadow = std::move(*saved);
  late.shadow->restore(in);
  return {};
}

} // namespace squall::policy
