#pragma once

#include "calls/binary.hpp"
#include "policy/detail/averages.hpp"
#include "policy/detail/indexed_heap.hpp"
#include "policy/detail/slot_map.hpp"
#include "policy/node_queue.hpp"

#include <array>
#include <string>

namespace squall::policy::detail {

namespace queueing = calls::queueing;
using functions::resource_type;

/// The place of an item among those of its client and variant.
struct item_key {
  std::uint32_t unpriority = 0; ///< complement of the priority: higher priorities come first
  std::int64_t turn = 0;        ///< start tag of fair queueing among the client's stages of calls
  std::uint64_t item = 0;
  friend auto operator<=>(const item_key&, const item_key&) = default;
};

/// The place of an item on the node, as long as nothing else is started.
struct order_key {
  std::uint32_t unpriority = 0;
  std::int64_t share = 0; ///< start tag of fair queueing among clients
  std::int64_t turn = 0;
  std::uint64_t item = 0;
  friend auto operator<=>(const order_key&, const order_key&) = default;
};

/// Links of a list that runs through items.
struct item_links {
  slot_index before = no_slot;
  slot_index after = no_slot;
};
/// The ends of such a list, in order of arrival.
struct item_list {
  slot_index first = no_slot;
  slot_index last = no_slot;
};

struct item_state {
  call_id call;
  client_id client;
  stage_index stage = 0;
  variant_id variant;
  std::uint32_t priority = 0;
  time_point latest_start = never;
  bool lone = false;
  time_point arrived{};
  std::int64_t turn = 0;

  item_links of_call;
  item_links of_variant;

  void recycle() {}
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("call", s.call);
    v("client", s.client);
    v("stage", s.stage);
    v("variant", s.variant);
    v("priority", s.priority);
    v("latest_start", s.latest_start);
    v("lone", s.lone);
    v("arrived", s.arrived);
    v("turn", s.turn);
  }
};

/// Fair queueing: the end of what a stage of a call was given so far.
struct flow_state {
  stage_index stage = 0;
  std::int64_t finish = 0;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("stage", s.stage);
    v("finish", s.finish);
  }
};

/// A call with queued items here.
struct queued_call {
  std::vector<flow_state> flows; ///< in order of first arrival
  item_list items;

  void recycle() { flows.clear(); }
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("flows", s.flows);
  }
};

/// The queued items of one client and one variant.
struct client_queue {
  client_id client;
  indexed_heap<item_key> order;
};

enum class residency : std::uint8_t {
  absent = 0,
  loading = 1,
  resident = 2, ///< or needs no load
};

struct queued_variant {
  queueing::variant_known info;
  residency where = residency::absent;
  bool forgotten = false;    ///< to be erased when its last batch or load ends
  std::uint32_t running = 0; ///< batches
  time_point last_used{};
  time_point load_began{};
  time_point kept_until{};   ///< with items queued it is not evicted before
  time_point failed_until{}; ///< after a failed load, items are dropped with `failure` until then
  calls::queueing::load_failed failure;
  std::int64_t item_cost_ns = 0; ///< learned execution time of one item, never 0
  time_point last_arrival{};
  bool crowded = false;    ///< at the last arrival an item was queued or running already
  std::int64_t gap_ns = 0; ///< running average of the time between such arrivals; 0 = none yet
  bool waits = false;      ///< its queued items may wait for company, until `hold`
  bool armed = false;      ///< there is a timer for that
  time_point hold{};

  // Follows from the items.
  std::vector<client_queue> queues; ///< the first `clients` have items, the others keep their memory for the next one
  std::size_t clients = 0;
  std::uint32_t queued = 0; ///< items
  item_list items;
  std::uint32_t lone = 0; ///< queued items that wait for no company

  void recycle() { *this = {}; }
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("info", s.info);
    v("where", s.where);
    v("forgotten", s.forgotten);
    v("running", s.running);
    v("last_used", s.last_used);
    v("load_began", s.load_began);
    v("kept_until", s.kept_until);
    v("failed_until", s.failed_until);
    v("failure", s.failure);
    v("item_cost_ns", s.item_cost_ns);
    v("last_arrival", s.last_arrival);
    v("crowded", s.crowded);
    v("gap_ns", s.gap_ns);
    v("waits", s.waits);
    v("armed", s.armed);
    v("hold", s.hold);
  }
};

struct running_batch {
  lane_id lane;
  variant_id variant;
  std::vector<item_id> items;
  batch_id order;     ///< zero: the queue put it together
  replica_id replica; ///< of an order
  void recycle() {
    items.clear();
    order = {};
    replica = {};
  }
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("lane", s.lane);
    v("variant", s.variant);
    v("items", s.items);
    v("order", s.order);
    v("replica", s.replica);
  }
};

