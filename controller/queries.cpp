#include "calls/json.hpp"
#include "controller/detail/service.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

namespace squall::controller {

namespace {

/// A struct that is printed as JSON lists its fields like any other; these are what `squall get` and `describe` show.
struct variant_view {
  std::string name;
  std::string kind;
  std::string resource;
  std::string target;
  std::map<std::string, std::string> parameters;
  std::uint32_t max_batch = 1;
  std::vector<std::string> resident_on;
  duration booked{0}; ///< for one item, when it was known well; zero unless it drifts from that
  duration recent{0};
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("name", s.name);
    v("kind", s.kind);
    v("resource", s.resource);
    v("target", s.target);
    v("parameters", s.parameters);
    v("max_batch", s.max_batch);
    v("resident_on", s.resident_on);
    v("booked_ns", s.booked);
    v("recent_ns", s.recent);
  }
};

struct function_view {
  std::string name;
  std::uint32_t version = 0;
  std::vector<functions::port> inputs;
  std::vector<functions::port> outputs;
  std::vector<variant_view> variants;
  std::vector<functions::state_spec> state;
  std::string drift; ///< the variants that no longer take what was booked, for people
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("name", s.name);
    v("version", s.version);
    v("inputs", s.inputs);
    v("outputs", s.outputs);
    v("variants", s.variants);
    v("state", s.state);
    v("drift", s.drift);
  }
};

struct stage_view {
  std::string name;
  std::string function;
  std::uint32_t version = 0;
  bool map = false;
  bool conditional = false;
  std::vector<std::string> after;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("name", s.name);
    v("function", s.function);
    v("version", s.version);
    v("map", s.map);
    v("conditional", s.conditional);
    v("after", s.after);
  }
};

struct dag_view {
  std::string name;
  std::uint32_t version = 0;
  std::vector<functions::port> inputs;
  std::vector<std::string> outputs;
  std::vector<stage_view> stages;
  std::vector<functions::port> output_ports; ///< parallel to outputs
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("name", s.name);
    v("version", s.version);
    v("inputs", s.inputs);
    v("outputs", s.outputs);
    v("stages", s.stages);
    v("output_ports", s.output_ports);
  }
};

/// A process that runs user code on a node.
struct instance_view {
  std::string function;
  std::uint32_t version = 0;
  std::string variant;
  std::string node;
  std::uint64_t pid = 0;
  std::string state;
  std::uint64_t memory_bytes = 0;
  std::uint64_t batches = 0;
  duration age{0};
  std::string problem;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("function", s.function);
    v("version", s.version);
    v("variant", s.variant);
    v("node", s.node);
    v("pid", s.pid);
    v("state", s.state);
    v("memory_bytes", s.memory_bytes);
    v("batches", s.batches);
    v("age_ns", s.age);
    v("problem", s.problem);
  }
};

struct trace_view {
  std::string stage;
  std::string node;
  calls::stage_trace trace;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("stage", s.stage);
    v("node", s.node);
    v("lane", s.trace.lane);
    v("skipped", s.trace.skipped);
    v("failed", s.trace.failed);
    v("late", s.trace.late);
    v("cancelled", s.trace.cancelled);
    v("width", s.trace.width);
    v("batch", s.trace.batch);
    v("begin_ns", s.trace.begin);
    v("queued_ns", s.trace.queued);
    v("loading_ns", s.trace.loading);
    v("executed_ns", s.trace.executed);
    v("bytes_in", s.trace.bytes_in);
    v("bytes_out", s.trace.bytes_out);
    v("bytes_moved", s.trace.bytes_moved);
  }
};

struct considered_view {
  std::vector<std::string> variants; ///< one a stage
  duration latency{0};
  calls::micro_cost cost = 0;
  duration finish{0};
  std::string came_of_it;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("variants", s.variants);
    v("latency_ns", s.latency);
    v("cost_micro", s.cost);
    v("finish_ns", s.finish);
    v("came_of_it", s.came_of_it);
  }
};

/// calls::placing::decision with names.
struct decision_view {
  std::uint32_t plans = 0;
  std::vector<considered_view> looked_at;
  std::string binding;
  std::string margin;
  duration enough_deadline{0};
  calls::micro_cost enough_cost = 0;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("plans", s.plans);
    v("looked_at", s.looked_at);
    v("binding", s.binding);
    v("margin", s.margin);
    v("enough_deadline_ns", s.enough_deadline);
    v("enough_cost_micro", s.enough_cost);
  }
};

