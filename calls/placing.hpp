#pragma once

#include "calls/call.hpp"
#include "functions/spec.hpp"

#include <variant>

/// Facts and commands of the scheduler (one a cluster). Facts go in through step(), commands come out of
/// take_commands(); a command never waits, its outcome comes back as a fact. The order of alternatives is part of the
/// event log's format.
namespace squall::calls::placing {

// -- facts
// ---------------------------------------------------------------------------------------------------------------

struct variant_info {
  variant_id id;
  functions::resource_type resource = functions::resource_type::cpu;
  std::uint32_t max_batch = 1;
  std::uint64_t memory_bytes = 0;
  duration expected{0}; ///< execution time of one item as declared or learned; zero = not known

  friend bool operator==(const variant_info&, const variant_info&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
    v("resource", s.resource);
    v("max_batch", s.max_batch);
    v("memory_bytes", s.memory_bytes);
    v("expected_ns", s.expected);
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
  friend bool operator==(const stage_info&, const stage_info&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("function", s.function);
    v("variants", s.variants);
    v("producers", s.producers);
    v("map", s.map);
    v("width_max", s.width_max);
    v("conditional", s.conditional);
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
  time_point deadline = never;
  std::uint32_t priority = 0;
  calls::sequence sequence;
  friend bool operator==(const call_arrived&, const call_arrived&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
    v("client", s.client);
    v("dag", s.dag);
    v("deadline", s.deadline);
    v("priority", s.priority);
    v("sequence", s.sequence);
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
  friend bool operator==(const policy_set&, const policy_set&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("name", s.name);
  }
};

/// Nothing happened, but next_deadline() has come.
struct tick {
  friend bool operator==(const tick&, const tick&) = default;
  template <class S, class V>
  static void fields(S&, V&) {}
};

using event = std::variant<function_registered, dag_registered, dag_removed, node_joined, node_lost, residency_changed,
                           call_arrived, call_ended, cancel_requested, policy_set, tick>;

// -- commands
// --------------------------------------------------------------------------------------------------------------

struct admit {
  call_id id;
  calls::plan plan;
  duration expected{0}; ///< estimate of the time to finish; zero = not known
  friend bool operator==(const admit&, const admit&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
    v("plan", s.plan);
    v("expected_ns", s.expected);
  }
};

struct refuse {
  call_id id;
  errc code = errc::overloaded;
  std::string message;
  duration retry_after{0};
  friend bool operator==(const refuse&, const refuse&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
    v("code", s.code);
    v("message", s.message);
    v("retry_after_ns", s.retry_after);
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

using command = std::variant<admit, refuse, abandon, preload, policy_refused, end_sequence>;

} // namespace squall::calls::placing
