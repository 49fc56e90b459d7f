#pragma once

#include "policy/detail/averages.hpp"
#include "policy/detail/indexed_heap.hpp"
#include "policy/detail/slot_map.hpp"
#include "policy/dispatch_policy.hpp"
#include "policy/placement_policy.hpp"
#include "policy/scheduler.hpp"

#include <array>
#include <map>

namespace squall::policy::detail {

namespace placing = calls::placing;
using functions::resource_type;

inline constexpr std::size_t resource_count = 2;
[[nodiscard]] inline std::size_t index_of(resource_type r) { return r == resource_type::gpu ? 1 : 0; }

/// Adds without passing the end of time.
[[nodiscard]] constexpr time_point later(time_point t, duration d) {
  duration::rep sum = 0;
  if (__builtin_add_overflow(t.time_since_epoch().count(), d.count(), &sum))
    return d > duration{0} ? never : time_point::min();
  return time_point{duration{sum}};
}

/// What is assumed of a stage that never ran and declares nothing.
inline constexpr duration unknown_execution = std::chrono::milliseconds{1};

/// A part of a call's expected work on a node, taken off when the call ends.
struct charge {
  node_id node;
  resource_type resource = resource_type::cpu;
  duration work{0};

  template <class S, class V>
  static void fields(S& s, V& v) {
    v("node", s.node);
    v("resource", s.resource);
    v("work_ns", s.work);
  }
};

struct call_state {
  client_id client;
  dag_id dag;
  std::uint64_t order = 0; ///< of arrival, from 1
  time_point deadline = never;
  calls::sequence sequence;
  bool late = false;                   ///< its work is dispatched
  bool second = false;                 ///< by the policy that has a share
  std::vector<std::uint32_t> variants; ///< per stage, the index of the chosen variant among the stage's
  std::vector<charge> charges;

  void recycle() {
    late = second = false;
    variants.clear();
    charges.clear();
  }
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("client", s.client);
    v("dag", s.dag);
    v("order", s.order);
    v("deadline", s.deadline);
    v("sequence", s.sequence);
    v("late", s.late);
    v("second", s.second);
    v("variants", s.variants);
    v("charges", s.charges);
  }
};

struct client_state {
  std::uint32_t calls = 0;
  void recycle() {}
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("calls", s.calls);
  }
};

struct stage_state {
  placing::stage_info info;
  bool stateful = false;
  std::vector<duration> executed; ///< learned per variant, of one element; zero = not known
  std::int64_t width_q8 = 0;      ///< learned width of a map, in 1/256; zero = not known
  std::int64_t ran_q10 = 1024;    ///< learned share of calls in which it ran, in 1/1024

  // Follows from the DAG's structure.
  std::uint32_t depth = 0; ///< longest way from a source

  template <class S, class V>
  static void fields(S& s, V& v) {
    v("info", s.info);
    v("stateful", s.stateful);
    v("executed_ns", s.executed);
    v("width_q8", s.width_q8);
    v("ran_q10", s.ran_q10);
  }
};

struct dag_state {
  std::vector<stage_state> stages;
  bool removed = false;
  std::uint64_t calls = 0; ///< in flight

  std::vector<stage_index> order; ///< by depth, then index; follows from the stages

  void recycle() { *this = {}; }
  /// Fills what follows from the structure; false if the structure is not one of a DAG in topological order.
  [[nodiscard]] bool derive();
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("stages", s.stages);
    v("removed", s.removed);
    v("calls", s.calls);
  }
};

struct variant_state {
  placing::variant_info info;
  std::uint32_t resident_nodes = 0;

  void recycle() { *this = {}; }
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("info", s.info);
    v("resident_nodes", s.resident_nodes);
  }
};

struct function_state {
  bool stateful = false;
  void recycle() {}
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("stateful", s.stateful);
  }
};

/// What a node has of one resource.
struct node_share {
  std::uint32_t lanes = 0;
  duration work{0};          ///< outstanding
  std::uint64_t charges = 0; ///< that make up the work
  std::uint64_t freed = 0;   ///< see node_candidate

  template <class S, class V>
  static void fields(S& s, V& v) {
    v("lanes", s.lanes);
    v("work_ns", s.work);
    v("charges", s.charges);
    v("freed", s.freed);
  }
};

