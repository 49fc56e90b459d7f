#include "executors/detail/service.hpp"

#include <algorithm>

/// How a call goes through this node: from its first message to its end.
namespace squall::executors {

call_record* node_role::find_call(call_id id) {
  const auto found = calls_.find(id);
  return found == calls_.end() ? nullptr : found->second.get();
}

result<> node_role::check_context(const wire::call_context& context, const flow_graph& graph) const {
  const auto& plan = context.plan;
  if (!context.call || plan.stages.size() != graph.stages.size())
    return {errc::corrupt, "the plan of call " + to_string(context.call) + " has " +
                               std::to_string(plan.stages.size()) + " stages, DAG '" + graph.dag->spec.name + "' has " +
                               std::to_string(graph.stages.size())};
  return {};
}

call_record* node_role::find_or_open(const actors::incoming& from, wire::call_context& context) {
  if (auto* const known = find_call(context.call))
    return known;
  if (is_late(context.call)) {
    ++counters_.late_messages;
    return nullptr;
  }
  auto graph = catalogue_.graph(context.dag);
  if (!graph) {
    park(context, from);
    return nullptr;
  }
  if (const auto fits = check_context(context, *graph); !fits.ok()) {
    bad_message(from, fits.error());
    return nullptr;
  }
  if (calls_.size() >= max_calls) {
    refuse_call(context.call, {errc::overloaded, "the node has " + std::to_string(max_calls) + " calls, its limit",
                               std::chrono::milliseconds{100}});
    return nullptr;
  }
  ++counters_.calls;
  const auto id = context.call;
  auto record = std::make_unique<call_record>(std::move(context), std::move(graph), membership_.self(), now());
  return calls_.emplace(id, std::move(record)).first->second.get();
}

void node_role::on_start(const actors::incoming& from, wire::start_call message) {
  auto* const call = find_or_open(from, message.context);
  if (!call)
    return;
  keep(call->context.call, message.inputs);
  call->flow.pass_time(call->age(now()));
  if (const auto started = call->flow.start(std::move(message.inputs)); !started.ok())
    return fail_call(*call, started.error());
  drive(*call);
}

void node_role::drive(call_record& call) {
  auto& flow = call.flow;
  std::size_t light_left = light_stages_per_round;
  for (bool more = true; more;) {
    if (const auto departures = flow.take_departures(); !departures.empty())
      send_departures(call, departures);
    carry_out_cancellations(call);
    if (call.context.dispatched)
      report_passed_over(call);
    if (flow.failure())
      return fail_call(call, *flow.failure());
    if (flow.finished())
      return finish_call(call);
    if (flow.over())
      return end_call(call, ending::here);
    if (call.deadline <= now())
      return expire_call(call);
    const auto ready = flow.take_ready();
    more = !ready.empty();
    for (const auto& r : ready)
      launch(call, r, light_left);
  }
  if (!call.put_off.empty())
    put_off_.push_back(call.context.call);
  set_timer(call);
}

void node_role::note_own_blocks(call_record& call) {
  if (blocks_.holds(call.context.call))
    call.hold(membership_.self());
}

// -- ends

wire::call_finished node_role::finished_message(call_record& call) {
  note_own_blocks(call);
  wire::call_finished message;
  message.call = call.context.call;
  message.node = membership_.self();
  message.outcome.trace = call.flow.trace();
  return message;
}

void node_role::send_finished(const wire::call_finished& message, std::uint64_t client_host) {
  const bool by_reference = membership_.controller_on_this_host() && client_host == membership_.own_host();
  auto frames = wire::encode(message, request_id{}, {by_reference ? &blocks_.known() : nullptr});
  auto fits = wire::within_limits(frames);
  if (fits.ok())
    fits = membership_.send_to_controller(std::move(frames));
  if (fits.ok())
    return;
  log_.warn("node", "the end of a call was not sent",
            {{"call", to_string(message.call)}, {"error", fits.error().message}});
  if (message.outcome.code == errc::ok)
    refuse_call(message.call, fits.error());
}

void node_role::finish_call(call_record& call) {
  auto message = finished_message(call);
  message.outputs = call.flow.outputs();
  const auto id = call.context.call;
  const bool by_reference = membership_.controller_on_this_host() && call.context.client_host == membership_.own_host();
  bool needed = !call.partials.empty(); // our blocks are read after this
  for (const auto& v : message.outputs) {
    message.outputs_shared |= by_reference && blocks_.shared(v);
    // Frames of a message that is being sent pin blocks of our own arena, but not of the worker's.
    needed |= blocks_.in_worker(v);
  }
  needed |= message.outputs_shared;
  drop_unfinished_elsewhere(call);
  if (!needed)
    std::erase(call.holders, membership_.self());
  message.holders = call.holders;
  const bool answered = !needed && answer_client(call, message);
  const bool waits = !answered && membership_.holds(); // for a controller; its blocks, too
  if (waits)
    keep_end(call, std::move(message));
  else if (!answered)
    send_finished(message, call.context.client_host);
  if (!needed && !waits)
    release_blocks(id);
  end_shares(id);
  end_call(call);
}

/// A join may have gone on without stages of other nodes: they can stop now.
void node_role::drop_unfinished_elsewhere(call_record& call) {
  const auto& plan = call.context.plan;
  std::vector<node_id> nodes;
  for (const auto stage : call.flow.unsettled()) {
    nodes.push_back(plan.stages[stage].home);
    nodes.insert(nodes.end(), plan.stages[stage].spread.begin(), plan.stages[stage].spread.end());
  }
  std::sort(nodes.begin(), nodes.end());
  nodes.erase(std::unique(nodes.begin(), nodes.end()), nodes.end());
  for (const auto node : nodes) {
    if (node == membership_.self())
      continue;
    call.hold(node); // it may have blocks that nobody told us of
    (void)send_to_node(node, wire::drop_call{call.context.call, true});
  }
}

void node_role::fail_call(call_record& call, const error& why) {
  auto message = finished_message(call);
  message.outcome.code = why.code;
  message.outcome.message = why.message + ", on " + membership_.name_of(membership_.self());
  message.outcome.retry_after = why.retry_after;
  const auto id = call.context.call;
  const bool needed = !call.partials.empty(); // they may not have been read yet
  if (!needed)
    std::erase(call.holders, membership_.self());
  message.holders = call.holders;
  ++counters_.calls_failed;
  if (membership_.holds())
    keep_end(call, std::move(message));
  else
    send_finished(message, 0);
  end_shares(id);
  end_call(call);
  if (!needed)
    release_blocks(id);
}

/// The call cannot even begin here.
void node_role::refuse_call(call_id call, const error& why) {
  wire::call_finished message;
  message.call = call;
  message.node = membership_.self();
  message.outcome.code = why.code;
  message.outcome.message = why.message + ", on " + membership_.name_of(membership_.self());
  message.outcome.retry_after = why.retry_after;
  ++counters_.calls_failed;
  ended_.add(call);
  send_finished(message, 0);
}

/// Only the exit and nodes with work of it speak; the others forget the call in silence.
void node_role::expire_call(call_record& call) {
  const auto& plan = call.context.plan;
  const auto unsettled = call.flow.unsettled();
  const auto here = std::find_if(unsettled.begin(), unsettled.end(),
                                 [&](stage_index s) { return call.flow.open_trace(s) != nullptr; });
  if (here == unsettled.end() && plan.exit != membership_.self()) {
    const auto id = call.context.call;
    end_call(call);
    blocks_.expire_at(id, now() + block_backstop);
    return;
  }
  const auto stage = here != unsettled.end() ? *here : unsettled.empty() ? 0 : unsettled.front();
  fail_call(call, {errc::deadline_exceeded, call.flow.describe(stage) + " had not ended at the call's deadline", {}});
}

/// Forgets the call's work; its blocks have their own end.
void node_role::end_call(call_record& call, ending how) {
  const auto id = call.context.call;
  const auto sequence = call.context.sequence;
  withdraw(id, call.items);
  const auto turns = std::move(call.turns);
  if (blocks_.holds(id))
    blocks_.expire_at(id, call.deadline == never ? never : call.deadline + block_backstop);
  const auto& plans = call.context.plan.stages;
  const auto spread = [](const auto& where) { return !where.spread.empty(); };
  const bool shares_may_come =
      how == ending::here && (call.context.dispatched || std::any_of(plans.begin(), plans.end(), spread));
  (shares_may_come ? over_ : ended_).add(id);
  calls_.erase(id); // `call` is gone
  for (const auto function : turns)
    next_in_sequence(sequence.id, function);
  if (sequence.id && sequence.end)
    sequences_.drop(sequence.id);
}

void node_role::drop_call(const wire::drop_call& message) {
  end_shares(message.call);
  if (auto* const call = find_call(message.call))
    end_call(*call);
  else
    ended_.add(message.call);
  if (!message.keep_blocks)
    release_blocks(message.call);
}

// -- time

/// For the deadline, and for the waits of joins.
void node_role::set_timer(call_record& call) {
  auto at = call.deadline;
  if (const auto wait = call.flow.next_wait())
    at = std::min(at, call.arrived + (*wait - call.context.age));
  if (at >= call.next_timer || at == never)
    return;
  call.next_timer = at;
  timers_.push_back({at, call.context.call});
  std::push_heap(timers_.begin(), timers_.end(), std::greater<>{});
}

void node_role::run_timers() {
  while (!timers_.empty() && timers_.front().at <= now()) {
    std::pop_heap(timers_.begin(), timers_.end(), std::greater<>{});
    const auto due = timers_.back();
    timers_.pop_back();
    auto* const call = find_call(due.call);
    if (!call)
      continue;
    call->next_timer = never;
    call->flow.pass_time(call->age(now()));
    drive(*call);
  }
}

/// Timers of calls that ended stay in the heap until they are due; when they are most of it, it is rebuilt.
void node_role::compact_timers() {
  if (timers_.size() < 4096 || timers_.size() < 4 * calls_.size())
    return;
  std::erase_if(timers_, [&](const timer& t) { return !calls_.contains(t.call); });
  std::make_heap(timers_.begin(), timers_.end(), std::greater<>{});
}

void node_role::continue_put_off() {
  for (const auto id : std::exchange(put_off_, {})) {
    auto* const call = find_call(id);
    if (!call)
      continue;
    std::size_t light_left = light_stages_per_round;
    for (const auto& r : std::exchange(call->put_off, {}))
      launch(*call, r, light_left);
    drive(*call);
  }
}

} // namespace squall::executors
