#pragma once

#include "base/fields.hpp"
#include "base/ids.hpp"
#include "base/result.hpp"
#include "base/time.hpp"
#include "calls/promise.hpp"
#include "functions/value.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace squall::calls {

/// A call belongs to a stream of calls that share state.
struct sequence {
  sequence_id id;     ///< zero: the call belongs to none
  bool start = false; ///< fresh state
  bool end = false;   ///< the state is dropped after this call

  friend bool operator==(const sequence&, const sequence&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
    v("start", s.start);
    v("end", s.end);
  }
};

/// What a caller asks for beside the inputs.
struct call_options {
  duration deadline{0};       ///< from arrival at the controller; zero = the cluster's default
  std::uint32_t priority = 0; ///< higher first
  calls::sequence sequence;
  micro_cost max_cost = no_cost_limit; ///< the cost SLO
  std::uint32_t assurance_ppm = 0;     ///< 0: nothing is to be promised; `deadline` then only bounds the call
  calls::preference prefer = calls::preference::cheapest;
  ticket_id ticket; ///< takes this offer of the refused call `redeems`; its SLOs are then the offer's
  call_id redeems;
  bool stream = false;     ///< what stages give out before they end is wanted, as it comes
  std::uint32_t depth = 0; ///< of a call that a function made: how many calls are above it
  /// DAGs or functions that continue, one after the other, with the outputs of what was called: "name" or "name@2"
  /// (functions/rewrite.hpp says how values find their inputs).
  std::vector<std::string> then;
  /// Written to the store before it is admitted, and its result before it is told: neither is lost with a controller.
  bool durable = false;

  friend bool operator==(const call_options&, const call_options&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("deadline_ns", s.deadline);
    v("priority", s.priority);
    v("sequence", s.sequence);
    v("max_cost_micro", s.max_cost);
    v("assurance_ppm", s.assurance_ppm);
    v("prefer", s.prefer);
    v("ticket", s.ticket);
    v("redeems", s.redeems);
    v("stream", s.stream);
    v("depth", s.depth);
    v("then", s.then);
    v("durable", s.durable);
  }
};

/// Where the work of one stage goes.
struct placement {
  variant_id variant;
  node_id home; ///< gathers the stage's inputs and decides whether it runs
  /// Of a map that is shared: element i goes to spread[i % spread.size()]. The home comes first; a node stands there as
  /// often as it has lanes to give. Empty: all elements run at home.
  std::vector<node_id> spread;

  friend bool operator==(const placement&, const placement&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("variant", s.variant);
    v("home", s.home);
    v("spread", s.spread);
  }
};

/// For each stage of a DAG where it runs. Travels with the call.
struct plan {
  std::vector<placement> stages; ///< parallel to dag::stages
  node_id exit;                  ///< gathers the DAG's outputs

  friend bool operator==(const plan&, const plan&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("stages", s.stages);
    v("exit", s.exit);
  }
};

/// What one stage of one call did. Times are durations; `begin` counts from the call's arrival at the node that ran it
/// first, with the time spent before it got there added as each message carries the age of its call.
struct stage_trace {
  stage_index stage = 0;
  node_id node;
  lane_id lane; ///< of the last element that ended
  bool skipped = false;
  bool failed = false;     ///< of a stage that may fail
  std::uint32_t width = 1; ///< elements of a map
  std::uint32_t batch = 1; ///< largest batch that it ran in
  duration begin{0};       ///< age of the call when the stage was ready
  duration queued{0};      ///< summed over elements, as the three below
  duration loading{0};     ///< part of `queued` spent waiting for a load
  duration executed{0};    ///< share of the batches' time in the function itself
  std::uint64_t bytes_in = 0;
  std::uint64_t bytes_out = 0;
  std::uint64_t bytes_moved = 0; ///< of `bytes_in`, those that came from another host
  bool late =
      false; ///< a join of some went on without it; its own figures are here only if it ended before the call did
  bool cancelled = false; ///< nobody waited for it any more, so its work was withdrawn or told to stop

  friend bool operator==(const stage_trace&, const stage_trace&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("stage", s.stage);
    v("node", s.node);
    v("lane", s.lane);
    v("skipped", s.skipped);
    v("failed", s.failed);
    v("width", s.width);
    v("batch", s.batch);
    v("begin_ns", s.begin);
    v("queued_ns", s.queued);
    v("loading_ns", s.loading);
    v("executed_ns", s.executed);
    v("bytes_in", s.bytes_in);
    v("bytes_out", s.bytes_out);
    v("bytes_moved", s.bytes_moved);
    v("late", s.late);
    v("cancelled", s.cancelled);
  }
};

/// How a call ended.
struct outcome {
  errc code = errc::ok;
  std::string message;
  duration retry_after{0};
  std::vector<stage_trace> trace; ///< ascending by stage; stages that never became ready are missing
  duration elapsed{0};            ///< from arrival at the controller to the end there
  calls::promise promise;
  calls::receipt receipt;
  std::vector<offer> offers; ///< of a call that was refused, by rising finish

  friend bool operator==(const outcome&, const outcome&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("code", s.code);
    v("message", s.message);
    v("retry_after_ns", s.retry_after);
    v("trace", s.trace);
    v("elapsed_ns", s.elapsed);
    v("promise", s.promise);
    v("receipt", s.receipt);
    v("offers", s.offers);
  }
};

/// Whether the call did what it was promised.
[[nodiscard]] inline bool kept(const outcome& o) {
  return o.code == errc::ok && o.elapsed <= o.promise.finish && o.receipt.cost <= o.promise.cost;
}

/// What a call used, by its trace; `on_device(t)` says whether the lane of a stage was one of a device.
template <class OnDevice>
[[nodiscard]] receipt receipt_of(const std::vector<stage_trace>& trace, const price_list& prices,
                                 const OnDevice& on_device) {
  receipt out;
  for (const stage_trace& t : trace) {
    (on_device(t) ? out.device : out.cpu) += t.executed;
    out.loading += t.loading;
    out.bytes_moved += t.bytes_moved;
    out.missing += t.late ? 1 : 0;
  }
  out.cost = (out.cpu.count() * prices.cpu + out.device.count() * prices.gpu) / 1'000'000;
  return out;
}

} // namespace squall::calls
