#pragma once

#include "base/time.hpp"

#include <algorithm>
#include <cstdint>

namespace squall::policy::detail {

/// An integer running average that moves an eighth of the way with each sample; the first sample sets it, and 0 means
/// that there was none.
[[nodiscard]] constexpr std::int64_t averaged(std::int64_t average, std::int64_t sample) {
  return average == 0 ? sample : average + (sample - average) / 8;
}

/// Longer pauses say nothing about how fast a queue drains.
inline constexpr std::int64_t longest_gap_ns = 1'000'000'000;

/// When another try may find a place: until about an eighth of the limit has drained, one each `gap_ns` (0 = not
/// known).
[[nodiscard]] constexpr duration drain_time(std::int64_t gap_ns, std::uint64_t limit) {
  if (gap_ns == 0)
    return std::chrono::milliseconds{100};
  const auto share = static_cast<std::int64_t>(std::min<std::uint64_t>(limit / 8 + 1, 1'000'000));
  return std::clamp<duration>(duration{gap_ns * share}, std::chrono::milliseconds{1}, std::chrono::seconds{10});
}

} // namespace squall::policy::detail
