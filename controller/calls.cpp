#include "controller/detail/service.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace squall::controller {

namespace {

/// Whether a node reads the DAG's input `port`: one of its stages does, in an input or a condition, or it gathers the
/// outputs.
bool reads(const functions::resolved_source& source, std::size_t port) {
  return source.from == functions::binding::source::dag_input && source.port == port;
}

bool reads(const functions::resolved_predicate& p, std::size_t port) {
  return reads(p.subject, port) ||
         std::any_of(p.children.begin(), p.children.end(), [&](const auto& child) { return reads(child, port); });
}

bool reads(const functions::stage& s, std::size_t port) {
  return (s.when && reads(*s.when, port)) ||
         std::any_of(s.inputs.begin(), s.inputs.end(),
                     [&](const functions::resolved_input& i) { return i.bound && reads(i.source, port); });
}

struct start_of_node {
  node_id node;
  bool wanted = false; ///< it owns a stage without producers, or reads an input
  std::vector<bool> inputs;
};

/// Which nodes must hear of the start of a call, and which inputs each of them reads.
std::vector<start_of_node> starts_of(const functions::dag& dag, const calls::plan& plan,
                                     const std::vector<node_id>& nodes) {
  std::vector<start_of_node> out;
  const std::size_t ports = dag.spec.inputs.size();
  for (const node_id node : nodes) {
    start_of_node start{node, false, std::vector<bool>(ports, false)};
    for (std::size_t i = 0; i < dag.stages.size(); ++i) {
      if (plan.stages[i].home != node)
        continue;
      start.wanted |= dag.stages[i].producers.empty();
      for (std::size_t port = 0; port < ports; ++port)
        if (reads(dag.stages[i], port))
          start.inputs[port] = start.wanted = true;
    }
    if (plan.exit == node)
      for (const functions::resolved_source& output : dag.outputs)
        if (output.from == functions::binding::source::dag_input)
          start.inputs[output.port] = start.wanted = true;
    if (start.wanted)
      out.push_back(std::move(start));
  }
  return out;
}

std::vector<node_id> nodes_of(const calls::plan& plan) {
  std::vector<node_id> nodes{plan.exit};
  for (const calls::placement& stage : plan.stages) {
    if (stage.home != nodes.back())
      nodes.push_back(stage.home);
    nodes.insert(nodes.end(), stage.spread.begin(), stage.spread.end());
  }
  std::sort(nodes.begin(), nodes.end());
  nodes.erase(std::unique(nodes.begin(), nodes.end()), nodes.end());
  return nodes;
}

std::uint32_t skipped_stages(const calls::outcome& outcome) {
  return static_cast<std::uint32_t>(
      std::count_if(outcome.trace.begin(), outcome.trace.end(), [](const calls::stage_trace& t) { return t.skipped; }));
}

} // namespace

void controller_service::reply_refused(const actors::incoming& from, call_id call, errc code, std::string message,
                                       duration retry_after) {
  statistics_.refused(code);
  wire::call_result out;
  out.call = call;
  out.outcome.code = code;
  out.outcome.message = std::move(message);
  out.outcome.retry_after = retry_after;
  (void)post_->send(from.from, wire::encode(out, from.head.request, {}, role_of(from.from)));
}

/// Nodes call, too: for the functions that they run.
wire::role controller_service::role_of(actors::peer_id peer) const {
  return node_of_peer_.contains(peer) ? wire::role::node : wire::role::client;
}

/// Whether a call can be taken at all, whatever it calls.
result<> controller_service::check(const wire::call_request& message) const {
  if (!ready_ || draining_)
    return error{errc::unavailable,
                 ready_ ? "the controller is stopping" : "the controller is still reading its catalogue",
                 std::chrono::milliseconds{200}};
  if (!message.call)
    return {errc::invalid_argument, "a call needs an id that is not 0"};
  if (message.options.durable && (message.options.sequence.id || message.options.stream || message.options.depth > 0))
    return {errc::unsupported, "calls of a sequence, streams, and calls that functions make cannot be durable"};
  if (message.options.max_cost < 0)
    return {errc::invalid_argument, "the cost limit is negative"};
  if (message.options.assurance_ppm > calls::firm_ppm)
    return {errc::invalid_argument, "the assurance is above 1"};
  if (message.options.deadline < duration{0})
    return {errc::invalid_argument, "the deadline is negative; give a time from now, such as 80ms"};
  return {};
}

