#include "base/mix.hpp"
#include "controller/detail/service.hpp"

#include <algorithm>
#include <utility>

/// Calls whose node was lost, or failed them for no fault of theirs, are placed again if all of their functions may run
/// twice. The new attempt has an id of its own, so what is left of the old one (on nodes that were only silent, or in
/// messages on their way) is about a call that nobody knows, and is dropped wherever it comes.
namespace squall::controller {

namespace placing = calls::placing;

namespace {

/// Faults of the place, not of the call.
bool may_do_better_elsewhere(errc code) { return code == errc::unavailable || code == errc::data_loss; }

bool runs_no_code_of_users(const functions::variant_spec& variant) {
  return variant.kind != functions::variant_kind::native && variant.kind != functions::variant_kind::python;
}

} // namespace

bool controller_service::may_run_twice(const functions::dag& dag) const {
  return std::all_of(dag.stages.begin(), dag.stages.end(), [&](const functions::stage& stage) {
    const auto* function = catalogue_.find_function(stage.function);
    return function != nullptr && function->spec.state.empty() &&
           (function->spec.repeatable ||
            std::all_of(function->spec.variants.begin(), function->spec.variants.end(), runs_no_code_of_users));
  });
}

/// Whether the call is to be placed again, which place_again() then does at the end of the round. `why` says what
/// happened to it.
bool controller_service::repeat(running_call& call, errc code, const std::string& why) {
  if (!call.repeatable || !may_do_better_elsewhere(code) || call.attempts >= attempts_most ||
      call.deadline <= post_->now() || stopping_)
    return false;
  call.setback = why;
  if (std::find(to_repeat_.begin(), to_repeat_.end(), call.id) == to_repeat_.end())
    to_repeat_.push_back(call.id);
  return true;
}

void controller_service::place_again() {
  for (const call_id id : std::exchange(to_repeat_, {})) {
    auto call = calls_.take(id);
    if (!call)
      continue;
    log_.info("controller", "a call is placed again",
              {{"call", to_string(call->known_as())},
               {"attempt", std::to_string(call->attempts + 1)},
               {"why", call->setback}});
    begin_anew(*call);
    calls_.alias(call->origin, call->id);
    call->nodes.clear();
    call->elements.clear();
    call->dispatched = false;
    call->home = {};
    const call_id fresh = call->id;
    calls_.add(std::move(*call));
    offer_again(fresh);
  }
}

void controller_service::offer_again(call_id id) {
  running_call* call = calls_.find(id);
  const auto client = clients_.find(call->client);
  placing::call_arrived fact{id,
                             client == clients_.end() ? client_id{} : client->second.id,
                             call->dag->id,
                             call->deadline,
                             call->priority,
                             call->sequence};
  fact.max_cost = call->wanted.max_cost;
  fact.assurance_ppm = call->wanted.assurance_ppm;
  fact.preference = call->wanted.preference;
  fact.affinity = catalogue_.affinity(*call->dag, call->inputs);
  if (!call->promised && fact.assurance_ppm > 0)
    call->promise = {call->deadline - call->arrived, fact.max_cost, fact.assurance_ppm, duration{0}, {}};
  step(fact);
}

/// The scheduler refused a call that had run before: as long as no node is there for it, it waits for one.
bool controller_service::wait_for_node(running_call& call, errc code) {
  if (call.attempts == 1 || code != errc::unavailable || call.deadline <= post_->now() || stopping_)
    return false;
  waiting_for_node_.push_back(call.id);
  return true;
}

/// When a node has joined, and now and then.
void controller_service::retry_waiting() {
  if (gathering_)
    return; // a node may go on with it
  for (const call_id id : std::exchange(waiting_for_node_, {})) {
    running_call* call = calls_.find(id);
    if (!call)
      continue;
    if (call->deadline > post_->now()) {
      offer_again(id);
      continue;
    }
    end_without_result(id, errc::deadline_exceeded,
                       "the deadline passed while the call waited for a node to run on again: " + call->setback,
                       duration{0});
  }
}

call_id controller_service::fresh_call_id() {
  for (;;) {
    const std::uint64_t z = mixed_bits((fresh_ids_ += 0x9e3779b97f4a7c15ULL) ^ options_.epoch);
    if (const call_id id{z}; z > 0xffff && !calls_.find(id))
      return id;
  }
}

/// A call that its client had sent before, on a connection that broke. True: it was dealt with.
bool controller_service::asked_again(const actors::incoming& from, const wire::call_request& message,
                                     const functions::dag& dag, const std::vector<functions::value>& inputs) {
  if (answer_from_kept(from, message.call))
    return true;
  const auto now = clients_.find(from.from);
  const client_id asks = now == clients_.end() ? client_id{} : now->second.id;
  if (answer_unasked(from, message.call, asks))
    return true;
  if (running_call* call = calls_.find_known_as(message.call)) {
    if (call->owner != asks)
      return false; // an id of another client's call
    call->client = from.from;
    call->request = from.head.request;
    if (!std::exchange(call->asked, true) && !call->sequence.id && may_run_twice(dag)) {
      call->inputs = inputs; // from now on it may be placed again
      call->repeatable = true;
    }
    return true;
  }
  if (gathering_) {
    refuse_for_now(from, message.call);
    return true;
  }
  // A durable call of which nothing is known never began: it would have been written down.
  if (message.options.durable || may_run_twice(dag))
    return false;
  reply_refused(
      from, message.call, errc::unavailable,
      "the connection broke after the call was sent: it may have run or not, and is not run again, as it calls a "
      "function that is not declared repeatable",
      duration{0});
  return true;
}

/// Another attempt of a call that may have run: nodes that ended the last one would drop what comes under its id.
void controller_service::begin_anew(running_call& call) {
  call.origin = call.known_as();
  call.id = fresh_call_id();
  call.answer_to = {}; // the client knows another id than its nodes
  ++call.attempts;
  ++repeated_;
}

} // namespace squall::controller
