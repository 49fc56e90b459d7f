#include "sim/whatif.hpp"

#include "calls/event_log.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

namespace squall::sim {

namespace placing = calls::placing;

void attainment::add(const attainment& other) {
  offered += other.offered;
  admitted += other.admitted;
  met += other.met;
  broken += other.broken;
  latency_sum += other.latency_sum;
  ended += other.ended;
  cost_sum += other.cost_sum;
}

// -- reading a log
// ----------------------------------------------------------------------------------------------------------

namespace {

/// Of the model of a recorded run: live times are finer than those of workload files.
constexpr duration recorded_tick = std::chrono::microseconds{10};

/// A task of a batch that ended well.
struct observed_task {
  stage_index stage = 0;
  std::size_t batch = 1; ///< tasks that ran together
  duration took{0};      ///< the batch, as the controller saw it
};

struct recorded_call {
  placing::call_arrived fact;
  time_point at;
  bool admitted = false;
  bool ended = false;
  errc code = errc::ok;
  time_point end;
  std::vector<placing::stage_report> stages;
  std::map<stage_index, variant_id> variants; ///< that ran
  std::vector<observed_task> tasks;
  std::vector<stage_index> light;  ///< run by their home, without an order
  std::optional<time_point> begun; ///< when the first stage was ready
};

struct ordered_batch {
  variant_id variant;
  replica_id replica;
  std::vector<placing::task> tasks;
  time_point at;
};

/// How long a batch of so many is believed to take.
duration believed(const placing::variant_info& v, std::size_t batch) {
  if (v.batch_times.empty())
    return v.expected * static_cast<std::int64_t>(batch);
  return v.batch_times[std::min(batch, v.batch_times.size()) - 1];
}

template <class T>
T median(std::vector<T> values) {
  if (values.empty())
    return {};
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

} // namespace

struct recording::state {
  std::unique_ptr<policy::scheduler> core;
  std::map<function_id, placing::function_registered> functions;            ///< as they were when the first call came
  std::vector<std::pair<time_point, placing::function_registered>> learned; ///< after that
  std::map<dag_id, placing::dag_registered> dags;
  std::map<node_id, placing::node_joined> nodes;
  std::vector<node_id> gone;              ///< since the last call arrived: at the end of a run they all go
  std::map<call_id, std::size_t> running; ///< index into `calls`
  struct observed_load {
    variant_id variant;
    time_point ordered;
  };
  std::map<replica_id, observed_load> loading;
  struct load_times {
    duration sum{0};
    std::int64_t count = 0;
  };
  std::map<variant_id, load_times>
      loads; ///< what loading really took: weights that are there already are not loaded again
  std::map<batch_id, ordered_batch> batches;
  std::map<replica_id, time_point> free_since; ///< when its last batch ended
  std::vector<recorded_call> calls;
  time_point first = never;
  time_point last{};

