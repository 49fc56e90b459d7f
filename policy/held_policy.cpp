#include "policy/held_policy.hpp"

#include "policy/detail/held_state.hpp"

#include <algorithm>
#include <tuple>

namespace squall::policy {

namespace detail {

namespace {

constexpr std::size_t most_kinds = 64;

} // namespace

held_policy::held_policy(const dispatch_policy_setup& setup, const selection_config& config, std::size_t batch)
    : line_(config), batch_(batch), last_replica_(setup.last_id), last_batch_(setup.last_id) {}

void held_policy::step(time_point now, const placing::event& fact, std::vector<placing::command>& out) {
  now_ = now;
  if (!start_)
    start_ = now;
  std::visit([&](const auto& f) { on(f, out); }, fact);
}

std::optional<time_point> held_policy::next_deadline() const { return changed_ ? std::optional{now_} : std::nullopt; }

// -- the catalogue and the nodes
// -----------------------------------------------------------------------------------------------------------

void held_policy::on(const placing::function_registered& fact, commands&) {
  auto& listed = functions_[fact.id];
  listed.clear();
  for (const placing::variant_info& v : fact.variants) {
    variants_[v.id] = v;
    listed.push_back(v.id);
  }
  for (group_index g = 0; g < groups_.size(); ++g)
    if (groups_[g].function == fact.id)
      line_.set_expected(g, expected_of(groups_[g]));
  refresh_kinds();
}

void held_policy::on(const placing::dag_registered& fact, commands&) {
  auto& stages = dags_[fact.id];
  stages.clear();
  for (const placing::stage_info& stage : fact.stages)
    stages.push_back(group_of(stage));
}

group_index held_policy::group_of(const placing::stage_info& stage) {
  held_group group{stage.function, {}};
  for (const variant_id v : functions_[stage.function])
    if (std::find(stage.variants.begin(), stage.variants.end(), v) != stage.variants.end())
      group.variants.push_back(v);
  const auto same = [&](const held_group& g) { return g.function == group.function && g.variants == group.variants; };
  if (const auto at = std::find_if(groups_.begin(), groups_.end(), same); at != groups_.end())
    return static_cast<group_index>(at - groups_.begin());
  groups_.push_back(group);
  return line_.add_group(expected_of(group), kinds_of(group));
}

duration held_policy::expected_of(const held_group& group) const {
  duration least = duration::max();
  for (const variant_id v : group.variants)
    least = std::min(least, variants_.at(v).expected);
  return group.variants.empty() ? duration{0} : least;
}

std::uint64_t held_policy::kinds_of(const held_group& group) const {
  std::uint64_t out = 0;
  for (const variant_id id : group.variants) {
    const placing::variant_info& v = variants_.at(id);
    for (std::size_t k = 0; k < kinds_.size(); ++k)
      if (kinds_[k].resource == v.resource && v.memory_bytes <= kinds_[k].memory_bytes)
        out |= std::uint64_t{1} << k;
  }
  return out;
}

/// The bit of a kind. Of more kinds than there are bits the nearest smaller one stands for it.
std::uint64_t held_policy::kind_of(functions::resource_type resource, std::uint64_t memory_bytes) {
  const lane_kind wanted{resource, memory_bytes};
  auto at = std::find(kinds_.begin(), kinds_.end(), wanted);
  if (at == kinds_.end() && kinds_.size() < most_kinds) {
    kinds_.push_back(wanted);
    refresh_kinds();
    at = kinds_.end() - 1;
  }
  for (auto k = kinds_.begin(); at == kinds_.end() && k != kinds_.end(); ++k)
    if (k->resource == resource && k->memory_bytes < memory_bytes)
      at = k;
  return at == kinds_.end() ? 0 : std::uint64_t{1} << (at - kinds_.begin());
}

void held_policy::refresh_kinds() {
  for (group_index g = 0; g < groups_.size(); ++g)
    line_.set_kinds(g, kinds_of(groups_[g]));
}

void held_policy::on(const placing::node_joined& fact, commands&) {
  if (nodes_.contains(fact.id))
    return; // a node changes what it has by leaving and joining
  held_node& node = nodes_[fact.id];
  node.memory_bytes = node.free_bytes = fact.memory_bytes;
  for (const placing::lane_info& lane : fact.lanes) {
    node.lanes.push_back(line_.add_executor(kind_of(lane.resource, fact.memory_bytes)));
    lanes_.push_back({.node = fact.id, .resource = lane.resource, .replica = {}, .batch = {}, .tasks = {}});
  }
  changed_ = true;
}

void held_policy::on(const placing::node_lost& fact, commands& out) {
  const auto at = nodes_.find(fact.id);
  if (at == nodes_.end())
    return;
  std::vector<call_id> broken;
  for (const executor_index index : at->second.lanes) {
    held_lane& lane = lanes_[index];
    line_.remove_executor(index);
    std::erase(ended_, index);
    std::erase(loaded_, index);
    for (const placing::task& t : lane.tasks)
      if (lane.batch)
        broken.push_back(t.call);
      else if (calls_.contains(t.call))
        enqueue(lane.group, t);
    batches_.erase(lane.batch);
    lane = {.node = fact.id, .resource = lane.resource, .replica = {}, .batch = {}, .tasks = {}};
  }
  nodes_.erase(at);
  std::sort(broken.begin(), broken.end());
  broken.erase(std::unique(broken.begin(), broken.end()), broken.end());
  for (const call_id call : broken) {
    if (!calls_.contains(call))
      continue;
    forget(call);
    out.emplace_back(placing::abandon{
        call, errc::unavailable, "node " + to_string(fact.id) + ", which had work of the call, was lost", {}});
  }
  changed_ = true;
}

// -- calls
// --------------------------------------------------------------------------------------------------------------------

void held_policy::on(const placing::call_arrived& fact, commands& out) {
  const auto refuse = [&](std::string why) {
    out.emplace_back(placing::refuse{fact.id, errc::unavailable, std::move(why), {}, {}});
  };
  const auto dag = dags_.find(fact.dag);
  if (dag == dags_.end())
    return refuse("the DAG is not known");
  placing::micro_cost cost = 0;
  for (std::size_t s = 0; s < dag->second.size(); ++s) {
    const held_group& group = groups_[dag->second[s]];
    if (kinds_of(group) == 0)
      return refuse("no node has a lane and the memory for stage " + std::to_string(s) + " of the DAG");
    placing::micro_cost most = 0;
    for (const variant_id v : group.variants)
      most = std::max(most, variants_.at(v).cost);
    cost += most;
  }
  calls_[fact.id].dag = fact.dag;
  out.emplace_back(placing::admit{fact.id, {}, duration{0}, true, cost});
}

void held_policy::on(const placing::call_ended& fact, commands&) { forget(fact.id); }

void held_policy::on(const placing::cancel_requested& fact, commands& out) {
  if (!calls_.contains(fact.id))
    return;
  forget(fact.id);
  out.emplace_back(placing::abandon{fact.id, errc::cancelled, "the client withdrew the call", {}});
}

void held_policy::forget(call_id call) {
  const auto at = calls_.find(call);
  if (at == calls_.end())
    return;
  for (const std::uint64_t task : at->second.waiting) {
    line_.withdraw(waiting_.at(task).group, task);
    waiting_.erase(task);
  }
  calls_.erase(at);
}

void held_policy::on(const placing::stage_ready& fact, commands&) {
  const auto call = calls_.find(fact.call);
  if (call == calls_.end())
    return;
  const auto& groups = dags_.at(call->second.dag);
  if (fact.stage >= groups.size())
    return;
  for (std::uint32_t e = 0; e < fact.width; ++e)
    enqueue(groups[fact.stage], {fact.call, fact.stage, e});
}

void held_policy::enqueue(group_index group, const placing::task& task) {
  const std::uint64_t number = ++last_task_;
  waiting_[number] = {group, task};
  calls_.at(task.call).waiting.push_back(number);
  line_.enqueue(group, number, since_start());
  changed_ = true;
}

// -- lanes
// --------------------------------------------------------------------------------------------------------------------

void held_policy::on(const placing::replica_loaded& fact, commands&) {
  const auto node = nodes_.find(fact.node);
  if (node == nodes_.end())
    return;
  const auto replica = node->second.replicas.find(fact.replica);
  if (replica == node->second.replicas.end() || replica->second.loaded)
    return; // it is told once: what says so again is wrong, and the lane may be at work
  changed_ = true;
  const auto lane = std::find_if(node->second.lanes.begin(), node->second.lanes.end(),
                                 [&](executor_index l) { return lanes_[l].replica == fact.replica; });
  if (fact.code == errc::ok) {
    replica->second.loaded = true;
    if (lane != node->second.lanes.end())
      loaded_.push_back(*lane);
    return;
  }
  node->second.free_bytes += variants_.at(replica->second.variant).memory_bytes;
  node->second.replicas.erase(replica);
  if (lane == node->second.lanes.end())
    return;
  lanes_[*lane].replica = {};
  ended_.push_back(*lane);
}

void held_policy::on(const placing::batch_done& fact, commands&) {
  const auto at = batches_.find(fact.batch);
  if (at == batches_.end())
    return;
  held_lane& lane = lanes_[at->second];
  // What was not started starts later; what failed ends its call by another fact.
  if (fact.code != errc::deadline_exceeded && fact.code != errc::unavailable)
    lane.tasks.clear();
  ended_.push_back(at->second);
  batches_.erase(at);
  changed_ = true;
}

/// The lane is free again; tasks that it still has did not run.
void held_policy::leave(executor_index index) {
  held_lane& lane = lanes_[index];
  held_node& node = nodes_.at(lane.node);
  if (const auto replica = node.replicas.find(lane.replica); replica != node.replicas.end()) {
    replica->second.busy = false;
    replica->second.last_used = now_;
  }
  for (const placing::task& t : std::exchange(lane.tasks, {}))
    if (calls_.contains(t.call))
      enqueue(lane.group, t);
  lane = {.node = lane.node, .resource = lane.resource, .replica = {}, .batch = {}, .tasks = {}};
  line_.release(index);
}

void held_policy::on(const placing::tick&, commands& out) {
  const auto by_choice = [&](executor_index a, executor_index b) { return lanes_[a].taken < lanes_[b].taken; };
  std::sort(ended_.begin(), ended_.end(), by_choice);
  for (const executor_index lane : std::exchange(ended_, {}))
    leave(lane);
  std::sort(loaded_.begin(), loaded_.end(), by_choice);
  for (const executor_index index : std::exchange(loaded_, {})) {
    held_lane& lane = lanes_[index];
    std::erase_if(lane.tasks, [&](const placing::task& t) { return !calls_.contains(t.call); });
    if (lane.tasks.empty()) // all were withdrawn meanwhile
      leave(index);
    else
      dispatch(lane, out);
  }
  line_.settle(since_start());
  const auto can = [this](group_index g, executor_index l) { return can_run(g, l); };
  while (const auto choice = line_.next(can))
    start(*choice, out);
  changed_ = false;
}

std::optional<replica_id> held_policy::idle_replica(const held_node& node, variant_id variant) const {
  std::optional<replica_id> best; // the one that was used last, so that the others can go
  for (const auto& [id, r] : node.replicas)
    if (r.variant == variant && r.loaded && !r.busy && (!best || r.last_used > node.replicas.at(*best).last_used))
      best = id;
  return best;
}

/// Memory that is free or can be had at once.
std::uint64_t held_policy::room(const held_node& node, const std::map<variant_id, placing::variant_info>& of) {
  std::uint64_t out = node.free_bytes;
  for (const auto& [id, r] : node.replicas)
    if (!r.busy)
      out += of.at(r.variant).memory_bytes;
  return out;
}

const placing::variant_info* held_policy::variant_for(group_index group, const held_lane& lane) const {
  const held_node& node = nodes_.at(lane.node);
  const std::uint64_t available = room(node, variants_);
  const placing::variant_info* best = nullptr;
  bool best_resident = false;
  for (const variant_id id : groups_[group].variants) {
    const placing::variant_info& v = variants_.at(id);
    if (v.resource != lane.resource)
      continue;
    const bool resident = idle_replica(node, id).has_value();
    if (!resident && v.memory_bytes > available)
      continue;
    if (best == nullptr || std::tuple{!resident, v.expected} < std::tuple{!best_resident, best->expected}) {
      best = &v;
      best_resident = resident;
    }
  }
  return best;
}

bool held_policy::can_run(group_index group, executor_index lane) const {
  return variant_for(group, lanes_[lane]) != nullptr;
}

void held_policy::start(const selection::choice& choice, commands& out) {
  held_lane& lane = lanes_[choice.executor];
  held_node& node = nodes_.at(lane.node);
  const placing::variant_info& variant = *variant_for(choice.group, lane);
  std::vector<std::uint64_t> numbers = line_.take(choice.group, std::min<std::size_t>(batch_, variant.max_batch) - 1);
  numbers.insert(numbers.begin(), choice.task);
  lane.taken = ++last_taken_;
  lane.group = choice.group;
  for (const std::uint64_t number : numbers) {
    const auto at = waiting_.find(number);
    lane.tasks.push_back(at->second.task);
    std::erase(calls_.at(at->second.task.call).waiting, number);
    waiting_.erase(at);
  }
  if (const auto idle = idle_replica(node, variant.id)) {
    lane.replica = *idle;
    node.replicas.at(*idle).busy = true;
    dispatch(lane, out);
  } else {
    load(node, lane, variant, out);
  }
}

void held_policy::load(held_node& node, held_lane& lane, const placing::variant_info& variant, commands& out) {
  while (node.free_bytes < variant.memory_bytes) {
    auto oldest = node.replicas.end();
    for (auto r = node.replicas.begin(); r != node.replicas.end(); ++r)
      if (!r->second.busy && (oldest == node.replicas.end() || r->second.last_used < oldest->second.last_used))
        oldest = r;
    out.emplace_back(placing::evict_replica{oldest->first, lane.node});
    node.free_bytes += variants_.at(oldest->second.variant).memory_bytes;
    node.replicas.erase(oldest);
  }
  lane.replica = replica_id{++last_replica_};
  node.free_bytes -= variant.memory_bytes;
  node.replicas[lane.replica] = {variant.id, false, true, now_};
  out.emplace_back(placing::load_replica{lane.replica, lane.node, variant.id});
}

void held_policy::dispatch(held_lane& lane, commands& out) {
  lane.batch = batch_id{++last_batch_};
  batches_[lane.batch] = static_cast<executor_index>(&lane - lanes_.data());
  const variant_id variant = nodes_.at(lane.node).replicas.at(lane.replica).variant;
  out.emplace_back(placing::dispatch{lane.batch, lane.node, lane.replica, variant, lane.tasks, never});
}

// -- snapshots
// -------------------------------------------------------------------------------------------------------------------------

void held_policy::save(calls::binary_writer& out) const {
  line_.save(out);
  out.write(static_cast<std::uint64_t>(batch_));
  out.write(variants_);
  out.write(functions_);
  out.write(dags_);
  out.write(groups_);
  out.write(kinds_);
  out.write(nodes_);
  out.write(lanes_);
  out.write(calls_);
  out.write(waiting_);
  out.write(batches_);
  out.write(ended_);
  out.write(loaded_);
  for (const std::uint64_t n : {last_replica_, last_batch_, last_task_, last_taken_})
    out.write(n);
  out.write(now_);
  out.write(start_);
  out.write(changed_);
}

void held_policy::restore(calls::binary_reader& in) {
  line_.restore(in);
  std::uint64_t batch = 1;
  in.read(batch);
  batch_ = std::max<std::uint64_t>(1, batch);
  in.read(variants_);
  in.read(functions_);
  in.read(dags_);
  in.read(groups_);
  in.read(kinds_);
  in.read(nodes_);
  in.read(lanes_);
  in.read(calls_);
  in.read(waiting_);
  in.read(batches_);
  in.read(ended_);
  in.read(loaded_);
  for (std::uint64_t* n : {&last_replica_, &last_batch_, &last_task_, &last_taken_})
    in.read(*n);
  in.read(now_);
  in.read(start_);
  in.read(changed_);
}

} // namespace detail

namespace {

result<std::unique_ptr<dispatch_policy>> make(const dispatch_policy_setup& setup, const std::string& policy) {
  option_reader options{setup};
  selection_config config{.policy = policy, .seed = setup.seed};
  const std::uint64_t batch = options.number("batch", 1, 1'000'000);
  if (policy == "srtf")
    config.aging_ppm = static_cast<std::uint32_t>(options.number("aging", 0, 100'000) * 10'000);
  if (policy == "exclusive") {
    const bool rebalance = options.flag("rebalance", true);
    const bool by_size = options.flag("group-size", false);
    config.rebalance = !rebalance ? rebalance_rule::none
                       : by_size  ? rebalance_rule::group_size
                                  : rebalance_rule::pressure;
    config.rebalance_from =
        from_ns(static_cast<std::int64_t>(options.number("warmup", 100, 1'000'000'000)) * 1'000'000);
  }
  SQUALL_TRY(options.finish());
  return std::unique_ptr<dispatch_policy>{std::make_unique<detail::held_policy>(setup, config, batch)};
}

} // namespace

result<std::unique_ptr<dispatch_policy>> make_rr(const dispatch_policy_setup& s) { return make(s, "rr"); }
result<std::unique_ptr<dispatch_policy>> make_balance(const dispatch_policy_setup& s) { return make(s, "balance"); }
result<std::unique_ptr<dispatch_policy>> make_srtf(const dispatch_policy_setup& s) { return make(s, "srtf"); }
result<std::unique_ptr<dispatch_policy>> make_mlfq(const dispatch_policy_setup& s) { return make(s, "mlfq"); }
result<std::unique_ptr<dispatch_policy>> make_exclusive(const dispatch_policy_setup& s) { return make(s, "exclusive"); }

} // namespace squall::policy
