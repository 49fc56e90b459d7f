#include "policy/scheduler.hpp"

#include "policy/detail/scheduler_state.hpp"

#include <algorithm>

namespace squall::policy {

using namespace detail;

// -- the face
// -----------------------------------------------------------------------------------------------------------------

scheduler::scheduler(const scheduler_config& config, std::uint64_t seed) : state_(std::make_unique<state>()) {
  state_->config = config;
  state_->seed = seed;
  state_->late.policies = std::uint64_t{config.life & 0xffff} << 8;
  if (!config.late_placement)
    state_->use_policy(config.policy);
  if (config.late_placement || state_->placing_name != config.policy)
    state_->use_dispatch_policy(config.policy);
}
scheduler::scheduler(std::unique_ptr<state> restored) : state_(std::move(restored)) {}
scheduler::~scheduler() = default;

void scheduler::step(time_point now, const placing::event& fact) {
  SQUALL_CHECK(now >= state_->now, to_ns(now), to_ns(state_->now));
  state_->now = now;
  const std::size_t decided = state_->commands.size();
  // The fact goes first: an answer that is there when its deadline is noticed still counts.
  std::visit([this](const auto& f) { state_->late_fact(f); }, fact);
  state_->settle_policies();
  state_->expire();
  if (state_->late.shadow)
    state_->late.shadow->observe(now, fact, std::span{state_->commands}.subspan(decided));
}

std::vector<placing::command> scheduler::take_commands() { return std::exchange(state_->commands, {}); }

std::optional<time_point> scheduler::next_deadline() const {
  std::optional<time_point> next;
  const auto earlier = [&next](std::optional<time_point> at) {
    if (at && (!next || *at < *next))
      next = at;
  };
  earlier(state_->call_timers.first());
  earlier(state_->sequence_timers.first());
  if (state_->late.policy)
    earlier(state_->late.policy->next_deadline());
  if (state_->late.second.policy)
    earlier(state_->late.second.policy->next_deadline());
  if (state_->late.shadow)
    earlier(state_->late.shadow->next_deadline());
  return next;
}

std::vector<placing::event> scheduler::known_facts() const { return state_->known_facts({}, false); }
time_point scheduler::now() const { return state_->now; }
const std::string& scheduler::policy_name() const { return state_->policy_name; }
std::size_t scheduler::calls_in_flight() const { return state_->in_flight.size(); }
share_view scheduler::share() const { return state_->share(); }
shadow_report scheduler::shadow_so_far() const {
  return state_->late.shadow ? state_->late.shadow->report() : shadow_report{};
}

// -- the catalogue
// ------------------------------------------------------------------------------------------------------------

void scheduler::state::on(const placing::function_registered& fact) {
  slot_index slot = functions.find_slot(fact.id);
  if (slot == no_slot)
    slot = functions.insert(fact.id);
  functions.at(slot).stateful = fact.stateful;
  for (const placing::variant_info& info : fact.variants) {
    slot_index v = variants.find_slot(info.id);
    if (v == no_slot)
      v = variants.insert(info.id);
    variants.at(v).info = info;
  }
}

/// But for variants that a DAG still names.
void scheduler::state::on(const placing::function_removed& fact) {
  if (const slot_index slot = functions.find_slot(fact.id); slot != no_slot)
    functions.erase(slot);
  for (const variant_id id : fact.variants) {
    const slot_index slot = variants.find_slot(id);
    if (slot == no_slot || named_by_dag(id))
      continue;
    variants.erase(slot);
    for (node_state& node : nodes)
      std::erase(node.resident, id);
  }
}

bool scheduler::state::named_by_dag(variant_id variant) const {
  const std::vector<dag_id> ids = dags.sorted_ids();
  return std::any_of(ids.begin(), ids.end(), [&](dag_id id) {
    const auto& stages = dags.find(id)->stages;
    return std::any_of(stages.begin(), stages.end(), [&](const stage_state& s) {
      return std::find(s.info.variants.begin(), s.info.variants.end(), variant) != s.info.variants.end();
    });
  });
}

bool dag_state::derive() {
  order.clear();
  for (stage_index i = 0; i < stages.size(); ++i) {
    stages[i].depth = 0;
    for (const stage_index producer : stages[i].info.producers) {
      if (producer >= i)
        return false;
      stages[i].depth = std::max(stages[i].depth, stages[producer].depth + 1);
    }
    if (stages[i].executed.size() != stages[i].info.variants.size())
      return false;
    order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(),
                   [this](stage_index a, stage_index b) { return stages[a].depth < stages[b].depth; });
  return true;
}

void scheduler::state::on(const placing::dag_registered& fact) {
  dag_state dag;
  for (const placing::stage_info& info : fact.stages) {
    stage_state& stage = dag.stages.emplace_back();
    stage.info = info;
    stage.executed.resize(info.variants.size());
    const function_state* function = functions.find(info.function);
    stage.stateful = function != nullptr && function->stateful;
  }
  if (!dag.derive())
    return; // not a DAG: calls of it are told that it is not registered
  slot_index slot = dags.find_slot(fact.id);
  if (slot == no_slot)
    slot = dags.insert(fact.id);
  dag.calls = dags.at(slot).calls;
  dags.at(slot) = std::move(dag);
}

void scheduler::state::on(const placing::dag_removed& fact) {
  const slot_index slot = dags.find_slot(fact.id);
  if (slot == no_slot)
    return;
  dags.at(slot).removed = true;
  if (dags.at(slot).calls == 0)
    dags.erase(slot);
}

/// Names that are not known are for the dispatch policies.
void scheduler::state::use_policy(std::string_view name) {
  auto wanted = make_placement_policy(name, seed);
  placing_name = wanted ? name : "fifo";
  policy = wanted ? std::move(wanted) : make_placement_policy(placing_name, seed);
  policy_name = placing_name;
  late.in_force = false;
}

// -- nodes
// --------------------------------------------------------------------------------------------------------------------

node_state* scheduler::state::find_node(node_id id) {
  const auto at =
      std::lower_bound(nodes.begin(), nodes.end(), id, [](const node_state& n, node_id i) { return n.id < i; });
  return at != nodes.end() && at->id == id ? &*at : nullptr;
}

void scheduler::state::on(const placing::node_joined& fact) {
  node_state* node = find_node(fact.id);
  if (node == nullptr) {
    const auto at =
        std::lower_bound(nodes.begin(), nodes.end(), fact.id, [](const node_state& n, node_id i) { return n.id < i; });
    node = &*nodes.insert(at, node_state{});
    node->id = fact.id;
  }
  node->memory_bytes = fact.memory_bytes;
  node->cpu.lanes = node->gpu.lanes = 0;
  for (const placing::lane_info& lane : fact.lanes)
    ++node->share(lane.resource).lanes;
}

void scheduler::state::on(const placing::node_lost& fact) {
  node_state* node = find_node(fact.id);
  if (node == nullptr)
    return;
  for (const variant_id v : node->resident)
    if (variant_state* known = variants.find(v))
      --known->resident_nodes;
  nodes.erase(nodes.begin() + (node - nodes.data()));
  lose_sequences(fact.id);

  std::vector<std::pair<std::uint64_t, call_id>> hit; // in order of arrival
  for (const call_id id : in_flight.sorted_ids()) {
    const call_state& call = *in_flight.find(id);
    if (std::any_of(call.charges.begin(), call.charges.end(), [&](const charge& c) { return c.node == fact.id; }))
      hit.emplace_back(call.order, id);
  }
  std::sort(hit.begin(), hit.end());
  for (const auto& [order, id] : hit)
    abandon(in_flight.find_slot(id), errc::unavailable,
            "node " + to_string(fact.id) + ", which had work of the call, was lost");
}

/// Without lanes it is no candidate for anything.
void scheduler::state::on(const placing::node_draining& fact) {
  if (node_state* node = find_node(fact.id))
    node->cpu.lanes = node->gpu.lanes = 0;
}

void scheduler::state::on(const placing::residency_changed& fact) {
  node_state* node = find_node(fact.node);
  variant_state* variant = variants.find(fact.variant);
  if (node == nullptr || variant == nullptr)
    return;
  const auto at = std::lower_bound(node->resident.begin(), node->resident.end(), fact.variant);
  const bool known = at != node->resident.end() && *at == fact.variant;
  if (fact.resident && !known) {
    node->resident.insert(at, fact.variant);
    ++variant->resident_nodes;
  } else if (!fact.resident && known) {
    node->resident.erase(at);
    --variant->resident_nodes;
  }
}

// -- calls
// --------------------------------------------------------------------------------------------------------------------

error scheduler::state::overloaded(std::string what, std::uint64_t limit) const {
  return {errc::overloaded, std::move(what) + "; the limit is " + std::to_string(limit), drain_time(end_gap_ns, limit)};
}

result<> scheduler::state::check_arrival(const placing::call_arrived& fact, const dag_state* dag) {
  if (in_flight.find(fact.id) != nullptr)
    return {errc::already_exists, "call " + to_string(fact.id) + " is in flight already"};
  if (dag == nullptr || dag->removed)
    return {errc::not_found, "DAG " + to_string(fact.dag) + " is not registered"};
  if (fact.deadline <= now)
    return {errc::deadline_exceeded, "the deadline had passed when the call arrived"};
  if (in_flight.size() >= config.max_calls)
    return overloaded(std::to_string(in_flight.size()) + " calls are in flight", config.max_calls);
  const client_state* client = clients.find(fact.client);
  if (client != nullptr && client->calls >= config.max_calls_per_client)
    return overloaded("the client has " + std::to_string(client->calls) + " calls in flight",
                      config.max_calls_per_client);
  return {};
}

void scheduler::state::on(const placing::call_arrived& fact) {
  const auto refuse = [&](const error& e) {
    commands.emplace_back(placing::refuse{fact.id, e.code, e.message, e.retry_after});
  };
  dag_state* dag = dags.find(fact.dag);
  if (const auto fine = check_arrival(fact, dag); !fine.ok())
    return refuse(fine.error());
  sequence_state* sequence = nullptr;
  if (fact.sequence.id) {
    const auto found = find_sequence(fact);
    if (!found.ok())
      return refuse(found.error());
    sequence = *found;
  }
  draft.affinity = fact.affinity;
  const auto placed =
      place(fact.id, static_cast<bool>(fact.sequence.id), *dag, sequence != nullptr ? sequence->node : node_id{});
  if (!placed.ok())
    return refuse(placed.error());
  if (fact.sequence.id)
    enter_sequence(sequence != nullptr ? *sequence : begin_sequence(fact.sequence.id, draft.state_node), fact);
  admit(fact, *dag);
}

slot_index scheduler::state::enter(const placing::call_arrived& fact, dag_state& dag) {
  const slot_index slot = in_flight.insert(fact.id);
  call_state& call = in_flight.at(slot);
  call.client = fact.client;
  call.dag = fact.dag;
  call.order = ++arrivals;
  call.deadline = fact.deadline;
  call.sequence = fact.sequence;
  ++dag.calls;
  slot_index client = clients.find_slot(fact.client);
  if (client == no_slot) {
    client = clients.insert(fact.client);
    clients.at(client).calls = 0;
  }
  ++clients.at(client).calls;
  return slot;
}

/// Takes the call in as the draft says.
void scheduler::state::charge_draft(const placing::call_arrived& fact, dag_state& dag) {
  const slot_index slot = enter(fact, dag);
  call_state& call = in_flight.at(slot);
  std::swap(call.variants, draft.variants);
  std::swap(call.charges, draft.charges);
  for (const charge& c : call.charges) {
    node_share& share = find_node(c.node)->share(c.resource);
    share.work += c.work;
    ++share.charges;
  }
  if (fact.deadline != never)
    call_timers.set(slot, later(fact.deadline, config.deadline_grace), call.order);
}

void scheduler::state::admit(const placing::call_arrived& fact, dag_state& dag) {
  charge_draft(fact, dag);
  duration finish{0};
  for (const duration d : draft.finish)
    finish = std::max(finish, d);
  placing::admit command{fact.id, std::move(draft.plan), draft.known ? draft.wait + finish : duration{0}, false, 0};
  if (fact.deadline != never)
    command.reserve = reserve_of(dag, finish, fact.deadline - now);
  commands.emplace_back(std::move(command));
}

/// What follows the start of a best-effort join takes so long, and the way of news.
duration scheduler::state::reserve_of(const dag_state& dag, duration finish, duration left) const {
  duration reserve{0};
  for (const stage_state& stage : dag.stages) {
    if (stage.info.best_effort == 0)
      continue;
    duration start{0};
    for (const stage_index p : stage.info.producers)
      start = std::max(start, draft.finish[p]);
    reserve = std::max(reserve, finish - start);
  }
  if (reserve.count() > 0)
    reserve += std::clamp<duration>(left / 20, std::chrono::milliseconds{2}, std::chrono::milliseconds{100});
  return reserve;
}

void scheduler::state::on(const placing::call_ended& fact) {
  const slot_index slot = in_flight.find_slot(fact.id);
  if (slot == no_slot)
    return;
  learn(in_flight.at(slot), fact);
  release_ended(slot);
}

/// Releases it, and learns how often calls end.
void scheduler::state::release_ended(slot_index slot) {
  const std::int64_t gap = std::clamp<std::int64_t>((now - last_end).count(), 1, longest_gap_ns);
  end_gap_ns = averaged(end_gap_ns, gap);
  last_end = now;
  release(slot);
}

void scheduler::state::learn(const call_state& call, const placing::call_ended& fact) {
  dag_state* dag = dags.find(call.dag);
  if (dag == nullptr)
    return;
  for (const placing::stage_report& report : fact.stages) {
    if (report.stage >= dag->stages.size() || report.stage >= call.variants.size())
      continue;
    stage_state& stage = dag->stages[report.stage];
    const std::int64_t ran = report.width > 0 ? 1024 : 0;
    stage.ran_q10 += (ran - stage.ran_q10) / 16;
    if (report.width == 0 || call.variants[report.stage] >= stage.executed.size())
      continue;
    duration& executed = stage.executed[call.variants[report.stage]];
    executed = duration{averaged(executed.count(), time_of_one(report.executed, report.width).count())};
    if (stage.info.map)
      stage.width_q8 = averaged(stage.width_q8, std::int64_t{report.width} * 256);
  }
}

/// Takes a call that has ended out of everything that knows it.
void scheduler::state::release(slot_index slot) {
  call_state& call = in_flight.at(slot);
  for (const charge& c : call.charges) {
    node_state* node = find_node(c.node);
    if (node == nullptr)
      continue;
    node_share& share = node->share(c.resource);
    // A node that joined anew under its old id owes nothing for what was placed on it before.
    share.work -= std::min(share.work, c.work);
    if (share.charges > 0 && --share.charges == 0)
      share.freed = ++releases;
  }
  call_timers.erase(slot);
  if (call.late)
    --(call.second ? late.second.calls : late.calls);
  const slot_index client = clients.find_slot(call.client);
  if (client != no_slot && --clients.at(client).calls == 0)
    clients.erase(client);
  const slot_index dag = dags.find_slot(call.dag);
  if (dag != no_slot && --dags.at(dag).calls == 0 && dags.at(dag).removed)
    dags.erase(dag);
  const calls::sequence sequence = call.sequence;
  const call_id id = in_flight.id_of(slot);
  in_flight.erase(slot);
  if (sequence.id)
    leave_sequence(sequence, id);
}

void scheduler::state::on(const placing::cancel_requested& fact) {
  const slot_index slot = in_flight.find_slot(fact.id);
  if (slot != no_slot)
    abandon(slot, errc::cancelled, "the client withdrew the call");
}

void scheduler::state::abandon(slot_index slot, errc code, std::string message) {
  std::vector<node_id> holders;
  for (const charge& c : in_flight.at(slot).charges)
    if (find_node(c.node) != nullptr)
      holders.push_back(c.node);
  std::sort(holders.begin(), holders.end());
  holders.erase(std::unique(holders.begin(), holders.end()), holders.end());
  commands.emplace_back(placing::abandon{in_flight.id_of(slot), code, std::move(message), std::move(holders)});
  release(slot);
}

void scheduler::state::expire() {
  for (slot_index slot = call_timers.due(now); slot != no_slot; slot = call_timers.due(now))
    abandon(slot, errc::deadline_exceeded,
            "the deadline passed and no node had answered " +
                std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(config.deadline_grace).count()) +
                " ms later");
  expire_sequences();
}

} // namespace squall::policy
