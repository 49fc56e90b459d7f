#include "calls/recent_calls.hpp"

#include <gtest/gtest.h>

namespace squall::calls {
namespace {

call_id nth(std::uint64_t n) { return call_id{mixed_bits(n + 1)}; }

TEST(RecentCalls, KnowsTheYoungestAndForgetsTheOldest) {
  constexpr std::uint64_t capacity = 4'096;
  recent_calls ended{capacity};
  EXPECT_FALSE(ended.contains(nth(0)));
  constexpr std::uint64_t all = 100'000;
  std::uint64_t lost = 0;
  for (std::uint64_t n = 0; n < all; ++n) {
    ended.add(nth(n));
    EXPECT_TRUE(ended.contains(nth(n)));
    lost += n >= capacity / 8 && !ended.contains(nth(n - capacity / 8)) ? 1 : 0;
  }
  EXPECT_LE(lost, all / 10'000) << "a hundred-thousandth is expected";
  std::uint64_t known = 0;
  for (std::uint64_t n = 0; n < all; ++n)
    known += ended.contains(nth(n)) ? 1 : 0;
  EXPECT_GT(known, capacity * 9 / 10);
  EXPECT_LE(known, capacity);
}

TEST(RecentCalls, AnIdThatIsAddedAgainTakesNoSecondPlace) {
  recent_calls ended{8};
  for (std::uint64_t n = 0; n < 7; ++n)
    ended.add(nth(n));
  for (int again = 0; again < 100; ++again)
    ended.add(nth(3));
  for (std::uint64_t n = 0; n < 7; ++n)
    EXPECT_TRUE(ended.contains(nth(n))) << n;
  ended.clear();
  EXPECT_FALSE(ended.contains(nth(3)));
}

} // namespace
} // namespace squall::calls
