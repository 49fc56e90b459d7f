#pragma once

#include "policy/calendar/config.hpp"
#include "policy/calendar/graph.hpp"
#include "policy/calendar/price.hpp"
#include "policy/detail/indexed_heap.hpp"
#include "policy/detail/slot_map.hpp"

#include <optional>
#include <string>
#include <vector>

namespace squall::policy::calendar {

using policy::detail::no_slot;

/// A pool's slot behind an id.
struct slot_value {
  slot at = none;
  void recycle() { at = none; }
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("at", s.at);
  }
};

template <class Id>
using slots_by_id = policy::detail::slot_map<Id, slot_value>;

/// An offer that may still be redeemed.
struct held_ticket {
  placing::ticket_id id;
  slot call = none;
  ns expires = 0;
  ns cpu = 0, gpu = 0; ///< lane time that it added to what is booked, which does not count for prices
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
    v("call", s.call);
    v("expires", s.expires);
    v("cpu", s.cpu);
    v("gpu", s.gpu);
  }
};

/// How far the odds of branches may be trusted: what breaks of the calls that overbook them tells.
struct trust {
  std::uint32_t safety_ppm = 1'250'000; ///< on the odds
  std::uint32_t admitted = 0, broken = 0;
  void note(bool kept, std::uint32_t assurance_ppm);
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("safety", s.safety_ppm);
    v("admitted", s.admitted);
    v("broken", s.broken);
  }
};

/// The calendar's whole state and its rules; each group of functions is a file of its own.
struct state {
  calendar_config config;
  ns now = 0;
  graph g;
  prices price;
  trust odds;
  slots_by_id<variant_id> variant_slots;
  slots_by_id<node_id> node_slots;
  slots_by_id<dag_id> dag_slots;
  slots_by_id<call_id> call_slots;
  slots_by_id<replica_id> replica_slots;
  slots_by_id<batch_id> batch_slots;
  std::vector<held_ticket> tickets; ///< in the order in which they were given
  std::uint64_t arrivals = 0;
  std::uint64_t last_id = 0;  ///< of batches, replicas and tickets
  bool dirty = false;         ///< something happened since the last tick
  bool times_changed = false; ///< DAGs are derived anew before residency is
  ns manage_at = far_off;
  slot tidy_next = 0; ///< lane that was looked at last

  // Of one step.
  std::vector<placing::command>* out = nullptr;
  std::vector<slot> to_load; ///< replicas whose load was not sent yet
  policy::detail::timer_heap batch_ends, load_ends;

  template <class Id>
  [[nodiscard]] static slot find(const slots_by_id<Id>& map, Id id) {
    const auto s = map.find_slot(id);
    return s == no_slot ? none : map.at(s).at;
  }
  template <class Id>
  static void put(slots_by_id<Id>& map, Id id, slot at) {
    map.at(map.insert(id)).at = at;
  }

  // -- facts (facts.cpp)
  void on(const placing::function_registered& fact);
  void on(const placing::function_removed& fact);
  void on(const placing::dag_registered& fact);
  void on(const placing::dag_removed& fact);
  void on(const placing::node_joined& fact);
  void on(const placing::node_lost& fact);
  void on(const placing::node_draining&) {} // it is told of node_lost in its place
  void on(const placing::residency_changed&) {}
  void on(const placing::call_arrived& fact);
  void on(const placing::call_ended& fact);
  void on(const placing::cancel_requested& fact);
  void on(const placing::policy_set&) {}
  void on(const placing::tick&);
  void on(const placing::stage_ready& fact);
  void on(const placing::batch_started&) {}
  void on(const placing::batch_done& fact);
  void on(const placing::replica_loaded& fact);
  void on(const placing::ticket_redeemed& fact);
  void on(const placing::front_ready& fact);
  void on(const placing::plans_adopted& fact); // adopting.cpp
  void set_times(variant_entry& v);
  static void keep_booked_time(variant_entry& v, ns before);
  void derive_all();
  void want_front(dag_entry& dag);
  void drop_call(slot call); ///< takes it out of the books
  void forget_dag(slot dag);
  void forget_variants();
  [[nodiscard]] bool is_named(slot variant) const;
  void give_up(slot call, errc code, const std::string& why);
  void make_ready(slot call, std::uint32_t stage);
  void forget_ready(task_ref task, slot variant);
  [[nodiscard]] std::optional<time_point> next_deadline() const;

