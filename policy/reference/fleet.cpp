#include "policy/reference/fleet.hpp"

#include "policy/detail/snapshot.hpp"

#include <algorithm>
#include <tuple>

namespace squall::policy::reference {

duration batch_time(const placing::variant_info& variant, std::size_t items) {
  if (variant.batch_times.empty())
    return variant.expected * static_cast<std::int64_t>(items);
  const std::size_t listed = variant.batch_times.size();
  if (items <= listed)
    return variant.batch_times[items - 1];
  return variant.batch_times.back() +
         variant.batch_times.back() / static_cast<std::int64_t>(listed) * static_cast<std::int64_t>(items - listed);
}

// -- the choices of a DAG
// ------------------------------------------------------------------------------------------------------

namespace {

void rate(const fleet_dag& dag, type_choice& choice) {
  std::vector<duration> ends;
  choice.cost = 0;
  choice.latency = duration{0};
  for (std::size_t s = 0; s < dag.stages.size(); ++s) {
    const placing::variant_info& v = *dag.stages[s].variants[choice.types[s]];
    duration begin{0};
    for (const stage_index p : dag.stages[s].producers)
      begin = std::max(begin, ends[p]);
    ends.push_back(begin + batch_time(v, 1));
    choice.cost += v.cost;
    choice.latency = std::max(choice.latency, ends.back());
  }
  choice.rest.assign(dag.stages.size(), duration{0});
  for (std::size_t s = dag.stages.size(); s-- > 0;)
    for (const stage_index p : dag.stages[s].producers)
      choice.rest[p] =
          std::max(choice.rest[p], choice.rest[s] + batch_time(*dag.stages[s].variants[choice.types[s]], 1));
}

/// The next one in the order of counting, the last stage fastest; false after the last one.
bool next_types(const fleet_dag& dag, std::vector<std::uint8_t>& types) {
  for (std::size_t s = types.size(); s-- > 0;) {
    if (types[s] == 0 && dag.stages[s].variants[1]) {
      types[s] = 1;
      return true;
    }
    types[s] = dag.stages[s].variants[0] ? 0 : 1;
  }
  return false;
}

std::vector<std::uint8_t> all_of_one(const fleet_dag& dag, std::uint8_t type) {
  std::vector<std::uint8_t> out;
  for (const fleet_stage& s : dag.stages)
    out.push_back(s.variants[type] ? type : static_cast<std::uint8_t>(1 - type));
  return out;
}

void list_some(fleet_dag& dag) {
  for (const std::uint8_t type : {std::uint8_t{0}, std::uint8_t{1}}) {
    const std::vector<std::uint8_t> base = all_of_one(dag, type);
    dag.choices.push_back({base, {}});
    for (std::size_t s = 0; s < base.size(); ++s) {
      if (!dag.stages[s].variants[1 - base[s]])
        continue;
      std::vector<std::uint8_t> other = base;
      other[s] = static_cast<std::uint8_t>(1 - base[s]);
      dag.choices.push_back({std::move(other), {}});
    }
  }
}

void list_choices(fleet_dag& dag) {
  dag.choices.clear();
  dag.front.clear();
  std::size_t count = 1;
  for (const fleet_stage& s : dag.stages) {
    if (!s.variants[0] && !s.variants[1])
      return; // it cannot run anywhere
    count = std::min(max_listed + 1, count * (s.variants[0] && s.variants[1] ? 2 : 1));
  }
  if (count > max_listed) {
    list_some(dag);
  } else {
    std::vector<std::uint8_t> types = all_of_one(dag, 0);
    do
      dag.choices.push_back({types, {}});
    while (next_types(dag, types));
  }
  for (type_choice& c : dag.choices)
    rate(dag, c);
  const auto key = [](const type_choice& c) { return std::tie(c.latency, c.cost, c.types); };
  std::sort(dag.choices.begin(), dag.choices.end(),
            [&](const type_choice& a, const type_choice& b) { return key(a) < key(b); });
  dag.choices.erase(std::unique(dag.choices.begin(), dag.choices.end(),
                                [](const type_choice& a, const type_choice& b) { return a.types == b.types; }),
                    dag.choices.end());
  std::optional<placing::micro_cost> least;
  for (std::uint32_t c = 0; c < dag.choices.size(); ++c)
    if (!least || dag.choices[c].cost < *least) {
      least = dag.choices[c].cost;
      dag.front.push_back(c);
    }
}

} // namespace

void fleet::derive(dag_id id) {
  fleet_dag& dag = dags_[id];
  dag.stages.clear();
  for (const placing::stage_info& info : registered_[id].stages) {
    fleet_stage& stage = dag.stages.emplace_back();
    stage.producers = info.producers;
    const auto function = functions_.find(info.function);
    if (function == functions_.end())
      continue;
    for (const placing::variant_info& v : function->second.variants)
      if (std::find(info.variants.begin(), info.variants.end(), v.id) != info.variants.end() &&
          !stage.variants[index_of(v.resource)])
        stage.variants[index_of(v.resource)] = v;
  }
  list_choices(dag);
}

// -- the catalogue and the cluster
// ---------------------------------------------------------------------------------------------

void fleet::on(const placing::function_registered& fact) { functions_[fact.id] = fact; }

void fleet::on(const placing::dag_registered& fact) {
  registered_[fact.id] = fact;
  derive(fact.id);
}

const fleet_dag* fleet::find_dag(dag_id id) const {
  const auto at = dags_.find(id);
  return at == dags_.end() ? nullptr : &at->second;
}

const std::vector<instance_id>& fleet::instances_of(dag_id dag) const {
  static const std::vector<instance_id> none;
  const auto at = by_dag_.find(dag);
  return at == by_dag_.end() ? none : at->second;
}

std::size_t fleet::index_of_node(node_id id) const {
  const auto at =
      std::lower_bound(nodes_.begin(), nodes_.end(), id, [](const fleet_node& n, node_id i) { return n.id < i; });
  return at != nodes_.end() && at->id == id ? static_cast<std::size_t>(at - nodes_.begin()) : nodes_.size();
}

void fleet::on(const placing::node_joined& fact) {
  if (index_of_node(fact.id) < nodes_.size())
    return; // a node changes what it has by leaving and joining
  const auto at =
      std::lower_bound(nodes_.begin(), nodes_.end(), fact.id, [](const fleet_node& n, node_id i) { return n.id < i; });
  on_node_.insert(on_node_.begin() + (at - nodes_.begin()), std::vector<replica_id>{});
  fleet_node& node = *nodes_.insert(at, fleet_node{});
  node.id = fact.id;
  node.memory_bytes = node.free_bytes = fact.memory_bytes;
  for (const placing::lane_info& lane : fact.lanes) {
    ++node.lanes[index_of(lane.resource)];
    ++node.idle[index_of(lane.resource)];
  }
  ++changes_;
}

void fleet::on(const placing::node_lost& fact, std::vector<placing::command>& out) {
  const std::size_t lost = index_of_node(fact.id);
  if (lost == nodes_.size())
    return;
  std::vector<instance_id> broken;
  for (const replica_id r : on_node_[lost])
    broken.push_back(replicas_.find(r)->instance);
  std::sort(broken.begin(), broken.end());
  broken.erase(std::unique(broken.begin(), broken.end()), broken.end());
  for (const call_id id : calls_.sorted_ids())
    if (std::binary_search(broken.begin(), broken.end(), calls_.find(id)->instance)) {
      out.emplace_back(placing::abandon{
          id, errc::unavailable, "node " + to_string(fact.id) + ", which had work of the call, was lost", {}});
      forget(id, {});
    }
  for (const replica_id r : std::vector<replica_id>{on_node_[lost]})
    remove_replica(r);
  nodes_.erase(nodes_.begin() + static_cast<std::ptrdiff_t>(lost));
  on_node_.erase(on_node_.begin() + static_cast<std::ptrdiff_t>(lost));
  for (const instance_id id : broken)
    evict(id, out);
}

void fleet::touch(fleet_node& node) { may_start_ = node.may_start = true; }

void fleet::on(const placing::replica_loaded& fact) {
  fleet_replica* replica = replicas_.find(fact.replica);
  if (replica == nullptr)
    return;
  replica->loaded = fact.code == errc::ok;
  touch(nodes_[index_of_node(replica->node)]);
}

// -- calls
// --------------------------------------------------------------------------------------------------------------------

fleet_call& fleet::enter(const placing::call_arrived& fact) {
  fleet_call& call = calls_.at(calls_.insert(fact.id));
  call.order = ++arrivals_;
  call.fact = fact;
  call.left.assign(dags_.at(fact.dag).stages.size(), 1);
  return call;
}

const placing::variant_info& fleet::variant_of(const fleet_replica& replica) const {
  return *dags_.at(instances_.find(replica.instance)->dag).stages[replica.stage].variants[replica.type];
}

void fleet::add_work(fleet_replica& replica, std::int64_t tasks) {
  const duration added = batch_time(variant_of(replica), 1) * tasks;
  replica.work += added;
  nodes_[index_of_node(replica.node)].work += added;
}

void fleet::bind(call_id id, instance_id to, time_point now) {
  fleet_call& call = *calls_.find(id);
  fleet_instance& instance = *instances_.find(to);
  call.instance = to;
  ++instance.requests;
  instance.last_used = now;
  for (std::size_t s = 0; s < instance.replicas.size(); ++s)
    add_work(*replicas_.find(instance.replicas[s]), call.left[s]);
  for (const placing::stage_ready& ready : std::exchange(call.waiting, {}))
    queue(ready, call);
}

void fleet::on(const placing::stage_ready& fact) {
  fleet_call* call = calls_.find(fact.call);
  if (call == nullptr || fact.stage >= call->left.size())
    return;
  if (call->instance)
    queue(fact, *call);
  else
    call->waiting.push_back(fact);
}

void fleet::queue(const placing::stage_ready& fact, fleet_call& call) {
  fleet_replica& replica = *replicas_.find(instances_.find(call.instance)->replicas[fact.stage]);
  call.left[fact.stage] = fact.width;
  if (fact.width != 1)
    add_work(replica, std::int64_t{fact.width} - 1);
  if (fact.width == 0)
    return;
  for (std::uint32_t e = 0; e < fact.width; ++e) {
    const queued_task t{call.order, {fact.call, fact.stage, e}};
    replica.queue.insert(std::upper_bound(replica.queue.begin(), replica.queue.end(), t), t);
  }
  touch(nodes_[index_of_node(replica.node)]);
}

void fleet::on(const placing::batch_done& fact) {
  const slot_index slot = batches_.find_slot(fact.batch);
  if (slot == no_slot)
    return;
  const batch_home home = batches_.at(slot);
  batches_.erase(slot);
  if (const std::size_t at = index_of_node(home.node); at < nodes_.size()) {
    ++nodes_[at].idle[home.type];
    touch(nodes_[at]);
  }
  fleet_replica* replica = replicas_.find(home.replica);
  if (replica == nullptr)
    return;
  replica->running = {};
  for (const queued_task& t : replica->batch) {
    fleet_call* call = calls_.find(t.task.call);
    if (call == nullptr)
      continue;
    if (fact.code == errc::ok) {
      --call->left[t.task.stage];
      add_work(*replica, -1);
    } else { // it did not run: again
      replica->queue.insert(std::upper_bound(replica->queue.begin(), replica->queue.end(), t), t);
    }
  }
  replica->batch.clear();
}

void fleet::unqueue(call_id id, const fleet_instance& instance) {
  const fleet_call& call = *calls_.find(id);
  for (std::size_t s = 0; s < instance.replicas.size(); ++s) {
    fleet_replica& replica = *replicas_.find(instance.replicas[s]);
    if (call.left[s] != 0)
      add_work(replica, -std::int64_t{call.left[s]});
    // Also of a stage with nothing left: it may have been said to be ready twice.
    std::erase_if(replica.queue, [&](const queued_task& t) { return t.task.call == id; });
  }
}

void fleet::forget(call_id id, time_point now) {
  const slot_index slot = calls_.find_slot(id);
  if (slot == no_slot)
    return;
  if (const instance_id bound = calls_.at(slot).instance) {
    fleet_instance& instance = *instances_.find(bound);
    unqueue(id, instance);
    instance.last_used = std::max(instance.last_used, now);
    if (--instance.requests == 0)
      ++changes_;
  }
  calls_.erase(slot);
}

// -- instances
// ----------------------------------------------------------------------------------------------------------------

std::vector<std::uint64_t> fleet::room() const {
  std::vector<std::uint64_t> out;
  out.reserve(nodes_.size());
  for (const fleet_node& n : nodes_)
    out.push_back(n.free_bytes);
  for (const auto& [dag, instances] : by_dag_)
    for (const instance_id id : instances) {
      const fleet_instance& instance = *instances_.find(id);
      if (instance.requests > 0)
        continue;
      for (const replica_id r : instance.replicas) {
        const fleet_replica& replica = *replicas_.find(r);
        out[index_of_node(replica.node)] += variant_of(replica).memory_bytes;
      }
    }
  return out;
}

std::vector<node_id> fleet::place(const fleet_dag& dag, const type_choice& choice,
                                  const std::vector<std::uint64_t>& room) const {
  std::vector<node_id> where(dag.stages.size());
  std::vector<std::uint64_t> left = room;
  for (std::size_t type = 0; type < resource_count; ++type) {
    std::vector<std::pair<std::uint64_t, std::size_t>> functions; // (memory, index)
    for (std::size_t s = 0; s < dag.stages.size(); ++s)
      if (choice.types[s] == type)
        functions.emplace_back(dag.stages[s].variants[type]->memory_bytes, s);
    std::sort(functions.begin(), functions.end());
    std::vector<std::pair<std::uint64_t, std::size_t>> hosts; // (complement of the room, index)
    for (std::size_t n = 0; n < nodes_.size(); ++n)
      if (nodes_[n].lanes[type] > 0)
        hosts.emplace_back(~left[n], n);
    std::sort(hosts.begin(), hosts.end());
    auto host = hosts.begin();
    for (const auto& [bytes, s] : functions) {
      while (host != hosts.end() && left[host->second] < bytes)
        ++host;
      if (host == hosts.end())
        return {};
      left[host->second] -= bytes;
      where[s] = nodes_[host->second].id;
    }
  }
  return where;
}

instance_id fleet::make(dag_id dag_name, std::uint32_t choice, const std::vector<node_id>& where, time_point now,
                        std::vector<placing::command>& out) {
  const fleet_dag& dag = dags_.at(dag_name);
  const type_choice& types = dag.choices[choice];
  std::vector<std::uint64_t> needed(nodes_.size(), 0);
  for (std::size_t s = 0; s < where.size(); ++s)
    needed[index_of_node(where[s])] += dag.stages[s].variants[types.types[s]]->memory_bytes;
  make_room(needed, out);

  const instance_id id{++last_instance_};
  const slot_index slot = instances_.insert(id);
  instances_.at(slot).dag = dag_name;
  instances_.at(slot).choice = choice;
  instances_.at(slot).last_used = now;
  by_dag_[dag_name].push_back(id);
  for (std::size_t s = 0; s < where.size(); ++s) {
    const placing::variant_info& variant = *dag.stages[s].variants[types.types[s]];
    const replica_id r{++last_replica_};
    fleet_replica& replica = replicas_.at(replicas_.insert(r));
    replica.instance = id;
    replica.stage = static_cast<stage_index>(s);
    replica.node = where[s];
    replica.type = types.types[s];
    replica.ready_at = now + variant.load;
    instances_.at(slot).replicas.push_back(r);
    const std::size_t n = index_of_node(where[s]);
    nodes_[n].free_bytes -= variant.memory_bytes;
    on_node_[n].push_back(r);
    out.emplace_back(placing::load_replica{r, where[s], variant.id});
  }
  return id;
}

/// Evicts instances without requests that have something on a node that is short of memory.
void fleet::make_room(const std::vector<std::uint64_t>& needed, std::vector<placing::command>& out) {
  const auto is_short = [&](std::size_t n) { return nodes_[n].free_bytes < needed[n]; };
  std::vector<std::pair<time_point, instance_id>> idle;
  bool any = false;
  for (std::size_t n = 0; n < nodes_.size(); ++n)
    any = any || is_short(n);
  if (!any)
    return;
  for (const auto& [dag, instances] : by_dag_)
    for (const instance_id id : instances)
      if (const fleet_instance& i = *instances_.find(id); i.requests == 0)
        idle.emplace_back(i.last_used, id);
  std::sort(idle.begin(), idle.end());
  for (const auto& [used, id] : idle) {
    const auto& replicas = instances_.find(id)->replicas;
    if (std::any_of(replicas.begin(), replicas.end(),
                    [&](replica_id r) { return is_short(index_of_node(replicas_.find(r)->node)); }))
      evict(id, out);
  }
}

void fleet::evict(instance_id id, std::vector<placing::command>& out) {
  const slot_index slot = instances_.find_slot(id);
  for (const replica_id r : std::vector<replica_id>{instances_.at(slot).replicas})
    if (const fleet_replica* replica = replicas_.find(r)) {
      out.emplace_back(placing::evict_replica{r, replica->node});
      remove_replica(r);
    }
  std::erase(by_dag_[instances_.at(slot).dag], id);
  instances_.erase(slot);
}

void fleet::remove_replica(replica_id id) {
  const slot_index slot = replicas_.find_slot(id);
  const fleet_replica& replica = replicas_.at(slot);
  const std::size_t n = index_of_node(replica.node);
  nodes_[n].free_bytes += variant_of(replica).memory_bytes;
  nodes_[n].work -= replica.work;
  std::erase(on_node_[n], id);
  replicas_.erase(slot);
}

// -- dispatching
// --------------------------------------------------------------------------------------------------------------

void fleet::dispatch(time_point now, std::vector<placing::command>& out) {
  if (!may_start_)
    return;
  may_start_ = false;
  for (fleet_node& node : nodes_)
    if (std::exchange(node.may_start, false))
      for (std::size_t type = 0; type < resource_count; ++type)
        dispatch(node, type, now, out);
}

void fleet::dispatch(fleet_node& node, std::size_t type, time_point now, std::vector<placing::command>& out) {
  while (node.idle[type] > 0) {
    replica_id best;
    std::uint64_t first = 0;
    for (const replica_id id : on_node_[static_cast<std::size_t>(&node - nodes_.data())]) {
      const fleet_replica& r = *replicas_.find(id);
      if (r.type == type && r.loaded && !r.running && !r.queue.empty() && (!best || r.queue.front().order < first)) {
        best = id;
        first = r.queue.front().order;
      }
    }
    if (!best)
      return;
    start(node, best, now, out);
  }
}

std::size_t fleet::batch_size(const fleet_replica& replica, time_point now) const {
  const placing::variant_info& variant = variant_of(replica);
  const call_id head = replica.queue.front().task.call;
  std::size_t count = 1;
  while (count < replica.queue.size() && count < variant.max_batch && replica.queue[count].task.call == head)
    ++count;
  if (!batching)
    return count;
  const fleet_instance& instance = *instances_.find(replica.instance);
  const duration rest = dags_.at(instance.dag).choices[instance.choice].rest[replica.stage];
  time_point deadline = never;
  for (std::size_t i = 0; i < count; ++i)
    deadline = std::min(deadline, calls_.find(replica.queue[i].task.call)->fact.deadline);
  while (count < replica.queue.size() && count < variant.max_batch) {
    deadline = std::min(deadline, calls_.find(replica.queue[count].task.call)->fact.deadline);
    if (deadline != never && now + batch_time(variant, count + 1) + rest > deadline)
      break;
    ++count;
  }
  return count;
}

void fleet::start(fleet_node& node, replica_id id, time_point now, std::vector<placing::command>& out) {
  fleet_replica& replica = *replicas_.find(id);
  const auto end = replica.queue.begin() + static_cast<std::ptrdiff_t>(batch_size(replica, now));
  replica.batch.assign(replica.queue.begin(), end);
  replica.queue.erase(replica.queue.begin(), end);
  replica.running = batch_id{++last_batch_};
  --node.idle[replica.type];
  batches_.at(batches_.insert(replica.running)) = {id, node.id, replica.type};
  placing::dispatch order{replica.running, node.id, id, variant_of(replica).id, {}, never};
  for (const queued_task& t : replica.batch)
    order.tasks.push_back(t.task);
  out.emplace_back(std::move(order));
}

// -- predictions
// ---------------------------------------------------------------------------------------------------------------

namespace {

/// Follows a call through its stages.
class prediction {
public:
  explicit prediction(std::size_t stages) { ends_.reserve(stages); }
  /// The next stage: on which node (an index, and whether that has one lane), from when at the earliest, how long.
  void add(const fleet_stage& stage, std::size_t node, bool one_lane, time_point earliest, duration takes) {
    time_point begin = earliest;
    for (const stage_index p : stage.producers)
      begin = std::max(begin, ends_[p]);
    if (one_lane)
      for (const auto& [n, end] : own_)
        if (n == node)
          begin = std::max(begin, end);
    ends_.push_back(begin + takes);
    if (one_lane)
      own_.emplace_back(node, ends_.back());
    last_ = std::max(last_, ends_.back());
  }
  [[nodiscard]] time_point last() const { return last_; }

private:
  std::vector<time_point> ends_;
  std::vector<std::pair<std::size_t, time_point>> own_;
  time_point last_{};
};

} // namespace

time_point fleet::predict(const fleet_dag& dag, const fleet_instance& instance, time_point now) const {
  prediction out{dag.stages.size()};
  for (std::size_t s = 0; s < dag.stages.size(); ++s) {
    const fleet_replica& replica = *replicas_.find(instance.replicas[s]);
    const std::size_t n = index_of_node(replica.node);
    const std::uint32_t lanes = nodes_[n].lanes[replica.type];
    const time_point ready = replica.loaded ? now : std::max(now, replica.ready_at);
    const time_point free = now + std::max(replica.work, nodes_[n].work / std::int64_t{lanes});
    out.add(dag.stages[s], n, lanes == 1, std::max(ready, free), batch_time(*dag.stages[s].variants[replica.type], 1));
  }
  return out.last();
}

time_point fleet::predict(const fleet_dag& dag, std::uint32_t choice, const std::vector<node_id>& where,
                          time_point now) const {
  prediction out{dag.stages.size()};
  for (std::size_t s = 0; s < dag.stages.size(); ++s) {
    const std::size_t type = dag.choices[choice].types[s];
    const placing::variant_info& variant = *dag.stages[s].variants[type];
    const std::size_t n = index_of_node(where[s]);
    const std::uint32_t lanes = nodes_[n].lanes[type];
    const duration wait = std::max(variant.load, nodes_[n].work / std::int64_t{lanes});
    out.add(dag.stages[s], n, lanes == 1, now + wait, batch_time(variant, 1));
  }
  return out.last();
}

std::optional<std::uint32_t> fleet::choice_of_one_type(const fleet_dag& dag, std::size_t type) const {
  for (std::uint32_t c = 0; c < dag.choices.size(); ++c)
    if (std::all_of(dag.choices[c].types.begin(), dag.choices[c].types.end(),
                    [&](std::uint8_t t) { return t == type; }))
      return c;
  return std::nullopt;
}

// -- snapshots
// -----------------------------------------------------------------------------------------------------------------

void fleet::save(calls::binary_writer& out) const {
  out.write(batching);
  out.write(functions_);
  out.write(registered_);
  out.write(by_dag_);
  out.write(nodes_);
  out.write(on_node_);
  detail::write_map(out, replicas_);
  detail::write_map(out, instances_);
  detail::write_map(out, calls_);
  detail::write_map(out, batches_);
  for (const std::uint64_t n : {last_replica_, last_batch_, last_instance_, arrivals_, changes_})
    out.write(n);
  out.write(may_start_);
}

void fleet::restore(calls::binary_reader& in) {
  in.read(batching);
  in.read(functions_);
  in.read(registered_);
  in.read(by_dag_);
  in.read(nodes_);
  in.read(on_node_);
  detail::read_map(in, replicas_);
  detail::read_map(in, instances_);
  detail::read_map(in, calls_);
  detail::read_map(in, batches_);
  for (std::uint64_t* n : {&last_replica_, &last_batch_, &last_instance_, &arrivals_, &changes_})
    in.read(*n);
  in.read(may_start_);
  if (in.ok())
    for (const auto& [id, fact] : registered_)
      derive(id);
}

} // namespace squall::policy::reference
