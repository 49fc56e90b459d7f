#include "wire/linger.hpp"

#include <gtest/gtest.h>

namespace squall::wire {
namespace {

using namespace std::chrono_literals;

time_point at(duration d) { return from_ns(1'000'000'000) + d; }

TEST(Linger, LooksAgainForALittleWhileAfterNews) {
  linger l;
  EXPECT_FALSE(l.wants(at(0ns))) << "nothing has come yet";
  l.news(at(0ns));
  EXPECT_TRUE(l.wants(at(1us)));
  EXPECT_TRUE(l.wants(at(linger::span - 1ns)));
  EXPECT_FALSE(l.wants(at(linger::span)));
  l.news(at(1ms));
  EXPECT_TRUE(l.wants(at(1ms)));
}

TEST(Linger, WhereTheCoreIsWantedItSleepsForLongerEachTime) {
  linger l;
  duration now{0};
  duration last{0};
  for (int i = 0; i < 8; ++i) {
    l.news(at(now));
    ASSERT_TRUE(l.wants(at(now)));
    l.yielded(linger::core_is_wanted, at(now));
    const duration began = now;
    do {
      now += 10ms;
      l.news(at(now));
    } while (!l.wants(at(now)) && now < 100s);
    EXPECT_GE(now - began, last);
    EXPECT_GE(now - began, linger::shortest_pause);
    EXPECT_LE(now - began, linger::longest_pause);
    last = now - began;
  }
  EXPECT_EQ(last, linger::longest_pause);
}

TEST(Linger, ForgetsWithTimeThatTheCoreWasWanted) {
  linger l;
  for (int i = 0; i < 10; ++i)
    l.yielded(linger::core_is_wanted, at(0ns));
  for (int i = 0; i < 1000; ++i)
    l.yielded(1us, at(2s));
  l.yielded(linger::core_is_wanted, at(3s));
  l.news(at(3s + linger::shortest_pause));
  EXPECT_TRUE(l.wants(at(3s + linger::shortest_pause)));
}

} // namespace
} // namespace squall::wire
