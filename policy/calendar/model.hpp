#pragma once

#include "base/ids.hpp"
#include "base/time.hpp"
#include "calls/placing.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <vector>

/// What the calendar knows: plain structs in pools, which name each other by slot. All times are nanoseconds on the
/// scheduler's clock.
namespace squall::policy::calendar {

namespace placing = calls::placing;
using placing::micro_cost;

using ns = std::int64_t;
using slot = std::uint32_t;
inline constexpr slot none = std::numeric_limits<slot>::max();
inline constexpr ns far_off = std::numeric_limits<ns>::max() / 4; ///< later than every deadline; can be added to
inline constexpr std::size_t resources = 2;                       ///< cpu, gpu: functions::resource_type as index

/// So many millionths of a value, which may be far_off; at most that.
[[nodiscard]] constexpr std::int64_t part_of(std::int64_t value, std::int64_t ppm) {
  return static_cast<std::int64_t>(std::min<__int128>(static_cast<__int128>(value) * ppm / 1'000'000, far_off));
}

/// A call without a deadline stands in line as if it had this one.
inline constexpr ns no_deadline_span = 2'000'000'000;
inline constexpr std::uint32_t max_batch_known = 1024; ///< larger batches are not formed
inline constexpr std::uint32_t max_width_booked = 4096;

[[nodiscard]] constexpr std::size_t index_of(functions::resource_type resource) {
  return resource == functions::resource_type::gpu ? 1 : 0;
}

/// A task of a call: the call's slot and the place of the task in it.
struct task_ref {
  slot call = none;
  std::uint32_t index = 0;
  friend auto operator<=>(const task_ref&, const task_ref&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("call", s.call);
    v("index", s.index);
  }
};

/// One way to run a function, all its replicas, and what waits for them.
struct variant_entry {
  placing::variant_info info;  ///< its id zero: the slot is free
  std::vector<ns> times;       ///< of a batch of b at [b - 1], b up to max_batch
  std::vector<slot> replicas;  ///< in the order in which they were loaded
  std::vector<slot> open;      ///< booked batches that have not started, in the order in which they were booked
  std::vector<task_ref> ready; ///< booked, not started, all inputs there
  std::vector<slot> siblings;  ///< other variants of the function
  ns retry_at = 0;             ///< a load of it failed: none is tried before
  ns booked = 0;               ///< time of its booked batches that have not started
  std::int64_t demand = 0;     ///< decaying: lane time asked for lately (ns)
  std::int64_t worth = 0;      ///< decaying: what being resident would have saved lately (price)
  ns stretch_ppm = 1'000'000;  ///< learned factor of late executions over the profile
  ns learned_at = 0;           ///< when that was last looked at
  bool removed = false;        ///< it leaves its slot once nothing names it

  [[nodiscard]] std::size_t resource() const { return index_of(info.resource); }

  template <class S, class V>
  static void fields(S& s, V& v) {
    v("info", s.info);
    v("times", s.times);
    v("replicas", s.replicas);
    v("open", s.open);
    v("ready", s.ready);
    v("siblings", s.siblings);
    v("retry_at", s.retry_at);
    v("booked", s.booked);
    v("demand", s.demand);
    v("worth", s.worth);
    v("stretch", s.stretch_ppm);
    v("learned_at", s.learned_at);
    v("removed", s.removed);
  }
};

struct lane_entry {
  slot node = none; ///< none: the slot is free
  functions::resource_type resource = functions::resource_type::cpu;
  std::vector<slot> order; ///< booked batches; the running one, if any, is the first
  std::vector<ns> keys;    ///< of the same batches, derived: what is searched lies together
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("node", s.node);
    v("resource", s.resource);
    v("order", s.order);
  }
};

struct replica_entry {
  replica_id id;
  slot node = none;
  slot variant = none; ///< none: the slot is free
  ns ready_at = 0;     ///< expected end of its load
  bool ready = false;
  bool ordered = false;    ///< the load was sent
  std::vector<slot> order; ///< as lane_entry::order
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
    v("node", s.node);
    v("variant", s.variant);
    v("ready_at", s.ready_at);
    v("ready", s.ready);
    v("ordered", s.ordered);
    v("order", s.order);
  }
};

struct node_entry {
  node_id id; ///< zero: lost, the slot is free
  std::array<std::vector<slot>, resources> lanes;
  std::vector<slot> replicas;
  std::uint64_t memory = 0;
  std::uint64_t used = 0;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
    v("cpu", s.lanes[0]);
    v("gpu", s.lanes[1]);
    v("replicas", s.replicas);
    v("memory", s.memory);
    v("used", s.used);
  }
};

/// A node of the certificate: tasks that run together on one lane and one replica.
struct batch_entry {
  batch_id id;         ///< given when it starts
  slot variant = none; ///< none: the slot is free
  slot lane = none;
  slot replica = none;
  ns duration = 0;
  ns earliest = 0;          ///< start, by the longest path from now; of a running batch: its start
  ns latest = 0;            ///< start, by the longest path back from the deadlines
  ns key = 0;               ///< its place in a lane: the least proportional deadline of its members
  std::uint64_t weight = 0; ///< sum of its tasks' odds to run, in millionths
  bool running = false;
  bool queued = false; ///< in a worklist of the propagation:
  bool whole = false;  ///< all that bounds it is looked at, or
  ns pressed = 0;      ///< only this, the tightest of what presses on it
  slot lane_before = none, lane_after = none, replica_before = none, replica_after = none;
  std::vector<task_ref> tasks;

