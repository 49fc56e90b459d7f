#pragma once

#include "calls/call.hpp"
#include "calls/placing.hpp"
#include "functions/dag.hpp"
#include "wire/message_types.hpp"

#include <map>
#include <string>
#include <vector>

/// What nodes say to the controller and to each other. The order of fields is the format (docs/wire.md); new fields go
/// to the end.
namespace squall::wire {

// -- controller and nodes
// ------------------------------------------------------------------------------------------------

struct node_hello {
  SQUALL_MESSAGE(node_hello, controller);
  std::uint32_t oldest = oldest_protocol_version;
  std::uint32_t newest = protocol_version;
  std::string software;
  std::string name;     ///< for people; unique in the cluster
  std::string endpoint; ///< where other nodes connect
  std::uint64_t host = 0;
  std::vector<calls::placing::lane_info> lanes;
  std::uint64_t memory_bytes = 0;
  std::uint64_t instance = 0;   ///< random, one a process: a node that comes back is another
  node_id held;                 ///< what it was under a controller that is gone, and whose plans it still holds
  std::uint64_t held_epoch = 0; ///< of that controller
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("oldest", s.oldest);
    v("newest", s.newest);
    v("software", s.software);
    v("name", s.name);
    v("endpoint", s.endpoint);
    v("host", s.host);
    v("lanes", s.lanes);
    v("memory_bytes", s.memory_bytes);
    v("instance", s.instance);
    v("held", s.held);
    v("held_epoch", s.held_epoch);
  }
};

struct peer_info {
  node_id node;
  std::string name;
  std::string endpoint;
  std::uint64_t host = 0;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("node", s.node);
    v("name", s.name);
    v("endpoint", s.endpoint);
    v("host", s.host);
  }
};

struct dag_definition {
  dag_id id;
  functions::dag_spec spec;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
    v("spec", s.spec);
  }
};

struct node_welcome {
  SQUALL_MESSAGE(node_welcome, node);
  std::uint32_t version = protocol_version;
  node_id node;
  std::uint64_t epoch = 0;
  std::string store_endpoint; ///< empty: on this connection
  std::uint64_t host = 0;     ///< of the controller
  std::vector<functions::registered_function> functions;
  std::vector<dag_definition> dags;
  std::vector<peer_info> peers; ///< the node itself among them
  calls::price_list prices;
  std::vector<std::string> controllers; ///< as in `welcome`
  std::uint64_t term = 0; ///< of the controller's leadership: a welcome with an older one than seen before is void
  bool keeps = false;     ///< the node keeps its id and its work, of which it tells by plans_held; else that is void
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("version", s.version);
    v("node", s.node);
    v("epoch", s.epoch);
    v("store_endpoint", s.store_endpoint);
    v("host", s.host);
    v("functions", s.functions);
    v("dags", s.dags);
    v("peers", s.peers);
    v("prices", s.prices);
    v("controllers", s.controllers);
    v("term", s.term);
    v("keeps", s.keeps);
  }
};

/// A process that runs user code.
struct instance_report {
  variant_id variant;
  std::uint64_t pid = 0; ///< on the host; 0 while none runs
  std::string state;     ///< "starting", "idle", "busy", "waiting" (for a call that it made) or "backing off"
  std::uint64_t memory_bytes = 0;
  std::uint64_t batches = 0; ///< that it has run
  duration age{0};
  std::string problem; ///< why it backs off
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("variant", s.variant);
    v("pid", s.pid);
    v("state", s.state);
    v("memory_bytes", s.memory_bytes);
    v("batches", s.batches);
    v("age_ns", s.age);
    v("problem", s.problem);
  }
};

