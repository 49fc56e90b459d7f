#include "controller/turnstile.hpp"

#include <gtest/gtest.h>

namespace squall::controller {
namespace {

using std::chrono::milliseconds;

constexpr client_id flooding{1};
constexpr client_id other{2};
constexpr dag_id dag{1};

TEST(Turnstile, AFloodStandsInALineOfItsOwn) {
  turnstile t;
  t.set_lanes(4);
  std::uint64_t through = 0;
  for (std::uint64_t i = 1; i <= 100; ++i)
    through += t.enter(flooding, dag, 1, call_id{i}) ? 1 : 0;
  EXPECT_EQ(through, 8U) << "two for each lane";
  EXPECT_EQ(t.waiting(), 92U);
  EXPECT_TRUE(t.enter(other, dag, 1, call_id{200}));
  EXPECT_TRUE(t.enter(flooding, dag_id{2}, 1, call_id{201})) << "another DAG has a line of its own";
}

TEST(Turnstile, CallsGoInTheirOrderAsOthersEnd) {
  turnstile t;
  for (std::uint64_t i = 1; i <= 10; ++i)
    (void)t.enter(flooding, dag, 1, call_id{i});
  EXPECT_TRUE(t.take_ready().empty());
  t.leave(flooding, dag, from_ns(1));
  t.leave(flooding, dag, from_ns(2));
  EXPECT_EQ(t.take_ready(), (std::vector{call_id{5}, call_id{6}}));
  t.withdraw(flooding, dag, call_id{7});
  t.leave(flooding, dag, from_ns(3));
  EXPECT_EQ(t.take_ready(), std::vector{call_id{8}});
  EXPECT_EQ(t.waiting(), 2U);
}

TEST(Turnstile, BatchesCanFill) {
  turnstile t;
  t.set_lanes(2);
  std::uint64_t through = 0;
  for (std::uint64_t i = 1; i <= 100; ++i)
    through += t.enter(flooding, dag, 16, call_id{i}) ? 1 : 0;
  EXPECT_EQ(through, 64U);
}

TEST(Turnstile, ShortCallsMayBeManyAtOnce) {
  turnstile t;
  time_point now = from_ns(0);
  for (std::uint64_t i = 1; i <= 20'000; ++i) { // 100 a millisecond
    (void)t.enter(flooding, dag, 1, call_id{i});
    now += std::chrono::microseconds{10};
    t.leave(flooding, dag, now);
    (void)t.take_ready();
  }
  std::uint64_t through = 0;
  for (std::uint64_t i = 1; i <= 1000; ++i)
    through += t.enter(flooding, dag, 1, call_id{100'000 + i}) ? 1 : 0;
  EXPECT_GT(through, 400U);
  EXPECT_LT(through, 600U);
}

TEST(Turnstile, OpenLetsEverybodyThrough) {
  turnstile t;
  for (std::uint64_t i = 1; i <= 10; ++i)
    (void)t.enter(flooding, dag, 1, call_id{i});
  t.open(true);
  EXPECT_EQ(t.take_ready().size(), 6U);
  EXPECT_TRUE(t.enter(flooding, dag, 1, call_id{11}));
}

} // namespace
} // namespace squall::controller