/// What is called, with what continues it.
result<std::shared_ptr<const functions::dag>> controller_service::dag_of(const wire::call_request& message) {
  const callable* target = catalogue_.find_callable(message.target, message.version);
  if (!target) {
    const std::string near = catalogue_.nearest(message.target);
    return {errc::not_found, "there is no DAG or function '" + message.target + "'" +
                                 (message.version ? " version " + std::to_string(message.version) : "") +
                                 (near.empty() ? "" : "; did you mean '" + near + "'?")};
  }
  if (message.options.then.empty())
    return target->dag;
  catalogue_change change;
  SQUALL_ASSIGN(whole, catalogue_.find_sequel(*target, message.options.then, change));
  publish(change);
  return whole;
}

/// All of a call but its inputs and what it asks to be promised.
running_call controller_service::call_of(const actors::incoming& from, const wire::call_request& message,
                                         std::shared_ptr<const functions::dag> dag) {
  client_record& client = clients_[from.from];
  if (const auto node = node_of_peer_.find(from.from); node != node_of_peer_.end()) {
    client.host = nodes_[node->second].info.host;
    client.heard = post_->now();
  }
  running_call call = bare_call(message, std::move(dag));
  call.client = from.from;
  call.request = from.head.request;
  // References only make sense to a client that shares memory with this host, for the controller passes them on.
  call.client_host = client.host == host_ ? host_ : 0;
  if (client.answers_from_nodes && !message.options.stream) // what streams comes in order
    call.answer_to = client.id;
  call.owner = client.id;
  return call;
}

/// What the request alone says.
running_call controller_service::bare_call(const wire::call_request& message,
                                           std::shared_ptr<const functions::dag> dag) const {
  running_call call;
  call.id = message.call;
  call.dag = std::move(dag);
  call.priority = message.options.priority;
  call.depth = message.options.depth;
  call.stream = message.options.stream;
  call.sequence = message.options.sequence;
  call.arrived = post_->now();
  const duration allowed =
      message.options.deadline > duration{0} ? message.options.deadline : options_.default_deadline;
  call.deadline = allowed < never - call.arrived ? call.arrived + allowed : never;
  call.repeatable = !call.sequence.id && may_run_twice(*call.dag);
  return call;
}

/// Writes down what is asked to be promised, in the call and in what the scheduler hears of it.
void controller_service::ask_for_promise(running_call& call, const calls::call_options& options,
                                         calls::placing::call_arrived& fact) const {
  // What a function calls by itself is outside the promise of the call above it, whose deadline it has.
  const bool asks = (options.deadline > duration{0} && options.depth == 0) ||
                    options.max_cost != calls::no_cost_limit || options.assurance_ppm > 0;
  if (!asks)
    return;
  fact.max_cost = options.max_cost;
  fact.assurance_ppm = options.assurance_ppm > 0 ? options.assurance_ppm : options_.default_assurance_ppm;
  fact.preference = options.prefer;
  const duration allowed = options.deadline > duration{0} ? options.deadline : options_.default_deadline;
  call.promise = {allowed, fact.max_cost, fact.assurance_ppm, duration{0}, {}};
  call.wanted = {fact.max_cost, fact.assurance_ppm, fact.preference};
  call.answer_to = {}; // its finish is taken here
}