  // -- admission (admission.cpp)
  enum class verdict : std::uint8_t { admitted, too_dear, no_place, impossible };
  struct candidate {
    std::int64_t price = 0;
    std::uint32_t plan = 0;
    friend auto operator<=>(const candidate&, const candidate&) = default;
  };
  [[nodiscard]] slot open_call(const placing::call_arrived& fact, slot dag);
  [[nodiscard]] std::uint32_t odds_of(const call_entry& call, const dag_stage& stage) const;
  [[nodiscard]] std::uint32_t paid_ppm(const task_entry& task, const dag_stage& stage) const;
  void rank_plans(const call_entry& call);
  void refresh_prices();
  [[nodiscard]] std::int64_t stage_price(const variant_entry& v) const;
  verdict place_call(slot call);
  [[nodiscard]] bool crowded(std::size_t resource) const;
  [[nodiscard]] bool fresh(const call_entry& call) const;
  [[nodiscard]] bool fixed(const call_entry& call, std::size_t stage) const;
  [[nodiscard]] micro_cost plan_cost(const call_entry& call, const plan_entry& plan) const;
  /// One trial: places what is not started of the call by the plan. What fails is taken back.
  bool try_plan(slot call, const plan_entry& plan, std::int64_t limit, std::uint32_t& failed_at);
  bool place_plan(slot call, const plan_entry& plan, std::int64_t& paid, std::uint32_t& failed_at);
  bool place_task(task_ref task, slot variant, ns key, std::int64_t& paid);
  bool load_for(task_ref task, slot variant, ns key);
  [[nodiscard]] ns finish_of(const call_entry& call) const;
  void note_demand(const call_entry& call, verdict v);
  void note_worth(const call_entry& call, const plan_entry& plan, std::int64_t gain);
  [[nodiscard]] std::int64_t ideal_price(const dag_entry& dag, const plan_entry& plan, bool& gpu) const;
  static constexpr std::uint32_t too_dear_at = none; ///< `failed_at` of a plan that had a place, at too high a price
  std::vector<candidate> ranked;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> failed; ///< plans, and the stages at which they failed
  std::vector<std::int64_t> stage_prices;                      ///< of the DAG's stages and variants, in order

  // -- what another scheduler left (adopting.cpp)
  void adopt_replica(const placing::adopted_replica& found);
  slot adopt_call(const placing::adopted_call& found);
  void set_progress(slot call, const placing::adopted_stage& come);
  std::vector<task_ref> tasks_of(const placing::adopted_batch& found, slot variant);
  void adopt_batch(const placing::adopted_batch& found);
  [[nodiscard]] micro_cost cost_so_far(const call_entry& call) const;

  // -- offers (offers.cpp)
  void admit_call(slot call, bool promised);
  void refuse_call(slot call, verdict v);
  // alternatives.cpp
  void omit(slot call, std::uint32_t stage);
  [[nodiscard]] ns latency_of(const call_entry& call, const plan_entry& plan) const;
  void offer_without(slot call, const std::vector<std::uint32_t>& stages, const std::string& what,
                     std::vector<placing::offer>& offers);
  void offer_early_end(slot call, std::vector<placing::offer>& offers);
  void offer_fewer_members(slot call, std::vector<placing::offer>& offers);
  void offer_cpu_only(slot call, std::vector<placing::offer>& offers);
  [[nodiscard]] bool cpu_only(const dag_entry& dag, const plan_entry& plan) const;

