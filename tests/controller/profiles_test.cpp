#include "controller/profiles.hpp"

#include <gtest/gtest.h>

namespace squall::controller {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

calls::placing::variant_info info(std::uint32_t max_batch) {
  calls::placing::variant_info out;
  out.id = variant_id{1};
  out.max_batch = max_batch;
  return out;
}

TEST(TimeHistogram, GivesAQuantileWithinABucketAboveTheTruth) {
  time_histogram h;
  for (int i = 1; i <= 100; ++i)
    h.add(milliseconds{i});
  for (const auto& [permille, truth] : {std::pair{500U, 50}, {950U, 95}, {1000U, 100}}) {
    const duration got = h.quantile(permille);
    EXPECT_GE(got, milliseconds{truth}) << permille;
    EXPECT_LE(got, duration{milliseconds{truth}} * 114 / 100) << permille;
  }
}

TEST(TimeHistogram, ForgetsWhatIsLongAgo) {
  time_histogram h;
  for (int i = 0; i < 1000; ++i)
    h.add(milliseconds{100});
  for (int i = 0; i < 2000; ++i)
    h.add(milliseconds{1});
  EXPECT_LE(h.quantile(950), milliseconds{2});
  EXPECT_LT(h.samples(), time_histogram::memory);
}

TEST(TimeHistogram, OneOutlierAmongAFewSamplesIsNotTheQuantile) {
  time_histogram h;
  h.add(milliseconds{500});
  for (int i = 0; i < 3; ++i)
    h.add(milliseconds{10});
  EXPECT_LE(h.quantile(950), milliseconds{12});
}

TEST(TimeHistogram, HasNoQuantileWithoutSamples) { EXPECT_EQ(time_histogram{}.quantile(950), duration{0}); }

TEST(Profiles, DescribeWhatWasNeverMeasuredByAnAssumption) {
  profiles all{{.unknown = milliseconds{3}}};
  auto v = info(4);
  all.describe(v, 1'000'000);
  EXPECT_EQ(v.expected, milliseconds{3});
  EXPECT_EQ(v.cost, 3'000'000);
  EXPECT_TRUE(v.batch_times.empty());
  EXPECT_FALSE(all.measured(v.id));
}

TEST(Profiles, TakeTheWarmUpAsFirstMeasurement) {
  profiles all;
  all.loaded(variant_id{1}, milliseconds{300}, 1 << 20, {{1, milliseconds{10}}, {4, milliseconds{22}}});
  auto v = info(4);
  all.describe(v, 2'000'000);
  ASSERT_EQ(v.batch_times.size(), 4u);
  EXPECT_GE(v.batch_times[0], milliseconds{10});
  EXPECT_LE(v.batch_times[0], milliseconds{13});
  EXPECT_GE(v.batch_times[3], milliseconds{22});
  EXPECT_LE(v.batch_times[3], milliseconds{28});
  EXPECT_GT(v.batch_times[1], v.batch_times[0]);
  EXPECT_LT(v.batch_times[1], v.batch_times[3]);
  EXPECT_GE(v.load, milliseconds{300});
  EXPECT_EQ(v.memory_bytes, 1u << 20);
  EXPECT_EQ(v.cost, v.batch_times[0].count() * 2);
}

TEST(Profiles, BelieveBatchesRatherThanTheWarmUpOnceThereAreAFew) {
  profiles all;
  all.loaded(variant_id{1}, milliseconds{300}, 0, {{1, milliseconds{100}}});
  auto v = info(1);
  for (int i = 0; i < 3; ++i)
    all.ran(variant_id{1}, 1, milliseconds{10});
  all.describe(v, 1);
  EXPECT_GE(v.batch_times.at(0), milliseconds{100}) << "three are too few";
  all.ran(variant_id{1}, 1, milliseconds{10});
  all.describe(v, 1);
  EXPECT_LE(v.batch_times.at(0), milliseconds{13});
}

TEST(Profiles, GainNothingFromCompanyThatWasNeverSeen) {
  profiles all;
  all.ran(variant_id{1}, 1, milliseconds{8});
  auto v = info(3);
  all.describe(v, 1);
  ASSERT_EQ(v.batch_times.size(), 3u);
  EXPECT_EQ(v.batch_times[2], v.batch_times[0] * 3);
}

TEST(Profiles, NeverLetALargerBatchBeFaster) {
  profiles all;
  all.ran(variant_id{1}, 1, milliseconds{20});
  all.ran(variant_id{1}, 3, milliseconds{10});
  auto v = info(5);
  all.describe(v, 1);
  for (std::size_t i = 1; i < v.batch_times.size(); ++i)
    EXPECT_GE(v.batch_times[i], v.batch_times[i - 1]) << i;
}

TEST(Profiles, SayWhatHasMovedOnceAndOnlyByMoreThanATenth) {
  profiles all;
  for (int i = 0; i < 50; ++i)
    all.ran(variant_id{1}, 1, milliseconds{10});
  EXPECT_EQ(all.take_moved(), std::vector<variant_id>{variant_id{1}});
  auto v = info(1);
  all.describe(v, 1);
  for (int i = 0; i < 50; ++i)
    all.ran(variant_id{1}, 1, milliseconds{10});
  EXPECT_TRUE(all.take_moved().empty());
  for (int i = 0; i < 50; ++i)
    all.ran(variant_id{1}, 1, milliseconds{100});
  EXPECT_EQ(all.take_moved(), std::vector<variant_id>{variant_id{1}}) << "it has become ten times slower";
  EXPECT_TRUE(all.take_moved().empty());
}

TEST(Profiles, SayWhenAVariantNoLongerTakesWhatWasBooked) {
  profiles all;
  const variant_id id{1};
  const auto run = [&](int times, milliseconds took) {
    for (int i = 0; i < times; ++i) {
      auto v = info(1);
      all.describe(v, 1);
      all.ran(id, 1, took + microseconds{i % 5 * 100});
    }
  };
  run(300, milliseconds{10});
  EXPECT_TRUE(all.take_drifts().empty());
  EXPECT_FALSE(all.drift_of(id));
  run(100, milliseconds{30});
  const auto began = all.take_drifts();
  ASSERT_EQ(began.size(), 1U) << "said once";
  EXPECT_FALSE(began[0].over);
  EXPECT_NEAR(static_cast<double>(began[0].booked.count()), 11.9e6, 1.5e6);
  EXPECT_GT(began[0].recent, milliseconds{25});
  ASSERT_TRUE(all.drift_of(id));
  run(200, milliseconds{10});
  const auto ended = all.take_drifts();
  ASSERT_EQ(ended.size(), 1U);
  EXPECT_TRUE(ended[0].over);
  EXPECT_FALSE(all.drift_of(id));
  run(100, milliseconds{4});
  EXPECT_EQ(all.take_drifts().size(), 1U) << "faster is a drift too";
}

TEST(Profiles, NoiseWithinTheMarginIsNoDrift) {
  profiles all;
  for (int i = 0; i < 5000; ++i) {
    auto v = info(1);
    all.describe(v, 1);
    all.ran(variant_id{1}, 1, milliseconds{10} + microseconds{(i * 7919) % 2000});
  }
  EXPECT_TRUE(all.take_drifts().empty());
}

} // namespace
} // namespace squall::controller
