#include "controller/node_health.hpp"

#include <gtest/gtest.h>

namespace squall::controller {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr variant_id work{1};
constexpr variant_id other_work{2};

TEST(BeatRecord, KnowsNoClockBeforeABeatWasAnswered) {
  beat_record beats;
  EXPECT_FALSE(beats.clock());
  beats.beat(from_ns(0), seconds{3}, duration{0});
  EXPECT_FALSE(beats.clock()) << "it may have been under way for as long as it likes";
  beats.beat(from_ns(1'000'000'000), std::nullopt, milliseconds{4});
  ASSERT_TRUE(beats.clock());
  EXPECT_EQ(beats.clock()->offset, seconds{3} + milliseconds{2});
  EXPECT_EQ(beats.clock()->uncertainty, milliseconds{2});
}

TEST(BeatRecord, BelievesTheBeatThatWasUnderWayForTheShortestTime) {
  beat_record beats;
  for (const int late_ms : {300, 20, 1, 80})
    beats.beat(from_ns(0), seconds{-7} - milliseconds{late_ms}, milliseconds{late_ms * 2});
  ASSERT_TRUE(beats.clock());
  EXPECT_EQ(beats.clock()->offset, seconds{-7});
  EXPECT_EQ(beats.clock()->uncertainty, milliseconds{1});
}

TEST(BeatRecord, FollowsAClockThatWasSet) {
  beat_record beats;
  for (int i = 0; i < 20; ++i)
    beats.beat(from_ns(0), seconds{3600}, milliseconds{1});
  for (int i = 0; i < 16; ++i)
    beats.beat(from_ns(0), seconds{0}, milliseconds{1});
  EXPECT_LT(beats.clock()->offset, seconds{1});
}

TEST(BeatRecord, TellsTheSlowestOfTheLastBeats) {
  beat_record beats;
  time_point now = from_ns(0);
  for (const int gap_ms : {0, 1000, 2500, 1000}) {
    now += milliseconds{gap_ms};
    beats.beat(now, std::nullopt, duration{0});
  }
  EXPECT_EQ(beats.slowest(), milliseconds{2500});
  for (int i = 0; i < 16; ++i)
    beats.beat(now += seconds{1}, std::nullopt, duration{0});
  EXPECT_EQ(beats.slowest(), seconds{1}) << "that is long ago";
}

void run(paces& of, variant_id variant, std::uint64_t node, milliseconds time, int times = 10) {
  for (int i = 0; i < times; ++i)
    of.ran(variant, 1, node_id{node}, time);
}

TEST(Paces, CompareWhatTheSameWorkTakes) {
  paces p;
  run(p, work, 1, milliseconds{10});
  EXPECT_FALSE(p.permille_of(node_id{1})) << "there is nothing to compare with";
  run(p, work, 2, milliseconds{40});
  run(p, work, 3, milliseconds{20});
  EXPECT_EQ(p.permille_of(node_id{1}), 1000U) << "faster than others is no trouble";
  EXPECT_EQ(p.permille_of(node_id{2}), 4000U);
  EXPECT_EQ(p.permille_of(node_id{3}), 2000U);
  run(p, other_work, 2, milliseconds{500}, 3);
  run(p, other_work, 3, milliseconds{5});
  EXPECT_EQ(p.permille_of(node_id{2}), 4000U) << "three times are too few to tell";
}

TEST(Paces, MindNoDifferencesThatNobodyNotices) {
  paces p;
  for (int i = 0; i < 10; ++i) {
    p.ran(work, 1, node_id{1}, std::chrono::microseconds{3});
    p.ran(work, 1, node_id{2}, std::chrono::microseconds{90});
  }
  EXPECT_EQ(p.permille_of(node_id{2}), 1000U);
}

TEST(Paces, ComparesBatchesOfOneSize) {
  paces p;
  for (int i = 0; i < 10; ++i) {
    p.ran(work, 1, node_id{1}, milliseconds{10});
    p.ran(work, 8, node_id{2}, milliseconds{80});
  }
  EXPECT_FALSE(p.permille_of(node_id{2}));
}

TEST(Paces, ForgetANodeThatIsGone) {
  paces p;
  run(p, work, 1, milliseconds{10});
  run(p, work, 2, milliseconds{40});
  p.forget(node_id{1});
  EXPECT_FALSE(p.permille_of(node_id{2}));
  p.forget(node_id{2});
  EXPECT_FALSE(p.permille_of(node_id{2}));
}

} // namespace
} // namespace squall::controller
