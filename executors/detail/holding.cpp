#include "executors/detail/service.hpp"

#include <algorithm>

/// Between two controllers. When the one that was joined is gone, the node goes on with what it had been told; what it
/// would have reported it keeps, bounded, and tells the next one all at once. If none comes in time, all of it is void.
namespace squall::executors {

namespace {

/// Stages and elements in one message, so that no header nears its limit.
constexpr std::size_t weight_per_page = 4096;

std::size_t weight_of(const wire::held_call& call) {
  std::size_t weight = 1;
  for (const auto& stage : call.context.plan.stages)
    weight += 1 + stage.spread.size() / 4;
  for (const auto& stage : call.stages)
    weight += 1 + stage.elements.size() / 4;
  return weight;
}

std::size_t bytes_of(const std::vector<functions::value>& values) {
  std::size_t bytes = 0;
  for (const auto& v : values)
    bytes += v.byte_size();
  return bytes;
}

} // namespace

void node_role::keep_or_let_go() {
  if (membership_.holds()) {
    holding_ = true;
    return;
  }
  if (!std::exchange(holding_, false) || membership_.joined())
    return;
  log_.warn("node", "no controller has come: what the last one had ordered is dropped",
            {{"calls", std::to_string(calls_.size())}, {"results", std::to_string(kept_ends_.size())}});
  membership_.let_go();
  drop_everything();
}

/// Its outputs stay where they are until a controller has taken them.
void node_role::keep_end(call_record& call, wire::call_finished message) {
  const auto self = membership_.self();
  const auto id = message.call;
  if (message.outcome.code == errc::ok && blocks_.holds(id))
    if (const auto at = std::lower_bound(message.holders.begin(), message.holders.end(), self);
        at == message.holders.end() || *at != self)
      message.holders.insert(at, self);
  kept_end end;
  end.about = held_of(call);
  end.about.finished = true;
  end.at = now();
  end.about.stages.clear();
  end.bytes = bytes_of(message.outputs);
  end.message = std::move(message);
  kept_bytes_ += end.bytes;
  kept_ends_.push_back(std::move(end));
  while (kept_ends_.size() > max_kept_ends || kept_bytes_ > max_kept_bytes) {
    log_.warn("node", "too many results wait for a controller: one is dropped",
              {{"call", to_string(kept_ends_.front().message.call)}});
    kept_bytes_ -= kept_ends_.front().bytes;
    release_blocks(kept_ends_.front().message.call);
    kept_ends_.pop_front();
  }
}

wire::held_call node_role::held_of(const call_record& call) const {
  wire::held_call held;
  held.context = call.context;
  if (held.context.remaining != duration::max())
    held.context.remaining = call.deadline - now();
  held.context.age = call.age(now());
  if (!call.context.dispatched)
    return held;
  for (auto& come : call.flow.progress()) {
    // What has not been reported as ready yet will be.
    const auto same = [&](const flow::ready_stage& r) { return r.stage == come.stage; };
    if (std::any_of(call.put_off.begin(), call.put_off.end(), same) ||
        std::any_of(lookups_.begin(), lookups_.end(), [&](const auto& l) {
          return l.second.call == call.context.call && l.second.ready.stage == come.stage;
        }))
      continue;
    const auto runners = call.runners.find(come.stage);
    held.stages.push_back({come.stage, come.width, come.ended, std::move(come.elements),
                           runners == call.runners.end() || come.ended ? std::vector<node_id>{} : runners->second});
  }
  return held;
}

/// A batch whose tasks have not all come is not waited for any longer: who was to send them was told by the controller
/// that is gone, or was not.
std::vector<wire::held_order> node_role::held_orders() {
  std::vector<batch_id> incomplete;
  for (const auto& [id, order] : orders_)
    if (!order.queued)
      incomplete.push_back(id);
  for (const auto id : incomplete) {
    auto& order = orders_.at(id);
    order.missing = order.ticket.tasks - static_cast<std::uint32_t>(order.items.size());
    queue_if_complete(order);
  }
  auto held = std::exchange(ended_orders_, {});
  for (const auto& [id, order] : orders_) {
    held.push_back({id, order.ticket.replica, order.ticket.variant, order.tasks, {}, false, errc::ok});
    for (const auto& [batch, running] : running_)
      if (running.order == id)
        held.back().executed = std::max<duration>(now() - running.started, duration{1});
  }
  return held;
}

void node_role::note_ended_order(const order_record& order, errc code, duration executed) {
  if (ended_orders_.size() < max_ended_orders)
    ended_orders_.push_back(
        {order.ticket.order, order.ticket.replica, order.ticket.variant, order.tasks, executed, true, code});
}

std::vector<wire::held_replica> node_role::held_replicas() {
  std::vector<wire::held_replica> held;
  std::vector<replica_id> not_there;
  for (const auto& [id, replica] : replicas_)
    if (replica.loaded)
      held.push_back({id, replica.variant});
    else
      not_there.push_back(id);
  for (const auto id : not_there)
    feed(calls::queueing::replica_unwanted{id});
  return held;
}

void node_role::report_held() {
  wire::plans_held page;
  std::size_t weight = 0, calls = 0;
  const auto send = [&](bool last) {
    page.node = membership_.self();
    page.epoch = membership_.epoch();
    page.last = last;
    membership_.tell_controller(wire::encode(page, request_id{}), "the controller was not told what runs here");
    page = {};
    weight = 0;
  };
  const auto add = [&](wire::held_call held) {
    weight += weight_of(held);
    page.calls.push_back(std::move(held));
    ++calls;
    if (weight >= weight_per_page)
      send(false);
  };
  page.peers = membership_.known_peers();
  for (const auto& [id, call] : calls_)
    add(held_of(*call));
  for (const auto& end : kept_ends_) {
    auto held = end.about;
    held.context.age += now() - end.at;
    if (held.context.remaining != duration::max())
      held.context.remaining -= now() - end.at;
    add(std::move(held));
  }
  for (auto& order : held_orders()) {
    weight += 1 + order.tasks.size();
    page.orders.push_back(std::move(order));
    if (weight >= weight_per_page)
      send(false);
  }
  page.replicas = held_replicas();
  send(true);
  log_.info("node", "told the controller what runs here",
            {{"calls", std::to_string(calls)}, {"ended", std::to_string(kept_ends_.size())}});
  kept_bytes_ = 0;
  for (auto& end : std::exchange(kept_ends_, {})) {
    const bool by_reference =
        membership_.controller_on_this_host() && end.about.context.client_host == membership_.own_host();
    end.message.outputs_shared =
        by_reference && std::any_of(end.message.outputs.begin(), end.message.outputs.end(),
                                    [&](const functions::value& v) { return blocks_.shared(v); });
    send_finished(end.message, end.about.context.client_host);
  }
  report_answered();
  ask_nested_anew();
}

// -- calls that functions made here

/// The new controller may know them or not.
void node_role::ask_nested_anew() {
  for (auto& [id, nested] : nested_) {
    nested.again_at = now();
    nested.give_up = now() + nested_patience;
  }
  ask_nested_again();
}

void node_role::ask_nested_again() {
  if (!membership_.joined())
    return;
  nested_due_ = never;
  for (auto& [id, nested] : nested_) {
    if (nested.again_at > now()) {
      nested_due_ = std::min(nested_due_, nested.again_at);
      continue;
    }
    nested.again_at = never;
    nested.request.again = nested.doubtful;
    nested.doubtful = true;
    const wire::encode_options places{membership_.controller_on_this_host() ? &blocks_.known() : nullptr};
    (void)membership_.send_to_controller(wire::encode(nested.request, request_id{3}, places));
  }
}

/// A controller that is gathering what nodes hold says so.
bool node_role::will_ask_again(const wire::call_result& message) {
  const auto found = nested_.find(message.call);
  if (found == nested_.end() || message.outcome.code != errc::unavailable || message.outcome.retry_after <= duration{0})
    return false;
  auto& nested = found->second;
  if (now() + message.outcome.retry_after >= nested.give_up)
    return false;
  nested.again_at = now() + message.outcome.retry_after;
  nested_due_ = std::min(nested_due_, nested.again_at);
  return true;
}

} // namespace squall::executors
