#pragma once

#include "calls/call.hpp"
#include "functions/spec.hpp"

#include <variant>

/// Facts and commands of a node's queue (one a node). The order of alternatives is part of the event log's format.
namespace squall::calls::queueing {

// -- facts
// ---------------------------------------------------------------------------------------------------------------

struct variant_known {
  variant_id id;
  functions::resource_type resource = functions::resource_type::cpu;
  std::uint32_t max_batch = 1;
  duration max_delay{0};
  std::uint64_t memory_bytes = 0; ///< as declared or as measured at an earlier load; 0 = not known
  bool needs_load = true;         ///< false: always resident (builtins without weights)
  friend bool operator==(const variant_known&, const variant_known&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
    v("resource", s.resource);
    v("max_batch", s.max_batch);
    v("max_delay_ns", s.max_delay);
    v("memory_bytes", s.memory_bytes);
    v("needs_load", s.needs_load);
  }
};

/// No call in flight uses it and none will come.
struct variant_forgotten {
  variant_id id;
  friend bool operator==(const variant_forgotten&, const variant_forgotten&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
  }
};

struct lane_opened {
  lane_id id;
  functions::resource_type resource = functions::resource_type::cpu;
  friend bool operator==(const lane_opened&, const lane_opened&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
    v("resource", s.resource);
  }
};

/// The lane's process died: its batch, if any, is lost (the queue drops its items as failed), and the lane is gone
/// until it opens again.
struct lane_closed {
  lane_id id;
  friend bool operator==(const lane_closed&, const lane_closed&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
  }
};

/// An element of work whose inputs are here. Ids ascend in order of arrival.
struct arrived {
  item_id id;
  call_id call;
  stage_index stage = 0;
  variant_id variant;
  std::uint32_t priority = 0;
  time_point latest_start = never; ///< it is dropped rather than started later
  bool lone = false;               ///< a copy of nothing that could come: never waits for a batch to fill
  client_id client;                ///< whose call it is
  friend bool operator==(const arrived&, const arrived&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
    v("call", s.call);
    v("stage", s.stage);
    v("variant", s.variant);
    v("priority", s.priority);
    v("latest_start", s.latest_start);
    v("lone", s.lone);
    v("client", s.client);
  }
};

struct batch_ended {
  batch_id id;
  errc code = errc::ok; ///< of the batch as a whole; errors of single items travel beside it
  duration executed{0};
  friend bool operator==(const batch_ended&, const batch_ended&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
    v("code", s.code);
    v("executed_ns", s.executed);
  }
};

struct loaded {
  variant_id variant;
  std::uint64_t memory_bytes = 0; ///< measured
  friend bool operator==(const loaded&, const loaded&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("variant", s.variant);
    v("memory_bytes", s.memory_bytes);
  }
};

struct load_failed {
  variant_id variant;
  errc code = errc::failed;
  std::string message;
  friend bool operator==(const load_failed&, const load_failed&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("variant", s.variant);
    v("code", s.code);
    v("message", s.message);
  }
};

/// The process that held the resident variants of a resource died: nothing is resident there any more. Its lanes close
/// and open by facts of their own.
struct residents_lost {
  functions::resource_type resource = functions::resource_type::cpu;
  friend bool operator==(const residents_lost&, const residents_lost&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("resource", s.resource);
  }
};

/// Queued items of the call are forgotten (no drop command); a running batch goes on.
struct call_withdrawn {
  call_id id;
  std::vector<item_id> items{}; ///< only these of it, ascending; none: all
  friend bool operator==(const call_withdrawn&, const call_withdrawn&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
    v("items", s.items);
  }
};

/// The scheduler wants the variant resident.
struct preload_wanted {
  variant_id variant;
  friend bool operator==(const preload_wanted&, const preload_wanted&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("variant", s.variant);
  }
};

struct tick {
  friend bool operator==(const tick&, const tick&) = default;
  template <class S, class V>
  static void fields(S&, V&) {}
};

/// The scheduler wants an instance of a variant of its own, beside what is resident on demand (placing::load_replica).
struct replica_wanted {
  replica_id replica;
  variant_id variant;
  friend bool operator==(const replica_wanted&, const replica_wanted&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("replica", s.replica);
    v("variant", s.variant);
  }
};

/// It wants it no longer; a batch that runs on it ends first.
struct replica_unwanted {
  replica_id replica;
  friend bool operator==(const replica_unwanted&, const replica_unwanted&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("replica", s.replica);
  }
};

/// The load of a replica ended.
struct replica_loaded {
  replica_id replica;
  errc code = errc::ok;
  friend bool operator==(const replica_loaded&, const replica_loaded&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("replica", s.replica);
    v("code", s.code);
  }
};

/// An item of a batch that the scheduler put together.
struct ordered_item {
  item_id item;
  call_id call;
  friend bool operator==(const ordered_item&, const ordered_item&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("item", s.item);
    v("call", s.call);
  }
};

/// The scheduler put a batch together (placing::dispatch), and the inputs of its items are here.
struct ordered {
  batch_id order; ///< the scheduler's name of it
  replica_id replica;
  std::vector<ordered_item> items;
  time_point latest_start = never; ///< it is given up rather than started later
  friend bool operator==(const ordered&, const ordered&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("order", s.order);
    v("replica", s.replica);
    v("items", s.items);
    v("latest_start", s.latest_start);
  }
};

/// The lane takes no further batch; it is gone when the one that it runs has ended.
struct lane_retired {
  lane_id id;
  friend bool operator==(const lane_retired&, const lane_retired&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
  }
};

using event = std::variant<variant_known, variant_forgotten, lane_opened, lane_closed, arrived, batch_ended, loaded,
                           load_failed, residents_lost, call_withdrawn, preload_wanted, tick, replica_wanted,
                           replica_unwanted, replica_loaded, ordered, lane_retired>;

// -- commands
// --------------------------------------------------------------------------------------------------------------

struct run {
  batch_id id;
  lane_id lane;
  variant_id variant;
  std::vector<item_id> items; ///< in the order of arrival
  friend bool operator==(const run&, const run&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
    v("lane", s.lane);
    v("variant", s.variant);
    v("items", s.items);
  }
};

struct load {
  variant_id variant;
  friend bool operator==(const load&, const load&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("variant", s.variant);
  }
};

struct evict {
  variant_id variant;
  friend bool operator==(const evict&, const evict&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("variant", s.variant);
  }
};

/// The item will not run.
struct drop {
  item_id item;
  errc code = errc::deadline_exceeded;
  std::string message;
  duration retry_after{0};
  friend bool operator==(const drop&, const drop&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("item", s.item);
    v("code", s.code);
    v("message", s.message);
    v("retry_after_ns", s.retry_after);
  }
};

/// Answered by batch_ended, as `run` is.
struct run_order {
  batch_id id;
  lane_id lane;
  batch_id order;
  replica_id replica;
  variant_id variant;
  std::vector<item_id> items; ///< as they were ordered
  friend bool operator==(const run_order&, const run_order&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
    v("lane", s.lane);
    v("order", s.order);
    v("replica", s.replica);
    v("variant", s.variant);
    v("items", s.items);
  }
};

/// None of its items will run.
struct drop_order {
  batch_id order;
  errc code = errc::deadline_exceeded;
  std::string message;
  friend bool operator==(const drop_order&, const drop_order&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("order", s.order);
    v("code", s.code);
    v("message", s.message);
  }
};

/// Answered by replica_loaded.
struct load_replica {
  replica_id replica;
  variant_id variant;
  friend bool operator==(const load_replica&, const load_replica&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("replica", s.replica);
    v("variant", s.variant);
  }
};

/// Also of one that is being loaded: its load is not reported any more.
struct evict_replica {
  replica_id replica;
  friend bool operator==(const evict_replica&, const evict_replica&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("replica", s.replica);
  }
};

/// A replica that was wanted is not there (any more), and not because it is unwanted: the scheduler is told.
struct replica_failed {
  replica_id replica;
  errc code = errc::unavailable;
  std::string message;
  friend bool operator==(const replica_failed&, const replica_failed&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("replica", s.replica);
    v("code", s.code);
    v("message", s.message);
  }
};

using command =
    std::variant<run, load, evict, drop, run_order, drop_order, load_replica, evict_replica, replica_failed>;

} // namespace squall::calls::queueing