decision_view view_of(const calls::placing::decision& how, const functions::dag& dag, const catalogue& from) {
  decision_view out{
      how.plans,      {}, with_stage_names(how.binding, dag), with_stage_names(how.margin, dag), how.enough_deadline,
      how.enough_cost};
  for (const calls::placing::considered_plan& p : how.looked_at) {
    considered_view& plan = out.looked_at.emplace_back(
        considered_view{{}, p.latency, p.cost, p.finish, with_stage_names(p.came_of_it, dag)});
    for (std::size_t s = 0; s < p.variants.size() && s < dag.stages.size(); ++s) {
      const auto* function = from.find_function(dag.stages[s].function);
      const auto at =
          function ? std::ranges::find(function->variants, p.variants[s]) : decltype(function->variants.begin()){};
      plan.variants.push_back(
          function && at != function->variants.end()
              ? function->spec.variants[static_cast<std::size_t>(at - function->variants.begin())].name
              : to_string(p.variants[s]));
    }
  }
  return out;
}

struct call_view {
  call_id id;
  std::string dag;
  std::uint32_t version = 0;
  std::string state;
  std::string message;
  duration elapsed{0};
  duration ago{0};
  std::vector<trace_view> trace;
  calls::promise promise;
  calls::receipt receipt;
  std::vector<calls::offer> offers;
  time_split split;
  std::string blame; ///< of a broken promise
  decision_view decision;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
    v("dag", s.dag);
    v("version", s.version);
    v("state", s.state);
    v("message", s.message);
    v("elapsed_ns", s.elapsed);
    v("ago_ns", s.ago);
    v("trace", s.trace);
    v("promise", s.promise);
    v("receipt", s.receipt);
    v("offers", s.offers);
    v("split", s.split);
    v("blame", s.blame);
    v("decision", s.decision);
  }
};

/// The type of a DAG's output is that of the port it reads.
functions::port output_port(const functions::dag& dag, std::size_t index, const catalogue& from) {
  const functions::resolved_source& source = dag.outputs[index];
  functions::port port;
  if (source.from == functions::binding::source::dag_input) {
    port = dag.spec.inputs[source.port];
  } else if (source.from == functions::binding::source::stage_output) {
    const functions::stage& stage = dag.stages[source.stage];
    if (const auto* function = from.find_function(stage.function))
      port = function->spec.outputs[source.port];
    port.list = port.list || stage.map;
  }
  port.name = dag.spec.outputs[index].name;
  return port;
}

dag_view view_of(const functions::dag& dag, const catalogue& from) {
  dag_view view{dag.spec.name, dag.spec.version, dag.spec.inputs, {}, {}, {}};
  for (std::size_t i = 0; i < dag.spec.outputs.size(); ++i) {
    view.outputs.push_back(dag.spec.outputs[i].name);
    view.output_ports.push_back(output_port(dag, i, from));
  }
  for (const functions::stage& s : dag.stages) {
    const auto* function = from.find_function(s.function);
    stage_view stage{
        s.name, function ? function->spec.name : "", function ? function->spec.version : 0, s.map, s.when.has_value(),
        {}};
    for (const stage_index producer : s.producers)
      stage.after.push_back(dag.stages[producer].name);
    view.stages.push_back(std::move(stage));
  }
  return view;
}

std::optional<call_id> parse_call_id(const std::string& text) {
  std::uint64_t number = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (code != std::errc{} || end != text.data() + text.size())
    return std::nullopt;
  return call_id{number};
}

constexpr std::size_t calls_listed = 1000;

std::string in_ms(duration time) {
  const std::int64_t tenths = time.count() / 100'000;
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + "ms";
}

template <class T>
std::string list_json(const std::vector<T>& items) {
  return calls::to_json(items);
}

} // namespace

struct controller_service::node_view {
  std::string name;
  node_id id;
  std::string endpoint;
  bool same_host = false;
  std::uint64_t lanes = 0;
  std::uint64_t memory_bytes = 0;
  std::uint64_t resident_bytes = 0;
  std::uint64_t resident_variants = 0;
  std::uint64_t queued = 0;
  std::uint64_t running = 0;
  std::uint64_t arena_used_bytes = 0;
  duration up{0};
  duration silent{0};
  std::optional<duration> clock_ahead; ///< of ours
  duration clock_uncertainty{0};
  duration slowest_beat{0};
  std::optional<std::uint32_t> pace_permille; ///< its times over those of other nodes
  std::uint64_t waiting_bytes = 0;            ///< for clients and nodes that connected there
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("name", s.name);
    v("id", s.id);
    v("endpoint", s.endpoint);
    v("same_host", s.same_host);
    v("lanes", s.lanes);
    v("memory_bytes", s.memory_bytes);
    v("resident_bytes", s.resident_bytes);
    v("resident_variants", s.resident_variants);
    v("queued", s.queued);
    v("running", s.running);
    v("arena_used_bytes", s.arena_used_bytes);
    v("up_ns", s.up);
    v("silent_ns", s.silent);
    v("clock_ahead_ns", s.clock_ahead);
    v("clock_uncertainty_ns", s.clock_uncertainty);
    v("slowest_beat_ns", s.slowest_beat);
    v("pace_permille", s.pace_permille);
    v("waiting_bytes", s.waiting_bytes);
  }
};

