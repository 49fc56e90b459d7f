#include "executors/detail/service.hpp"

#include <algorithm>

/// Maps whose elements run on several nodes: the home scatters shares and gathers their results in order.
namespace squall::executors {

namespace {

/// Of one message, so that no message nears the limits of the wire.
constexpr std::size_t elements_per_message = 512;
constexpr std::size_t bytes_per_message = 32 << 20;

std::size_t bytes_of(const std::vector<functions::value>& row) {
  std::size_t bytes = 0;
  for (const auto& v : row)
    bytes += v.byte_size();
  return bytes;
}

void add(calls::stage_trace& sum, const calls::stage_trace& part) {
  sum.lane = part.lane;
  sum.batch = std::max(sum.batch, part.batch);
  sum.queued += part.queued;
  sum.loading += part.loading;
  sum.executed += part.executed;
  sum.bytes_moved += part.bytes_moved;
}

} // namespace

/// Element i goes to spread[i % spread.size()], in which a node stands as often as it has lanes to give.
void node_role::scatter(call_record& call, const flow::ready_stage& ready) {
  const auto& placement = call.context.plan.stages[ready.stage];
  std::vector<std::pair<node_id, std::vector<std::uint32_t>>> shares;
  for (const auto node : placement.spread)
    if (std::none_of(shares.begin(), shares.end(), [&](const auto& s) { return s.first == node; }))
      shares.push_back({node, {}});
  for (const auto element : ready.elements) {
    const auto node = placement.spread[element % placement.spread.size()];
    std::find_if(shares.begin(), shares.end(), [&](const auto& s) {
      return s.first == node;
    })->second.push_back(element);
  }
  for (const auto& [node, elements] : shares)
    if (node == membership_.self())
      enqueue(call, ready.stage, elements, placement.variant);
    else
      send_share(call, ready.stage, node, elements);
}

void node_role::send_share(call_record& call, stage_index stage, node_id to, std::span<const std::uint32_t> elements) {
  while (!elements.empty() && !call.flow.failure()) {
    wire::scatter message;
    message.home = membership_.self();
    message.stage = stage;
    message.whole = call.flow.whole_inputs_of(stage);
    std::size_t bytes = 0;
    while (!elements.empty() && message.elements.size() < elements_per_message && bytes < bytes_per_message) {
      message.elements.push_back(elements.front());
      message.mapped.push_back(call.flow.mapped_inputs_of(stage, elements.front()));
      bytes += bytes_of(message.mapped.back());
      elements = elements.subspan(1);
    }
    const auto sent = send_with_context(call, to, message);
    if (!sent.ok())
      call.flow.abort(stage, sent.error());
  }
}

void node_role::on_scatter(const actors::incoming& from, wire::scatter message) {
  const auto id = message.context.call;
  if (ended_.contains(id)) {
    ++counters_.late_messages;
    return;
  }
  auto graph = catalogue_.graph(message.context.dag);
  if (!graph)
    return park(message.context, from);
  const auto fits = check_context(message.context, *graph);
  if (!fits.ok() || message.stage >= graph->stages.size() || message.elements.size() != message.mapped.size() ||
      message.elements.empty())
    return bad_message(from, {errc::corrupt, "a share of a map does not fit its DAG", {}});
  const auto inputs = graph->dag->stages[message.stage].inputs.size();
  const auto has_inputs = [&](const std::vector<functions::value>& row) { return row.size() == inputs; };
  if (!has_inputs(message.whole) || !std::all_of(message.mapped.begin(), message.mapped.end(), has_inputs))
    return bad_message(from, {errc::corrupt, "a share of a map has a wrong number of inputs", {}});

  auto share = std::make_unique<map_share>();
  share->order = message.order.order;
  share->home = message.home;
  share->stage = message.stage;
  share->graph = std::move(graph);
  share->whole = std::move(message.whole);
  keep(id, share->whole);
  share->elements = std::move(message.elements);
  share->mapped = std::move(message.mapped);
  share->trace.stage = message.stage;
  share->trace.node = membership_.self();
  share->arrived = now();
  share->deadline = message.context.remaining < never - now() ? now() + message.context.remaining : never;
  share->left = share->elements.size();
  share->outputs.resize(share->left);
  share->succeeded.resize(share->left);
  share->context = std::move(message.context);
  for (auto& row : share->mapped) {
    keep(id, row);
    if (!membership_.on_this_host(share->home))
      share->trace.bytes_moved += bytes_of(row);
  }
  auto& s = *shares_[id].emplace_back(std::move(share));
  s.order ? join_order(s, message.order) : enqueue_share(s);
}

void node_role::enqueue_share(map_share& share) {
  const auto variant = share.context.plan.stages[share.stage].variant;
  const auto* const known = catalogue_.variant(variant);
  for (std::uint32_t place = 0; place < share.elements.size(); ++place) {
    const item_id id{++last_item_};
    items_.emplace(id, work_item{share.context.call, share.stage, place, &share, variant, now(), false, {}});
    share.items.push_back(id);
  }
  counters_.items += share.items.size();
  const auto items = share.items; // the share may end while its items arrive
  const auto call = share.context.call;
  const auto stage = share.stage;
  const auto priority = share.context.priority;
  const auto deadline = share.deadline;
  const auto client = share.context.claim.owner;
  for (const auto id : items) {
    if (!worker_ || !known)
      item_failed(id, worker_ ? error{errc::not_found, "variant " + to_string(variant) + " is not known", {}}
                              : error{errc::unavailable, "there is no worker process to run it", {}});
    else
      feed(calls::queueing::arrived{id, call, stage, variant, priority, deadline, false, client});
  }
}

void node_role::share_item_ended(const work_item& item, wire::worker::item_result outcome) {
  auto& share = *item.share;
  if (outcome.code != errc::ok)
    return share_element_failed(share, item.element, {outcome.code, std::move(outcome.message), {}});
  share.outputs[item.element] = std::move(outcome.outputs);
  share.succeeded[item.element] = true;
  if (--share.left == 0) {
    send_gathered(share);
    end_share(share);
  }
}

/// The home hears of it at once. Whether the call can do without the element is in the DAG.
void node_role::share_element_failed(map_share& share, std::uint32_t place, const error& why) {
  wire::gathered message;
  message.call = share.context.call;
  message.node = membership_.self();
  message.stage = share.stage;
  message.code = why.code;
  message.message = "on " + membership_.name_of(membership_.self()) + ": " + why.message;
  message.elements = {share.elements[place]};
  message.trace = {.stage = share.stage, .node = membership_.self(), .lane = share.trace.lane};
  message.holds = blocks_.holds(share.context.call);
  (void)send_to_node(share.home, message);
  if (!share.graph->dag->stages[share.stage].may_fail)
    return end_share(share);
  if (--share.left > 0)
    return;
  send_gathered(share);
  end_share(share);
}

void node_role::send_gathered(map_share& share) {
  std::size_t place = 0;
  while (place < share.elements.size()) {
    wire::gathered message;
    message.call = share.context.call;
    message.node = membership_.self();
    message.stage = share.stage;
    std::size_t bytes = 0;
    for (; place < share.elements.size() && message.elements.size() < elements_per_message && bytes < bytes_per_message;
         ++place) {
      if (!share.succeeded[place])
        continue;
      message.elements.push_back(share.elements[place]);
      message.outputs.push_back(std::move(share.outputs[place]));
      bytes += bytes_of(message.outputs.back());
    }
    message.trace =
        std::exchange(share.trace, {.stage = share.stage, .node = membership_.self(), .lane = share.trace.lane});
    message.holds = blocks_.holds(message.call);
    if (const auto sent = send_to_node(share.home, message); !sent.ok()) {
      // The home would wait for ever; the controller tells it, and the client.
      return refuse_call(share.context.call, sent.error());
    }
  }
}

void node_role::end_share(map_share& share) {
  const auto id = share.context.call;
  withdraw(id, share.items);
  if (blocks_.holds(id))
    blocks_.expire_at(id, share.deadline == never ? never : share.deadline + block_backstop);
  auto& row = shares_[id];
  std::erase_if(row, [&](const auto& s) { return s.get() == &share; });
  if (row.empty())
    shares_.erase(id);
}

void node_role::end_shares(call_id call) {
  for (auto found = shares_.find(call); found != shares_.end(); found = shares_.find(call))
    end_share(*found->second.back());
}

void node_role::on_gathered(wire::gathered message) {
  auto* const call = find_call(message.call);
  if (!call || message.stage >= call->flow.graph().stages.size()) {
    ++counters_.late_messages;
    return;
  }
  call->flow.pass_time(call->age(now()));
  if (message.holds)
    call->hold(message.node);
  if (auto* const trace = call->flow.open_trace(message.stage)) {
    add(*trace, message.trace);
    if (call->context.dispatched)
      note_dispatched(*call, *trace, message.node);
  }
  for (std::size_t i = 0; i < message.elements.size(); ++i) {
    if (message.code != errc::ok) {
      call->flow.fail(message.stage, message.elements[i], {message.code, message.message, {}});
    } else if (i < message.outputs.size()) {
      keep(message.call, message.outputs[i]);
      call->flow.complete(message.stage, message.elements[i], std::move(message.outputs[i]));
    }
  }
  touched_.push_back(message.call);
}

} // namespace squall::executors