/// Every second. The answer is pong; a reply with not_found says that the controller does not know the node (it
/// restarted): say hello again.
struct node_beat {
  SQUALL_MESSAGE(node_beat, controller);
  node_id node;
  std::uint64_t queued = 0;
  std::uint64_t running = 0;
  std::uint64_t resident_bytes = 0;
  std::uint64_t arena_used_bytes = 0;
  std::uint64_t arena_capacity_bytes = 0;
  std::map<std::string, double> metrics; ///< counters since the start, by name
  std::vector<instance_report> instances;
  /// Its wall clock when it sent this, in nanoseconds since 1970; 0: not told. For people: nothing is decided by it.
  std::int64_t wall_clock_ns = 0;
  duration round_trip{0}; ///< from an earlier beat to its answer; 0: not known yet
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("node", s.node);
    v("queued", s.queued);
    v("running", s.running);
    v("resident_bytes", s.resident_bytes);
    v("arena_used_bytes", s.arena_used_bytes);
    v("arena_capacity_bytes", s.arena_capacity_bytes);
    v("metrics", s.metrics);
    v("instances", s.instances);
    v("wall_clock_ns", s.wall_clock_ns);
    v("round_trip_ns", s.round_trip);
  }
};

/// The node goes now. Also sent to a node: leave.
struct node_leave {
  SQUALL_MESSAGE(node_leave, controller);
  node_id node;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("node", s.node);
  }
};

/// To the controller: the node is to end; place nothing more on it, and say when it has nothing left. To a node: that
/// moment has come (no running call needs it), leave.
struct node_drain {
  SQUALL_MESSAGE(node_drain, controller);
  node_id node;
  bool stay_away = false; ///< to a node: an operator wants it gone; it is not to be started again
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("node", s.node);
    v("stay_away", s.stay_away);
  }
};

/// To nodes, and to clients that want answers from them.
struct peers {
  SQUALL_MESSAGE(peers, node);
  std::vector<peer_info> nodes;         ///< all that live now
  std::vector<std::string> controllers; ///< as in `welcome`
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("nodes", s.nodes);
    v("controllers", s.controllers);
  }
};

struct define_function {
  SQUALL_MESSAGE(define_function, node);
  functions::registered_function function;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("function", s.function);
  }
};

struct define_dag {
  SQUALL_MESSAGE(define_dag, node);
  dag_definition dag;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("dag", s.dag);
  }
};

/// Calls in flight keep what they use.
struct forget_dag {
  SQUALL_MESSAGE(forget_dag, node);
  dag_id dag;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("dag", s.dag);
  }
};

struct forget_function {
  SQUALL_MESSAGE(forget_function, node);
  function_id function;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("function", s.function);
  }
};

/// What another controller has to know of a call that it did not admit.
struct call_claim {
  client_id owner;                               ///< whose call it is
  call_id origin;                                ///< of a later attempt: the id that the client gave the call
  std::uint32_t attempt = 1;                     ///< of several the latest counts
  duration finish{0};                            ///< promised, from arrival
  calls::micro_cost cost = calls::no_cost_limit; ///< asked for; promised if the call was promised something
  std::uint32_t assurance_ppm = 0;               ///< likewise
  calls::preference preference = calls::preference::cheapest;
  bool promised = false;
  bool durable = false;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("owner", s.owner);
    v("origin", s.origin);
    v("attempt", s.attempt);
    v("finish_ns", s.finish);
    v("cost_micro", s.cost);
    v("assurance_ppm", s.assurance_ppm);
    v("preference", s.preference);
    v("promised", s.promised);
    v("durable", s.durable);
  }
};

/// What every message about a running call carries.
struct call_context {
  call_id call;
  dag_id dag;
  calls::plan plan;
  std::uint32_t priority = 0;
  calls::sequence sequence;
  duration remaining = duration::max(); ///< of the deadline; max() = none
  duration age{0};
  std::uint64_t client_host = 0;
  bool dispatched = false;          ///< the scheduler says batch by batch what runs where; the plan only names homes
  bool stream = false;              ///< the caller wants what stages give out before they end
  std::uint32_t depth = 0;          ///< call_options::depth
  client_id answer_to;              ///< the exit node may send the result straight to this client; zero: it may not
  duration expected{0};             ///< finish as planned at admission; zero = not known
  duration reserve{0};              ///< kept free before the deadline for what follows a join that waits until then
  std::vector<stage_index> without; ///< ascending; stages that count as skipped
  call_claim claim;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("call", s.call);
    v("dag", s.dag);
    v("plan", s.plan);
    v("priority", s.priority);
    v("sequence", s.sequence);
    v("remaining_ns", s.remaining);
    v("age_ns", s.age);
    v("client_host", s.client_host);
    v("dispatched", s.dispatched);
    v("stream", s.stream);
    v("depth", s.depth);
    v("answer_to", s.answer_to);
    v("expected_ns", s.expected);
    v("reserve_ns", s.reserve);
    v("without", s.without);
    v("claim", s.claim);
  }
};

