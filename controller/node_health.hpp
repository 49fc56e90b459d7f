#pragma once

#include "base/ids.hpp"
#include "base/time.hpp"

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <utility>

/// What an operator is told of nodes that are in trouble (`squall doctor`). Nothing is decided by it.
namespace squall::controller {

/// What this host says of the time of day, since 1970.
[[nodiscard]] duration wall_clock();

/// Another process's wall clock against ours.
struct clock_reading {
  duration offset{0};      ///< positive: theirs is ahead
  duration uncertainty{0}; ///< either way
};

/// What the beats of a node say of its clock, and of how punctual it is.
class beat_record {
public:
  /// A beat came. `ahead`: its wall clock when it was sent less ours now, if it was told; `round_trip`: of an earlier
  /// beat and its answer, zero if it is not known.
  void beat(time_point now, std::optional<duration> ahead, duration round_trip);

  /// From the beats that were under way for the shortest time. None before two came.
  [[nodiscard]] std::optional<clock_reading> clock() const;
  /// The longest time between two of the last beats.
  [[nodiscard]] duration slowest() const;

private:
  struct one {
    duration since_last{0};
    std::optional<duration> ahead;
    duration round_trip{0};
  };
  static constexpr std::size_t kept = 16;
  std::optional<time_point> last_;
  std::deque<one> beats_;
};

/// How long the same work takes on different nodes.
class paces {
public:
  void ran(variant_id variant, std::uint32_t batch, node_id node, duration executed);
  void forget(node_id node);

  /// Its times over the best ones of other nodes, in thousandths, over all work that both do; 1000 where the difference
  /// is not worth a word. None while there is nothing to compare.
  [[nodiscard]] std::optional<std::uint32_t> permille_of(node_id node) const;

private:
  struct average {
    double ns = 0;
    std::uint32_t count = 0;
  };
  static constexpr std::uint32_t enough = 8;
  static constexpr double weight = 1.0 / 8; ///< of the newest
  static constexpr double worth_a_word_ns = 500'000;
  std::map<std::pair<variant_id, std::uint32_t>, std::map<node_id, average>> times_;
};

} // namespace squall::controller