struct node_state {
  node_id id;
  node_share cpu;
  node_share gpu;
  std::uint64_t memory_bytes = 0;
  std::vector<variant_id> resident; ///< ascending

  std::array<duration, resource_count>
      own{}; ///< scratch of one placement: work of the same call's stages at the same depth

  [[nodiscard]] node_share& share(resource_type r) { return r == resource_type::gpu ? gpu : cpu; }
  [[nodiscard]] const node_share& share(resource_type r) const { return r == resource_type::gpu ? gpu : cpu; }
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
    v("cpu", s.cpu);
    v("gpu", s.gpu);
    v("memory_bytes", s.memory_bytes);
    v("resident", s.resident);
  }
};

/// Where the state of a stream of calls is.
struct sequence_state {
  node_id node;
  std::uint32_t calls = 0; ///< in flight
  call_id ending;          ///< the call after which it is dropped; zero = none so far
  bool lost = false;       ///< its node died; the next call is told so
  time_point idle_since{}; ///< with no calls in flight
  void recycle() { *this = {}; }
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("node", s.node);
    v("calls", s.calls);
    v("ending", s.ending);
    v("lost", s.lost);
    v("idle_since", s.idle_since);
  }
};

/// A replica that a dispatch policy asked for.
struct late_replica {
  replica_id id;
  node_id node;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
    v("node", s.node);
  }
};

/// The policy that decides a share of the calls (scheduler_share.cpp).
struct share_state {
  std::unique_ptr<dispatch_policy> policy; ///< null: there is none, or it waits
  std::string name;
  std::uint32_t share_ppm = 0;
  bool waiting = false;     ///< its nodes have work of the other policy
  bool ending = false;      ///< it gets no more calls
  std::uint64_t number = 0; ///< in the ids that it gives
  std::uint64_t calls = 0;  ///< in flight
  std::uint64_t decided = 0, admitted = 0;
  std::vector<node_id> nodes; ///< ascending
  std::vector<late_replica> replicas;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("name", s.name);
    v("share_ppm", s.share_ppm);
    v("waiting", s.waiting);
    v("ending", s.ending);
    v("number", s.number);
    v("calls", s.calls);
    v("decided", s.decided);
    v("admitted", s.admitted);
    v("nodes", s.nodes);
    v("replicas", s.replicas);
  }
};

/// What the scheduler knows beside its dispatch policy.
struct late_state {
  bool in_force = false;                   ///< new calls go to it; else they are placed when they arrive
  std::unique_ptr<dispatch_policy> policy; ///< null: none was ever in force, or all of its calls have ended
  std::string name;                        ///< of the policy
  std::uint64_t calls = 0;                 ///< in flight that are not placed on arrival, held ones among them
  std::uint64_t policies = 0;              ///< made so far: each has ids of its own
  std::string next; ///< the policy that is to follow when the calls of this one have ended; empty = none
  std::vector<placing::call_arrived> held;                       ///< for the next policy, in order of arrival
  std::map<function_id, placing::function_registered> functions; ///< for the next policy
  std::vector<placing::node_joined> nodes;                       ///< for the next policy, ascending
  std::vector<late_replica> replicas;                            ///< ascending
  share_state second;
  std::unique_ptr<policy::shadow> shadow; ///< null: there is none
};

/// A plan with what it will be charged for. A member of the state, so that its memory is used again.
struct draft {
  calls::plan plan;
  std::vector<std::uint32_t> variants;
  std::vector<charge> charges;
  std::vector<duration> finish; ///< per stage, expected, from the start of the call
  node_id state_node;           ///< keeps the state of the call's sequence
  std::uint64_t affinity = 0;   ///< of the call
  duration wait{0};             ///< the greatest load of a node used, before this call
  bool known = true;            ///< all execution times are learned or declared
};

} // namespace squall::policy::detail

namespace squall::policy {

struct scheduler::state {
  using resource_type = functions::resource_type;

  scheduler_config config;
  std::uint64_t seed = 0;
  time_point now{};
  std::unique_ptr<placement_policy> policy;
  std::string policy_name; ///< in force for new calls
  std::string placing_name;

