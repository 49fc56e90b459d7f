#include "base/random.hpp"

#include <gtest/gtest.h>

#include <array>

namespace squall {
namespace {

TEST(Random, TheSameSeedGivesTheSameNumbersOnEveryMachine) {
  random_source random{1};
  const std::array<std::uint64_t, 3> first{random.next(), random.next(), random.next()};
  random_source again{1};
  for (const std::uint64_t n : first)
    EXPECT_EQ(again.next(), n);
  EXPECT_EQ(first[0], 0xb3f2af6d0fc710c5ULL);
}

TEST(Random, BelowIsUniform) {
  random_source random{2};
  std::array<int, 10> counts{};
  for (int i = 0; i < 100'000; ++i)
    ++counts[random.below(10)];
  for (const int c : counts)
    EXPECT_NEAR(c, 10'000, 500);
}

TEST(Random, DistributionsHaveTheirMeans) {
  random_source random{3};
  double unit = 0;
  double exponential = 0;
  for (int i = 0; i < 100'000; ++i) {
    const double u = random.unit();
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    unit += u;
    exponential += random.exponential(5.0);
  }
  EXPECT_NEAR(unit / 100'000, 0.5, 0.01);
  EXPECT_NEAR(exponential / 100'000, 5.0, 0.1);
}

} // namespace
} // namespace squall
