#include "policy/calendar/price.hpp"

#include <algorithm>

namespace squall::policy::calendar {

namespace {
constexpr std::uint32_t window = 40;    ///< calls after which the factors move
constexpr std::int64_t scale = 64;      ///< prices keep their digits
constexpr std::uint64_t far_beyond = 8; ///< times the tolerated share: the factor rises fast
constexpr std::int64_t least_factor = 64, most_factor = 1 << 20;
} // namespace

void prices::refresh(const std::array<ns, resources>& booked, const std::array<std::int64_t, resources>& lanes) {
  for (std::size_t r = 0; r < resources; ++r) {
    if (booked[r] == 0) // nothing is in anybody's way: whoever found no place before met something that was not loaded
      factor[r] = least_factor;
    const std::int64_t n = std::max<std::int64_t>(1, lanes[r]);
    const std::int64_t waiting_us = booked[r] / 1000 / n + 1000;
    per_us[r] = std::max<std::int64_t>(
        1, std::min<std::int64_t>(waiting_us, 1'000'000) * scale * 64 / 1000 / n * factor[r] / 1024);
  }
}

void prices::note(bool placed, std::size_t resource, std::uint32_t tolerated_ppm) {
  ++asked;
  if (!placed)
    ++unplaced[resource];
  if (asked < window)
    return;
  for (std::size_t r = 0; r < resources; ++r) {
    const std::uint64_t share = std::uint64_t{unplaced[r]} * 1'000'000;
    const std::uint64_t tolerated = std::uint64_t{asked} * tolerated_ppm;
    factor[r] += share > far_beyond * tolerated ? factor[r] / 4
                 : share > tolerated            ? factor[r] / 16
                                                : -(factor[r] / 16);
    factor[r] = std::clamp(factor[r], least_factor, most_factor);
  }
  asked = 0;
  unplaced = {};
}

} // namespace squall::policy::calendar
