#pragma once

#include "base/time.hpp"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <utility>

namespace squall::sim {

/// Virtual time: what is to happen, in order. What is planned for the same moment happens in the order in which it was
/// planned.
class agenda {
public:
  [[nodiscard]] time_point now() const { return now_; }

  /// Plans something for `t`, or for now if that has passed.
  void at(time_point t, std::function<void()> what) {
    planned_.emplace(std::pair{std::max(t, now_), ++count_}, std::move(what));
  }
  void after(duration d, std::function<void()> what) { at(now_ + d, std::move(what)); }

  /// Lets the next thing happen; false when nothing is planned.
  bool run_next() {
    if (planned_.empty())
      return false;
    auto next = planned_.extract(planned_.begin());
    now_ = next.key().first;
    next.mapped()();
    return true;
  }

private:
  std::map<std::pair<time_point, std::uint64_t>, std::function<void()>> planned_;
  time_point now_{};
  std::uint64_t count_ = 0;
};

} // namespace squall::sim