/// A batch that the scheduler put together, as its tasks travel to the node that runs it.
struct order_ticket {
  batch_id order; ///< zero: none
  replica_id replica;
  variant_id variant;
  std::uint32_t tasks = 0;                 ///< of the whole batch, from all homes
  duration start_within = duration::max(); ///< it is given up rather than started later
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("order", s.order);
    v("replica", s.replica);
    v("variant", s.variant);
    v("tasks", s.tasks);
    v("start_within_ns", s.start_within);
  }
};

/// To every node whose stages (or the exit) read an input of the DAG, or that is home of a stage without producers.
struct start_call {
  SQUALL_MESSAGE(start_call, node);
  call_context context;
  std::vector<functions::value>
      inputs; ///< in the order of the DAG's inputs; those that no stage of the node reads are absent
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("context", s.context);
    v("inputs", s.inputs);
  }
};

/// Forget the call's queued work; late messages about it are dropped. From the controller, or from the exit node that
/// needs no more of it.
struct drop_call {
  SQUALL_MESSAGE(drop_call, node);
  call_id call;
  bool keep_blocks =
      false; ///< the call succeeded: its outputs may lie in this node's blocks, which go with release_call
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("call", s.call);
    v("keep_blocks", s.keep_blocks);
  }
};

/// Free the call's blocks in shared memory.
struct release_call {
  SQUALL_MESSAGE(release_call, node);
  std::vector<call_id> calls;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("calls", s.calls);
  }
};

/// From the exit node, or from the node where the call failed.
struct call_finished {
  SQUALL_MESSAGE(call_finished, controller);
  call_id call;
  node_id node;
  calls::outcome outcome;
  std::vector<functions::value> outputs; ///< in the order of the DAG's outputs; empty when it failed
  std::vector<node_id> holders;          ///< nodes with blocks of the call in shared memory, ascending
  bool outputs_shared = false;           ///< an output lies in shared memory
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("call", s.call);
    v("node", s.node);
    v("outcome", s.outcome);
    v("outputs", s.outputs);
    v("holders", s.holders);
    v("outputs_shared", s.outputs_shared);
  }
};

struct answered_call {
  call_id call;
  calls::outcome outcome;
  std::vector<node_id> holders; ///< as of call_finished
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("call", s.call);
    v("outcome", s.outcome);
    v("holders", s.holders);
  }
};

/// From the exit node: calls that succeeded and whose results went straight to their client.
struct calls_answered {
  SQUALL_MESSAGE(calls_answered, controller);
  node_id node;
  std::vector<answered_call> calls;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("node", s.node);
    v("calls", s.calls);
  }
};

// -- node and node
// -------------------------------------------------------------------------------------------------------

/// A node that is to be told by the receiver.
struct settled_relay {
  node_id node;
  std::vector<std::uint32_t> outputs; ///< those that its consumers read; the others are absent for it
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("node", s.node);
    v("outputs", s.outputs);
  }
};

/// A stage has ended or was skipped; to each node that is home of one of its consumers (the exit included). Large
/// values go to another host once: to one node there, which tells the others.
struct settled {
  SQUALL_MESSAGE(settled, node);
  call_context context;
  stage_index stage = 0;
  bool skipped = false;
  std::vector<functions::value>
      outputs; ///< all absent when skipped; those that no consumer on the node reads are absent
  std::vector<calls::stage_trace> trace; ///< of this stage and of those before it
  std::vector<node_id> holders;
  std::vector<settled_relay> relay; ///< nodes of the receiver's host that it tells
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("context", s.context);
    v("stage", s.stage);
    v("skipped", s.skipped);
    v("outputs", s.outputs);
    v("trace", s.trace);
    v("holders", s.holders);
    v("relay", s.relay);
  }
};

