#pragma once

#include "calls/call.hpp"
#include "functions/dag.hpp"
#include "wire/message_types.hpp"

#include <string>
#include <vector>

/// What clients and the controller say to each other. The order of fields is the format (docs/wire.md); new fields go
/// to the end.
namespace squall::wire {

// -- every connection -------------------------------------------------------------------------------------------------

/// First message of a client or tool. To a node: results may be sent on this connection; it has no answer.
struct hello {
  SQUALL_MESSAGE(hello, controller);
  std::uint32_t oldest = oldest_protocol_version;
  std::uint32_t newest = protocol_version;
  std::string software; ///< for logs, for example "squall 0.1.0 cli"
  client_id client;
  std::uint64_t host = 0; ///< host_key()
  bool answers_from_nodes =
      false; ///< to the controller: say by `peers` which nodes there are; some may answer directly
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("oldest", s.oldest);
    v("newest", s.newest);
    v("software", s.software);
    v("client", s.client);
    v("host", s.host);
    v("answers_from_nodes", s.answers_from_nodes);
  }
};

struct welcome {
  SQUALL_MESSAGE(welcome, client);
  std::uint32_t version = protocol_version;
  std::string software;
  std::string cluster;        ///< its name
  std::uint64_t epoch = 0;    ///< changes when the controller restarts
  std::uint64_t host = 0;     ///< of the controller
  std::string store_endpoint; ///< empty: the store answers on this connection
  duration default_deadline{0};
  std::vector<std::string> controllers; ///< where the next one may be found, this one among them; empty: only here
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("version", s.version);
    v("software", s.software);
    v("cluster", s.cluster);
    v("epoch", s.epoch);
    v("host", s.host);
    v("store_endpoint", s.store_endpoint);
    v("default_deadline_ns", s.default_deadline);
    v("controllers", s.controllers);
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
  static void fields(S& s, V& v) {
    v("epoch", s.epoch);
  }
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

// -- client and controller
// ---------------------------------------------------------------------------------------------

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
  bool again = false; ///< it was sent before, on a connection that broke: it may have run
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("call", s.call);
    v("target", s.target);
    v("version", s.version);
    v("options", s.options);
    v("inputs", s.inputs);
    v("again", s.again);
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

/// What a stage gave out before it ended, for a caller who wants to `stream`. In the order of `index` (from 0) for one
/// element of one stage; what comes after the call's result is dropped.
struct call_partial {
  SQUALL_MESSAGE(call_partial, client);
  call_id call;
  std::string stage;
  std::uint32_t element = 0; ///< of a map
  std::uint32_t index = 0;
  std::vector<wire_value> outputs; ///< of the stage's function
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("call", s.call);
    v("stage", s.stage);
    v("element", s.element);
    v("index", s.index);
    v("outputs", s.outputs);
  }
};

struct cancel_request {
  SQUALL_MESSAGE(cancel_request, controller);
  call_id call;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("call", s.call);
  }
};

struct result_taken {
  SQUALL_MESSAGE(result_taken, controller);
  std::vector<call_id> calls;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("calls", s.calls);
  }
};

/// Registers a function. The same spec again is ok; another spec under the same name and version is already_exists
/// unless `replace`.
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

/// Answered with a reply whose body is JSON: an array for lists, an object when `name` is given. kind: functions, dags,
/// nodes, calls, instances, policy, status, metrics.
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
  std::uint32_t share_ppm = 1'000'000; ///< of the calls
  bool shadow = false;                 ///< it decides nothing and is compared
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("name", s.name);
    v("share_ppm", s.share_ppm);
    v("shadow", s.shadow);
  }
};

/// Place nothing more on the node of this name, and let it leave when it has finished what it has (`squall drain`).
/// Answered at once; the node is gone from the list of nodes when it has left.
struct drain {
  SQUALL_MESSAGE(drain, controller);
  std::string node;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("node", s.node);
  }
};

/// Stop the whole cluster (`squall down`).
struct shutdown {
  SQUALL_MESSAGE(shutdown, controller);
  template <class S, class V>
  static void fields(S&, V&) {}
};

} // namespace squall::wire