  std::vector<detail::node_state> nodes; ///< ascending
  detail::slot_map<function_id, detail::function_state> functions;
  detail::slot_map<variant_id, detail::variant_state> variants;
  detail::slot_map<dag_id, detail::dag_state> dags;
  detail::slot_map<call_id, detail::call_state> in_flight;
  detail::slot_map<client_id, detail::client_state> clients;
  detail::slot_map<sequence_id, detail::sequence_state> sequences;
  detail::timer_heap call_timers;
  detail::timer_heap sequence_timers;
  std::uint64_t arrivals = 0;  ///< admitted so far
  std::uint64_t releases = 0;  ///< nodes that became free so far
  std::int64_t end_gap_ns = 0; ///< running average of the time between ends of calls
  time_point last_end{};

  detail::late_state late;

  std::vector<calls::placing::command> commands;

  // Scratch of one placement.
  detail::draft draft;
  std::vector<node_candidate> candidates;
  std::vector<std::uint32_t> candidate_nodes; ///< index into `nodes`, parallel to `candidates`

  // Facts (scheduler.cpp).
  void on(const calls::placing::function_registered& fact);
  void on(const calls::placing::function_removed& fact);
  void on(const calls::placing::dag_registered& fact);
  void on(const calls::placing::dag_removed& fact);
  void on(const calls::placing::node_joined& fact);
  void on(const calls::placing::node_lost& fact);
  void on(const calls::placing::node_draining& fact);
  void on(const calls::placing::residency_changed& fact);
  void on(const calls::placing::call_arrived& fact);
  void on(const calls::placing::call_ended& fact);
  void on(const calls::placing::cancel_requested& fact);
  void on(const calls::placing::tick&) {}
  // Facts about dispatched calls are for the dispatch policy alone.
  void on(const calls::placing::batch_started&) {}
  void on(const calls::placing::batch_done&) {}
  void on(const calls::placing::replica_loaded&) {}
  void on(const calls::placing::ticket_redeemed&) {}
  void on(const calls::placing::front_ready&) {}
  void expire();

  [[nodiscard]] bool named_by_dag(variant_id variant) const;
  void use_policy(std::string_view name);
  [[nodiscard]] result<> check_arrival(const calls::placing::call_arrived& fact, const detail::dag_state* dag);
  [[nodiscard]] error overloaded(std::string what, std::uint64_t limit) const;
  void admit(const calls::placing::call_arrived& fact, detail::dag_state& dag);
  void charge_draft(const calls::placing::call_arrived& fact, detail::dag_state& dag);
  [[nodiscard]] duration reserve_of(const detail::dag_state& dag, duration finish, duration left) const;
  /// Enters a call into what counts calls.
  detail::slot_index enter(const calls::placing::call_arrived& fact, detail::dag_state& dag);
  void learn(const detail::call_state& call, const calls::placing::call_ended& fact);
  void release(detail::slot_index call);
  void release_ended(detail::slot_index call);
  void abandon(detail::slot_index call, errc code, std::string message);
  [[nodiscard]] detail::node_state* find_node(node_id id);

  // Late placement (scheduler_late.cpp).
  void late_fact(const calls::placing::function_registered& fact);
  void late_fact(const calls::placing::function_removed& fact);
  void late_fact(const calls::placing::dag_registered& fact);
  void late_fact(const calls::placing::node_joined& fact);
  void late_fact(const calls::placing::node_lost& fact);
  void late_fact(const calls::placing::node_draining& fact);
  void late_fact(const calls::placing::call_arrived& fact);
  void late_fact(const calls::placing::call_ended& fact);
  void late_fact(const calls::placing::cancel_requested& fact);
  void late_fact(const calls::placing::stage_ready& fact);
  void late_fact(const calls::placing::policy_set& fact);
  void late_fact(const calls::placing::tick& fact);
  void late_fact(const calls::placing::replica_loaded& fact);
  void late_fact(const calls::placing::ticket_redeemed& fact);
  void late_fact(const calls::placing::plans_adopted& fact);
  template <class Fact>
  void late_fact(const Fact& fact) {
    on(fact);
    tell_policy(fact);
    tell_second(fact);
  }
  void tell_policy(const calls::placing::event& fact);
  /// Follows what the policy ordered.
  void note(const calls::placing::command& command, std::vector<detail::late_replica>& replicas);
  void release_if_known(call_id call);
  void enter_late(const calls::placing::call_arrived& fact, detail::dag_state& dag, bool second = false);
  void use_dispatch_policy(const std::string& name);
  void set_shadow(const std::string& name);
  [[nodiscard]] result<std::unique_ptr<dispatch_policy>> next_dispatch_policy(const std::string& name);
  void hand_over();
  /// With the nodes that `nodes` names, or with all others.
  [[nodiscard]] std::vector<calls::placing::event> known_facts(const std::vector<node_id>& nodes, bool these) const;
  /// After a fact: follows a change of policy as far as the calls of the old one allow.
  void settle_policies();
  void retire_policy();

