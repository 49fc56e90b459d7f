#pragma once

#include "calls/call.hpp"
#include "calls/placing.hpp"
#include "functions/dag.hpp"
#include "wire/arena.hpp"

#include <map>
#include <string>
#include <vector>

/// What is said on the wire. The order of fields is the format (docs/wire.md); new fields go to the end.
namespace squall::wire {

inline constexpr std::uint32_t protocol_version = 1;
inline constexpr std::uint32_t oldest_protocol_version = 1;
inline constexpr std::size_t max_header_bytes = 1 << 20;
inline constexpr std::size_t max_payload_bytes = 64ull << 20;
inline constexpr std::size_t max_payload_frames = 4096;
inline constexpr std::size_t max_message_bytes = 256ull << 20;

/// Who a message is for.
enum class role : std::uint8_t { any = 0, controller = 1, node = 2, store = 3, client = 4 };

enum class message_type : std::uint16_t {
  hello = 1,
  welcome = 2,
  ping = 3,
  pong = 4,
  reply = 5,

  call_request = 16,
  call_result = 17,
  cancel_request = 18,
  result_taken = 19,
  apply_function = 20,
  apply_dag = 21,
  remove = 22,
  query = 23,
  set_policy = 24,
  shutdown = 25,

  node_hello = 32,
  node_welcome = 33,
  node_beat = 34,
  node_leave = 35,
  peers = 36,
  define_function = 37,
  define_dag = 38,
  forget_dag = 39,
  forget_function = 40,
  start_call = 41,
  drop_call = 42,
  release_call = 43,
  call_finished = 44,
  settled = 45,
  scatter = 46,
  gathered = 47,
  preload = 48,
  residency = 49,
  end_sequence = 50,

  store_put = 64,
  store_get = 65,
  store_delete = 66,
  store_list = 67,
  store_reply = 68,
};

#define SQUALL_MESSAGE(name, to_role)                                                                                  \
  static constexpr message_type type = message_type::name;                                                             \
  static constexpr role to = role::to_role

// -- every connection -------------------------------------------------------------------------------------------------

/// First message of a client or tool.
struct hello {
  SQUALL_MESSAGE(hello, controller);
  std::uint32_t oldest = oldest_protocol_version;
  std::uint32_t newest = protocol_version;
  std::string software; ///< for logs, for example "squall 0.1.0 cli"
  client_id client;
  std::uint64_t host = 0; ///< host_key()
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("oldest", s.oldest);
    v("newest", s.newest);
    v("software", s.software);
    v("client", s.client);
    v("host", s.host);
  }
};

struct welcome {
  SQUALL_MESSAGE(welcome, client);
  std::uint32_t version = protocol_version;
  std::string software;
  std::string cluster;           ///< its name
  std::uint64_t epoch = 0;       ///< changes when the controller restarts
  std::uint64_t host = 0;        ///< of the controller
  std::string store_endpoint;    ///< empty: the store answers on this connection
  duration default_deadline{0};
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("version", s.version);
    v("software", s.software);
    v("cluster", s.cluster);
    v("epoch", s.epoch);
    v("host", s.host);
    v("store_endpoint", s.store_endpoint);
    v("default_deadline_ns", s.default_deadline);
  }
};

/// `to` is the role asked; answered with pong by the same role.
struct ping {
  SQUALL_MESSAGE(ping, controller);
  template <class S, class V>
  static void fields(S&, V&) {}
};

struct pong {
  SQUALL_MESSAGE(pong, client);
  std::uint64_t epoch = 0;
  template <class S, class V>
  static void fields(S& s, V& v) { v("epoch", s.epoch); }
};

/// The answer to anything that has no answer of its own.
struct reply {
  SQUALL_MESSAGE(reply, any);
  errc code = errc::ok;
  std::string message;
  duration retry_after{0};
  std::string body; ///< JSON, or empty
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("code", s.code);
    v("message", s.message);
    v("retry_after_ns", s.retry_after);
    v("body", s.body);
  }
};

// -- client and controller ---------------------------------------------------------------------------------------------

struct wire_value {
  std::string name;
  functions::value value;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("name", s.name);
    v("value", s.value);
  }
};

struct call_request {
  SQUALL_MESSAGE(call_request, controller);
  call_id call;
  std::string target;        ///< a DAG's name, or a function's
  std::uint32_t version = 0; ///< 0 = latest
  calls::call_options options;
  std::vector<wire_value> inputs;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("call", s.call);
    v("target", s.target);
    v("version", s.version);
    v("options", s.options);
    v("inputs", s.inputs);
  }
};

