#pragma once

#include "calls/queueing.hpp"
#include "executors/flow.hpp"
#include "wire/messages.hpp"

#include <algorithm>
#include <map>
#include <vector>

namespace squall::executors {

/// Partial results, by stage and element.
using partial_counts = std::map<std::pair<stage_index, std::uint32_t>, std::uint32_t>;

/// A call that has stages (or its exit) on this node. Does not move: the flow reads the plan in it.
struct call_record {
  call_record(wire::call_context c, std::shared_ptr<const flow_graph> graph, node_id self, time_point now)
      : context(std::move(c)),
        arrived(now),
        deadline(context.remaining < never - now ? now + context.remaining : never),
        flow(std::move(graph), context.plan, self, answer_by(context)) {
    flow.leave_out(context.without);
  }
  call_record(const call_record&) = delete;
  call_record& operator=(const call_record&) = delete;

  /// How old the call is.
  [[nodiscard]] duration age(time_point now) const { return age_of(context.age, now); }
  [[nodiscard]] duration age_of(duration on_arrival, time_point now) const { return on_arrival + (now - arrived); }

  void hold(node_id node) {
    const auto at = std::lower_bound(holders.begin(), holders.end(), node);
    if (at == holders.end() || *at != node)
      holders.insert(at, node);
  }

  wire::call_context context;
  time_point arrived; ///< here
  time_point deadline;
  executors::flow flow;
  std::vector<item_id> items;                          ///< all that it ever had
  std::vector<node_id> holders;                        ///< of blocks of it; ascending
  std::vector<function_id> turns;                      ///< of its sequence, that it holds
  std::vector<flow::ready_stage> put_off;              ///< light stages that were too many for one round
  time_point next_timer = never;                       ///< the earliest that was set for it
  partial_counts partials;                             ///< sent
  std::map<stage_index, std::vector<node_id>> runners; ///< other nodes that parts of it were handed to; ascending

private:
  /// The age at which joins stop waiting, so that what is left to do can be done before the deadline.
  static duration answer_by(const wire::call_context& c) {
    if (c.remaining == duration::max())
      return duration::max();
    const auto whole = c.age + c.remaining;
    const auto margin = std::clamp<duration>(whole / 20, std::chrono::milliseconds{2}, std::chrono::milliseconds{100});
    return whole - (c.reserve.count() > 0 ? std::min(c.reserve, whole) : margin);
  }
};

/// Elements of a map whose home is another node.
struct map_share {
  wire::call_context context;
  node_id home;
  stage_index stage = 0;
  std::shared_ptr<const flow_graph> graph;
  std::vector<functions::value> whole;
  std::vector<std::uint32_t> elements;
  std::vector<std::vector<functions::value>> mapped;  ///< parallel to elements
  std::vector<std::vector<functions::value>> outputs; ///< likewise
  std::vector<bool> succeeded;                        ///< likewise
  std::size_t left = 0;                               ///< elements that have not ended
  time_point arrived;
  time_point deadline;
  calls::stage_trace trace;
  std::vector<item_id> items;
  partial_counts partials; ///< sent
  batch_id order;          ///< tasks of this batch of the scheduler's; zero: elements of a map that is shared
};

/// A batch that the scheduler put together, while its tasks come in and until it has ended.
struct order_record {
  wire::order_ticket ticket;
  time_point latest_start = never;
  std::vector<item_id> items;
  std::vector<calls::placing::task> tasks; ///< that came
  std::uint32_t missing = 0;               ///< tasks that will not come
  bool queued = false;                     ///< all are here
};

/// An element of work in the node's queue or in the worker.
struct work_item {
  call_id call;
  stage_index stage = 0;
  std::uint32_t element = 0; ///< of a share: its place there
  map_share* share = nullptr;
  variant_id variant;
  time_point ready;
  bool running = false;
  batch_id order; ///< see order_record; zero: the node's own queue decides
};

/// What the worker runs on a lane.
struct running_batch {
  struct entry {
    item_id item; ///< none: it has ended before the others
    call_id call;
  };
  lane_id lane;
  variant_id variant;
  std::vector<entry> entries;
  time_point started;
  batch_id order;         ///< likewise
  std::uint32_t slot = 0; ///< the lane's place in the model host
};

} // namespace squall::executors