  // A share of the calls (scheduler_share.cpp).
  void set_share(const calls::placing::policy_set& fact);
  void start_second();
  void tell_second(const calls::placing::event& fact);
  void end_share();
  void retire_second();
  [[nodiscard]] bool shared_out(node_id id) const;
  [[nodiscard]] bool second_wants(node_id id);
  [[nodiscard]] bool second_lost(node_id id);
  [[nodiscard]] bool drawn_for_second(const calls::placing::call_arrived& fact) const;
  [[nodiscard]] std::vector<node_id> nodes_for_share(std::uint32_t share_ppm) const;
  [[nodiscard]] share_view share() const;
  /// Among the calls that a change of policies holds back; its end if the call is not.
  [[nodiscard]] std::vector<calls::placing::call_arrived>::iterator find_held(call_id call);
  void place_again(const std::vector<calls::placing::call_arrived>& held);
  void save_late(calls::binary_writer& out) const;
  [[nodiscard]] result<> load_late(calls::binary_reader& in);

  // What another scheduler left (scheduler_adopting.cpp).
  [[nodiscard]] result<> check_adoption(const calls::placing::adopted_call& found) const;
  void adopt_placed(const calls::placing::adopted_call& found);
  void refuse_adoption(const calls::placing::adopted_call& found, const error& why);

  // Sequences (scheduler_sequences.cpp).
  /// The sequence of a call that belongs to one; null: it is to be made. An error when its state is not held.
  [[nodiscard]] result<detail::sequence_state*> find_sequence(const calls::placing::call_arrived& fact);
  detail::sequence_state& begin_sequence(sequence_id id, node_id node);
  void enter_sequence(detail::sequence_state& sequence, const calls::placing::call_arrived& fact);
  void leave_sequence(const calls::sequence& of, call_id call);
  void lose_sequences(node_id node);
  void expire_sequences();

  // Placing (scheduler_placing.cpp): fills `draft`.
  /// `state_node` keeps the state of the call's sequence; zero: it has none yet.
  [[nodiscard]] result<> place(call_id call, bool stateful, const detail::dag_state& dag, node_id state_node);
  [[nodiscard]] result<> place_stage(call_id call, bool stateful, const detail::dag_state& dag, stage_index index);
  [[nodiscard]] std::size_t keeper_of(std::uint64_t affinity) const;
  void set_near(const detail::stage_state& stage, placement_request& request) const;
  struct variant_choice {
    std::uint32_t index = 0;
    resource_type resource = resource_type::cpu;
    duration expected{0};
    bool known = false;
  };
  [[nodiscard]] result<variant_choice> choose_variant(const detail::stage_state& stage, stage_index index,
                                                      const detail::node_state* only) const;
  [[nodiscard]] error no_lane(const detail::stage_state& stage, stage_index index,
                              const detail::node_state* only) const;
  void find_candidates(variant_id variant, resource_type resource, const detail::node_state* only);
  void spread(const detail::stage_state& stage, const variant_choice& choice, std::size_t home, calls::placement& out);
  void charge_stage(const detail::stage_state& stage, const variant_choice& choice, const calls::placement& where);
  void estimate(const detail::stage_state& stage, stage_index index, const variant_choice& choice,
                const calls::placement& where);
  [[nodiscard]] duration load_of(const detail::node_state& node, resource_type resource) const;

  // Snapshots (scheduler_snapshot.cpp).
  void save(calls::binary_writer& out) const;
  [[nodiscard]] result<> load(std::span<const std::byte> snapshot);
  [[nodiscard]] result<> rebuild();
};

} // namespace squall::policy