void controller_service::on_query(const actors::incoming& from, const wire::query& message) {
  auto body = describe(message.kind, message.name);
  body ? answer(from, errc::ok, {}, std::move(body).value()) : answer(from, body.error().code, body.error().message);
}

result<std::string> controller_service::describe(const std::string& kind, const std::string& name) {
  const time_point now = post_->now();
  const auto missing = [&](const char* what) {
    return error{errc::not_found, std::string{"there is no "} + what + " '" + name + "'", {}};
  };
  if (kind == "functions") {
    std::vector<function_view> views;
    for (const functions::registered_function* f : catalogue_.functions()) {
      if (!name.empty() && f->spec.name != name)
        continue;
      function_view view{f->spec.name, f->spec.version, f->spec.inputs, f->spec.outputs, {}, f->spec.state, {}};
      for (std::size_t i = 0; i < f->spec.variants.size(); ++i) {
        const functions::variant_spec& v = f->spec.variants[i];
        variant_view variant{v.name,
                             std::string{to_string(v.kind)},
                             std::string{to_string(v.resource)},
                             v.target,
                             v.parameters,
                             v.max_batch,
                             {},
                             {},
                             {}};
        if (const auto drifts = profiles_.drift_of(f->variants[i])) {
          variant.booked = drifts->booked;
          variant.recent = drifts->recent;
          view.drift +=
              (view.drift.empty() ? "" : ", ") + v.name + ": " + in_ms(drifts->booked) + " -> " + in_ms(drifts->recent);
        }
        for (const auto& [id, node] : nodes_)
          if (node.resident.contains(f->variants[i]))
            variant.resident_on.push_back(node.info.name);
        view.variants.push_back(std::move(variant));
      }
      views.push_back(std::move(view));
    }
    if (name.empty())
      return list_json(views);
    return views.empty() ? result<std::string>{missing("function")} : calls::to_json(views.back());
  }
  if (kind == "dags") {
    std::vector<dag_view> views;
    for (const callable* c : catalogue_.callables())
      if (name.empty() ? !c->of_function : c->dag->spec.name == name)
        views.push_back(view_of(*c->dag, catalogue_));
    if (name.empty())
      return list_json(views);
    const callable* found = catalogue_.find_callable(name, 0);
    return found ? result<std::string>{calls::to_json(view_of(*found->dag, catalogue_))} : missing("DAG");
  }
  if (kind == "nodes") {
    std::vector<node_view> views;
    for (const auto& [id, node] : nodes_)
      if (name.empty() || node.info.name == name)
        views.push_back(node_view_of(node));
    if (name.empty())
      return list_json(views);
    return views.empty() ? result<std::string>{missing("node")} : calls::to_json(views.back());
  }
  if (kind == "calls") {
    const auto view_record = [&](const call_record& r, bool with_trace) {
      call_view view{r.id,
                     r.dag->spec.name,
                     r.dag->spec.version,
                     std::string{to_string(r.outcome.code)},
                     r.outcome.message,
                     r.outcome.elapsed,
                     now - r.ended,
                     {},
                     r.outcome.promise,
                     r.outcome.receipt,
                     r.outcome.offers,
                     split_of(r.outcome),
                     std::string{to_string(ledger_.blame_of(r.id))},
                     with_trace ? view_of(r.decision, *r.dag, catalogue_) : decision_view{}};
      for (const calls::stage_trace& t : r.outcome.trace) {
        if (!with_trace || t.stage >= r.dag->stages.size())
          continue;
        const node_record* node = find_node(t.node);
        view.trace.push_back({r.dag->stages[t.stage].name, node ? node->info.name : to_string(t.node), t});
      }
      return view;
    };
    const auto view_running = [&](const running_call& c) {
      return call_view{c.known_as(),
                       c.dag->spec.name,
                       c.dag->spec.version,
                       "running",
                       "",
                       now - c.arrived,
                       duration{0},
                       {},
                       c.promise,
                       {},
                       {},
                       {},
                       {},
                       view_of(c.decision, *c.dag, catalogue_)};
    };
    if (!name.empty()) {
      const auto id = parse_call_id(name);
      if (!id)
        return error{errc::invalid_argument, "'" + name + "' is no call id: ids are decimal numbers", {}};
      if (const running_call* running = calls_.find_known_as(*id))
        return calls::to_json(view_running(*running));
      if (const call_record* record = calls_.record(*id))
        return calls::to_json(view_record(*record, true));
      return error{
          errc::not_found,
          "call " + name + " is not known; the last " + std::to_string(options_.records_kept) + " calls are kept",
          {}};
    }
    std::vector<call_view> views;
    for (const auto& [id, call] : calls_.running())
      if (views.size() < calls_listed)
        views.push_back(view_running(call));
    for (std::size_t age = 0; age < calls_.records().size() && views.size() < calls_listed; ++age)
      views.push_back(view_record(calls_.records()[age], false));
    return list_json(views);
  }
  if (kind == "instances") {
    std::vector<instance_view> views;
    for (const auto& [id, node] : nodes_)
      for (const wire::instance_report& r : node.beat.instances) {
        instance_view view;
        for (const functions::registered_function* f : catalogue_.functions())
          for (std::size_t i = 0; i < f->variants.size(); ++i)
            if (f->variants[i] == r.variant) {
              view.function = f->spec.name;
              view.version = f->spec.version;
              view.variant = f->spec.variants[i].name;
            }
        view.node = node.info.name;
        view.pid = r.pid;
        view.state = r.state;
        view.memory_bytes = r.memory_bytes;
        view.batches = r.batches;
        view.age = r.age;
        view.problem = r.problem;
        if (name.empty() || view.function == name)
          views.push_back(std::move(view));
      }
    return list_json(views);
  }
  if (kind == "promises") {
    std::vector<promise_record> records;
    for (std::size_t age = 0; age < ledger_.records().size() && age < calls_listed; ++age)
      records.push_back(ledger_.records()[age]);
    return list_json(records);
  }
  if (kind == "ledger")
    return calls::to_json(ledger_totals());
  if (kind == "policy")
    return calls::to_json(policy_in_force());
  if (kind == "status")
    return calls::to_json(controller_status{
        options_.cluster, options_.epoch, ready_, scheduler_.policy_name(), nodes_.size(), clients_.size(),
        calls_.running().size(), statistics_.ended_total(), event_log_ ? event_log_->facts_left_out() : 0,
        now - started_, options_.term, controllers_, wall_clock().count(), store_lost(),
        options_.store_endpoint.empty() ? duration{0} : now - store_heard_});
  if (kind == "metrics")
    return metrics_json();
  return error{errc::invalid_argument,
               "cannot list '" + kind +
                   "': known are functions, dags, nodes, calls, instances, promises, ledger, policy, status, metrics",
               {}};
}

