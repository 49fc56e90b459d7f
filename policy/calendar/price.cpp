#include "policy/calendar/price.hpp"

#include <algorithm>

namespace squall::policy::calendar {

namespace {
constexpr std::uint32_t window = 40; ///< calls after which the limit moves
constexpr std::int64_t scale = 64;   ///< prices keep their digits
} // namespace

void prices::refresh(const std::array<ns, resources>& booked, const std::array<std::int64_t, resources>& lanes) {
  for (std::size_t r = 0; r < resources; ++r) {
    const std::int64_t n = std::max<std::int64_t>(1, lanes[r]);
    const std::int64_t waiting_us = booked[r] / 1000 / n + 1000;
    per_us[r] = std::max<std::int64_t>(1, std::min<std::int64_t>(waiting_us, 10'000'000) * scale / 1000 / n);
  }
}

void prices::note(bool placed, std::int64_t paid, std::uint32_t tolerated_ppm) {
  ++asked;
  if (placed)
    usual += (paid - usual) / 32;
  else
    ++unplaced;
  if (asked < window)
    return;
  const bool many = std::uint64_t{unplaced} * 1'000'000 > std::uint64_t{asked} * tolerated_ppm;
  if (many)
    limit = std::min(limit, std::max<std::int64_t>(1, usual) * 8) / 16 * 15;
  else
    limit = std::min(far_off, limit + limit / 16 + 1);
  limit = std::max<std::int64_t>(limit, 16);
  asked = unplaced = 0;
}

} // namespace squall::policy::calendar
