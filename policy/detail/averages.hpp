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

/// Nothing is believed to take longer, whatever a node or a spec says: times a width, and summed over the calls in
/// flight, it stays far from the end of 64 bits.
inline constexpr duration longest_work = std::chrono::hours{24};

/// `d` * `factor` / `divisor`, which are not negative, as far as that is believed.
[[nodiscard]] constexpr duration work_of(duration d, std::int64_t factor, std::int64_t divisor = 1) {
  std::int64_t product = 0;
  if (__builtin_mul_overflow(std::clamp(d, duration{0}, longest_work).count(), factor, &product))
    return longest_work;
  return std::min(duration{product / divisor}, longest_work);
}

/// How long one of `count` elements took that took `executed` together, at least a nanosecond.
[[nodiscard]] constexpr duration time_of_one(duration executed, std::int64_t count) {
  return std::max(duration{1}, std::clamp(executed, duration{0}, longest_work) / count);
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
