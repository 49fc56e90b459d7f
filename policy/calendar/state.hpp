#pragma once

#include "policy/calendar/config.hpp"
#include "policy/calendar/graph.hpp"
#include "policy/calendar/price.hpp"
#include "policy/detail/slot_map.hpp"

#include <optional>
#include <string>
#include <vector>

namespace squall::policy::calendar {

using policy::detail::no_slot;

/// A number behind an id.
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

/// The calendar's whole state and its rules; each group of functions is a file of its own.
struct state {
  calendar_config config;
  ns now = 0;
  graph g;
  prices price;
  slots_by_id<variant_id> variant_slots;
  slots_by_id<node_id> node_slots;
  slots_by_id<dag_id> dag_slots;
  slots_by_id<call_id> call_slots;
  slots_by_id<placing::replica_id> replica_slots;
  slots_by_id<batch_id> batch_slots;
  std::uint64_t arrivals = 0, batches_named = 0, replicas_named = 0;
  bool dirty = false;    ///< something happened since the last tick
  ns manage_at = far_off;
  std::vector<placing::command>* out = nullptr;

  template <class Id>
  [[nodiscard]] static slot find(const slots_by_id<Id>& map, Id id) {
    const auto s = map.find_slot(id);
    return s == no_slot ? none : map.at(s).at;
  }

  // -- facts (calendar.cpp)
  void on(const placing::function_registered& fact);
  void on(const placing::dag_registered& fact);
  void on(const placing::dag_removed& fact);
  void on(const placing::node_joined& fact);
  void on(const placing::node_lost& fact);
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
  void drop_call(slot call);
  void make_ready(slot call, std::uint32_t stage);
  void forget_ready(task_ref task, slot variant);

  // -- admission (admission.cpp)
  enum class verdict : std::uint8_t { admitted, too_dear, no_place, impossible };
  struct candidate {
    std::int64_t price = 0;
    std::uint32_t plan = 0;
    friend auto operator<=>(const candidate&, const candidate&) = default;
  };
  [[nodiscard]] slot open_call(const placing::call_arrived& fact, slot dag);
  void rank_plans(const call_entry& call);
  verdict place_call(slot call);
  bool place_plan(slot call, const plan_entry& plan, std::int64_t& paid, std::uint32_t& failed_at);
  bool place_task(task_ref task, slot variant, ns key, std::int64_t& paid);
  bool load_for(task_ref task, slot variant, ns key);
  [[nodiscard]] ns finish_of(const call_entry& call) const;
  void want_gpu(const call_entry& call, verdict v);
  std::array<std::uint64_t, 4> refused{};
  [[nodiscard]] std::int64_t stage_price(const variant_entry& v, std::uint64_t odds) const;
  std::vector<candidate> ranked;
  std::vector<std::int64_t> stage_prices; ///< of the DAG's stages and variants, in order

  // -- running (running.cpp)
  void run_idle();
  bool run_lane(slot lane);
  bool run_exchange(slot lane);
  void launch(slot lane, slot replica, std::vector<task_ref>& tasks);
  struct pick {
    slot replica = none;
    ns urgency = 0;
    std::vector<task_ref> tasks;
  };
  void consider(slot lane, slot replica, const std::vector<task_ref>& from, std::size_t most, pick& best);
  [[nodiscard]] ns room_before(const std::vector<slot>& order, const std::vector<task_ref>& taken, std::size_t count) const;
  struct urgent_task {
    ns latest_end;
    std::uint64_t order;
    task_ref task;
  };
  std::vector<urgent_task> sorted;
  std::vector<task_ref> trial;

  // -- residency (residency.cpp)
  void manage();
  void fill_cpu();
  [[nodiscard]] std::int64_t replica_value(const variant_entry& v, std::size_t count) const;
  bool add_cpu_replica(slot variant, std::int64_t value);
  void pack_gpu();
  bool make_room(slot node, std::uint64_t bytes, std::int64_t value);
  void order_load(slot replica);
  void evict(slot replica);
};

} // namespace squall::policy::calendar
