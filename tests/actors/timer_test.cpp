#include "actors/detail/timer.hpp"

#include <gtest/gtest.h>

#include <poll.h>

namespace squall::actors::detail {
namespace {

using namespace std::chrono_literals;

/// Whether it goes off within so many milliseconds.
bool goes_off(const timer& t, int ms) {
  pollfd one{t.fd(), POLLIN, 0};
  return ::poll(&one, 1, ms) == 1;
}

TEST(Timer, GoesOffAtTheSoonestOfTheTimesThatItWasSetTo) {
  timer t;
  const time_point now{1h}; // of whatever clock
  t.set(now + 1h, now);
  EXPECT_FALSE(goes_off(t, 20));
  t.set(now + 5ms, now);
  t.set(now + 2h, now);
  EXPECT_TRUE(goes_off(t, 5000));
}

TEST(Timer, IsSilentUntilItIsSetAgain) {
  timer t;
  const time_point now{};
  EXPECT_FALSE(goes_off(t, 0));
  t.set(now + 1ms, now);
  EXPECT_TRUE(goes_off(t, 5000));
  t.clear();
  EXPECT_FALSE(goes_off(t, 20));
  t.set(now + 1ms, now);
  EXPECT_TRUE(goes_off(t, 5000));
  t.clear();
  t.set(never, now);
  EXPECT_FALSE(goes_off(t, 20));
}

} // namespace
} // namespace squall::actors::detail