void controller_service::on_call(const actors::incoming& from, wire::call_request message) {
  const auto refuse = [&](const error& why) {
    reply_refused(from, message.call, why.code, why.message, why.retry_after);
  };
  if (const auto taken = check(message); !taken.ok())
    return refuse(taken.error());
  auto dag = dag_of(message);
  if (!dag)
    return refuse(dag.error());
  std::vector<functions::named_value> named;
  named.reserve(message.inputs.size());
  for (wire::wire_value& input : message.inputs)
    named.push_back({std::move(input.name), std::move(input.value)});
  auto inputs = functions::bind_inputs(message.target, (*dag)->spec.inputs, std::move(named));
  if (!inputs)
    return refuse(inputs.error());
  if (message.again && asked_again(from, message, **dag, *inputs))
    return;
  if (gathering_)
    return refuse_for_now(from, message.call);

  running_call call = call_of(from, message, std::move(dag).value());
  const bool redeems = static_cast<bool>(message.options.ticket);
  if (message.again && !redeems && !message.options.durable) {
    call.setback = "the connection broke after it was sent";
    begin_anew(call);
  }
  call.inputs = std::move(inputs).value();
  for (const functions::value& input : call.inputs)
    call.bytes += input.byte_size();
  call.batch = widest_batch(*call.dag);
  const client_id owner = call.owner;
  calls::placing::call_arrived fact{call.id, owner, call.dag->id, call.deadline, call.priority, call.sequence};
  fact.affinity = catalogue_.affinity(*call.dag, call.inputs);
  ask_for_promise(call, message.options, fact);
  if (const auto fits = flow_.check(owner, call.bytes); !fits.ok())
    return refuse(fits.error());
  if (message.options.durable && call.bytes > max_durable_bytes)
    return refuse({errc::too_large,
                   "the inputs of a durable call may have " + std::to_string(max_durable_bytes) + " bytes, not " +
                       std::to_string(call.bytes),
                   {}});
  if (kept_.contains(message.call) || (!message.again && calls_.ended_lately(message.call)))
    return refuse({errc::already_exists, "call " + to_string(message.call) + " has ended; choose another id", {}});
  if (redeems)
    if (const auto taken = take_offer(call, message.options); !taken.ok())
      return refuse(taken.error());
  const std::uint64_t bytes = call.bytes;
  const dag_id called = call.dag->id;
  const call_id id = call.id;
  if (calls_.find_known_as(message.call) != nullptr || !calls_.add(std::move(call)))
    return refuse({errc::already_exists, "call " + to_string(message.call) + " is running; choose another id", {}});
  flow_.begin(owner, bytes);
  ++running_of_dag_[called];
  if (id != message.call)
    calls_.alias(message.call, id);
  running_call* added = calls_.find(id);
  if (redeems) {
    const calls::placing::ticket_redeemed taken{message.options.ticket, message.call, owner};
    return message.options.durable ? keep_and_offer(*added, message, taken) : step(taken);
  }
  // A call that a function makes must not wait for the one above it.
  if (message.options.durable)
    return keep_and_offer(*added, message, fact);
  if (message.options.depth == 0) {
    added->inside = turnstile_.enter(owner, called, added->batch, added->id);
    added->in_line = !added->inside;
  }
  if (!added->in_line)
    step(fact);
}

std::uint32_t controller_service::widest_batch(const functions::dag& dag) const {
  std::uint32_t out = 1;
  for (const functions::stage& stage : dag.stages)
    if (const auto* function = catalogue_.find_function(stage.function))
      for (const functions::variant_spec& variant : function->spec.variants)
        out = std::max(out, variant.max_batch);
  return out;
}

void controller_service::count_lanes() {
  std::uint64_t lanes = 0;
  for (const auto& [id, node] : nodes_)
    lanes += node.lanes.size();
  turnstile_.set_lanes(lanes);
}

void controller_service::expire_in_line() {
  if (turnstile_.waiting() == 0)
    return;
  std::vector<call_id> late;
  for (const auto& [id, call] : calls_.running())
    if (call.in_line && call.deadline <= post_->now())
      late.push_back(id);
  std::sort(late.begin(), late.end());
  for (const call_id id : late)
    end_without_result(id, errc::deadline_exceeded,
                       "the deadline passed while the call waited for others of its client to end", duration{0});
}

/// Calls whose turn has come.
void controller_service::let_through() {
  for (const call_id id : turnstile_.take_ready())
    if (running_call* call = calls_.find(id)) {
      call->in_line = false;
      call->inside = true;
      offer_again(id);
    }
}