controller_service::node_view controller_service::node_view_of(const node_record& node) const {
  const time_point now = post_->now();
  node_view view;
  view.name = node.info.name;
  view.id = node.id;
  view.endpoint = node.info.endpoint;
  view.same_host = node.info.host == host_;
  view.lanes = node.lanes.size();
  view.memory_bytes = node.memory_bytes;
  view.resident_bytes = node.beat.resident_bytes;
  view.resident_variants = node.resident.size();
  view.queued = node.beat.queued;
  view.running = node.beat.running;
  view.arena_used_bytes = node.beat.arena_used_bytes;
  view.up = now - node.joined;
  view.silent = now - node.heard;
  if (const auto clock = node.beats.clock()) {
    view.clock_ahead = clock->offset;
    view.clock_uncertainty = clock->uncertainty;
  }
  view.slowest_beat = node.beats.slowest();
  view.pace_permille = paces_.permille_of(node.id);
  return view;
}

policy_view controller_service::policy_in_force() const {
  policy_view view{scheduler_.policy_name(), {}, {}};
  if (auto share = scheduler_.share(); !share.policy.empty()) {
    auto& shown = view.share.emplace(policy_view::second{
        share.policy, share.share_ppm, share.state, share.calls, share.decided, share.admitted, {}});
    for (const node_id id : share.nodes)
      if (const auto node = nodes_.find(id); node != nodes_.end())
        shown.nodes.push_back(node->second.info.name);
  }
  if (auto shadow = scheduler_.shadow_so_far(); !shadow.policy.empty())
    view.shadow = std::move(shadow);
  return view;
}

ledger_view controller_service::ledger_totals() const {
  ledger_view view{
      ledger_.kept(), ledger_.broken(), ledger_.refusals(), ledger_.refusals_with_offers(), ledger_.redemptions(), {}};
  for (const auto& [why, count] : ledger_.by_blame())
    view.broken_by[std::string{to_string(why)}] = count;
  return view;
}

} // namespace squall::controller