enum class replica_phase : std::uint8_t {
  waiting = 0, ///< for room
  loading = 1,
  ready = 2,
};

/// An instance that the scheduler asked for.
struct replica_state {
  replica_id id;
  variant_id variant;
  replica_phase phase = replica_phase::waiting;
  bool unwanted = false; ///< to be evicted when its batch ends
  batch_id running;      ///< of the queue; zero: idle
  std::uint64_t memory_bytes = 0;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
    v("variant", s.variant);
    v("phase", s.phase);
    v("unwanted", s.unwanted);
    v("running", s.running);
    v("memory_bytes", s.memory_bytes);
  }
};

struct lane_state {
  lane_id id;
  resource_type resource = resource_type::cpu;
  batch_id batch;       ///< zero: idle
  bool retired = false; ///< it goes with its batch
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
    v("resource", s.resource);
    v("batch", s.batch);
    v("retired", s.retired);
  }
};

/// What fair queueing knows of one client, in one priority on one resource.
struct client_share {
  client_id client;
  std::int64_t share = 0;  ///< start tag of its next item among the clients' items
  std::int64_t turn = 0;   ///< virtual time among its own stages of calls: start tag of the last item that was started
  std::uint64_t batch = 0; ///< the last one with an item of it

  std::uint32_t queued = 0; ///< follows from the items

  template <class S, class V>
  static void fields(S& s, V& v) {
    v("client", s.client);
    v("share", s.share);
    v("turn", s.turn);
    v("batch", s.batch);
  }
};

/// Fair queueing in one priority on one resource.
struct priority_class {
  std::uint32_t priority = 0;
  std::int64_t share = 0;            ///< virtual time among clients: start tag of the last item that was started
  std::vector<client_share> clients; ///< ascending; also those whose last item may still run

  std::uint64_t queued = 0; ///< follows from the items

  template <class S, class V>
  static void fields(S& s, V& v) {
    v("priority", s.priority);
    v("share", s.share);
    v("clients", s.clients);
  }
};

/// What one resource of the node has.
struct resource_state {
  std::vector<lane_state> lanes;       ///< ascending
  std::vector<priority_class> classes; ///< ascending
  std::vector<slot_index> active;      ///< variants with queued items, ascending by id; follows from the items
  std::uint32_t idle = 0;              ///< lanes; follows from the lanes
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("lanes", s.lanes);
    v("classes", s.classes);
  }
};

} // namespace squall::policy::detail

namespace squall::policy {

struct node_queue::state {
  using resource_type = functions::resource_type;
  using slot_index = detail::slot_index;

  node_queue_config config;
  std::uint64_t seed = 0;
  time_point now{};
  bool ticking = false; ///< the fact of this step is a tick: what was to gather at this moment has gathered

  detail::resource_state cpu;
  detail::resource_state gpu;
  detail::slot_map<variant_id, detail::queued_variant> variants;
  detail::slot_map<item_id, detail::item_state> items; ///< queued
  detail::slot_map<call_id, detail::queued_call> queued_calls;
  detail::slot_map<batch_id, detail::running_batch> running;
  detail::heap_positions order_positions; ///< of all heaps of items
  detail::timer_heap latest_starts;
  detail::timer_heap holds;        ///< by variant
  std::vector<variant_id> wanting; ///< ascending: they have items and are to be loaded when there is room
  std::optional<detail::order_key>
      draining;                 ///< of this step: variants whose items come after this start nothing, to make room
  std::uint64_t used_bytes = 0; ///< of variants resident or loading; follows from the variants
  item_id last_item;
  std::uint64_t batches = 0;
  std::int64_t item_gap_ns = 0; ///< running average of the time between starts of items
  time_point last_start{};

  std::vector<detail::replica_state> replicas;  ///< ascending
  std::vector<calls::queueing::ordered> orders; ///< that wait, by latest start, then id
  bool replicas_wait = false;                   ///< one of them waits for room; follows from the replicas

  std::vector<calls::queueing::command> commands;

  // Facts (node_queue.cpp).
  void on(const calls::queueing::variant_known& fact);
  void on(const calls::queueing::variant_forgotten& fact);
  void on(const calls::queueing::lane_opened& fact);
  void on(const calls::queueing::lane_closed& fact);
  void on(const calls::queueing::lane_retired& fact);
  void on(const calls::queueing::arrived& fact);
  void on(const calls::queueing::batch_ended& fact);
  void on(const calls::queueing::loaded& fact);
  void on(const calls::queueing::load_failed& fact);
  void on(const calls::queueing::residents_lost& fact);
  void on(const calls::queueing::call_withdrawn& fact);
  void on(const calls::queueing::preload_wanted& fact);
  void on(const calls::queueing::tick&) {}
  void on(const calls::queueing::replica_wanted& fact);
  void on(const calls::queueing::replica_unwanted& fact);
  void on(const calls::queueing::replica_loaded& fact);
  void on(const calls::queueing::ordered& fact);
  void expire();

