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
  std::uint32_t max_queued = 100'000;             ///< items that wait on the node; more are dropped as overloaded
  std::uint32_t max_queued_per_variant = 50'000;  ///< the same for one variant
  std::uint64_t memory_bytes = 0;                 ///< for resident variants; 0 = no bound. Loads evict the least recently used idle ones
  duration load_backoff = std::chrono::seconds{1}; ///< after a failed load, items of the variant are dropped with its error for so long before another try

  friend bool operator==(const node_queue_config&, const node_queue_config&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("max_queued", s.max_queued);
    v("max_queued_per_variant", s.max_queued_per_variant);
    v("memory_bytes", s.memory_bytes);
    v("load_backoff_ns", s.load_backoff);
  }
};

/// Orders the work of one node: which items run together, when, on which lane, and what is resident for that.
///
/// Order: higher priority first; within a priority calls take turns (start-time fair queueing per call), so a map of a thousand elements
/// does not hold up a call of one; ties by item id. An idle lane never waits while a full batch, or an item that has waited its variant's
/// max_delay, could run on it. An item waits for company only while the arrivals of its variant make company likely within max_delay: a lone call starts at once.
/// Items whose latest start has passed are dropped, never started. Same face and rules as `scheduler`.
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

  /// Items waiting, for metrics.
  [[nodiscard]] std::size_t queued() const;
  [[nodiscard]] bool resident(variant_id variant) const;

private:
  struct state;
  explicit node_queue(std::unique_ptr<state> restored);
  std::unique_ptr<state> state_;
};

} // namespace squall::policy