/// Elements of a map for another node to run. Answered with `gathered`, one or several.
struct scatter {
  SQUALL_MESSAGE(scatter, node);
  call_context context;
  node_id home;
  stage_index stage = 0;
  std::vector<functions::value> whole; ///< one per input port: those that are not mapped, the others absent
  std::vector<std::uint32_t> elements; ///< their indexes
  std::vector<std::vector<functions::value>> mapped; ///< per element: one per input port, those that are mapped
  order_ticket order;                                ///< these are tasks of that batch, not of a map that is shared
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("context", s.context);
    v("home", s.home);
    v("stage", s.stage);
    v("whole", s.whole);
    v("elements", s.elements);
    v("mapped", s.mapped);
    v("order", s.order);
  }
};

struct gathered {
  SQUALL_MESSAGE(gathered, node);
  call_id call;
  node_id node;
  stage_index stage = 0;
  errc code = errc::ok; ///< not ok: the stage failed on this element
  std::string message;
  std::vector<std::uint32_t> elements;
  std::vector<std::vector<functions::value>> outputs; ///< per element
  calls::stage_trace trace;                           ///< sums over these elements
  bool holds = false;                                 ///< the sender holds blocks of the call
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("call", s.call);
    v("node", s.node);
    v("stage", s.stage);
    v("code", s.code);
    v("message", s.message);
    v("elements", s.elements);
    v("outputs", s.outputs);
    v("trace", s.trace);
    v("holds", s.holds);
  }
};

/// For a call whose context says `stream`: see call_partial. The values of a call's partial results are freed with it.
struct stage_partial {
  SQUALL_MESSAGE(stage_partial, controller);
  call_id call;
  stage_index stage = 0;
  std::uint32_t element = 0;
  std::uint32_t index = 0;
  std::vector<functions::value> outputs;
  bool holds = false; ///< the sender holds blocks of the call
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("call", s.call);
    v("stage", s.stage);
    v("element", s.element);
    v("index", s.index);
    v("outputs", s.outputs);
    v("holds", s.holds);
  }
};

struct preload {
  SQUALL_MESSAGE(preload, node);
  variant_id variant;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("variant", s.variant);
  }
};

struct residency {
  SQUALL_MESSAGE(residency, controller);
  node_id node;
  variant_id variant;
  bool resident = false;
  std::uint64_t memory_bytes = 0;
  duration load_time{0};
  errc code = errc::ok; ///< not ok: the load failed
  std::string message;
  std::vector<calls::batch_time> measured; ///< runs of the warm-up, one at a time
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("node", s.node);
    v("variant", s.variant);
    v("resident", s.resident);
    v("memory_bytes", s.memory_bytes);
    v("load_time_ns", s.load_time);
    v("code", s.code);
    v("message", s.message);
    v("measured", s.measured);
  }
};

struct end_sequence {
  SQUALL_MESSAGE(end_sequence, node);
  sequence_id sequence;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("sequence", s.sequence);
  }
};

// -- dispatched calls
// ----------------------------------------------------------------------------------------------------

/// From the home of a stage whose producers have all settled: it could run now, or is skipped.
struct stage_ready {
  SQUALL_MESSAGE(stage_ready, controller);
  call_id call;
  stage_index stage = 0;
  std::uint32_t width = 1;             ///< of a map: how many elements run; 0: none, or the home has run it itself
  std::vector<std::uint32_t> elements; ///< of a map: which
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("call", s.call);
    v("stage", s.stage);
    v("width", s.width);
    v("elements", s.elements);
  }
};

/// To the home of tasks: hand them to the node that runs their batch, which may be the home itself.
struct hand_out {
  SQUALL_MESSAGE(hand_out, node);
  node_id runner;
  order_ticket order;
  std::vector<calls::placing::task> tasks; ///< of this home
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("runner", s.runner);
    v("order", s.order);
    v("tasks", s.tasks);
  }
};

