#pragma once

#include "calls/call.hpp"
#include "functions/spec.hpp"

#include <variant>

/// Facts and commands of the scheduler (one a cluster). Facts go in through step(), commands come out of
/// take_commands(); a command never waits, its outcome comes back as a fact. The order of alternatives is part of the
/// event log's format.
namespace squall::calls::placing {

using calls::firm_ppm;
using calls::micro_cost;
using calls::no_cost_limit;
using calls::offer;
using calls::preference;
using calls::ticket_id;

// -- facts
// ---------------------------------------------------------------------------------------------------------------

struct variant_info {
  variant_id id;
  functions::resource_type resource = functions::resource_type::cpu;
  std::uint32_t max_batch = 1;
  std::uint64_t memory_bytes = 0;
  duration expected{0}; ///< execution time of one item as declared or learned; zero = not known
  duration load{0};     ///< time to become resident
  micro_cost cost = 0;  ///< of one item that ran
  /// Execution time of a batch of b at [b - 1], not falling; beyond the end, the last entry per item more. Empty:
  /// `expected` for each item.
  std::vector<duration> batch_times{};

  friend bool operator==(const variant_info&, const variant_info&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
    v("resource", s.resource);
    v("max_batch", s.max_batch);
    v("memory_bytes", s.memory_bytes);
    v("expected_ns", s.expected);
    v("load_ns", s.load);
    v("cost_micro", s.cost);
    v("batch_times_ns", s.batch_times);
  }
};

struct function_registered {
  function_id id;
  bool stateful = false;
  std::vector<variant_info> variants;
  friend bool operator==(const function_registered&, const function_registered&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
    v("stateful", s.stateful);
    v("variants", s.variants);
  }
};

struct stage_info {
  function_id function;
  std::vector<variant_id> variants; ///< those that the stage allows
  std::vector<stage_index> producers;
  bool map = false;
  std::uint32_t width_max = 1;
  bool conditional = false;
  std::uint32_t chance_ppm = 1'000'000; ///< that a conditional stage runs, as declared
  std::uint32_t best_effort = 0; ///< of a join: the call is answered at its promised time with so many producers; 0 =
                                 ///< all that the join waits for
  std::vector<stage_index> needs{}; ///< of the producers those without which it is skipped
  friend bool operator==(const stage_info&, const stage_info&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("function", s.function);
    v("variants", s.variants);
    v("producers", s.producers);
    v("map", s.map);
    v("width_max", s.width_max);
    v("conditional", s.conditional);
    v("chance_ppm", s.chance_ppm);
    v("best_effort", s.best_effort);
    v("needs", s.needs);
  }
};

struct dag_registered {
  dag_id id;
  std::vector<stage_info> stages; ///< topological order
  friend bool operator==(const dag_registered&, const dag_registered&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
    v("stages", s.stages);
  }
};

/// New calls of it are refused; calls in flight go on.
struct dag_removed {
  dag_id id;
  friend bool operator==(const dag_removed&, const dag_removed&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
  }
};

struct lane_info {
  lane_id id;
  functions::resource_type resource = functions::resource_type::cpu;
  friend bool operator==(const lane_info&, const lane_info&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
    v("resource", s.resource);
  }
};

struct node_joined {
  node_id id;
  std::vector<lane_info> lanes;
  std::uint64_t memory_bytes = 0;
  friend bool operator==(const node_joined&, const node_joined&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
    v("lanes", s.lanes);
    v("memory_bytes", s.memory_bytes);
  }
};

/// Its work and its state are gone.
struct node_lost {
  node_id id;
  friend bool operator==(const node_lost&, const node_lost&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
  }
};

/// A variant became resident on a node, or is no longer.
struct residency_changed {
  node_id node;
  variant_id variant;
  bool resident = false;
  friend bool operator==(const residency_changed&, const residency_changed&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("node", s.node);
    v("variant", s.variant);
    v("resident", s.resident);
  }
};

struct call_arrived {
  call_id id;
  client_id client;
  dag_id dag;
  time_point deadline = never; ///< the latency SLO where a promise is asked for
  std::uint32_t priority = 0;
  calls::sequence sequence;
  micro_cost max_cost = no_cost_limit; ///< the cost SLO
  std::uint32_t assurance_ppm = 0;     ///< of the promise; 0 = none is asked for, `firm_ppm` = every branch is reserved
  placing::preference preference = placing::preference::cheapest;
  /// A hash of the stored keys that it reads; calls with one hash are placed on one node while its load allows. 0:
  /// none.
  std::uint64_t affinity = 0;
  friend bool operator==(const call_arrived&, const call_arrived&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
    v("client", s.client);
    v("dag", s.dag);
    v("deadline", s.deadline);
    v("priority", s.priority);
    v("sequence", s.sequence);
    v("max_cost_micro", s.max_cost);
    v("assurance_ppm", s.assurance_ppm);
    v("preference", s.preference);
    v("affinity", s.affinity);
  }
};

/// How long a stage took in its function, for what the scheduler learns.
struct stage_report {
  stage_index stage = 0;
  std::uint32_t width = 1; ///< 0: it was skipped
  duration executed{0};    ///< summed over its elements
  friend bool operator==(const stage_report&, const stage_report&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("stage", s.stage);
    v("width", s.width);
    v("executed_ns", s.executed);
  }
};

/// The exit node (or the node where it failed) reported the end of a call.
struct call_ended {
  call_id id;
  errc code = errc::ok;
  std::vector<stage_report> stages;
  friend bool operator==(const call_ended&, const call_ended&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
    v("code", s.code);
    v("stages", s.stages);
  }
};

/// The client withdrew the call, or left.
struct cancel_requested {
  call_id id;
  friend bool operator==(const cancel_requested&, const cancel_requested&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
  }
};

/// An operator chose another policy by name. Bookings and calls in flight stay.
struct policy_set {
  std::string name;
  /// Of the calls, in millionths; the others stay with the policy in force, and each of the two has nodes of its own.
  std::uint32_t share_ppm = 1'000'000;
  bool shadow = false; ///< it decides nothing: it is told the same facts, and what it would have done is compared
  friend bool operator==(const policy_set&, const policy_set&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("name", s.name);
    v("share_ppm", s.share_ppm);
    v("shadow", s.shadow);
  }
};

/// Nothing happened, but next_deadline() has come.
struct tick {
  friend bool operator==(const tick&, const tick&) = default;
  template <class S, class V>
  static void fields(S&, V&) {}
};

/// One element of a stage of a call.
struct task {
  call_id call;
  stage_index stage = 0;
  std::uint32_t element = 0;
  friend auto operator<=>(const task&, const task&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("call", s.call);
    v("stage", s.stage);
    v("element", s.element);
  }
};

/// All producers of a stage have ended or been skipped, and it is known whether it runs and how wide it is. Only of
/// calls whose work is dispatched (below).
struct stage_ready {
  call_id call;
  stage_index stage = 0;
  std::uint32_t width = 1; ///< 0: it does not run
  friend bool operator==(const stage_ready&, const stage_ready&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("call", s.call);
    v("stage", s.stage);
    v("width", s.width);
  }
};

/// A dispatched batch began to run.
struct batch_started {
  node_id node;
  batch_id batch;
  friend bool operator==(const batch_started&, const batch_started&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("node", s.node);
    v("batch", s.batch);
  }
};

/// A dispatched batch ended, or was not started: `deadline_exceeded` when its latest start had passed.
struct batch_done {
  node_id node;
  batch_id batch;
  errc code = errc::ok;
  duration executed{0};
  friend bool operator==(const batch_done&, const batch_done&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("node", s.node);
    v("batch", s.batch);
    v("code", s.code);
    v("executed_ns", s.executed);
  }
};

/// A load that was ordered ended.
struct replica_loaded {
  node_id node;
  replica_id replica;
  errc code = errc::ok;
  friend bool operator==(const replica_loaded&, const replica_loaded&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("node", s.node);
    v("replica", s.replica);
    v("code", s.code);
  }
};

/// A client takes an offer: the call that was refused is wanted at the offer's finish and cost.
struct ticket_redeemed {
  ticket_id ticket;
  call_id call;
  client_id client;
  friend bool operator==(const ticket_redeemed&, const ticket_redeemed&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("ticket", s.ticket);
    v("call", s.call);
    v("client", s.client);
  }
};

/// Nothing more is placed on the node; what it has goes on. node_lost follows when it has left.
struct node_draining {
  node_id id;
  friend bool operator==(const node_draining&, const node_draining&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
  }
};

/// A replica that a node holds since a former scheduler's time, loaded.
struct adopted_replica {
  node_id node;
  replica_id replica;
  variant_id variant;
  friend bool operator==(const adopted_replica&, const adopted_replica&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("node", s.node);
    v("replica", s.replica);
    v("variant", s.variant);
  }
};

/// How far a stage of a dispatched call has come that no longer waits for others.
struct adopted_stage {
  stage_index stage = 0;
  std::uint32_t width = 1; ///< of one that has not ended: the elements that have not; 0: it was skipped
  bool ended = false;
  friend bool operator==(const adopted_stage&, const adopted_stage&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("stage", s.stage);
    v("width", s.width);
    v("ended", s.ended);
  }
};

/// A call that a former scheduler admitted, and that nodes go on with.
struct adopted_call {
  call_arrived call;               ///< as it arrived then
  time_point arrived;              ///< which may lie before everything else that is known
  calls::plan plan;                ///< without stages: it is dispatched
  std::vector<adopted_stage> come; ///< of a dispatched one; ascending
  friend bool operator==(const adopted_call&, const adopted_call&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("call", s.call);
    v("arrived", s.arrived);
    v("plan", s.plan);
    v("come", s.come);
  }
};

/// A batch that a former scheduler dispatched and that a node has not ended.
struct adopted_batch {
  node_id node;
  batch_id batch;
  replica_id replica;
  variant_id variant;
  std::vector<task> tasks; ///< of adopted calls
  duration executed{0};    ///< since it started; zero: it has not
  friend bool operator==(const adopted_batch&, const adopted_batch&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("node", s.node);
    v("batch", s.batch);
    v("replica", s.replica);
    v("variant", s.variant);
    v("tasks", s.tasks);
    v("executed_ns", s.executed);
  }
};

/// What nodes hold of a scheduler that is no more, all at once: each call is taken over as it is, or abandoned.
struct plans_adopted {
  std::vector<adopted_replica> replicas;
  std::vector<adopted_call> calls; ///< in the order in which they arrived
  std::vector<adopted_batch> batches;
  friend bool operator==(const plans_adopted&, const plans_adopted&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("replicas", s.replicas);
    v("calls", s.calls);
    v("batches", s.batches);
  }
};

/// The answer to `compute`.
struct front_ready {
  dag_id dag;
  std::vector<std::vector<std::uint32_t>> plans; ///< each: the option that each stage takes
  std::uint32_t loss_ppm = 0;                    ///< 0: all efficient plans were looked at
  friend bool operator==(const front_ready&, const front_ready&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("dag", s.dag);
    v("plans", s.plans);
    v("loss_ppm", s.loss_ppm);
  }
};

/// No DAG that uses the function is left, and the nodes forget it, too.
struct function_removed {
  function_id id;
  std::vector<variant_id> variants; ///< of it
  friend bool operator==(const function_removed&, const function_removed&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
    v("variants", s.variants);
  }
};

using event =
    std::variant<function_registered, dag_registered, dag_removed, node_joined, node_lost, residency_changed,
                 call_arrived, call_ended, cancel_requested, policy_set, tick, stage_ready, batch_started, batch_done,
                 replica_loaded, ticket_redeemed, node_draining, plans_adopted, front_ready, function_removed>;

// -- commands
// --------------------------------------------------------------------------------------------------------------

/// A choice of variants that was looked at for a call.
struct considered_plan {
  std::vector<variant_id> variants; ///< one a stage
  duration latency{0};              ///< the least that it takes
  micro_cost cost = 0;
  duration finish{0}; ///< from arrival, as it was booked; zero: it has no place
  std::string came_of_it;
  friend bool operator==(const considered_plan&, const considered_plan&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("variants", s.variants);
    v("latency_ns", s.latency);
    v("cost_micro", s.cost);
    v("finish_ns", s.finish);
    v("came_of_it", s.came_of_it);
  }
};

/// How a call was decided, for who asks why.
struct decision {
  std::uint32_t plans = 0;                ///< that its DAG has
  std::vector<considered_plan> looked_at; ///< best first by the caller's preference
  std::string binding;                    ///< what kept it from being admitted, or would first
  std::string margin;                     ///< of the plan taken, to its SLOs and to the next one
  duration enough_deadline{0};            ///< of a refused call: with it, and all else as it was, it is admitted
  micro_cost enough_cost = 0;             ///< goes with `enough_deadline`; both zero: none was found
  friend bool operator==(const decision&, const decision&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("plans", s.plans);
    v("looked_at", s.looked_at);
    v("binding", s.binding);
    v("margin", s.margin);
    v("enough_deadline_ns", s.enough_deadline);
    v("enough_cost_micro", s.enough_cost);
  }
};

struct admit {
  call_id id;
  calls::plan plan;
  duration expected{0};    ///< estimate of the time to finish; zero = not known
  bool dispatched = false; ///< `plan` is empty: the work is dispatched batch by batch
  micro_cost cost = 0;     ///< the most that it is expected to cost
  bool promised = false;   ///< its SLOs are a promise from now on
  std::string why{};       ///< what decided, for people: the plan and what binds it
  /// What is kept free before the deadline for what follows a join that waits until then (`best-effort`).
  duration reserve{0};
  std::vector<stage_index> without{}; ///< ascending; these stages count as skipped, as the offer said
  decision how{};
  friend bool operator==(const admit&, const admit&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
    v("plan", s.plan);
    v("expected_ns", s.expected);
    v("dispatched", s.dispatched);
    v("cost_micro", s.cost);
    v("promised", s.promised);
    v("why", s.why);
    v("reserve_ns", s.reserve);
    v("without", s.without);
    v("how", s.how);
  }
};

struct refuse {
  call_id id;
  errc code = errc::overloaded;
  std::string message;
  duration retry_after{0};
  std::vector<offer> offers{}; ///< by rising finish
  decision how{};
  friend bool operator==(const refuse&, const refuse&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
    v("code", s.code);
    v("message", s.message);
    v("retry_after_ns", s.retry_after);
    v("offers", s.offers);
    v("how", s.how);
  }
};

/// An admitted call ends without its result: tell the nodes to drop its work and the client why.
struct abandon {
  call_id id;
  errc code = errc::cancelled;
  std::string message;
  std::vector<node_id> nodes; ///< ascending; those that may hold work of it and still live
  friend bool operator==(const abandon&, const abandon&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
    v("code", s.code);
    v("message", s.message);
    v("nodes", s.nodes);
  }
};

/// Ask a node to make a variant resident before it is needed.
struct preload {
  node_id node;
  variant_id variant;
  friend bool operator==(const preload&, const preload&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("node", s.node);
    v("variant", s.variant);
  }
};

/// The named policy is not known; the old one stays.
struct policy_refused {
  std::string name;
  std::string message;
  friend bool operator==(const policy_refused&, const policy_refused&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("name", s.name);
    v("message", s.message);
  }
};

/// Drop the state of a sequence on a node: it ended or timed out.
struct end_sequence {
  node_id node;
  sequence_id sequence;
  friend bool operator==(const end_sequence&, const end_sequence&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("node", s.node);
    v("sequence", s.sequence);
  }
};

/// Make one more instance of a variant ready on a node. Answered by replica_loaded.
struct load_replica {
  replica_id replica;
  node_id node;
  variant_id variant;
  friend bool operator==(const load_replica&, const load_replica&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("replica", s.replica);
    v("node", s.node);
    v("variant", s.variant);
  }
};

/// Takes an idle or loading replica away.
struct evict_replica {
  replica_id replica;
  node_id node;
  friend bool operator==(const evict_replica&, const evict_replica&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("replica", s.replica);
    v("node", s.node);
  }
};

/// Run tasks of one variant together. Answered by batch_started and batch_done.
struct dispatch {
  batch_id batch;
  node_id node;
  replica_id replica;
  variant_id variant;
  std::vector<task> tasks;         ///< all ready
  time_point latest_start = never; ///< it is not started after that
  friend bool operator==(const dispatch&, const dispatch&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("batch", s.batch);
    v("node", s.node);
    v("replica", s.replica);
    v("variant", s.variant);
    v("tasks", s.tasks);
    v("latest_start_ns", s.latest_start);
  }
};

/// A stage of a DAG whose plans are looked for.
struct front_stage {
  /// A variant: what a plan that takes it spends.
  struct option {
    duration latency{0};
    micro_cost cost = 0;
    duration cpu{0}; ///< of lanes
    duration gpu{0};
    std::uint64_t gpu_bytes = 0;
    friend bool operator==(const option&, const option&) = default;
    template <class S, class V>
    static void fields(S& s, V& v) {
      v("latency_ns", s.latency);
      v("cost_micro", s.cost);
      v("cpu_ns", s.cpu);
      v("gpu_ns", s.gpu);
      v("gpu_bytes", s.gpu_bytes);
    }
  };
  std::vector<stage_index> producers;
  std::vector<option> options;
  friend bool operator==(const front_stage&, const front_stage&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("producers", s.producers);
    v("options", s.options);
  }
};

/// Find the efficient plans of a DAG (policy/front.hpp), off the hot path. Answered by front_ready.
struct compute {
  dag_id dag;
  std::vector<front_stage> stages;
  friend bool operator==(const compute&, const compute&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("dag", s.dag);
    v("stages", s.stages);
  }
};

using command = std::variant<admit, refuse, abandon, preload, policy_refused, end_sequence, load_replica, evict_replica,
                             dispatch, compute>;

} // namespace squall::calls::placing
