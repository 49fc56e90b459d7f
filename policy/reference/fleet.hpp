#pragma once

#include "policy/detail/slot_map.hpp"
#include "policy/dispatch_policy.hpp"

#include <array>
#include <map>
#include <optional>
#include <vector>

/// The reference policies: rules of others, kept simple, to compare with.
namespace squall::policy::reference {

namespace placing = calls::placing;
using detail::no_slot;
using detail::slot_index;
using detail::slot_map;

inline constexpr std::size_t resource_count = 2;
[[nodiscard]] inline std::size_t index_of(functions::resource_type r) {
  return r == functions::resource_type::gpu ? 1 : 0;
}

/// One resource type for each stage of a DAG, and what the call then takes on an empty cluster: its longest path, and
/// the sum of its costs, conditional stages counted in full.
struct type_choice {
  std::vector<std::uint8_t> types; ///< per stage, index_of a resource
  std::vector<duration> rest;      ///< per stage, the longest path behind it
  duration latency{0};
  placing::micro_cost cost = 0;
};

/// A stage with the variant that it would use on each resource.
struct fleet_stage {
  std::array<std::optional<placing::variant_info>, resource_count> variants;
  std::vector<stage_index> producers;
};

struct fleet_dag {
  std::vector<fleet_stage> stages;
  /// Every choice, by (latency, cost, types). Of a DAG with more than `max_listed` choices: those of one type as far as
  /// possible, and those that differ from them in one stage.
  std::vector<type_choice> choices;
  /// Of these, the ones that no other one beats in latency and cost, equal values once; by rising latency.
  std::vector<std::uint32_t> front;
};
inline constexpr std::size_t max_listed = 1024;

[[nodiscard]] duration batch_time(const placing::variant_info& variant, std::size_t items);

struct fleet_node {
  node_id id;
  std::array<std::uint32_t, resource_count> lanes{};
  std::array<std::uint32_t, resource_count> idle{};
  std::uint64_t memory_bytes = 0;
  std::uint64_t free_bytes = 0;
  duration work{0};       ///< bound to its replicas and not ended, each task taken alone
  bool may_start = false; ///< something happened since its last dispatch pass

  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
    v("lanes_cpu", s.lanes[0]);
    v("lanes_gpu", s.lanes[1]);
    v("idle_cpu", s.idle[0]);
    v("idle_gpu", s.idle[1]);
    v("memory_bytes", s.memory_bytes);
    v("free_bytes", s.free_bytes);
    v("work_ns", s.work);
    v("may_start", s.may_start);
  }
};

/// A task that waits for its replica, in the order of requests.
struct queued_task {
  std::uint64_t order = 0; ///< of the call
  placing::task task;
  friend auto operator<=>(const queued_task&, const queued_task&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("order", s.order);
    v("task", s.task);
  }
};

using instance_id = strong_id<struct instance_tag>;

/// One function of an instance, on a node.
struct fleet_replica {
  instance_id instance;
  stage_index stage = 0;
  node_id node;
  std::uint8_t type = 0;
  bool loaded = false;
  time_point ready_at{};          ///< when its load ends
  duration work{0};               ///< bound and not ended
  std::vector<queued_task> queue; ///< ascending
  batch_id running;               ///< zero: idle
  std::vector<queued_task> batch; ///< that runs

  void recycle() { *this = {}; }
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("instance", s.instance);
    v("stage", s.stage);
    v("node", s.node);
    v("type", s.type);
    v("loaded", s.loaded);
    v("ready_at", s.ready_at);
    v("work_ns", s.work);
    v("queue", s.queue);
    v("running", s.running);
    v("batch", s.batch);
  }
};

/// A DAG with one replica for each stage.
struct fleet_instance {
  dag_id dag;
  std::uint32_t choice = 0; ///< among the DAG's
  std::vector<replica_id> replicas;
  std::uint32_t requests = 0; ///< bound to it and not ended; it stays loaded without any, until its memory is needed
  time_point last_used{};

  void recycle() { *this = {}; }
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("dag", s.dag);
    v("choice", s.choice);
    v("replicas", s.replicas);
    v("requests", s.requests);
    v("last_used", s.last_used);
  }
};

struct fleet_call {
  std::uint64_t order = 0; ///< of arrival
  placing::call_arrived fact;
  instance_id instance; ///< zero: it waits for one
  /// Tasks that have not ended, per stage; a stage that is not ready yet counts for one.
  std::vector<std::uint32_t> left;
  std::vector<placing::stage_ready> waiting; ///< ready before it was bound

  void recycle() { *this = {}; }
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("order", s.order);
    v("fact", s.fact);
    v("instance", s.instance);
    v("left", s.left);
    v("waiting", s.waiting);
  }
};

/// Where a batch runs; its replica may be gone before it ends.
struct batch_home {
  replica_id replica;
  node_id node;
  std::uint8_t type = 0;
  void recycle() {}
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("replica", s.replica);
    v("node", s.node);
    v("type", s.type);
  }
};

/// What the policies of the thesis' chapter 4 share: requests are bound to instances of DAGs; an instance without
/// requests stays loaded, counts as room, and goes when its memory is needed, the least recently used first (ties: the
/// oldest). A free lane takes the replica whose first request came first. Calls whose instance loses a node are
/// abandoned.
class fleet {
public:
  explicit fleet(std::uint64_t last_id) : last_replica_(last_id), last_batch_(last_id) {}

