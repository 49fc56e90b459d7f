#pragma once

#include "base/time.hpp"

#include <algorithm>
#include <chrono>

#include <sched.h>

namespace squall::wire {

/// Whether a loop without work looks again for a little while before it sleeps. A core that goes idle between two
/// messages takes longer to wake up than most messages take to be served. Between two looks the loop yields its core;
/// where that takes long, somebody else needs it: then the loop sleeps as soon as it can, for longer each time.
///
///     if (linger.wants(now) && linger.yield(clock)) { look; } else { sleep; }
class linger {
public:
  static constexpr duration span = std::chrono::microseconds{50};
  static constexpr duration core_is_wanted = std::chrono::microseconds{500};
  static constexpr duration shortest_pause = std::chrono::milliseconds{50};
  static constexpr duration longest_pause = std::chrono::seconds{1};

  /// Something came.
  template <class TimePoint>
  void news(TimePoint now) {
    until_ = now.time_since_epoch() + span;
  }

  template <class TimePoint>
  [[nodiscard]] bool wants(TimePoint now) const {
    return now.time_since_epoch() < until_ && now.time_since_epoch() >= paused_until_;
  }

  /// Yields and notes how long that took, by `clock`. Whether there is time left to look again.
  template <class Clock>
  bool yield(const Clock& clock) {
    const auto before = clock();
    ::sched_yield();
    const auto after = clock();
    yielded(after - before, after);
    return wants(after);
  }

  /// How long it took until the loop had its core again, at `now`.
  template <class TimePoint>
  void yielded(duration took, TimePoint now) {
    if (took < core_is_wanted) {
      pause_ = std::max(shortest_pause, pause_ - pause_ / 64);
      return;
    }
    paused_until_ = now.time_since_epoch() + pause_;
    pause_ = std::min(2 * pause_, longest_pause);
  }

private:
  duration until_{0};
  duration paused_until_{0};
  duration pause_ = shortest_pause;
};

} // namespace squall::wire