/// To the node that runs a batch: so many of its tasks will not come, as their calls have ended.
struct order_short {
  SQUALL_MESSAGE(order_short, node);
  order_ticket order;
  std::uint32_t missing = 0;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("order", s.order);
    v("missing", s.missing);
  }
};

/// To the home of a stage that has not settled: one of its consumers goes on without it. When none is left that waits
/// for it, the stage is cancelled.
struct unwanted_stage {
  SQUALL_MESSAGE(unwanted_stage, node);
  call_id call;
  stage_index stage = 0;
  stage_index consumer = 0;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("call", s.call);
    v("stage", s.stage);
    v("consumer", s.consumer);
  }
};

/// A batch has started (`done` false), or has ended or will not run (`done`).
struct order_report {
  SQUALL_MESSAGE(order_report, controller);
  node_id node;
  batch_id order;
  bool done = false;
  errc code = errc::ok;
  duration executed{0};
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("node", s.node);
    v("order", s.order);
    v("done", s.done);
    v("code", s.code);
    v("executed_ns", s.executed);
  }
};

struct want_replica {
  SQUALL_MESSAGE(want_replica, node);
  replica_id replica;
  variant_id variant;
  bool wanted = true; ///< false: it may go
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("replica", s.replica);
    v("variant", s.variant);
    v("wanted", s.wanted);
  }
};

/// A wanted replica is ready, or (not ok) is not there.
struct replica_report {
  SQUALL_MESSAGE(replica_report, controller);
  node_id node;
  replica_id replica;
  errc code = errc::ok;
  std::string message;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("node", s.node);
    v("replica", s.replica);
    v("code", s.code);
    v("message", s.message);
  }
};

// -- what a node holds when its controller is gone
// ---------------------------------------------------------------------------------------

/// A stage of a dispatched call that does not wait for others, as its home knows it.
struct held_stage {
  stage_index stage = 0;
  std::uint32_t width = 1; ///< of one that has not ended: the elements that have not; 0: skipped
  bool ended = false;
  std::vector<std::uint32_t> elements; ///< of a map that has not ended: those that have not
  std::vector<node_id> runners;        ///< that some of them were handed to, other than the home; ascending
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("stage", s.stage);
    v("width", s.width);
    v("ended", s.ended);
    v("elements", s.elements);
    v("runners", s.runners);
  }
};

struct held_call {
  call_context context;
  bool finished = false;          ///< its call_finished follows
  std::vector<held_stage> stages; ///< of a dispatched call, from its home; ascending
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("context", s.context);
    v("finished", s.finished);
    v("stages", s.stages);
  }
};

/// A batch of a dispatched call at the node that runs it.
struct held_order {
  batch_id order;
  replica_id replica;
  variant_id variant;
  std::vector<calls::placing::task> tasks; ///< elements as in hand_out
  duration executed{0};                    ///< since it started; zero: it has not
  bool done = false;                       ///< it has ended since, as an order_report would say
  errc code = errc::ok;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("order", s.order);
    v("replica", s.replica);
    v("variant", s.variant);
    v("tasks", s.tasks);
    v("executed_ns", s.executed);
    v("done", s.done);
    v("code", s.code);
  }
};

struct held_replica {
  replica_id replica;
  variant_id variant;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("replica", s.replica);
    v("variant", s.variant);
  }
};

/// After a welcome that says `keeps`: what the node holds of the controller before. In pages, of which the last says
/// so; call_finished of calls that have ended meanwhile follow.
struct plans_held {
  SQUALL_MESSAGE(plans_held, controller);
  node_id node;
  std::uint64_t epoch = 0; ///< of the welcome that it answers
  bool last = true;
  std::vector<node_id> peers; ///< the nodes of that time; ascending
  std::vector<held_call> calls;
  std::vector<held_order> orders;
  std::vector<held_replica> replicas;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("node", s.node);
    v("epoch", s.epoch);
    v("last", s.last);
    v("peers", s.peers);
    v("calls", s.calls);
    v("orders", s.orders);
    v("replicas", s.replicas);
  }
};

} // namespace squall::wire