  [[nodiscard]] ns end() const { return earliest + duration; }
  [[nodiscard]] ns latest_end() const { return latest + duration; }

  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
    v("variant", s.variant);
    v("lane", s.lane);
    v("replica", s.replica);
    v("duration", s.duration);
    v("earliest", s.earliest);
    v("latest", s.latest);
    v("key", s.key);
    v("weight", s.weight);
    v("running", s.running);
    v("lane_before", s.lane_before);
    v("lane_after", s.lane_after);
    v("replica_before", s.replica_before);
    v("replica_after", s.replica_after);
    v("tasks", s.tasks);
  }
};

enum class stage_phase : std::uint8_t { waiting, ready, done };

struct task_entry {
  slot batch = none;
  std::uint32_t stage = 0;
  std::uint32_t odds = 1'000'000; ///< with which it is booked
  bool done = false;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("batch", s.batch);
    v("stage", s.stage);
    v("odds", s.odds);
    v("done", s.done);
  }
};

struct stage_entry {
  std::uint32_t first = 0; ///< its first task
  std::uint32_t width = 1;
  std::uint32_t left = 0; ///< tasks that have not ended
  slot variant = none;    ///< that it is booked with
  stage_phase phase = stage_phase::waiting;
  bool placed = false;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("first", s.first);
    v("width", s.width);
    v("left", s.left);
    v("variant", s.variant);
    v("phase", s.phase);
    v("placed", s.placed);
  }
};

struct call_entry {
  call_id id;
  client_id client;
  slot dag = none; ///< none: the slot is free
  ns arrival = 0;
  ns deadline = far_off;
  micro_cost max_cost = placing::no_cost_limit;
  micro_cost cost = 0; ///< of all that is booked or ran
  std::uint32_t assurance_ppm = 0;
  std::uint32_t priority = 0;
  placing::preference preference = placing::preference::least_loaded;
  std::uint64_t order = 0;            ///< of arrival
  ns span = 0;                        ///< of its proportional deadlines, from its arrival
  ns release = 0;                     ///< nothing of it starts before: an offer that may still be redeemed
  bool held = false;                  ///< an offer that is not redeemed
  ns answer_at = far_off;             ///< its best-effort joins go on then with what is there
  std::vector<std::uint32_t> without; ///< stages that it leaves out; ascending
  std::vector<stage_entry> stages;
  std::vector<task_entry> tasks;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
    v("client", s.client);
    v("dag", s.dag);
    v("arrival", s.arrival);
    v("deadline", s.deadline);
    v("max_cost", s.max_cost);
    v("cost", s.cost);
    v("assurance", s.assurance_ppm);
    v("priority", s.priority);
    v("preference", s.preference);
    v("order", s.order);
    v("span", s.span);
    v("release", s.release);
    v("held", s.held);
    v("answer_at", s.answer_at);
    v("without", s.without);
    v("stages", s.stages);
    v("tasks", s.tasks);
  }
};

/// A choice of variants, one a stage, with what it takes on an empty cluster.
struct plan_entry {
  std::vector<std::uint8_t> choice; ///< index into dag_stage::variants
  ns latency = 0;
  micro_cost cost = 0;
};

struct dag_stage {
  placing::stage_info info;
  std::vector<slot> variants;
  std::vector<std::uint32_t> consumers;
  ns tail = 0;                        ///< least time from its start to the end of the call
  std::int64_t share = 0;             ///< of the SLO at which it should have ended, in 1/1024
  std::uint32_t odds_ppm = 1'000'000; ///< learned: that it runs; of a map, its mean share of the width it may have
  bool optional = false;              ///< only best-effort joins read it
  template <class S, class V>
  static void fields(S& s, V& v) { // the rest is derived
    v("info", s.info);
    v("variants", s.variants);
    v("odds", s.odds_ppm);
  }
};

struct dag_entry {
  dag_id id; ///< zero: the slot is free
  std::vector<dag_stage> stages;
  std::vector<plan_entry> plans;
  micro_cost least_cost = 0;
  ns least_latency = 0;
  bool listed = true;                           ///< `plans` are all that there are
  std::vector<std::vector<std::uint8_t>> front; ///< the efficient ones, where they are not listed
  bool front_wanted = false;                    ///< it was asked for, and is not here yet
  ns asked_latency = 0;                         ///< `least_latency` and
  micro_cost asked_cost = 0;                    ///< `least_cost` when it was asked for
  std::uint32_t calls = 0;
  bool removed = false;
  template <class S, class V>
  static void fields(S& s, V& v) { // the rest is derived
    v("id", s.id);
    v("stages", s.stages);
    v("front", s.front);
    v("front_wanted", s.front_wanted);
    v("asked_latency", s.asked_latency);
    v("asked_cost", s.asked_cost);
    v("calls", s.calls);
    v("removed", s.removed);
  }
};

} // namespace squall::policy::calendar