  /// Whether batches may join tasks of several calls, while none of them is predicted to end after its deadline for
  /// it; else only elements of one mapped stage.
  bool batching = false;

  // -- facts of the cluster and the catalogue
  void on(const placing::function_registered& fact);
  void on(const placing::dag_registered& fact);
  void on(const placing::node_joined& fact);
  /// Appends an abandon for each call that had work there.
  void on(const placing::node_lost& fact, std::vector<placing::command>& out);
  void on(const placing::replica_loaded& fact);
  void on(const placing::batch_done& fact);
  void on(const placing::stage_ready& fact);
  /// The call is over, for whatever reason.
  void forget(call_id id, time_point now);

  // -- calls and instances
  fleet_call& enter(const placing::call_arrived& fact);
  [[nodiscard]] fleet_call* find_call(call_id id) { return calls_.find(id); }
  [[nodiscard]] std::size_t calls() const { return calls_.size(); }
  [[nodiscard]] const fleet_dag* find_dag(dag_id id) const;
  [[nodiscard]] const fleet_instance& at(instance_id id) const { return *instances_.find(id); }
  [[nodiscard]] const fleet_replica& at(replica_id id) const { return *replicas_.find(id); }
  [[nodiscard]] const std::vector<instance_id>& instances_of(dag_id dag) const;
  [[nodiscard]] const std::vector<fleet_node>& nodes() const { return nodes_; }
  [[nodiscard]] const fleet_node& node(node_id id) const { return nodes_[index_of_node(id)]; }
  /// Bytes that are free on a node or held by instances without requests.
  [[nodiscard]] std::vector<std::uint64_t> room() const;

  /// Binds a call to an instance; what is ready of it is queued there.
  void bind(call_id call, instance_id instance, time_point now);

  /// Where the stages of a choice would go: functions of one resource after the other (CPU first), by rising (memory,
  /// index); nodes by falling room, then id; one pass, never back. Empty: no place.
  [[nodiscard]] std::vector<node_id> place(const fleet_dag& dag, const type_choice& choice,
                                           const std::vector<std::uint64_t>& room) const;
  /// Makes an instance there, evicting others that have no requests where memory is short.
  instance_id make(dag_id dag, std::uint32_t choice, const std::vector<node_id>& where, time_point now,
                   std::vector<placing::command>& out);

  /// One pass over the nodes in order of their ids: each free lane takes the replica whose first request came first.
  void dispatch(time_point now, std::vector<placing::command>& out);

  /// When one more call of an instance would end, everything taken alone: a stage starts when its producers have ended,
  /// its replica is loaded, and the work before it has ended, of its replica and of its node per lane; on a node with
  /// one lane the call's own stages follow each other.
  [[nodiscard]] time_point predict(const fleet_dag& dag, const fleet_instance& instance, time_point now) const;
  /// The same for an instance that would be made.
  [[nodiscard]] time_point predict(const fleet_dag& dag, std::uint32_t choice, const std::vector<node_id>& where,
                                   time_point now) const;
  /// The choice with all stages on one resource, if there is one.
  [[nodiscard]] std::optional<std::uint32_t> choice_of_one_type(const fleet_dag& dag, std::size_t type) const;

  /// Grows when an instance loses its last request, and when nodes come: a call that found no room may now.
  [[nodiscard]] std::uint64_t changes() const { return changes_; }
  [[nodiscard]] bool may_start() const { return may_start_; }

  void save(calls::binary_writer& out) const;
  void restore(calls::binary_reader& in);

private:
  [[nodiscard]] std::size_t index_of_node(node_id id) const; ///< nodes().size() when it is not there
  void derive(dag_id id);
  void queue(const placing::stage_ready& fact, fleet_call& call);
  void unqueue(call_id id, const fleet_instance& instance);
  void evict(instance_id id, std::vector<placing::command>& out);
  void make_room(const std::vector<std::uint64_t>& needed, std::vector<placing::command>& out);
  void remove_replica(replica_id id);
  void dispatch(fleet_node& node, std::size_t type, time_point now, std::vector<placing::command>& out);
  void start(fleet_node& node, replica_id id, time_point now, std::vector<placing::command>& out);
  [[nodiscard]] std::size_t batch_size(const fleet_replica& replica, time_point now) const;
  void add_work(fleet_replica& replica, std::int64_t tasks);
  [[nodiscard]] const placing::variant_info& variant_of(const fleet_replica& replica) const;
  void touch(fleet_node& node);

  std::map<function_id, placing::function_registered> functions_;
  std::map<dag_id, placing::dag_registered> registered_;
  std::map<dag_id, fleet_dag> dags_; ///< follows from the two above
  std::map<dag_id, std::vector<instance_id>> by_dag_;
  std::vector<fleet_node> nodes_;                ///< ascending
  std::vector<std::vector<replica_id>> on_node_; ///< parallel to the nodes
  slot_map<replica_id, fleet_replica> replicas_;
  slot_map<instance_id, fleet_instance> instances_;
  slot_map<call_id, fleet_call> calls_;
  slot_map<batch_id, batch_home> batches_;
  std::uint64_t last_replica_;
  std::uint64_t last_batch_;
  std::uint64_t last_instance_ = 0;
  std::uint64_t arrivals_ = 0;
  std::uint64_t changes_ = 0;
  bool may_start_ = false;
};

} // namespace squall::policy::reference