  void offer_finish(slot call, std::vector<placing::offer>& offers);
  void offer_cost(slot call, std::vector<placing::offer>& offers);
  void offer_cheapest(slot call, std::vector<placing::offer>& offers);
  /// Books the plan and holds it; false if it has no place.
  bool hold(slot call, const plan_entry& plan, const std::string& what, std::vector<placing::offer>& offers);
  [[nodiscard]] slot copy_call(slot call, ns release);
  void expire_tickets();
  /// How far the plan of an admitted call stays within its SLOs, for people.
  [[nodiscard]] std::string margins(const call_entry& call) const;
  [[nodiscard]] bool may_hold(slot call) const;
  bool quiet = true; ///< few batches waited before the call that is being refused was offered anything

  // -- reasons (reasons.cpp)
  placing::decision how; ///< of the call that is being decided
  ns suggest_after = 0;
  void note_plan(const call_entry& call, std::uint32_t plan, std::string came_of_it);
  void explain_admission(slot call, std::uint32_t taken);
  void explain_refusal(slot call, verdict v);
  void suggest(slot call);
  [[nodiscard]] bool would_admit(slot call, ns deadline, micro_cost max_cost);

  // -- what goes wrong (repair.cpp)
  void check_overruns();
  void repair();
  bool replan(slot call);
  void unbook(slot call);
  bool settle_odds(slot call, std::uint32_t stage);
  void learn_time(slot variant, std::size_t count, ns executed);
  void doubt_times(const dag_entry& dag);

  // -- answers without some members (partial.cpp)
  /// From the start of a best-effort join to the end of the call, as booked; 0: the call has none.
  [[nodiscard]] ns tail_of_joins(const call_entry& call) const;
  void set_answer_time(slot call);
  [[nodiscard]] bool member_late(const call_entry& call) const;
  [[nodiscard]] bool needless(const call_entry& call, std::uint32_t stage) const;
  void go_on_without(slot call, std::uint32_t join);
  void leave_out(slot call, std::uint32_t stage);
  bool let_go(slot call);
  /// replan(), if need be without members that may be missing.
  bool place_again(slot call);

  // -- making the certificate better (tidying.cpp)
  void tidy();
  bool dissolve(slot batch);
  bool advance(slot lane, std::size_t at);
  [[nodiscard]] ns due_start(slot batch) const;

  // -- running (running.cpp)
  void run_idle();
  bool run_lane(slot lane);
  bool run_exchange(slot lane);
  void launch(slot lane, slot replica, std::vector<task_ref>& tasks);
  struct pick {
    slot replica = none;
    std::int64_t urgency = 0;
    std::vector<task_ref> tasks;
  };
  void consider(slot lane, slot replica, const std::vector<task_ref>& from, pick& best);
  [[nodiscard]] ns room_before(const std::vector<slot>& order, const std::vector<task_ref>& taken,
                               std::size_t count) const;
  void find_work(bool exchange);
  struct urgent_task {
    ns latest_end;
    std::uint64_t order;
    task_ref task;
  };
  std::vector<urgent_task> sorted;
  std::vector<task_ref> trial;
  std::vector<task_ref> affordable;
  std::array<std::vector<slot>, resources> work_nodes; ///< that have a replica of something ready

  // -- residency (residency.cpp)
  void manage();
  void fill_cpu();
  /// How many replicas of a CPU variant the node has; none where another would serve nothing: each batch holds a lane,
  /// so that as many as there are lanes are enough.
  [[nodiscard]] std::optional<std::size_t> replicas_beside(slot node, slot variant) const;
  bool add_cpu_replica(slot variant, std::int64_t value);
  void pack_gpu();
  void load_on_gpu(slot variant);
  void fill_gpu(slot node);
  [[nodiscard]] std::int64_t replica_value(const variant_entry& v, std::size_t count) const;
  bool make_room(slot node, std::uint64_t bytes, std::int64_t value);
  slot new_replica(slot node, slot variant);
  void order_loads();
  void evict(slot replica);

  // -- snapshots (snapshot.cpp)
  void save(calls::binary_writer& out) const;
  void restore(calls::binary_reader& in);
};

} // namespace squall::policy::calendar
