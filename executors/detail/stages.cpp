#include "executors/detail/service.hpp"

#include <chrono>

/// How a ready stage gets to run: here at once, in its turn of a sequence, in the queue, or on several nodes.
namespace squall::executors {

void node_role::launch(call_record& call, const flow::ready_stage& ready, std::size_t& light_left) {
  const auto stage = ready.stage;
  if (!call.flow.open_trace(stage))
    return; // it was cancelled while it waited here
  if (needs_objects(call, stage))
    return look_up(call, ready);
  if (call.context.dispatched)
    return report_ready(call, ready, light_left);
  const auto& graph = call.flow.graph();
  const auto& placement = call.context.plan.stages[stage];
  auto* const variant = catalogue_.variant(placement.variant);
  if (!variant || variant->function->id != graph.dag->stages[stage].function)
    return call.flow.abort(stage,
                           {errc::not_found, "its variant " + to_string(placement.variant) + " is not known", {}});
  count_moved_bytes(call, stage);
  const bool map = graph.dag->stages[stage].map;
  if (!map && is_light(call, stage, *variant)) {
    if (light_left == 0)
      return call.put_off.push_back(ready);
    --light_left;
    return run_light(call, stage, *variant);
  }
  if (map && placement.spread.size() > 1)
    return scatter(call, ready);
  if (graph.stages[stage].stateful && call.context.sequence.id)
    return launch_stateful(call, stage);
  enqueue(call, stage, ready.elements, placement.variant);
}

bool node_role::is_light(call_record& call, stage_index stage, const node_variant& variant) {
  const auto* const trace = call.flow.open_trace(stage);
  return variant.light && trace && (trace->bytes_in <= light_bytes || variant.hands_on);
}

/// Costs a few microseconds, so it needs neither the worker nor a lane. The time is that of the real clock: the round's
/// stands still.
void node_role::run_light(call_record& call, stage_index stage, node_variant& variant) {
  ++counters_.stages_light;
  functions::builtins::run_context context;
  if (call.deadline != never)
    context.time_left = call.deadline - now();
  const auto inputs = call.flow.inputs_of(stage, 0);
  const auto began = std::chrono::steady_clock::now();
  auto ran = variant.light->run(inputs, context);
  call.flow.open_trace(stage)->executed = std::chrono::steady_clock::now() - began;
  if (!ran.ok())
    return call.flow.fail(stage, 0, ran.error());
  keep(call.context.call, *ran);
  call.flow.complete(stage, 0, std::move(*ran));
}

void node_role::count_moved_bytes(call_record& call, stage_index stage) {
  if (!membership_.several_hosts())
    return;
  const auto from_elsewhere = [&](node_id home) {
    return home ? !membership_.on_this_host(home) : call.context.client_host != membership_.own_host();
  };
  if (auto* const trace = call.flow.open_trace(stage))
    trace->bytes_moved = call.flow.bytes_read(stage, from_elsewhere);
}

void node_role::enqueue(call_record& call, stage_index stage, const std::vector<std::uint32_t>& elements,
                        variant_id variant) {
  if (!worker_)
    return call.flow.abort(stage, {errc::unavailable, "there is no worker process to run it", {}});
  call.items.reserve(call.items.size() + elements.size());
  for (const auto element : elements) {
    const item_id id{++last_item_};
    items_.emplace(id, work_item{call.context.call, stage, element, nullptr, variant, now(), false, {}});
    call.items.push_back(id);
    ++counters_.items;
    feed(calls::queueing::arrived{id, call.context.call, stage, variant, call.context.priority, call.deadline, false,
                                  call.context.claim.owner});
  }
}

// -- sequences

void node_role::launch_stateful(call_record& call, stage_index stage) {
  const auto function = call.flow.graph().stages[stage].function->id;
  const auto turn = sequences_.enter(call.context.sequence.id, function, {call.context.call, stage});
  if (!turn.ok())
    return call.flow.abort(stage, turn.error());
  if (!*turn)
    return;
  call.turns.push_back(function);
  enqueue(call, stage, {0}, call.context.plan.stages[stage].variant);
}

/// Gives the turn to the next run whose call still wants it.
void node_role::next_in_sequence(sequence_id sequence, function_id function) {
  while (const auto next = sequences_.leave(sequence, function)) {
    auto* const call = find_call(next->call);
    if (!call || !call->flow.open_trace(next->stage))
      continue;
    call->turns.push_back(function);
    enqueue(*call, next->stage, {0}, call->context.plan.stages[next->stage].variant);
    touched_.push_back(next->call);
    return;
  }
}

void node_role::end_turn(call_record& call, function_id function) {
  if (std::erase(call.turns, function) > 0)
    next_in_sequence(call.context.sequence.id, function);
}

} // namespace squall::executors
