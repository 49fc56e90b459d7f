#pragma once

#include "calls/binary.hpp"
#include "policy/calendar/model.hpp"

#include <optional>
#include <span>
#include <string>
#include <vector>

namespace squall::policy::calendar {

inline constexpr std::uint64_t whole_task = 1'000'000; ///< the weight of a task that is sure to run

/// The certificate: booked batches as one graph, which is a complete schedule of all admitted work. An edge says "not
/// before the other has ended": the order on a lane, the order on a replica, and the DAGs. Every batch has an earliest
/// start (the longest path from now) and a latest one (the longest path back from the deadlines), so slack is shared
/// along whole paths and no stage has a fixed slot. The certificate holds when earliest <= latest everywhere; while
/// executors behave as profiled, running each batch as soon as it can run then meets every deadline.
///
/// A change is feasible exactly when its own new end is at most what follows can take: longer paths that it makes all
/// lead through it. So the test takes constant time, and only a feasible change is carried out and propagated. No
/// cycles: work goes into or before a batch only if all that it waits for starts before that batch ends, which nothing
/// that follows the batch does.
///
/// The times kept are bounds on the safe side: no earlier, no later than those paths; equal to them where slack is
/// short.
///
/// Changes since begin() can be taken back as one. Nothing here decides; it keeps the books.
class graph {
public:
  std::vector<variant_entry> variants;
  std::vector<lane_entry> lanes;
  std::vector<replica_entry> replicas;
  std::vector<node_entry> nodes;
  std::vector<batch_entry> batches;
  std::vector<call_entry> calls;
  std::vector<dag_entry> dags;
  std::array<ns, resources> booked{}; ///< time of all booked batches that have not started
  std::array<std::int64_t, resources> lane_count{};

  std::vector<slot> violated; ///< batches that were pushed past their latest start

  /// Batches whose times were looked at so far: what changes cost.
  [[nodiscard]] std::uint64_t visits() const { return visits_; }
  void set_now(ns now) { now_ = now; }
  [[nodiscard]] ns now() const { return now_; }

  // -- a trial: all bookings since begin() are kept or taken back
  void begin();
  void keep();
  void take_back();

  // -- times
  /// Of a batch of so many, in millionths of a task.
  [[nodiscard]] ns time_of(slot variant, std::uint64_t weight) const;
  /// When the last input of the stage is there; of a best-effort join: no later than when its call has to go on and
  /// enough of them are there.
  [[nodiscard]] ns inputs_end(const call_entry& call, std::uint32_t stage) const;
  /// When the task has to have ended: what follows in its call starts at its latest.
  [[nodiscard]] ns latest_end(task_ref task) const;
  /// Whether nothing that the stage waits for can come after the batch, nor is it the batch itself.
  [[nodiscard]] bool precedes(const call_entry& call, std::uint32_t stage, slot batch) const;
  /// Whether nothing that waits for the stage can come before what starts then (not before the stage's inputs are
  /// there), nor is it in the batch itself.
  [[nodiscard]] bool follows(const call_entry& call, std::uint32_t stage, slot batch, ns start) const;

  // -- bookings
  /// Where a new batch would stand.
  struct place {
    slot lane = none;
    slot replica = none;
    std::uint32_t lane_at = 0; ///< index in the orders
    std::uint32_t replica_at = 0;
    ns start = 0;
  };
  /// Books a task of an admitted call into a batch; the caller has tested it.
  void join(task_ref task, slot batch);
  /// Books a new batch of one task; the caller has tested it.
  slot insert(task_ref task, slot variant, const place& where, ns key);
  /// Takes a waiting task out of its batch, which ends if it was the last.
  void remove(task_ref task);
  /// Sets the odds with which a booked task counts; the caller has tested it.
  void set_odds(task_ref task, std::uint32_t odds);
  /// Starts the tasks as one batch, now; they leave the batches where they were booked. The caller has tested it.
  slot start(slot lane, slot replica, std::span<const task_ref> tasks);
  /// Takes a task of a call that is over out of the running batch that holds it.
  void detach(task_ref task);
  /// A running batch is gone with its node; its tasks wait again, booked nowhere.
  void abort(slot batch);
  /// A running batch takes until `end` (later or earlier than booked).
  void move_end(slot batch, ns end);
  /// A running batch has ended: it leaves its lane and its replica.
  void finish(slot batch);

  // -- cluster
  slot add_replica(slot node, slot variant, ns ready_at);
  void drop_replica(slot replica); ///< nothing is booked on it
  void set_ready(slot replica, bool ready, ns at);

  /// Recomputes from here: called after a change of what a call waits for or must meet.
  void touch_call(slot call);
  void touch_stage(slot call, std::uint32_t stage);

  [[nodiscard]] slot running_of(const std::vector<slot>& order) const {
    return !order.empty() && batches[order.front()].running ? order.front() : none;
  }
  /// What is wrong with the books, for tests; empty when all is well.
  [[nodiscard]] std::string check(bool feasible) const;

  /// What names something that is not there; empty when nothing does.
  [[nodiscard]] std::string sound() const;

  slot add_call();
  void free_call(slot call);
  void save(calls::binary_writer& out) const;
  void restore(calls::binary_reader& in);

private:
  enum class step : std::uint8_t { times, joined, inserted, removed, emptied, replica };
  struct undo {
    step what;
    slot a = none;
    ns earliest = 0, latest = 0, duration = 0;
    std::uint64_t weight = 0;
    task_ref task{};
    ns key = 0;
    std::uint32_t at = 0; ///< of the removed task in its batch; of the emptied batch among the open ones
    std::uint32_t lane_at = 0, replica_at = 0;
  };

  [[nodiscard]] ns producer_end(const call_entry& call, std::uint32_t stage) const;
  [[nodiscard]] ns all_inputs_end(const call_entry& call, std::uint32_t stage) const;
  [[nodiscard]] ns enough_inputs_end(const call_entry& call, std::uint32_t stage, std::uint32_t count) const;
  [[nodiscard]] std::string check_batch(slot batch, bool feasible) const;
  void remember(slot batch);
  void set_duration(batch_entry& b);
  void link(slot batch, const place& where);
  void unlink(slot batch);
  void release(slot batch); ///< the slot, not the links
  void forget_open(slot batch);
  [[nodiscard]] slot new_batch();
  [[nodiscard]] ns earliest_of(const batch_entry& b) const;
  [[nodiscard]] ns latest_of(const batch_entry& b) const;
  void push(slot batch); ///< all that bounds it is looked at
  void enqueue(slot batch);
  void push_before(const batch_entry& b);
  void push_after(const batch_entry& b);
  void press_before(const batch_entry& b);
  void press_after(const batch_entry& b);
  void push_consumers(const call_entry& call, std::uint32_t stage);
  void push_producers(const call_entry& call, std::uint32_t stage);
  template <class Key>
  slot take_next(const Key& key_of);
  void flow_forward();
  void flow_back();
  template <class Order>
  void relink(Order& order, std::uint32_t at, slot batch_entry::*before, slot batch_entry::*after);

  ns now_ = 0;
  std::uint64_t visits_ = 0;
  bool trial_ = false;
  std::size_t violated_before_ = 0; ///< the trial
  std::vector<undo> log_;
  std::vector<slot> work_;
  std::vector<std::pair<ns, slot>> order_; ///< a heap
  std::vector<slot> free_batches_, free_replicas_, free_calls_;
};

} // namespace squall::policy::calendar
