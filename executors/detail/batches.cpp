#include "executors/detail/service.hpp"

#include <algorithm>

/// Between policy::node_queue, which decides what runs, and the worker, which runs it.
namespace squall::executors {

void node_role::feed(const calls::queueing::event& fact) {
  const auto at = now();
  queue_->step(at, fact);
  auto decided = queue_->take_commands();
  if (event_log_)
    event_log_->append(at, calls::digest(decided), fact);
  std::move(decided.begin(), decided.end(), std::back_inserter(commands_));
}

/// Carrying out a command may feed a fact, which may add commands.
void node_role::carry_out_commands() {
  for (std::size_t i = 0; i < commands_.size(); ++i) {
    const auto command = std::move(commands_[i]);
    std::visit([this](const auto& c) { carry_out(c); }, command);
  }
  commands_.clear();
}

result<node_role::item_inputs> node_role::inputs_of(const work_item& item) {
  if (item.share) {
    auto values = item.share->whole;
    const auto& mapped = item.share->mapped[item.element];
    for (std::size_t i = 0; i < values.size(); ++i)
      if (values[i].absent())
        values[i] = mapped[i];
    return item_inputs{std::move(values), item.share->deadline};
  }
  const auto* const call = find_call(item.call);
  SQUALL_CHECK(call, item.call.value); // items end with their call
  item_inputs out{call->flow.inputs_of(item.stage, item.element), call->deadline};
  const auto& facts = call->flow.graph().stages[item.stage];
  if (facts.stateful)
    SQUALL_TRY(sequences_.fill(call->context.sequence, *facts.function, out.values));
  return out;
}

bool node_role::wants_stream(const work_item& item) {
  if (item.share)
    return item.share->context.stream;
  const auto* const call = find_call(item.call);
  return call && call->context.stream;
}

void node_role::carry_out(const calls::queueing::run& command) {
  run_batch(command.id, {command.lane, command.variant, {}, now(), {}}, command.items);
}

void node_role::run_batch(batch_id id, running_batch batch, const std::vector<item_id>& items) {
  wire::worker::run request;
  request.batch = id;
  request.lane = batch.slot = slot_of(batch.lane);
  request.variant = batch.variant;
  time_point latest{};
  for (const auto item : items) {
    const auto found = items_.find(item);
    if (found == items_.end())
      continue; // withdrawn after the queue had decided
    auto inputs = inputs_of(found->second);
    if (!inputs.ok()) {
      item_failed(item, inputs.error());
      continue;
    }
    found->second.running = true;
    latest = std::max(latest, inputs->deadline);
    request.items.push_back(std::move(inputs->values));
    request.calls.push_back(found->second.call);
    request.stream = request.stream || wants_stream(found->second);
    batch.entries.push_back({item, found->second.call});
  }
  if (batch.entries.empty())
    return feed(calls::queueing::batch_ended{id, errc::ok, duration{0}});
  if (latest != never)
    request.remaining = latest - now();
  for (const auto& e : batch.entries)
    ++in_worker_[e.call];
  ++counters_.batches;
  counters_.batch_items += batch.entries.size();
  running_.emplace(id, std::move(batch));
  if (in_user_worker(request.variant)) {
    if (const auto sent = user_->run(request); !sent.ok())
      fail_batch(id, sent.error());
    return;
  }
  if (!worker_ || !worker_ready_)
    return fail_batch(id, {errc::unavailable, "the model host is not running", {}});
  if (const auto sent = worker_->run(request); !sent.ok())
    fail_batch(id, sent.error());
}

/// The worker never got it.
void node_role::fail_batch(batch_id id, const error& why) {
  const auto found = running_.find(id);
  if (found == running_.end())
    return; // the worker was found dead while it was sent: on_lost() has seen to it
  const auto batch = std::move(found->second);
  running_.erase(found);
  for (const auto& e : batch.entries) {
    if (!e.item)
      continue;
    item_failed(e.item, why);
    item_left_worker(e.call);
  }
  feed(calls::queueing::batch_ended{id, why.code, duration{0}});
  reopen(batch.lane);
  if (batch.order)
    end_order(batch.order, why.code, duration{0});
}

void node_role::carry_out(const calls::queueing::drop& command) {
  ++counters_.items_dropped;
  item_failed(command.item, {command.code, command.message, command.retry_after});
}

std::optional<work_item> node_role::take_item(item_id id) {
  const auto found = items_.find(id);
  if (found == items_.end())
    return std::nullopt;
  const auto item = found->second;
  items_.erase(found);
  return item;
}

void node_role::item_failed(item_id id, const error& why) {
  const auto item = take_item(id);
  if (!item)
    return;
  if (item->share)
    return share_element_failed(*item->share, item->element, why);
  auto* const call = find_call(item->call);
  if (!call)
    return;
  call->flow.fail(item->stage, item->element, why);
  if (call->flow.graph().stages[item->stage].stateful)
    end_turn(*call, call->flow.graph().stages[item->stage].function->id);
  touched_.push_back(item->call);
}

void node_role::item_ended(item_id id, wire::worker::item_result outcome, const running_batch& batch,
                           duration share_of_time) {
  const auto entry =
      std::find_if(batch.entries.begin(), batch.entries.end(), [&](const auto& e) { return e.item == id; });
  adopt(entry->call, outcome.outputs);
  const auto found = items_.find(id);
  if (found == items_.end()) {
    // Its call has ended. The blocks go with the others of the call, or in a while.
    if (blocks_.holds(entry->call))
      blocks_.expire_at(entry->call, now() + block_backstop);
    return;
  }
  auto& item = found->second;
  auto* const call = item.share ? nullptr : find_call(item.call);
  auto* const trace = item.share ? &item.share->trace : call ? call->flow.open_trace(item.stage) : nullptr;
  if (trace)
    add_figures(*trace, item, batch, share_of_time);
  if (outcome.code != errc::ok)
    return item_failed(id, {outcome.code, outcome.message, {}});
  const auto ended = *take_item(id);
  if (ended.share)
    return share_item_ended(ended, std::move(outcome));
  if (!call)
    return;
  const auto& facts = call->flow.graph().stages[ended.stage];
  if (facts.stateful && call->context.sequence.id)
    sequences_.store(call->context.sequence.id, *facts.function, outcome.outputs);
  call->flow.complete(ended.stage, ended.element, std::move(outcome.outputs));
  if (facts.stateful)
    end_turn(*call, facts.function->id);
  touched_.push_back(ended.call);
}

void node_role::add_figures(calls::stage_trace& trace, const work_item& item, const running_batch& batch,
                            duration share_of_time) const {
  trace.lane = batch.lane;
  trace.batch = std::max(trace.batch, static_cast<std::uint32_t>(batch.entries.size()));
  trace.queued += batch.started - item.ready;
  trace.executed += share_of_time;
  if (const auto load = load_times_.find(item.variant); load != load_times_.end()) {
    const auto waited = std::min(batch.started, load->second.ended) - std::max(item.ready, load->second.began);
    trace.loading += std::max(waited, duration{0});
  }
}

/// Queued items are forgotten; a batch that runs for nobody else is cancelled.
void node_role::withdraw(call_id call, const std::vector<item_id>& items) {
  bool queued = false, running = false;
  for (const auto id : items) {
    const auto item = take_item(id);
    if (!item)
      continue;
    (item->running ? running : queued) = true;
    if (item->order)
      leave_order(item->order, id);
  }
  if (queued)
    feed(calls::queueing::call_withdrawn{call});
  if (running)
    cancel_unwanted_batches(call);
}

/// As withdraw(), of one stage of a call that goes on.
void node_role::withdraw_stage(call_record& call, stage_index stage) {
  const auto of_stage = [&](item_id id) {
    const auto found = items_.find(id);
    return found != items_.end() && found->second.stage == stage;
  };
  std::vector<item_id> items;
  std::copy_if(call.items.begin(), call.items.end(), std::back_inserter(items), of_stage);
  std::erase_if(call.items, of_stage);
  std::sort(items.begin(), items.end());
  calls::queueing::call_withdrawn fact{call.context.call, {}};
  bool running = false;
  for (const auto id : items) {
    const auto item = take_item(id);
    if (item->running)
      running = true;
    else
      fact.items.push_back(id);
    if (item->order)
      leave_order(item->order, id);
  }
  if (!fact.items.empty())
    feed(fact);
  if (running)
    cancel_unwanted_batches(call.context.call);
}

void node_role::cancel_unwanted_batches(call_id call) {
  if (!worker_)
    return;
  std::vector<batch_id> batches;
  std::vector<std::pair<batch_id, std::uint32_t>> items; // of batches that go on
  for (const auto& [id, batch] : running_) {
    const auto gone = [&](const auto& e) { return !items_.contains(e.item); };
    if (std::ranges::none_of(batch.entries, [&](const auto& e) { return e.call == call; }))
      continue;
    if (std::ranges::all_of(batch.entries, gone))
      batches.push_back(id);
    else if (in_user_worker(batch.variant))
      for (std::uint32_t i = 0; i < batch.entries.size(); ++i)
        if (batch.entries[i].item && batch.entries[i].call == call && gone(batch.entries[i]))
          items.emplace_back(id, i);
  }
  // What has not begun ends at once, and with it perhaps a batch.
  for (const auto id : batches)
    if (const auto found = running_.find(id); found != running_.end())
      in_user_worker(found->second.variant) ? user_->cancel(id) : worker_->cancel(id);
  for (const auto& [id, item] : items)
    user_->cancel(id, item);
}

void node_role::drive_touched() {
  auto touched = std::exchange(touched_, {});
  std::sort(touched.begin(), touched.end());
  touched.erase(std::unique(touched.begin(), touched.end()), touched.end());
  for (const auto id : touched) {
    auto* const call = find_call(id);
    if (!call)
      continue;
    call->flow.pass_time(call->age(now()));
    drive(*call);
  }
}

} // namespace squall::executors