  [[nodiscard]] detail::resource_state& resource(resource_type r) { return r == resource_type::gpu ? gpu : cpu; }
  void drop(item_id item, errc code, std::string message, duration retry_after = duration{0});
  [[nodiscard]] result<> check_arrival(const calls::queueing::arrived& fact,
                                       const detail::queued_variant* variant) const;
  void end_batch(slot_index batch);
  void forget_if_idle(slot_index variant);
  void drop_all(slot_index variant, errc code, const std::string& message, duration retry_after);

  // The queue of items (node_queue_order.cpp).
  void enqueue(const calls::queueing::arrived& fact, slot_index variant);
  /// Takes a queued item out of everything that knows it.
  void dequeue(slot_index item);
  void unindex_item(slot_index item, slot_index variant);
  void index_item(slot_index item, slot_index variant);
  [[nodiscard]] std::int64_t next_turn(const calls::queueing::arrived& fact, const detail::queued_variant& variant);
  [[nodiscard]] detail::priority_class& priority_of(resource_type r, std::uint32_t priority);
  /// Of the variant's first item.
  struct first_item {
    detail::order_key key;
    slot_index slot;
  };
  /// The variant has items.
  [[nodiscard]] first_item first_of(const detail::queued_variant& variant) const;
  [[nodiscard]] detail::order_key first_key(const detail::queued_variant& variant) const {
    return first_of(variant).key;
  }
  /// Lets the item's client pay for it. `head`: it is the first of the batch.
  void charge(const detail::queued_variant& variant, const detail::item_state& item, batch_id batch, bool head);
  void note_arrival(detail::queued_variant& variant) const;
  void activate(slot_index variant);
  void disarm(slot_index variant);
  /// Decides until when the queued items of a variant wait for company.
  void set_hold(slot_index variant);
  [[nodiscard]] bool held(const detail::queued_variant& variant) const;

  // Starting batches (node_queue_order.cpp).
  void dispatch();
  void dispatch(detail::resource_state& on);
  [[nodiscard]] slot_index best_variant(const detail::resource_state& on);
  void start_batch(detail::resource_state& on, slot_index variant);

  // What the scheduler orders (node_queue_orders.cpp).
  [[nodiscard]] detail::replica_state* find_replica(replica_id id);
  void load_waiting_replicas();
  void remove_replica(replica_id id);
  void fail_replica(replica_id id, errc code, const std::string& message);
  /// Those of a resource, when the process that held them died.
  void lose_replicas(resource_type r);
  void drop_orders_of(replica_id replica, errc code, const std::string& message);
  void expire_orders();
  void withdraw_ordered(const calls::queueing::call_withdrawn& fact);
  void withdraw_items(const calls::queueing::call_withdrawn& fact);
  void start_orders();
  void start_order(const calls::queueing::ordered& order, detail::replica_state& replica);
  /// Claims the lowest idle lane of a resource for a new batch.
  [[nodiscard]] lane_id take_lane(detail::resource_state& on, batch_id batch);

  // Residency (node_queue_residency.cpp).
  /// Has the variant loaded as soon as there is room; it has items queued.
  void want(variant_id id);
  void retry_wanting();
  /// Evicts idle variants so that `bytes` more fit; false, and nothing is evicted, if that cannot be. `head` is the
  /// first of the items that need the room; without it only variants without items go.
  [[nodiscard]] bool make_room(std::uint64_t bytes, const std::optional<detail::order_key>& head);
  /// Whether room would come if the variants that come after `head` started nothing more.
  [[nodiscard]] bool room_can_come(std::uint64_t bytes, const detail::order_key& head) const;
  [[nodiscard]] bool yields(const detail::queued_variant& variant, const detail::order_key& head) const;
  [[nodiscard]] bool too_large(const detail::queued_variant& variant) const;
  void begin_load(slot_index variant);
  void fail_load(slot_index variant, const calls::queueing::load_failed& failure);
  void leave_memory(slot_index variant);
  void evict(slot_index variant);

  // Snapshots (node_queue_snapshot.cpp).
  void save(calls::binary_writer& out) const;
  [[nodiscard]] result<> load(std::span<const std::byte> snapshot);
  [[nodiscard]] result<> rebuild();
  [[nodiscard]] result<> rebuild_replicas();
};

} // namespace squall::policy
