#pragma once

#include "policy/calendar/model.hpp"

namespace squall::policy::calendar {

/// What lane time costs. The price of a resource is its booked time per lane, per lane: where much is booked, and few
/// lanes serve it, time is dear. Times a factor, which rises while too many of the calls that could pay find no place
/// on that resource, and falls else: so under overload the calls that take least of it go first.
struct prices {
  static constexpr std::int64_t limit = 10'000'000;   ///< the most that a call may pay
  std::array<std::int64_t, resources> per_us{1, 1};   ///< of a microsecond of lane time
  std::array<std::int64_t, resources> factor{64, 64}; ///< in 1/1024
  std::array<std::uint32_t, resources> unplaced{};
  std::uint32_t asked = 0;

  void refresh(const std::array<ns, resources>& booked, const std::array<std::int64_t, resources>& lanes);
  [[nodiscard]] std::int64_t of(std::size_t resource, ns time) const { return time / 1000 * per_us[resource] / 64; }
  /// One call was placed or could not pay, or (`placed` false) found no place on a resource though it could pay.
  void note(bool placed, std::size_t resource, std::uint32_t tolerated_ppm);

  template <class S, class V>
  static void fields(S& s, V& v) {
    v("cpu", s.per_us[0]);
    v("gpu", s.per_us[1]);
    v("cpu_factor", s.factor[0]);
    v("gpu_factor", s.factor[1]);
    v("cpu_unplaced", s.unplaced[0]);
    v("gpu_unplaced", s.unplaced[1]);
    v("asked", s.asked);
  }
};

} // namespace squall::policy::calendar
