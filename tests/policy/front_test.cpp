#include "policy/front.hpp"

#include "calendar_world.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

/// Fronts of DAGs that have too many plans to list: computed by the driver, used by the calendar.
namespace squall::policy::calendar {
namespace {

using numbers = std::vector<std::int64_t>;

/// Latency, cost, lane time of CPUs and of GPUs, memory of GPUs of a plan.
numbers spent(const placing::compute& problem, const std::vector<std::uint32_t>& plan) {
  numbers out(5, 0);
  std::vector<std::int64_t> ends;
  for (std::size_t s = 0; s < plan.size(); ++s) {
    const auto& o = problem.stages[s].options[plan[s]];
    std::int64_t start = 0;
    for (const stage_index p : problem.stages[s].producers)
      start = std::max(start, ends[p]);
    ends.push_back(start + o.latency.count() / 1000);
    out[0] = std::max(out[0], ends.back());
    out[1] += o.cost;
    out[2] += o.cpu.count() / 1000;
    out[3] += o.gpu.count() / 1000;
    out[4] += static_cast<std::int64_t>(o.gpu_bytes >> 20);
  }
  return out;
}

bool dominates(const numbers& a, const numbers& b) {
  return a != b && std::equal(a.begin(), a.end(), b.begin(), [](auto x, auto y) { return x <= y; });
}

placing::compute drawn(std::uint64_t seed, std::size_t stages) {
  std::mt19937_64 random{seed};
  placing::compute out{dag_id{1}, {}};
  for (std::size_t s = 0; s < stages; ++s) {
    auto& stage = out.stages.emplace_back();
    for (stage_index p = 0; p < s; ++p)
      if (random() % 3 == 0)
        stage.producers.push_back(p);
    const auto us = [&](int most) { return std::chrono::microseconds{1 + random() % static_cast<unsigned>(most)}; };
    stage.options.push_back({us(90), static_cast<std::int64_t>(random() % 10), us(90), duration{0}, 0});
    stage.options.push_back(
        {us(30), static_cast<std::int64_t>(random() % 50), duration{0}, us(20), (1 + random() % 4) << 20});
  }
  return out;
}

TEST(Front, HoldsEfficientPlansAndTheBestInEachThing) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    const placing::compute problem = drawn(seed, 8);
    const placing::front_ready found = find_front(problem);
    ASSERT_FALSE(found.plans.empty());
    EXPECT_LE(found.plans.size(), front_plans);
    EXPECT_EQ(found.loss_ppm, 0U);
    std::vector<numbers> all;
    for (std::uint32_t bits = 0; bits < 256; ++bits) {
      std::vector<std::uint32_t> plan;
      for (std::uint32_t s = 0; s < 8; ++s)
        plan.push_back(bits >> s & 1);
      all.push_back(spent(problem, plan));
    }
    for (const auto& plan : found.plans) {
      const numbers mine = spent(problem, plan);
      EXPECT_TRUE(std::none_of(all.begin(), all.end(), [&](const auto& other) { return dominates(other, mine); }));
    }
    for (std::size_t thing = 0; thing < 5; ++thing) {
      const auto least = [&](const auto& list, const auto& of) {
        std::int64_t out = std::numeric_limits<std::int64_t>::max();
        for (const auto& entry : list)
          out = std::min(out, of(entry)[thing]);
        return out;
      };
      EXPECT_EQ(least(found.plans, [&](const auto& plan) { return spent(problem, plan); }),
                least(all, [](const numbers& n) { return n; }))
          << "seed " << seed << ", thing " << thing;
    }
  }
}

TEST(Front, OfWhatIsNoDagIsEmpty) {
  placing::compute problem = drawn(1, 3);
  problem.stages[0].producers = {2};
  EXPECT_TRUE(find_front(problem).plans.empty());
  EXPECT_TRUE(find_front({}).plans.size() <= 1);
}

/// Eight stages in a row, each on CPU or GPU: 256 plans.
class CalendarFront : public ::testing::Test {
protected:
  void SetUp() override {
    std::vector<world_variant> variants;
    std::vector<world_stage> stages;
    for (int f = 0; f < 8; ++f) {
      variants.push_back({.function = f, .exec = 20 + 7 * f, .cost = 1 + f % 3});
      variants.push_back({.function = f, .gpu = true, .exec = 2 + f % 4, .cost = 10 + 5 * (f % 5)});
      stages.push_back({.function = f});
      if (f > 0)
        stages.back().after = {static_cast<stage_index>(f - 1)};
    }
    w.functions(variants);
    w.dag(1, stages);
    w.join(1, false, 4, 10'000);
    w.join(2, true, 2, 10'000);
  }
  /// Plans that a refused call could have had.
  std::uint32_t plans() { return w.refusal(w.call({.slo = 3})).how.plans; }

  world w;
};

TEST_F(CalendarFront, IsAskedForOnceAndUsedWhenItIsThere) {
  ASSERT_EQ(w.wanted.size(), 1U);
  EXPECT_EQ(w.wanted[0].stages.size(), 8U);
  const std::uint32_t swept = plans();
  EXPECT_GT(swept, 2U) << "until it is there the plans of a sweep do";
  w.answer(find_front(w.wanted[0]));
  EXPECT_GT(plans(), swept);
  EXPECT_EQ(w.wanted.size(), 1U);
  w.save_and_restore();
  EXPECT_GT(plans(), swept) << "a snapshot has it";
  const call_id id = w.call({.slo = 500});
  EXPECT_TRUE(w.admitted(id));
  w.run_until(1'000);
  EXPECT_EQ(w.broken(), 0) << w.first_broken();
}

TEST_F(CalendarFront, IsAskedForAgainWhenTimesMove) {
  w.answer(find_front(w.wanted[0]));
  std::vector<world_variant> slower;
  for (int f = 0; f < 8; ++f) {
    slower.push_back({.function = f, .exec = 20 + 7 * f, .cost = 1 + f % 3});
    slower.push_back({.function = f, .gpu = true, .exec = 12 + f % 4, .cost = 10 + 5 * (f % 5)});
  }
  w.functions(slower);
  ASSERT_EQ(w.wanted.size(), 2U);
  w.functions(slower);
  EXPECT_EQ(w.wanted.size(), 2U) << "nothing moved, and one is on its way";
}

TEST_F(CalendarFront, WhatIsNoFrontOfTheDagChangesNothing) {
  const std::uint32_t swept = plans();
  w.answer(placing::front_ready{dag_id{9}, {{0}}, 0});
  w.answer(placing::front_ready{dag_id{1}, {{0, 1}, {}, std::vector<std::uint32_t>(8, 2)}, 0});
  EXPECT_EQ(plans(), swept);
  w.answer(find_front(w.wanted[0]));
  EXPECT_EQ(plans(), swept) << "the one that was asked for has been answered";
}

} // namespace
} // namespace squall::policy::calendar