struct call_result {
  SQUALL_MESSAGE(call_result, client);
  call_id call;
  calls::outcome outcome;
  std::vector<wire_value> outputs; ///< absent outputs are listed as absent
  bool taken_wanted = false;       ///< an output lies in shared memory: answer with result_taken when done with it
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("call", s.call);
    v("outcome", s.outcome);
    v("outputs", s.outputs);
    v("taken_wanted", s.taken_wanted);
  }
};

struct cancel_request {
  SQUALL_MESSAGE(cancel_request, controller);
  call_id call;
  template <class S, class V>
  static void fields(S& s, V& v) { v("call", s.call); }
};

struct result_taken {
  SQUALL_MESSAGE(result_taken, controller);
  std::vector<call_id> calls;
  template <class S, class V>
  static void fields(S& s, V& v) { v("calls", s.calls); }
};

/// Registers a function. The same spec again is ok; another spec under the same name and version is already_exists unless `replace`.
struct apply_function {
  SQUALL_MESSAGE(apply_function, controller);
  functions::function_spec spec;
  bool replace = false;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("spec", s.spec);
    v("replace", s.replace);
  }
};

struct apply_dag {
  SQUALL_MESSAGE(apply_dag, controller);
  functions::dag_spec spec;
  bool replace = false;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("spec", s.spec);
    v("replace", s.replace);
  }
};

/// kind is "function" or "dag"; version 0 = every version.
struct remove {
  SQUALL_MESSAGE(remove, controller);
  std::string kind;
  std::string name;
  std::uint32_t version = 0;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("kind", s.kind);
    v("name", s.name);
    v("version", s.version);
  }
};

/// Answered with a reply whose body is JSON: an array for lists, an object when `name` is given. kind: functions, dags, nodes, calls, policy, status, metrics.
struct query {
  SQUALL_MESSAGE(query, controller);
  std::string kind;
  std::string name;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("kind", s.kind);
    v("name", s.name);
  }
};

struct set_policy {
  SQUALL_MESSAGE(set_policy, controller);
  std::string name;
  template <class S, class V>
  static void fields(S& s, V& v) { v("name", s.name); }
};

/// Stop the whole cluster (`squall down`).
struct shutdown {
  SQUALL_MESSAGE(shutdown, controller);
  template <class S, class V>
  static void fields(S&, V&) {}
};

// -- controller and nodes ------------------------------------------------------------------------------------------------

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
  std::uint64_t instance = 0; ///< random, one a process: a node that comes back is another
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
  }
};

/// Every second. The answer is pong; a reply with not_found says that the controller does not know the node (it restarted): say hello again.
struct node_beat {
  SQUALL_MESSAGE(node_beat, controller);
  node_id node;
  std::uint64_t queued = 0;
  std::uint64_t running = 0;
  std::uint64_t resident_bytes = 0;
  std::uint64_t arena_used_bytes = 0;
  std::uint64_t arena_capacity_bytes = 0;
  std::map<std::string, double> metrics; ///< counters since the start, by name
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("node", s.node);
    v("queued", s.queued);
    v("running", s.running);
    v("resident_bytes", s.resident_bytes);
    v("arena_used_bytes", s.arena_used_bytes);
    v("arena_capacity_bytes", s.arena_capacity_bytes);
    v("metrics", s.metrics);
  }
};

/// The node goes now. Also sent to a node: leave.
struct node_leave {
  SQUALL_MESSAGE(node_leave, controller);
  node_id node;
  template <class S, class V>
  static void fields(S& s, V& v) { v("node", s.node); }
};

struct peers {
  SQUALL_MESSAGE(peers, node);
  std::vector<peer_info> nodes; ///< all that live now
  template <class S, class V>
  static void fields(S& s, V& v) { v("nodes", s.nodes); }
};

struct define_function {
  SQUALL_MESSAGE(define_function, node);
  functions::registered_function function;
  template <class S, class V>
  static void fields(S& s, V& v) { v("function", s.function); }
};

struct define_dag {
  SQUALL_MESSAGE(define_dag, node);
  dag_definition dag;
  template <class S, class V>
  static void fields(S& s, V& v) { v("dag", s.dag); }
};

/// Calls in flight keep what they use.
struct forget_dag {
  SQUALL_MESSAGE(forget_dag, node);
  dag_id dag;
  template <class S, class V>
  static void fields(S& s, V& v) { v("dag", s.dag); }
};

struct forget_function {
  SQUALL_MESSAGE(forget_function, node);
  function_id function;
  template <class S, class V>
  static void fields(S& s, V& v) { v("function", s.function); }
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
  }
};

/// To every node whose stages (or the exit) read an input of the DAG, or that is home of a stage without producers.
struct start_call {
  SQUALL_MESSAGE(start_call, node);
  call_context context;
  std::vector<functions::value> inputs; ///< in the order of the DAG's inputs; those that no stage of the node reads are absent
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("context", s.context);
    v("inputs", s.inputs);
  }
};