void controller_service::admit(calls::placing::admit& command) {
  running_call* call = calls_.find(command.id);
  if (!call)
    return;
  call->admitted = true;
  call->promised = call->promised || command.promised;
  if (!call->promised)
    call->promise = {};
  call->promise.expected = command.expected;
  call->promise.why = std::move(command.why);
  call->decision = std::move(command.how);
  if (command.dispatched != dispatching_ && scheduler_.share().policy.empty()) {
    dispatching_ = command.dispatched;
    turnstile_.open(dispatching_); // a policy that holds work back wants to see all of it
  }
  if (command.dispatched)
    return start_dispatched(*call, command);
  call->nodes = nodes_of(command.plan);
  const time_point now = post_->now();
  wire::start_call message;
  message.context.call = call->id;
  message.context.dag = call->dag->id;
  message.context.plan = std::move(command.plan);
  message.context.priority = call->priority;
  message.context.sequence = call->sequence;
  message.context.remaining = call->deadline == never ? duration::max() : call->deadline - now;
  message.context.age = now - call->arrived;
  message.context.client_host = call->client_host;
  message.context.stream = call->stream;
  message.context.depth = call->depth;
  message.context.answer_to = call->answer_to;
  message.context.expected = call->promise.expected;
  message.context.reserve = command.reserve;
  message.context.claim = claim_of(*call);
  auto inputs = call->repeatable ? call->inputs : std::exchange(call->inputs, {});
  if (call->nodes.size() == 1) { // it owns every stage and reads every input that is read
    message.inputs = std::move(inputs);
    return send_to_node(call->nodes.front(), message);
  }
  const auto starts = starts_of(*call->dag, message.context.plan, call->nodes);
  for (std::size_t i = 0; i < starts.size(); ++i) {
    message.inputs.assign(inputs.size(), {});
    for (std::size_t port = 0; port < inputs.size(); ++port)
      if (starts[i].inputs[port])
        message.inputs[port] = inputs[port];
    send_to_node(starts[i].node, message);
  }
}

void controller_service::on_finished(const actors::incoming& from, wire::call_finished message) {
  running_call* call = calls_.find(message.call);
  if (!call || !node_of_peer_.contains(from.from)) // it ended already: cancelled, past its deadline, or said twice
    return release(message.call, message.holders);
  const time_point now = post_->now();
  wire::call_result out;
  out.call = call->known_as();
  out.outcome = std::move(message.outcome);
  out.outcome.elapsed = now - call->arrived;
  if (out.outcome.code == errc::ok)
    for (std::size_t i = 0; i < message.outputs.size() && i < call->dag->spec.outputs.size(); ++i)
      out.outputs.push_back({call->dag->spec.outputs[i].name, std::move(message.outputs[i])});
  else if (call->nodes.size() > 1) // the others do not know yet
    for (const node_id node : call->nodes)
      if (node != message.node)
        send_to_node(node, wire::drop_call{message.call, call->parts_shared});

  const auto fact = ended(*call, out.outcome);
  if (repeat(*call, out.outcome.code, out.outcome.message)) {
    release(message.call, message.holders);
    return step(fact);
  }
  out.taken_wanted =
      (message.outputs_shared && call->client_host == host_ && out.outcome.code == errc::ok) || call->parts_shared;
  hold_or_release(*call, out, message.holders);
  send_result(*call, std::move(out));
  step(fact);
}

/// Their clients have their results.
void controller_service::on_answered(const actors::incoming& from, wire::calls_answered message) {
  const bool known = node_of_peer_.contains(from.from);
  for (wire::answered_call& answered : message.calls) {
    release(answered.call, answered.holders);
    running_call* call = known ? calls_.find(answered.call) : nullptr;
    if (!call)
      continue;
    const auto fact = ended(*call, answered.outcome);
    end_of(*call, std::move(answered.outcome));
    step(fact);
  }
}

