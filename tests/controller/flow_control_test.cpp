#include "controller/flow_control.hpp"

#include <gtest/gtest.h>

namespace squall::controller {
namespace {

using std::chrono::milliseconds;

constexpr client_id one{1};
constexpr client_id two{2};

TEST(FlowControl, BoundsTheBytesOfAllAndOfEach) {
  flow_control flow{{.bytes = 100, .bytes_of_client = 60, .clients = 9}};
  EXPECT_TRUE(flow.check(one, 50).ok());
  flow.begin(one, 50);
  EXPECT_EQ(flow.check(one, 20).error().code, errc::overloaded);
  EXPECT_TRUE(flow.check(two, 50).ok());
  flow.begin(two, 50);
  EXPECT_EQ(flow.check(client_id{3}, 1).error().code, errc::overloaded);
  flow.end(one, 50, from_ns(0));
  EXPECT_TRUE(flow.check(client_id{3}, 50).ok());
  EXPECT_EQ(flow.bytes(), 50U);
}

TEST(FlowControl, ACallThatAloneIsTooLargeForAllRunsWhenNothingElseDoes) {
  flow_control flow{{.bytes = 100, .bytes_of_client = 100, .clients = 9}};
  EXPECT_TRUE(flow.check(one, 1000).ok());
}

TEST(FlowControl, TheHintComesFromTheRateAtWhichBytesEnd) {
  flow_control flow{{.bytes = 1'000'000, .bytes_of_client = 1'000'000, .clients = 9}};
  time_point now = from_ns(0);
  for (int i = 0; i < 1000; ++i) { // 1000 bytes a millisecond
    flow.begin(one, 1000);
    now += milliseconds{1};
    flow.end(one, 1000, now);
  }
  flow.begin(one, 1'000'000);
  const auto hint = flow.check(one, 50'000).error().retry_after;
  EXPECT_GT(hint, milliseconds{40});
  EXPECT_LT(hint, milliseconds{60});
}

TEST(FlowControl, BoundsTheCallsOfAllAndOfEach) {
  flow_control flow{{.calls = 3, .calls_of_client = 2}};
  flow.begin(one, 1);
  flow.begin(one, 1);
  EXPECT_EQ(flow.check(one, 1).error().code, errc::overloaded);
  EXPECT_GT(flow.check(one, 1).error().retry_after, duration{0});
  EXPECT_TRUE(flow.check(two, 1).ok());
  flow.begin(two, 1);
  EXPECT_EQ(flow.check(client_id{3}, 1).error().code, errc::overloaded);
}

} // namespace
} // namespace squall::controller
