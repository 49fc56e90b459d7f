#include "executors/detail/service.hpp"

#include <algorithm>

/// Dispatched calls: their home says what could run, the scheduler puts batches together, homes hand tasks to the node
/// that runs a batch, and that node queues it when all of them are there.
namespace squall::executors {

// -- the home

/// What costs a few microseconds runs here at once: a round trip would cost more. The scheduler is told that nothing is
/// left of the stage to run.
void node_role::report_ready(call_record& call, const flow::ready_stage& ready, std::size_t& light_left) {
  const auto stage = ready.stage;
  const auto id = call.context.call;
  const bool map = call.flow.graph().dag->stages[stage].map;
  auto* const variant = catalogue_.variant(call.context.plan.stages[stage].variant);
  if (!map && variant && is_light(call, stage, *variant)) {
    if (light_left == 0)
      return call.put_off.push_back(ready);
    --light_left;
    report_stage(id, stage, 0, {});
    return run_light(call, stage, *variant);
  }
  count_moved_bytes(call, stage);
  report_stage(id, stage, static_cast<std::uint32_t>(ready.elements.size()),
               map ? ready.elements : std::vector<std::uint32_t>{});
}

void node_role::report_passed_over(call_record& call) {
  for (const auto stage : call.flow.take_passed_over())
    report_stage(call.context.call, stage, 0, {});
}

void node_role::report_stage(call_id call, stage_index stage, std::uint32_t width,
                             std::vector<std::uint32_t> elements) {
  const wire::stage_ready message{call, stage, width, std::move(elements)};
  membership_.tell_controller(wire::encode(message, request_id{}), "a ready stage was not reported",
                              {{"call", to_string(call)}});
}

void node_role::on_hand_out(const wire::hand_out& message) {
  std::uint32_t missing = 0;
  for (std::size_t i = 0; i < message.tasks.size();) {
    const auto& first = message.tasks[i];
    std::vector<std::uint32_t> elements;
    for (; i < message.tasks.size() && message.tasks[i].call == first.call && message.tasks[i].stage == first.stage;
         ++i)
      elements.push_back(message.tasks[i].element);
    auto* const call = find_call(first.call);
    if (call && first.stage < call->flow.graph().stages.size() && call->flow.open_trace(first.stage))
      hand_over(*call, first.stage, std::move(elements), message);
    else
      missing += static_cast<std::uint32_t>(elements.size());
  }
  if (missing == 0)
    return;
  if (message.runner == membership_.self())
    return tasks_missing(message.order, missing);
  if (const auto sent = send_to_node(message.runner, wire::order_short{message.order, missing}); !sent.ok())
    log_.debug("node", "a runner does not hear of missing tasks", {{"error", sent.error().message}});
}

void node_role::hand_over(call_record& call, stage_index stage, std::vector<std::uint32_t> elements,
                          const wire::hand_out& message) {
  if (message.runner == membership_.self()) {
    auto& order = order_of(message.order);
    const auto* const trace = call.flow.open_trace(stage);
    const auto ready = call.arrived + (trace->begin - call.context.age);
    for (const auto element : elements) {
      const item_id id{++last_item_};
      items_.emplace(id, work_item{call.context.call, stage, element, nullptr, message.order.variant, ready, false,
                                   message.order.order});
      call.items.push_back(id);
      order.items.push_back(id);
      order.tasks.push_back({call.context.call, stage, element});
    }
    counters_.items += elements.size();
    return queue_if_complete(order);
  }
  auto& runners = call.runners[stage];
  if (const auto at = std::lower_bound(runners.begin(), runners.end(), message.runner);
      at == runners.end() || *at != message.runner)
    runners.insert(at, message.runner);
  wire::scatter share;
  share.home = membership_.self();
  share.stage = stage;
  share.order = message.order;
  share.whole = call.flow.whole_inputs_of(stage);
  for (const auto element : elements)
    share.mapped.push_back(call.flow.mapped_inputs_of(stage, element));
  share.elements = std::move(elements);
  if (const auto sent = send_with_context(call, message.runner, share); !sent.ok())
    call.flow.abort(stage, sent.error());
  touched_.push_back(call.context.call);
}

/// A stage that is no map ran on another node: what it did not execute since it was ready, it waited.
void node_role::note_dispatched(const call_record& call, calls::stage_trace& trace, node_id node) {
  trace.node = node;
  if (trace.width == 1)
    trace.queued = std::max(call.age(now()) - trace.begin - trace.executed, duration{0});
}

// -- the node that runs the batch

order_record& node_role::order_of(const wire::order_ticket& ticket) {
  auto [at, fresh] = orders_.try_emplace(ticket.order);
  if (fresh) {
    at->second.ticket = ticket;
    at->second.latest_start = ticket.start_within < never - now() ? now() + ticket.start_within : never;
  }
  return at->second;
}

void node_role::join_order(map_share& share, const wire::order_ticket& ticket) {
  auto& order = order_of(ticket);
  if (order.queued) // it was not waited for: the next scheduler hears that it is not in the batch
    return end_share(share);
  for (std::uint32_t place = 0; place < share.elements.size(); ++place) {
    const item_id id{++last_item_};
    items_.emplace(
        id, work_item{share.context.call, share.stage, place, &share, ticket.variant, now(), false, ticket.order});
    share.items.push_back(id);
    order.items.push_back(id);
    order.tasks.push_back({share.context.call, share.stage, share.elements[place]});
  }
  counters_.items += share.items.size();
  queue_if_complete(order);
}

void node_role::on_order_short(const wire::order_short& message) { tasks_missing(message.order, message.missing); }

void node_role::tasks_missing(const wire::order_ticket& ticket, std::uint32_t count) {
  auto& order = order_of(ticket);
  order.missing += count;
  queue_if_complete(order);
}

void node_role::queue_if_complete(order_record& order) {
  if (order.queued || order.items.size() + order.missing < order.ticket.tasks)
    return;
  const auto id = order.ticket.order;
  if (order.items.empty())
    return end_order(id, errc::cancelled, duration{0});
  order.queued = true;
  calls::queueing::ordered fact{id, order.ticket.replica, {}, order.latest_start};
  for (const auto item : order.items)
    fact.items.push_back({item, items_.at(item).call});
  feed(fact);
}

/// The item's call has ended before the batch was complete.
void node_role::leave_order(batch_id id, item_id item) {
  const auto found = orders_.find(id);
  if (found == orders_.end() || found->second.queued)
    return;
  if (std::erase(found->second.items, item) == 0)
    return;
  ++found->second.missing;
  queue_if_complete(found->second);
}

void node_role::carry_out(const calls::queueing::run_order& command) {
  report_order({membership_.self(), command.order, false, errc::ok, duration{0}});
  run_batch(command.id, {command.lane, command.variant, {}, now(), command.order}, command.items);
  if (!running_.contains(command.id)) // all of it was withdrawn, or it could not be sent
    end_order(command.order, errc::cancelled, duration{0});
}

/// The tasks stay ready at their homes: the scheduler decides anew.
void node_role::carry_out(const calls::queueing::drop_order& command) {
  const auto found = orders_.find(command.order);
  if (found == orders_.end())
    return;
  ++counters_.items_dropped;
  const auto items = std::move(found->second.items);
  end_order(command.order, command.code, duration{0});
  for (const auto id : items) {
    const auto item = take_item(id);
    if (item && item->share)
      end_share(*item->share);
    else if (auto* const call = item ? find_call(item->call) : nullptr)
      std::erase(call->items, id);
  }
}

void node_role::end_order(batch_id id, errc code, duration executed) {
  const auto order = orders_.extract(id);
  if (order.empty())
    return;
  if (!membership_.joined())
    return note_ended_order(order.mapped(), code, executed);
  report_order({membership_.self(), id, true, code, executed});
}

void node_role::report_order(const wire::order_report& message) {
  membership_.tell_controller(wire::encode(message, request_id{}), "a batch was not reported",
                              {{"batch", to_string(message.order)}});
}

// -- what is resident for dispatched calls

void node_role::want_replica(const wire::want_replica& message) {
  if (message.wanted)
    feed(calls::queueing::replica_wanted{message.replica, message.variant});
  else
    feed(calls::queueing::replica_unwanted{message.replica});
}

void node_role::carry_out(const calls::queueing::load_replica& command) {
  replicas_[command.replica] = {command.variant, false};
  if (resident_.contains(command.variant))
    replicas_loaded(command.variant, nullptr);
  else
    begin_load(command.variant);
}

void node_role::carry_out(const calls::queueing::evict_replica& command) {
  const auto found = replicas_.find(command.replica);
  if (found == replicas_.end())
    return;
  const auto variant = found->second.variant;
  replicas_.erase(found);
  unload_unused(variant);
}

void node_role::carry_out(const calls::queueing::replica_failed& command) {
  replicas_.erase(command.replica);
  report_replica(command.replica, command.code, command.message);
}

/// A variant has become resident, or cannot: so have the replicas of it that waited for that.
void node_role::replicas_loaded(variant_id variant, const error* why) {
  std::vector<replica_id> waiting;
  for (auto& [id, replica] : replicas_)
    if (replica.variant == variant && !std::exchange(replica.loaded, true))
      waiting.push_back(id);
  for (const auto id : waiting) {
    if (why)
      replicas_.erase(id);
    report_replica(id, why ? why->code : errc::ok, why ? why->message : std::string{});
    feed(calls::queueing::replica_loaded{id, why ? why->code : errc::ok});
  }
}

void node_role::unload_unused(variant_id variant) {
  const bool wanted =
      on_demand_.contains(variant) ||
      std::any_of(replicas_.begin(), replicas_.end(), [&](const auto& r) { return r.second.variant == variant; });
  if (wanted || resident_.erase(variant) == 0)
    return;
  if (in_user_worker(variant))
    user_->unload(variant);
  else if (worker_ && worker_ready_)
    (void)worker_->unload(variant);
  report_gone(variant);
}

void node_role::report_replica(replica_id replica, errc code, const std::string& text) {
  const wire::replica_report message{membership_.self(), replica, code, text};
  membership_.tell_controller(wire::encode(message, request_id{}), "a replica was not reported");
}

} // namespace squall::executors