/// What the scheduler is told of the end of a call; the profiles learn from it.
calls::placing::call_ended controller_service::ended(const running_call& call, const calls::outcome& outcome) {
  calls::placing::call_ended fact{call.id, outcome.code, {}};
  fact.stages.reserve(outcome.trace.size());
  for (const calls::stage_trace& t : outcome.trace) {
    fact.stages.push_back({t.stage, t.skipped || t.cancelled ? 0 : t.width, t.executed});
    learn_from(call, t);
  }
  return fact;
}

/// Dispatched batches are reported as such; of other calls, those that ran alone say what one item takes.
void controller_service::learn_from(const running_call& call, const calls::stage_trace& t) {
  if (call.dispatched || t.skipped || t.failed || t.late || t.cancelled || t.width == 0 || t.batch != 1 || !t.lane ||
      t.stage >= call.dag->stages.size())
    return;
  const auto& variants = call.dag->stages[t.stage].variants;
  if (variants.size() != 1)
    return;
  profiles_.ran(variants.front(), 1, t.executed / t.width);
  if (nodes_.contains(t.node))
    paces_.ran(variants.front(), 1, t.node, t.executed / t.width);
}

void controller_service::send_result(running_call& call, wire::call_result message) {
  if (call.durable)
    return end_durable(call, std::move(message));
  if (!call.asked)
    return keep_unasked(call, std::move(message));
  settle_promise(call, message.outcome);
  if (const auto client = clients_.find(call.client); client != clients_.end()) {
    const wire::encode_options options{client->second.host == host_ ? arenas_.get() : nullptr};
    if (auto sent = post_->send(call.client, wire::encode(message, call.request, options, role_of(call.client)));
        !sent) {
      log_.warn("controller", "a result could not be delivered",
                {{"call", to_string(call.id)}, {"error", sent.error().message}});
      tell_dropped(call, message, sent.error());
    }
  }
  end_of(call, std::move(message.outcome));
}

/// The client does not take what waits for it: its result is dropped, and news of that still finds room.
void controller_service::tell_dropped(const running_call& call, wire::call_result& message, const error& why) {
  ++results_dropped_;
  if (why.code != errc::overloaded && why.code != errc::too_large)
    return; // it is gone
  if (message.taken_wanted && held_.contains(message.call)) {
    release(held_[message.call].attempt, held_[message.call].holders);
    held_.erase(message.call);
  }
  message.outputs.clear();
  message.taken_wanted = false;
  message.outcome.code = why.code;
  message.outcome.message = "the call has run, but its result could not be delivered: " + why.message;
  (void)post_->send(call.client, wire::encode(message, call.request, {}, role_of(call.client)));
}

void controller_service::on_partial(const actors::incoming& from, wire::stage_partial message) {
  running_call* call = calls_.find(message.call);
  if (!call || !call->stream || !node_of_peer_.contains(from.from) || message.stage >= call->dag->stages.size())
    return;
  const functions::stage& stage = call->dag->stages[message.stage];
  const functions::registered_function* function = catalogue_.find_function(stage.function);
  if (!function || function->spec.outputs.size() != message.outputs.size())
    return;
  wire::call_partial out;
  out.call = call->known_as();
  out.stage = stage.name;
  out.element = message.element;
  out.index = message.index;
  for (std::size_t i = 0; i < message.outputs.size(); ++i)
    out.outputs.push_back({function->spec.outputs[i].name, std::move(message.outputs[i])});
  const wire::encode_options options{call->client_host == host_ ? arenas_.get() : nullptr};
  call->parts_shared |= options.local != nullptr;
  const auto sent = post_->send(call->client, wire::encode(out, call->request, options, role_of(call->client)));
  if (sent.ok())
    return;
  log_.debug("controller", "a partial result could not be delivered",
             {{"call", to_string(call->id)}, {"error", sent.error().message}});
  if (sent.error().code != errc::overloaded)
    return; // its client is gone
  // A stream with a hole would be a wrong answer.
  cut_off_ = error{errc::overloaded, "a partial result could not be delivered: " + sent.error().message, {}};
  step(calls::placing::cancel_requested{call->id});
  cut_off_.reset();
}

