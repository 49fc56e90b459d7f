#include "executors/detail/service.hpp"

#include <algorithm>

/// Results that go straight from the exit node to the client. The controller hears of them afterwards, several at once.
namespace squall::executors {

/// Takes the outcome and the outputs. False when the client is not connected here, or the message was not taken: then
/// they are given back, and the controller passes the result on. The client may be a function that runs here.
bool node_role::answer_client(const call_record& call, wire::call_finished& finished) {
  const auto client = clients_.find(call.context.answer_to);
  const bool nested = nested_.contains(finished.call);
  if (!client && !nested)
    return false;
  wire::call_result result;
  result.call = finished.call;
  result.outcome = std::move(finished.outcome);
  result.outcome.elapsed = call.age(now());
  result.outcome.promise.expected = call.context.expected;
  result.outcome.receipt = calls::receipt_of(result.outcome.trace, prices_, [&](const calls::stage_trace& t) {
    const auto* const variant = catalogue_.variant(call.context.plan.stages[t.stage].variant);
    return variant != nullptr && variant->spec().resource == functions::resource_type::gpu;
  });
  const auto& ports = call.flow.graph().dag->spec.outputs;
  const auto count = std::min(finished.outputs.size(), ports.size());
  result.outputs.reserve(count);
  for (std::size_t i = 0; i < count; ++i)
    result.outputs.push_back({ports[i].name, std::move(finished.outputs[i])});
  if (nested) {
    on_call_result(result);
  } else {
    auto frames = wire::encode(result, request_id{finished.call.value});
    if (!wire::within_limits(frames).ok() || !post_->send(client, std::move(frames)).ok()) {
      finished.outcome = std::move(result.outcome);
      for (std::size_t i = 0; i < count; ++i)
        finished.outputs[i] = std::move(result.outputs[i].value);
      return false;
    }
  }
  if (answered_.empty())
    answered_due_ = now() + answered_patience;
  answered_.push_back({finished.call, std::move(result.outcome), finished.holders});
  if (answered_.size() >= max_answered)
    report_answered();
  return true;
}

void node_role::report_answered() {
  answered_due_ = never;
  if (answered_.size() > max_answered && !membership_.joined())
    answered_.erase(answered_.begin());
  if (answered_.empty() || !membership_.joined())
    return;
  wire::calls_answered message{membership_.self(), std::exchange(answered_, {})};
  answered_.reserve(message.calls.size()); // under a steady load the next ones are as many
  membership_.tell_controller(wire::encode(message, request_id{}),
                              "the controller was not told of calls that were answered");
}

} // namespace squall::executors