  void see(time_point at, const placing::event& fact);
  void see(const placing::command& command);
  void see_end(time_point at, const placing::batch_done& fact);
  [[nodiscard]] const placing::variant_info* variant(dag_id dag, stage_index stage, variant_id id) const;
  [[nodiscard]] duration message_delay() const;
  [[nodiscard]] workload_function function_of(const placing::function_registered& fact) const;
  void add_catalogue(recorded_run& run, std::map<dag_id, std::size_t>& indices) const;
  void add_call(recorded_run& run, const recorded_call& call, std::size_t dag) const;
  [[nodiscard]] stage_truth truth_of(const recorded_run& run, const recorded_call& call, std::size_t dag,
                                     const placing::stage_report& report) const;
  [[nodiscard]] calls::micro_cost cost_of(const recorded_call& call) const;
};

recording::recording() : state_(std::make_unique<state>()) {}
recording::~recording() = default;

void recording::state::see(time_point at, const placing::event& fact) {
  last = at;
  if (const auto* f = std::get_if<placing::function_registered>(&fact)) {
    if (first == never || !functions.contains(f->id))
      functions[f->id] = *f;
    else
      learned.emplace_back(at, *f);
  } else if (const auto* d = std::get_if<placing::dag_registered>(&fact))
    dags[d->id] = *d;
  else if (const auto* n = std::get_if<placing::node_joined>(&fact))
    nodes[n->id] = *n;
  else if (const auto* l = std::get_if<placing::node_lost>(&fact))
    gone.push_back(l->id);
  else if (const auto* c = std::get_if<placing::call_arrived>(&fact)) {
    for (const node_id id : std::exchange(gone, {}))
      nodes.erase(id);
    first = std::min(first, at);
    running[c->id] = calls.size();
    recorded_call& call = calls.emplace_back();
    call.fact = *c;
    call.at = at;
  } else if (const auto* r = std::get_if<placing::stage_ready>(&fact)) {
    const auto found = running.find(r->call);
    if (found == running.end())
      return;
    recorded_call& call = calls[found->second];
    call.begun = call.begun.value_or(at);
    if (r->width == 0)
      call.light.push_back(r->stage);
  } else if (const auto* b = std::get_if<placing::batch_done>(&fact)) {
    see_end(at, *b);
  } else if (const auto* l = std::get_if<placing::replica_loaded>(&fact)) {
    const auto found = loading.find(l->replica);
    if (found == loading.end())
      return;
    load_times& of = loads[found->second.variant];
    of.sum += at - found->second.ordered;
    ++of.count;
    loading.erase(found);
  } else if (const auto* e = std::get_if<placing::call_ended>(&fact)) {
    const auto found = running.find(e->id);
    if (found == running.end())
      return;
    recorded_call& call = calls[found->second];
    call.ended = true;
    call.code = e->code;
    call.end = at;
    call.stages = e->stages;
    running.erase(found);
  }
}

/// A lane is taken from the order, or from the end of the batch before, until the scheduler hears of the end.
void recording::state::see_end(time_point at, const placing::batch_done& fact) {
  const auto found = batches.find(fact.batch);
  if (found == batches.end())
    return;
  const ordered_batch batch = std::move(found->second);
  batches.erase(found);
  time_point& free = free_since[batch.replica];
  const duration took = at - std::max(batch.at, free);
  free = at;
  if (fact.code != errc::ok)
    return;
  for (const placing::task& task : batch.tasks)
    if (const auto call = running.find(task.call); call != running.end())
      calls[call->second].tasks.push_back({task.stage, batch.tasks.size(), took});
}

void recording::state::see(const placing::command& command) {
  if (const auto* admit = std::get_if<placing::admit>(&command))
    if (const auto found = running.find(admit->id); found != running.end()) {
      calls[found->second].admitted = true;
      for (stage_index s = 0; s < admit->plan.stages.size(); ++s)
        calls[found->second].variants[s] = admit->plan.stages[s].variant;
    }
  if (const auto* batch = std::get_if<placing::dispatch>(&command)) {
    batches[batch->batch] = {batch->variant, batch->replica, batch->tasks, last};
    for (const placing::task& task : batch->tasks)
      if (const auto found = running.find(task.call); found != running.end())
        calls[found->second].variants[task.stage] = batch->variant;
  }
  if (const auto* load = std::get_if<placing::load_replica>(&command))
    loading[load->replica] = {load->variant, last};
}

result<> recording::feed(std::span<const std::byte> segment) {
  SQUALL_ASSIGN(log, calls::log_decoder<placing::event>::open(segment));
  if (log.header().core != calls::log_core::scheduler)
    return {errc::invalid_argument, "this is the log of a node's queue; a what-if needs the one of the scheduler"};
  for (;;) {
    SQUALL_ASSIGN(entry, log.next());
    if (!entry)
      return {};
    if (const auto* snapshot = std::get_if<calls::log_snapshot>(&*entry)) {
      SQUALL_ASSIGN(core, policy::scheduler::restore(snapshot->saved));
      if (!state_->core)
        for (const placing::event& fact : core->known_facts())
          state_->see(snapshot->at, fact);
      state_->core = std::move(core);
      continue;
    }
    const auto& fact = std::get<calls::log_fact<placing::event>>(*entry);
    state_->see(fact.at, fact.event);
    state_->core->step(fact.at, fact.event);
    for (const placing::command& command : state_->core->take_commands())
      state_->see(command);
  }
}

// -- a workload of it
// -------------------------------------------------------------------------------------------------------

namespace {

std::int64_t ticks(duration d) { return std::max<std::int64_t>(1, (d + recorded_tick / 2) / recorded_tick); }

workload_variant model_of(const placing::variant_info& info) {
  workload_variant out;
  const duration one = info.batch_times.empty() ? info.expected : info.batch_times.front();
  out.exec = static_cast<double>(std::max(one, duration{1}).count()) / static_cast<double>(recorded_tick.count());
  out.load = info.load.count() > 0 ? ticks(info.load) : 0;
  out.memory_bytes = info.memory_bytes;
  out.cost = info.cost;
  out.batch_max = std::max<std::uint32_t>(1, info.max_batch);
  if (info.batch_times.size() > 1 && one.count() > 0) {
    const double whole = static_cast<double>(info.batch_times.back().count()) / static_cast<double>(one.count());
    out.beta = std::clamp((whole - 1) / static_cast<double>(info.batch_times.size() - 1), 0.0, 1.0);
  }
  return out;
}

} // namespace

workload_function recording::state::function_of(const placing::function_registered& fact) const {
  workload_function out;
  out.name = "function " + to_string(fact.id);
  for (const placing::variant_info& v : fact.variants) {
    auto& slot = v.resource == functions::resource_type::gpu ? out.gpu : out.cpu;
    if (slot)
      continue;
    slot = model_of(v);
    if (const auto seen = loads.find(v.id); seen != loads.end() && seen->second.count > 0)
      slot->load = ticks(seen->second.sum / seen->second.count);
  }
  return out;
}

void recording::state::add_catalogue(recorded_run& run, std::map<dag_id, std::size_t>& indices) const {
  workload& w = run.input;
  w.tick = recorded_tick;
  for (const auto& [id, node] : nodes)
    for (const functions::resource_type r : {functions::resource_type::cpu, functions::resource_type::gpu}) {
      const auto lanes =
          std::count_if(node.lanes.begin(), node.lanes.end(), [r](const auto& l) { return l.resource == r; });
      if (lanes > 0)
        w.nodes.push_back({to_string(id) + (r == functions::resource_type::gpu ? "g" : ""), r,
                           static_cast<std::uint32_t>(lanes), node.memory_bytes});
    }
  std::map<function_id, std::size_t> places;
  for (const auto& [id, function] : functions) {
    places[id] = w.functions.size();
    w.functions.push_back(function_of(function));
  }
  for (const auto& [at, fact] : learned)
    w.profiles.push_back({(at - first) / recorded_tick, places[fact.id], function_of(fact)});
  for (const auto& [id, dag] : dags) {
    indices[id] = w.dags.size();
    run.dag_numbers.push_back(id.value);
    workload_dag& out = w.dags.emplace_back();
    out.name = "dag " + to_string(id);
    for (std::size_t s = 0; s < dag.stages.size(); ++s) {
      const placing::stage_info& info = dag.stages[s];
      workload_stage& stage = out.stages.emplace_back();
      stage.name = std::to_string(s);
      stage.function = places[info.function];
      stage.after = info.producers;
      std::sort(stage.after.begin(), stage.after.end());
      stage.map = info.map;
      stage.width_max = info.width_max;
      stage.best_effort = info.best_effort;
      stage.needs = info.needs;
      if (info.conditional)
        stage.chance_ppm = info.chance_ppm;
    }
  }
}

const placing::variant_info* recording::state::variant(dag_id dag, stage_index stage, variant_id id) const {
  const auto d = dags.find(dag);
  if (d == dags.end() || stage >= d->second.stages.size())
    return nullptr;
  const auto function = functions.find(d->second.stages[stage].function);
  if (function == functions.end())
    return nullptr;
  const auto& all = function->second.variants;
  const auto found = std::find_if(all.begin(), all.end(), [id](const auto& v) { return v.id == id; });
  return found == all.end() ? nullptr : &*found;
}

/// Between the controller and a node, one way: what passes until it hears that a call's first stage is ready.
duration recording::state::message_delay() const {
  std::vector<duration> all;
  for (const recorded_call& call : calls)
    if (call.admitted && call.begun)
      all.push_back(*call.begun - call.at);
  return median(std::move(all));
}

stage_truth recording::state::truth_of(const recorded_run& run, const recorded_call& call, std::size_t dag,
                                       const placing::stage_report& report) const {
  const workload_stage& stage = run.input.dags[dag].stages[report.stage];
  stage_truth truth;
  truth.stage = report.stage;
  truth.runs = report.width > 0 || !stage.chance_ppm;
  truth.width = stage.map ? report.width : 1;
  const bool light = std::find(call.light.begin(), call.light.end(), report.stage) != call.light.end();
  if (light)
    truth.runs = false; // its home ran it at once, on no lane
  const auto ran = call.variants.find(report.stage);
  const placing::variant_info* v =
      ran == call.variants.end() ? nullptr : variant(call.fact.dag, report.stage, ran->second);
  if (v == nullptr || v->expected.count() <= 0 || report.width == 0)
    return truth;
  const auto share = static_cast<double>(report.executed.count()) / report.width;
  truth.charged = share / static_cast<double>(v->expected.count());
  double ratios = 0;
  int tasks = 0;
  for (const observed_task& task : call.tasks)
    if (task.stage == report.stage && believed(*v, task.batch).count() > 0) {
      const duration alone = std::max(task.took - 2 * run.delay * recorded_tick, recorded_tick);
      ratios += static_cast<double>(alone.count()) / static_cast<double>(believed(*v, task.batch).count());
      ++tasks;
    }
  if (tasks > 0)
    truth.stretch = ratios / tasks;
  else if (report.executed.count() > 0)
    truth.stretch = share / static_cast<double>(believed(*v, 1).count());
  return truth;
}

void recording::state::add_call(recorded_run& run, const recorded_call& call, std::size_t dag) const {
  workload& w = run.input;
  workload_request request;
  request.id = call.fact.id.value;
  request.arrival = (call.at - first) / recorded_tick;
  request.dag = dag;
  request.latency_slo =
      call.fact.deadline == never ? ticks(std::chrono::hours{1}) : ticks(call.fact.deadline - call.at);
  if (call.fact.max_cost != placing::no_cost_limit)
    request.cost_slo = call.fact.max_cost;
  request.priority = call.fact.priority;
  request.prefer = call.fact.preference;
  request.assurance_ppm = call.fact.assurance_ppm;
  for (const placing::stage_report& report : call.stages)
    if (report.stage < w.dags[dag].stages.size())
      request.truths.push_back(truth_of(run, call, dag, report));
  std::sort(request.truths.begin(), request.truths.end(),
            [](const auto& a, const auto& b) { return a.stage < b.stage; });
  // What a call would have done that did not run is not known: what the last one of its DAG did.
  if (call.stages.empty()) {
    const auto like = std::find_if(w.requests.rbegin(), w.requests.rend(),
                                   [&](const workload_request& r) { return r.dag == dag && !r.truths.empty(); });
    if (like != w.requests.rend())
      request.truths = like->truths;
  }
  w.requests.push_back(std::move(request));
}

/// What the call's stages took, at the prices that the variants' costs stand for.
calls::micro_cost recording::state::cost_of(const recorded_call& call) const {
  calls::micro_cost sum = 0;
  for (const placing::stage_report& report : call.stages) {
    const auto ran = call.variants.find(report.stage);
    const placing::variant_info* v =
        ran == call.variants.end() ? nullptr : variant(call.fact.dag, report.stage, ran->second);
    if (v != nullptr && v->expected.count() > 0)
      sum +=
          static_cast<calls::micro_cost>(static_cast<double>(v->cost) * static_cast<double>(report.executed.count()) /
                                         static_cast<double>(v->expected.count()));
  }
  return sum;
}

result<recorded_run> recording::finish() {
  recorded_run run;
  if (state_->calls.empty())
    return error{errc::not_found, "the log has no calls", {}};
  run.policy = state_->core->policy_name();
  run.delay = (state_->message_delay() + recorded_tick / 2) / recorded_tick;
  std::map<dag_id, std::size_t> indices;
  state_->add_catalogue(run, indices);
  if (run.input.nodes.empty())
    return error{errc::not_found, "no node was in the cluster at the end of the log", {}};
  for (const recorded_call& call : state_->calls) {
    const auto dag = indices.find(call.fact.dag);
    if (dag == indices.end() || (call.admitted && !call.ended)) // still running, or withdrawn
      continue;
    state_->add_call(run, call, dag->second);
    attainment& live = run.live[call.fact.dag.value];
    ++live.offered;
    live.admitted += call.admitted ? 1 : 0;
    const bool well = call.ended && call.code == errc::ok;
    const bool met = well && call.end <= call.fact.deadline && state_->cost_of(call) <= call.fact.max_cost;
    live.met += met ? 1 : 0;
    live.broken += call.admitted && !met ? 1 : 0;
    if (well) {
      ++live.ended;
      live.latency_sum += call.end - call.at;
      live.cost_sum += state_->cost_of(call);
    }
  }
  if (run.input.requests.empty())
    return error{errc::not_found, "no call of the log has ended", {}};
  run.input.horizon = (state_->last - state_->first) / recorded_tick + 1;
  return run;
}

// -- changes
// -----------------------------------------------------------------------------------------------------------------

namespace {

result<double> number_of(std::string_view text, std::string_view change) {
  double out = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (code != std::errc{} || end != text.data() + text.size() || !std::isfinite(out) || out < 0 || out > 1e6)
    return error{errc::invalid_argument,
                 "--set " + std::string{change} + ": '" + std::string{text} + "' is not a number from 0 to 1000000",
                 {}};
  return out;
}

result<> change_nodes(workload& w, functions::resource_type r, int by, std::string_view change) {
  const auto of = [r](const workload_node& n) { return n.resource == r; };
  const auto last = std::find_if(w.nodes.rbegin(), w.nodes.rend(), of);
  if (last == w.nodes.rend())
    return {errc::invalid_argument,
            "--set " + std::string{change} + ": the recorded cluster has no such node to copy or remove"};
  for (int i = 0; i < by; ++i) {
    workload_node copy = *std::find_if(w.nodes.rbegin(), w.nodes.rend(), of);
    copy.name += "+";
    w.nodes.push_back(std::move(copy));
  }
  for (int i = 0; i < -by; ++i) {
    const auto at = std::find_if(w.nodes.rbegin(), w.nodes.rend(), of);
    if (at == w.nodes.rend() || w.nodes.size() == 1)
      return {errc::invalid_argument, "--set " + std::string{change} + ": no node would be left"};
    w.nodes.erase(std::next(at).base());
  }
  return {};
}

} // namespace

result<> apply_change(recorded_run& run, std::string_view change) {
  workload& w = run.input;
  const auto wrong = error{errc::invalid_argument,
                           "--set " + std::string{change} +
                               ": known are policy=NAME, nodes.cpu+=N, nodes.cpu-=N, nodes.gpu+=N, nodes.gpu-=N, "
                               "nodes.lanes=N, slo.scale=X, cost.scale=X, rate.scale=X",
                           {}};
  const std::size_t equals = change.find('=');
  if (equals == std::string_view::npos || equals == 0 || equals + 1 == change.size())
    return wrong;
  std::string_view key = change.substr(0, equals);
  const std::string_view text = change.substr(equals + 1);
  if (key == "policy") {
    run.policy = text;
    return {};
  }
  SQUALL_ASSIGN(number, number_of(text, change));
  const bool adds = key.ends_with('+');
  if (adds || key.ends_with('-')) {
    key.remove_suffix(1);
    const int by = static_cast<int>(std::min(number, 1000.0)) * (adds ? 1 : -1);
    if (key == "nodes.cpu")
      return change_nodes(w, functions::resource_type::cpu, by, change);
    if (key == "nodes.gpu")
      return change_nodes(w, functions::resource_type::gpu, by, change);
    return wrong;
  }
  if (number <= 0)
    return {errc::invalid_argument, "--set " + std::string{change} + ": must be above 0"};
  if (key == "nodes.lanes") {
    for (workload_node& n : w.nodes)
      n.lanes = static_cast<std::uint32_t>(std::clamp(number, 1.0, 1024.0));
    return {};
  }
  const auto scaled = [number](std::int64_t n) {
    return static_cast<std::int64_t>(std::llround(static_cast<double>(n) * number));
  };
  if (key == "slo.scale") {
    for (workload_request& r : w.requests)
      r.latency_slo = std::max<std::int64_t>(1, scaled(r.latency_slo));
  } else if (key == "cost.scale") {
    for (workload_request& r : w.requests)
      if (r.cost_slo)
        r.cost_slo = scaled(*r.cost_slo);
  } else if (key == "rate.scale") {
    for (workload_request& r : w.requests)
      r.arrival = static_cast<std::int64_t>(static_cast<double>(r.arrival) / number);
    w.horizon = static_cast<std::int64_t>(static_cast<double>(w.horizon) / number) + 1;
  } else {
    return wrong;
  }
  return {};
}

// -- running it
// --------------------------------------------------------------------------------------------------------------

namespace {

class counting final : public run_observer {
public:
  counting(const recorded_run& run, std::map<std::uint64_t, attainment>& out) : run_(run), out_(out) {
    for (std::size_t r = 0; r < run.input.requests.size(); ++r)
      ++of(r).offered;
  }
  void admitted(std::int64_t, std::size_t request, std::optional<std::int64_t>, calls::micro_cost) override {
    ++of(request).admitted;
  }
  void redeemed(std::int64_t, std::size_t request, const offered&) override { ++of(request).admitted; }
  void dropped(std::int64_t, std::size_t request, const std::string&) override { ++of(request).broken; }
  void finished(std::int64_t t, std::size_t request, calls::micro_cost cost, bool kept) override {
    attainment& a = of(request);
    ++(kept ? a.met : a.broken);
    ++a.ended;
    a.latency_sum += (t - run_.input.requests[request].arrival) * run_.input.tick;
    a.cost_sum += cost;
  }

private:
  attainment& of(std::size_t request) { return out_[run_.dag_numbers[run_.input.requests[request].dag]]; }
  const recorded_run& run_;
  std::map<std::uint64_t, attainment>& out_;
};

} // namespace

result<whatif_outcome> run_whatif(const recorded_run& run, std::uint64_t seed) {
  whatif_outcome out;
  counting observer{run, out.dags};
  dag_run_config config;
  config.scheduler.policy = run.policy;
  config.scheduler.late_placement = true;
  config.seed = seed;
  config.measured = true;
  config.delay = run.delay;
  dag_model model{run.input, config, observer};
  SQUALL_TRY(model.run());
  out.summary = model.summary();
  return out;
}

} // namespace squall::sim