/// Moves the call to the records.
void controller_service::end_of(running_call& call, calls::outcome outcome) {
  statistics_.ended(call.dag->spec.name, outcome.code, outcome.elapsed, skipped_stages(outcome));
  flow_.end(call.owner, call.bytes, post_->now());
  if (call.in_line)
    turnstile_.withdraw(call.owner, call.dag->id, call.id);
  if (call.inside)
    turnstile_.leave(call.owner, call.dag->id, post_->now());
  const dag_id dag = call.dag->id;
  calls_.end(call.id, std::move(outcome), post_->now());
  if (const auto running = running_of_dag_.find(dag); running != running_of_dag_.end() && --running->second == 0) {
    running_of_dag_.erase(running);
    if (!removed_dags_.empty())
      forget_unused();
  }
}

void controller_service::end_without_result(call_id id, errc code, std::string text, duration retry_after,
                                            std::vector<calls::offer> offers) {
  running_call* call = calls_.find(id);
  if (!call)
    return;
  if (call->nodes.empty() && !call->promised) {
    statistics_.refused(code);
    if (call->promise.assurance_ppm > 0)
      keep_for_offers(*call, offers);
    call->promise = {}; // nothing was promised
  }
  wire::call_result out;
  out.call = call->known_as();
  // A call that is abandoned may hold blocks anywhere in its plan.
  out.taken_wanted = call->parts_shared;
  hold_or_release(*call, out, call->nodes);
  out.outcome.code = code;
  out.outcome.message = std::move(text);
  out.outcome.retry_after = retry_after;
  out.outcome.elapsed = post_->now() - call->arrived;
  out.outcome.offers = std::move(offers);
  send_result(*call, std::move(out));
}

void controller_service::on_cancel(const actors::incoming& from, const wire::cancel_request& message) {
  const running_call* call = calls_.find_known_as(message.call);
  if (!call || call->client != from.from)
    return answer(from, errc::not_found, "call " + to_string(message.call) + " is not running");
  step(calls::placing::cancel_requested{call->id});
  if (const running_call* waiting =
          calls_.find_known_as(message.call)) // no scheduler knows of it while it waits for a node
    end_without_result(waiting->id, errc::cancelled, "the client withdrew the call", duration{0});
  answer(from, errc::ok, "cancelled");
}

void controller_service::on_taken(const actors::incoming& from, const wire::result_taken& message) {
  for (const call_id id : message.calls) {
    forget_kept(from.from, id);
    const auto it = held_.find(id);
    if (it == held_.end() || it->second.client != from.from)
      continue;
    release(it->second.attempt, it->second.holders);
    held_.erase(it);
  }
}

/// What the client reads where it is stays until the client has taken it.
void controller_service::hold_or_release(const running_call& call, const wire::call_result& result,
                                         const std::vector<node_id>& holders) {
  if (result.taken_wanted)
    held_[result.call] = {call.client, call.id, holders};
  else
    release(call.id, holders);
}

void controller_service::release(call_id call, const std::vector<node_id>& holders) {
  for (const node_id node : holders)
    releases_[node].push_back(call);
}

void controller_service::flush_releases() {
  for (auto& [node, ids] : std::exchange(releases_, {}))
    send_to_node(node, wire::release_call{std::move(ids)});
}

void controller_service::client_gone(actors::peer_id peer) {
  const auto it = clients_.find(peer);
  if (it == clients_.end())
    return;
  clients_.erase(it);
  std::vector<call_id> left;
  for (const auto& [id, call] : calls_.running())
    if (call.client == peer && !call.durable)
      left.push_back(id);
  std::sort(left.begin(), left.end());
  for (const call_id call : left) {
    step(calls::placing::cancel_requested{call});
    end_without_result(call, errc::cancelled, "the client is gone", duration{0}); // one that waited for a node
  }
  for (auto held = held_.begin(); held != held_.end();) {
    if (held->second.client != peer) {
      ++held;
      continue;
    }
    release(held->second.attempt, held->second.holders);
    held = held_.erase(held);
  }
}

} // namespace squall::controller
