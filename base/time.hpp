#pragma once

#include <chrono>
#include <cstdint>

namespace squall {

/// A span of time in whole nanoseconds. Decisions are made in integers, so that a log replays on every machine.
using duration = std::chrono::nanoseconds;

/// The clock of the cores: nanoseconds since an origin that the driver chooses. It has no now(): only a driver
/// (an actor, the simulator, main) knows the time and passes it down.
struct core_clock {
  using rep = std::int64_t;
  using period = std::nano;
  using duration = squall::duration;
  using time_point = std::chrono::time_point<core_clock>;
  static constexpr bool is_steady = true;
};

/// A moment on the clock of one process. Never sent to another host: the wire carries durations.
using time_point = core_clock::time_point;

/// Later than every moment that a driver can name.
inline constexpr time_point never = time_point::max();

/// Nanoseconds since the origin of the clock.
[[nodiscard]] constexpr std::int64_t to_ns(time_point t) { return t.time_since_epoch().count(); }
[[nodiscard]] constexpr time_point from_ns(std::int64_t ns) { return time_point{duration{ns}}; }

} // namespace squall
