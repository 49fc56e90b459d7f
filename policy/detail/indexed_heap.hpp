#pragma once

#include "base/time.hpp"
#include "policy/detail/slot_map.hpp"

#include <compare>
#include <optional>
#include <vector>

namespace squall::policy::detail {

/// Where each slot stands in the heap that holds it; shared by heaps of which at most one holds a slot.
using heap_positions = std::vector<std::uint32_t>;

/// A binary heap of slots with their keys, least first; a slot can be taken out or moved from anywhere in logarithmic
/// time. Keys are unique (they end in an id), so the order in which slots come out does not depend on how they went in.
template <class Key>
class indexed_heap {
public:
  struct entry {
    Key key;
    slot_index slot;
  };

  [[nodiscard]] bool empty() const { return entries_.empty(); }
  [[nodiscard]] std::size_t size() const { return entries_.size(); }
  [[nodiscard]] const entry& top() const { return entries_.front(); }

  /// Adds the slot, which no heap over these positions holds.
  void push(heap_positions& positions, slot_index slot, const Key& key) {
    if (positions.size() <= slot)
      positions.resize(slot + 1, none);
    entries_.push_back({key, slot});
    rise(positions, entries_.size() - 1);
  }

  /// Adds the slot or gives it another key.
  void set(heap_positions& positions, slot_index slot, const Key& key) {
    erase(positions, slot);
    push(positions, slot, key);
  }

  /// Takes the slot out; nothing happens if it is not in.
  void erase(heap_positions& positions, slot_index slot) {
    if (positions.size() <= slot || positions[slot] == none)
      return;
    const std::size_t at = positions[slot];
    positions[slot] = none;
    const entry last = entries_.back();
    entries_.pop_back();
    if (at == entries_.size())
      return;
    const bool up = last.key < entries_[at].key;
    entries_[at] = last;
    if (up)
      rise(positions, at);
    else
      sink(positions, at);
  }

private:
  static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();

  void rise(heap_positions& positions, std::size_t at) {
    const entry moved = entries_[at];
    while (at > 0 && moved.key < entries_[(at - 1) / 2].key) {
      settle(positions, at, entries_[(at - 1) / 2]);
      at = (at - 1) / 2;
    }
    settle(positions, at, moved);
  }
  void sink(heap_positions& positions, std::size_t at) {
    const entry moved = entries_[at];
    for (;;) {
      std::size_t child = 2 * at + 1;
      if (child + 1 < entries_.size() && entries_[child + 1].key < entries_[child].key)
        ++child;
      if (child >= entries_.size() || !(entries_[child].key < moved.key))
        break;
      settle(positions, at, entries_[child]);
      at = child;
    }
    settle(positions, at, moved);
  }
  void settle(heap_positions& positions, std::size_t at, const entry& e) {
    entries_[at] = e;
    positions[e.slot] = static_cast<std::uint32_t>(at);
  }

  std::vector<entry> entries_;
};

/// A timer: when, then which id. Ties end in the id.
struct timer_key {
  std::int64_t at_ns = 0;
  std::uint64_t id = 0;
  friend auto operator<=>(const timer_key&, const timer_key&) = default;
};

/// A heap of timers with positions of its own.
class timer_heap {
public:
  void set(slot_index slot, time_point at, std::uint64_t id) { heap_.set(positions_, slot, {to_ns(at), id}); }
  void erase(slot_index slot) { heap_.erase(positions_, slot); }
  /// The time of the first one.
  [[nodiscard]] std::optional<time_point> first() const {
    return heap_.empty() ? std::nullopt : std::optional{from_ns(heap_.top().key.at_ns)};
  }
  /// The slot of the first one if its time has come.
  [[nodiscard]] slot_index due(time_point now) const {
    return !heap_.empty() && heap_.top().key.at_ns <= to_ns(now) ? heap_.top().slot : no_slot;
  }

private:
  indexed_heap<timer_key> heap_;
  heap_positions positions_;
};

} // namespace squall::policy::detail
