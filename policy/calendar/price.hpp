#pragma once

#include "policy/calendar/model.hpp"

namespace squall::policy::calendar {

/// What lane time costs, and the most that a call may take. The price of a resource is its booked time per lane, per
/// lane: where much is booked, and few lanes serve it, time is dear. The limit falls while too many of those below it
/// find no place, and rises else, so that under overload the calls that take least go first.
struct prices {
  std::array<std::int64_t, resources> per_us{1, 1}; ///< of a microsecond of lane time
  std::int64_t limit = far_off;
  std::int64_t usual = 0; ///< decaying mean of what admitted calls paid
  std::uint32_t asked = 0, unplaced = 0;

  void refresh(const std::array<ns, resources>& booked, const std::array<std::int64_t, resources>& lanes);
  [[nodiscard]] std::int64_t of(std::size_t resource, ns time) const { return time / 1000 * per_us[resource]; }
  /// One call within the limit was placed for `paid`, or not.
  void note(bool placed, std::int64_t paid, std::uint32_t tolerated_ppm);

  template <class S, class V>
  static void fields(S& s, V& v) {
    v("cpu", s.per_us[0]);
    v("gpu", s.per_us[1]);
    v("limit", s.limit);
    v("usual", s.usual);
    v("asked", s.asked);
    v("unplaced", s.unplaced);
  }
};

} // namespace squall::policy::calendar
