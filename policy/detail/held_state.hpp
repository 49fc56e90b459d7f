#pragma once

#include "policy/dispatch_policies.hpp"
#include "policy/selection.hpp"

#include <map>
#include <vector>

namespace squall::policy::detail {

namespace placing = calls::placing;

struct held_replica {
  variant_id variant;
  bool loaded = false;
  bool busy = true; ///< a lane has it
  time_point last_used{};
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("variant", s.variant);
    v("loaded", s.loaded);
    v("busy", s.busy);
    v("last_used", s.last_used);
  }
};

struct held_node {
  std::uint64_t memory_bytes = 0;
  std::uint64_t free_bytes = 0;
  std::map<replica_id, held_replica> replicas;
  std::vector<executor_index> lanes;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("memory_bytes", s.memory_bytes);
    v("free_bytes", s.free_bytes);
    v("replicas", s.replicas);
    v("lanes", s.lanes);
  }
};

/// An executor of the selection.
struct held_lane {
  node_id node;
  functions::resource_type resource = functions::resource_type::cpu;
  std::uint64_t taken = 0; ///< grows with each choice; 0: the lane is free
  group_index group = 0;   ///< of what it is taken for
  replica_id replica;
  batch_id batch; ///< zero: it waits for the load
  std::vector<placing::task> tasks;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("node", s.node);
    v("resource", s.resource);
    v("taken", s.taken);
    v("group", s.group);
    v("replica", s.replica);
    v("batch", s.batch);
    v("tasks", s.tasks);
  }
};

struct held_task {
  group_index group = 0;
  placing::task task;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("group", s.group);
    v("task", s.task);
  }
};

struct held_call {
  dag_id dag;
  std::vector<std::uint64_t> waiting; ///< tasks, ascending
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("dag", s.dag);
    v("waiting", s.waiting);
  }
};

/// A function with the variants that a stage allows, in the function's order.
struct held_group {
  function_id function;
  std::vector<variant_id> variants;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("function", s.function);
    v("variants", s.variants);
  }
};

/// Lanes of one resource on nodes with as much memory: a bit in the selection.
struct lane_kind {
  functions::resource_type resource = functions::resource_type::cpu;
  std::uint64_t memory_bytes = 0;
  friend bool operator==(const lane_kind&, const lane_kind&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("resource", s.resource);
    v("memory_bytes", s.memory_bytes);
  }
};

/// What held_policy.hpp describes.
class held_policy final : public dispatch_policy {
public:
  held_policy(const dispatch_policy_setup& setup, const selection_config& config, std::size_t batch);

  [[nodiscard]] std::string_view name() const override { return line_.config().policy; }
  void step(time_point now, const placing::event& fact, std::vector<placing::command>& out) override;
  [[nodiscard]] std::optional<time_point> next_deadline() const override;
  void save(calls::binary_writer& out) const override;
  void restore(calls::binary_reader& in) override;

private:
  using commands = std::vector<placing::command>;

  template <class Fact>
  void on(const Fact&, commands&) {} ///< facts that do not matter here
  void on(const placing::function_registered& fact, commands& out);
  void on(const placing::dag_registered& fact, commands& out);
  void on(const placing::node_joined& fact, commands& out);
  void on(const placing::node_lost& fact, commands& out);
  void on(const placing::call_arrived& fact, commands& out);
  void on(const placing::call_ended& fact, commands& out);
  void on(const placing::cancel_requested& fact, commands& out);
  void on(const placing::stage_ready& fact, commands& out);
  void on(const placing::replica_loaded& fact, commands& out);
  void on(const placing::batch_done& fact, commands& out);
  void on(const placing::tick& fact, commands& out);

  [[nodiscard]] group_index group_of(const placing::stage_info& stage);
  [[nodiscard]] std::uint64_t kinds_of(const held_group& group) const;
  [[nodiscard]] duration expected_of(const held_group& group) const;
  [[nodiscard]] std::uint64_t kind_of(functions::resource_type resource, std::uint64_t memory_bytes);
  void refresh_kinds();

  void enqueue(group_index group, const placing::task& task);
  void forget(call_id call);
  /// Whether the group can run on a lane now: an idle instance, or memory for one.
  [[nodiscard]] bool can_run(group_index group, executor_index lane) const;
  /// The variant that the group uses on the lane; null if none fits.
  [[nodiscard]] const placing::variant_info* variant_for(group_index group, const held_lane& lane) const;
  [[nodiscard]] std::optional<replica_id> idle_replica(const held_node& node, variant_id variant) const;
  [[nodiscard]] static std::uint64_t room(const held_node& node, const std::map<variant_id, placing::variant_info>& of);
  void start(const selection::choice& choice, commands& out);
  void load(held_node& node, held_lane& lane, const placing::variant_info& variant, commands& out);
  void dispatch(held_lane& lane, commands& out);
  void leave(executor_index lane);
  [[nodiscard]] time_point since_start() const { return from_ns((now_ - *start_).count()); }

  selection line_;
  std::size_t batch_;
  std::map<variant_id, placing::variant_info> variants_;
  std::map<function_id, std::vector<variant_id>> functions_;
  std::map<dag_id, std::vector<group_index>> dags_; ///< per stage
  std::vector<held_group> groups_;
  std::vector<lane_kind> kinds_;
  std::map<node_id, held_node> nodes_;
  std::vector<held_lane> lanes_;
  std::map<call_id, held_call> calls_;
  std::map<std::uint64_t, held_task> waiting_;
  std::map<batch_id, executor_index> batches_; ///< that run
  std::vector<executor_index> ended_;          ///< lanes whose work ended since the last tick
  std::vector<executor_index> loaded_;         ///< lanes whose load ended since the last tick
  std::uint64_t last_replica_;
  std::uint64_t last_batch_;
  std::uint64_t last_task_ = 0;
  std::uint64_t last_taken_ = 0;
  time_point now_{};
  std::optional<time_point> start_; ///< of the first fact
  bool changed_ = false;            ///< something that could be decided happened since the last tick
};

} // namespace squall::policy::detail
