#pragma once

#include "policy/selection.hpp"

#include <compare>
#include <limits>
#include <vector>

namespace squall::policy {

inline constexpr group_index no_group = std::numeric_limits<group_index>::max();

/// What all strategies know. A strategy reads it; only `selection` changes queues and the row of free executors.
struct selection::state {
  struct waiting_task {
    std::uint64_t task = 0;
    time_point since;
    template <class S, class V>
    static void fields(S& s, V& v) {
      v("task", s.task);
      v("since", s.since);
    }
  };

  struct group {
    duration expected{0};
    std::uint64_t kinds = 0;
    std::uint64_t seen = 0;    ///< tasks that were ever enqueued
    std::uint32_t owned = 0;   ///< executors that are its own (exclusive)
    std::uint64_t gave_at = 0; ///< grows with each executor that was taken from some group; 0: none from this one
    std::vector<waiting_task> line{}; ///< from `first` on, oldest first
    std::size_t first = 0;

    [[nodiscard]] bool empty() const { return first == line.size(); }
    [[nodiscard]] const waiting_task& head() const { return line[first]; }
    template <class S, class V>
    static void fields(S& s, V& v) {
      v("expected_ns", s.expected);
      v("kinds", s.kinds);
      v("seen", s.seen);
      v("owned", s.owned);
      v("gave_at", s.gave_at);
      v("line", s.line);
    }
  };

  struct executor {
    std::uint64_t kind = 0;
    bool alive = true;
    bool free = true;
    group_index owner = no_group;
    template <class S, class V>
    static void fields(S& s, V& v) {
      v("kind", s.kind);
      v("alive", s.alive);
      v("free", s.free);
      v("owner", s.owner);
    }
  };

  selection_config config;
  std::vector<group> groups;
  std::vector<executor> executors;
  std::vector<executor_index> row; ///< free ones, free longest first
  std::size_t waiting = 0;
  std::uint64_t draws = 0;
  executor_index turn = 0; ///< rr: the least index that may be next
  std::uint64_t given = 0; ///< exclusive: executors that passed from group to group
  bool chosen = false;     ///< next() has chosen something

  std::uint64_t take_first(group_index g);
  [[nodiscard]] std::uint64_t draw(std::uint64_t bound);
  /// The executor that is free longest among those that can run the group's tasks and belong to `owner` (no_group: to
  /// anyone).
  [[nodiscard]] std::optional<executor_index> first_free(group_index g, const can_run& can,
                                                         group_index owner = no_group) const;
  [[nodiscard]] std::optional<choice> next_rr(const can_run& can);
  [[nodiscard]] std::optional<choice> next_mlfq(const can_run& can);
  [[nodiscard]] std::optional<choice> next_exclusive(const can_run& can) const;
  template <class Key>
  [[nodiscard]] std::optional<choice> next_by(const can_run& can, Key&& key) const;

  // exclusive
  void deal();
  [[nodiscard]] std::strong_ordering compare_pressure(group_index a, group_index b) const;
  [[nodiscard]] group_index greatest_pressure(std::uint64_t kind) const;
  void pass(executor_index e, group_index to);
  [[nodiscard]] std::optional<executor_index> free_of(group_index owner, std::uint64_t kinds) const;
  void by_pressure();
  void by_group_size();
  void make_room();
};

} // namespace squall::policy
