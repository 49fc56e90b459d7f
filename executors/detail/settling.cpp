#include "executors/detail/service.hpp"

#include <algorithm>

/// What nodes tell each other of stages that have settled. Bytes go to another host once: one node there takes them and
/// tells the others.
namespace squall::executors {

namespace {

std::size_t bytes_of(const std::vector<functions::value>& values) {
  std::size_t bytes = 0;
  for (const auto& v : values)
    bytes += v.byte_size();
  return bytes;
}

} // namespace

void node_role::on_settled(const actors::incoming& from, wire::settled message) {
  const auto id = message.context.call;
  const bool late = is_late(id);
  if (late && message.relay.empty()) {
    ++counters_.late_messages;
    return;
  }
  const auto context = message.relay.empty() ? wire::call_context{} : message.context; // a new call takes the message's
  auto* const call = late ? nullptr : find_or_open(from, message.context);
  if (!call && !late)
    return;
  keep(id, message.outputs);
  if (!message.relay.empty())
    forward(message, context);
  if (late)
    return blocks_.expire_at(id, now() + block_backstop);
  call->flow.pass_time(call->age(now()));
  call->flow.add_trace(message.trace);
  for (const auto node : message.holders)
    call->hold(node);
  if (const auto taken = call->flow.settle(message.stage, message.skipped, std::move(message.outputs)); !taken.ok())
    return bad_message(from, taken.error());
  drive(*call);
}

/// Even when the call has ended here: the others may still need it.
void node_role::forward(const wire::settled& message, const wire::call_context& context) {
  for (const auto& to : message.relay) {
    wire::settled onward = message;
    onward.context = context;
    onward.relay.clear();
    onward.outputs.assign(message.outputs.size(), {});
    for (const auto i : to.outputs)
      if (i < message.outputs.size())
        onward.outputs[i] = message.outputs[i];
    if (blocks_.holds(context.call))
      onward.holders.push_back(membership_.self());
    if (const auto sent = send_to_node(to.node, onward); !sent.ok())
      refuse_call(context.call, sent.error());
  }
}

void node_role::send_departures(call_record& call, std::span<const flow::departure> departures) {
  std::vector<node_id> nodes;
  while (!departures.empty()) {
    const auto stage = departures.front().stage;
    nodes.clear();
    for (; !departures.empty() && departures.front().stage == stage; departures = departures.subspan(1))
      nodes.push_back(departures.front().node);
    // Nodes of one host stand together.
    if (membership_.several_hosts())
      std::stable_sort(nodes.begin(), nodes.end(),
                       [&](node_id a, node_id b) { return membership_.host_of(a) < membership_.host_of(b); });
    for (std::span<const node_id> rest{nodes}; !rest.empty();) {
      const auto host = membership_.host_of(rest.front());
      std::size_t together = 1;
      if (host != membership_.own_host() && host != 0)
        while (together < rest.size() && membership_.host_of(rest[together]) == host)
          ++together;
      send_settled(call, stage, rest.first(together));
      rest = rest.subspan(together);
    }
  }
}

/// What nobody waits for any more ends, here and elsewhere.
void node_role::carry_out_cancellations(call_record& call) {
  for (const auto stage : call.flow.take_cancelled())
    withdraw_stage(call, stage);
  for (const auto& r : call.flow.take_refusals()) {
    const wire::unwanted_stage message{call.context.call, r.stage, r.consumer};
    if (const auto sent = send_to_node(r.node, message); !sent.ok())
      log_.debug("node", "a stage elsewhere goes on unwanted", {{"error", sent.error().message}});
  }
}

void node_role::on_unwanted(const wire::unwanted_stage& message) {
  auto* const call = find_call(message.call);
  if (!call)
    return; // it ended here
  call->flow.pass_time(call->age(now()));
  call->flow.unwanted(message.stage, message.consumer);
  drive(*call);
}

/// `nodes`: one, or several of one other host.
void node_role::send_settled(call_record& call, stage_index stage, std::span<const node_id> nodes) {
  note_own_blocks(call);
  wire::settled message;
  message.stage = stage;
  message.skipped = call.flow.skipped(stage);
  message.outputs = call.flow.outputs_for(stage, nodes.front());
  message.trace = call.flow.news_for(nodes.front());
  message.holders = call.holders;
  for (const auto node : nodes.subspan(1)) {
    const auto outputs = call.flow.outputs_for(stage, node);
    if (bytes_of(outputs) < wire::share_threshold_bytes) {
      send_settled(call, stage, {&node, 1});
      continue;
    }
    message.relay.push_back({node, call.flow.outputs_read_by(stage, node)});
    for (const auto i : message.relay.back().outputs)
      message.outputs[i] = outputs[i];
    const auto news = call.flow.news_for(node);
    message.trace.insert(message.trace.end(), news.begin(), news.end());
  }
  const auto sent = send_with_context(call, nodes.front(), message);
  if (!sent.ok())
    call.flow.abort(stage, sent.error());
}

} // namespace squall::executors
