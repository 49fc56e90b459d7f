#pragma once

#include "base/time.hpp"
#include "calls/queueing.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace squall::policy {

/// What a node's queue is told once. Part of every snapshot.
struct node_queue_config {
  std::uint32_t max_queued = 100'000;            ///< items that wait on the node; more are dropped as overloaded
  std::uint32_t max_queued_per_variant = 50'000; ///< the same for one variant
  std::uint64_t memory_bytes =
      0; ///< for resident variants; 0 = no bound. Loads evict the least recently used idle ones
  duration load_backoff = std::chrono::seconds{
      1}; ///< after a failed load, items of the variant are dropped with its error for so long before another try

  friend bool operator==(const node_queue_config&, const node_queue_config&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("max_queued", s.max_queued);
    v("max_queued_per_variant", s.max_queued_per_variant);
    v("memory_bytes", s.memory_bytes);
    v("load_backoff_ns", s.load_backoff);
  }
};

/// Orders the work of one node: which items run together, when, on which lane, and what is resident for that. Same face
/// and rules as `scheduler`: the driver feeds facts with the time, carries out commands, and steps with `tick` when
/// next_deadline() has come (it may be now).
///
/// Order. Higher priority first; within a priority clients take turns, and so do the stages of each client's calls
/// (start-time fair queueing with learned execution times as costs, in two levels). So neither a client with a thousand
/// calls nor a map of a thousand elements holds up a call of one. Ties by turn among calls, then by item id.
/// The variant whose first item comes first gets an idle lane of its resource (the lowest id); its batch is its first
/// items in this order, up to max_batch.
///
/// Company. Items of a variant with a max_delay may wait for others while a lane is idle, but only
/// - until the end of the moment of their arrival (the next tick), so that the elements of a map run together; and
/// - if the last arrival found an item of the variant queued or running, until twice the average gap of such arrivals
/// has passed without another,
///   if the next one is to be expected within max_delay of the oldest item's arrival, and at the latest max_delay after
///   that arrival.
/// So one client that calls again after each answer never waits for itself. A full batch, an item marked `lone` and a
/// latest start end the wait.
///
/// Latest start. An item is never started after it; it is dropped one nanosecond later.
///
/// Residency. A variant is loaded when an item first needs it, if there is room. Room is made by evicting variants that
/// run nothing: first those without items, then those whose first item comes after the one that needs the room; least
/// recently used first. Variants of the second kind that still run start nothing more until there is room, unless they
/// were loaded more recently than their load took. What can never fit is refused. Where a load turns out larger than
/// declared, the bound may be exceeded until others are idle.
///
/// After `residents_lost` and `load_failed` the driver reports nothing more about loads that it was asked for before.
class node_queue {
public:
  node_queue(const node_queue_config& config, std::uint64_t seed);
  ~node_queue();
  node_queue(const node_queue&) = delete;
  node_queue& operator=(const node_queue&) = delete;

  void step(time_point now, const calls::queueing::event& fact);
  [[nodiscard]] std::vector<calls::queueing::command> take_commands();
  [[nodiscard]] std::optional<time_point> next_deadline() const;
  [[nodiscard]] std::vector<std::byte> save() const;
  [[nodiscard]] static result<std::unique_ptr<node_queue>> restore(std::span<const std::byte> snapshot);
  [[nodiscard]] std::uint64_t hash() const;

  /// The time of the last step.
  [[nodiscard]] time_point now() const;

  /// Items waiting, for metrics.
  [[nodiscard]] std::size_t queued() const;
  [[nodiscard]] bool resident(variant_id variant) const;

private:
  struct state;
  explicit node_queue(std::unique_ptr<state> restored);
  std::unique_ptr<state> state_;
};

} // namespace squall::policy