/// Forget the call's queued work; late messages about it are dropped. From the controller, or from the exit node that needs no more of it.
struct drop_call {
  SQUALL_MESSAGE(drop_call, node);
  call_id call;
  bool keep_blocks = false; ///< the call succeeded: its outputs may lie in this node's blocks, which go with release_call
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
  static void fields(S& s, V& v) { v("calls", s.calls); }
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

// -- node and node -------------------------------------------------------------------------------------------------------

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

/// A stage has ended or was skipped; to each node that is home of one of its consumers (the exit included). Large values go to another host once:
/// to one node there, which tells the others.
struct settled {
  SQUALL_MESSAGE(settled, node);
  call_context context;
  stage_index stage = 0;
  bool skipped = false;
  std::vector<functions::value> outputs;   ///< all absent when skipped; those that no consumer on the node reads are absent
  std::vector<calls::stage_trace> trace;   ///< of this stage and of those before it
  std::vector<node_id> holders;
  std::vector<settled_relay> relay;        ///< nodes of the receiver's host that it tells
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
  std::vector<functions::value> whole;                ///< one per input port: those that are not mapped, the others absent
  std::vector<std::uint32_t> elements;                ///< their indexes
  std::vector<std::vector<functions::value>> mapped;  ///< per element: one per input port, those that are mapped
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("context", s.context);
    v("home", s.home);
    v("stage", s.stage);
    v("whole", s.whole);
    v("elements", s.elements);
    v("mapped", s.mapped);
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

struct preload {
  SQUALL_MESSAGE(preload, node);
  variant_id variant;
  template <class S, class V>
  static void fields(S& s, V& v) { v("variant", s.variant); }
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
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("node", s.node);
    v("variant", s.variant);
    v("resident", s.resident);
    v("memory_bytes", s.memory_bytes);
    v("load_time_ns", s.load_time);
    v("code", s.code);
    v("message", s.message);
  }
};

struct end_sequence {
  SQUALL_MESSAGE(end_sequence, node);
  sequence_id sequence;
  template <class S, class V>
  static void fields(S& s, V& v) { v("sequence", s.sequence); }
};

// -- store ---------------------------------------------------------------------------------------------------------------

/// A whole value, or one piece of a large one. Pieces of one write share `upload` and arrive in order; the value becomes visible,
/// all of it at once, with the last piece.
struct store_put {
  SQUALL_MESSAGE(store_put, store);
  std::string key;
  std::uint64_t total_bytes = 0;
  std::uint64_t offset = 0;
  std::uint64_t upload = 0;  ///< chosen by the writer; 0 when the value comes in one piece
  bool durable = true;       ///< acknowledged when it is on the disk
  functions::value piece;    ///< a UINT8 tensor
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("key", s.key);
    v("total_bytes", s.total_bytes);
    v("offset", s.offset);
    v("upload", s.upload);
    v("durable", s.durable);
    v("piece", s.piece);
  }
};

/// length 0: only the metadata.
struct store_get {
  SQUALL_MESSAGE(store_get, store);
  std::string key;
  std::uint64_t offset = 0;
  std::uint64_t length = 0; ///< at most max_piece_bytes
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("key", s.key);
    v("offset", s.offset);
    v("length", s.length);
  }
};

struct store_delete {
  SQUALL_MESSAGE(store_delete, store);
  std::string key;
  template <class S, class V>
  static void fields(S& s, V& v) { v("key", s.key); }
};

/// Keys with a prefix, ascending, after `after`.
struct store_list {
  SQUALL_MESSAGE(store_list, store);
  std::string prefix;
  std::string after;
  std::uint32_t limit = 1000;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("prefix", s.prefix);
    v("after", s.after);
    v("limit", s.limit);
  }
};

inline constexpr std::size_t max_piece_bytes = 1 << 20;

struct store_entry {
  std::string key;
  std::uint64_t size_bytes = 0;
  std::uint64_t version = 0; ///< of the last write: larger is later
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("key", s.key);
    v("size_bytes", s.size_bytes);
    v("version", s.version);
  }
};

struct store_reply {
  SQUALL_MESSAGE(store_reply, any);
  errc code = errc::ok;
  std::string message;
  duration retry_after{0};
  std::vector<store_entry> entries; ///< of get: one; of list: many
  functions::value piece;           ///< of get: a UINT8 tensor
  bool more = false;                ///< of list: there are further keys
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("code", s.code);
    v("message", s.message);
    v("retry_after_ns", s.retry_after);
    v("entries", s.entries);
    v("piece", s.piece);
    v("more", s.more);
  }
};

#undef SQUALL_MESSAGE

} // namespace squall::wire
