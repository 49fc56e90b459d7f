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

TEST(FlowControl, WhoFloodsIsBeyondItsShareAndOthersAreNot) {
  flow_control flow{{}};
  for (int i = 0; i < 1000; ++i)
    flow.begin(one, 1);
  EXPECT_FALSE(flow.beyond_share(one)) << "alone it takes from nobody";
  flow.begin(two, 1);
  EXPECT_TRUE(flow.beyond_share(one));
  EXPECT_FALSE(flow.beyond_share(two));
  EXPECT_FALSE(flow.beyond_share(client_id{3}));
  flow.end(two, 1, from_ns(1));
  EXPECT_FALSE(flow.beyond_share(one));
}

TEST(FlowControl, EqualsAreWithinTheirShares) {
  flow_control flow{{}};
  for (int i = 0; i < 100; ++i)
    for (std::uint64_t c = 1; c <= 5; ++c)
      flow.begin(client_id{c}, 1);
  for (std::uint64_t c = 1; c <= 5; ++c)
    EXPECT_FALSE(flow.beyond_share(client_id{c})) << c;
}

} // namespace
} // namespace squall::controller
