#include "sim/hybrid.hpp"

#include "base/random.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

namespace squall::sim {
namespace {

std::size_t above(const std::vector<double>& responses, double sla) {
  return static_cast<std::size_t>(std::count_if(responses.begin(), responses.end(), [&](double r) { return r > sla; }));
}

/// Each second 5 to 20 requests at once, for five minutes.
std::vector<double> bursts(std::uint64_t seed) {
  random_source random{seed};
  std::vector<double> out;
  for (int second = 0; second < 300; ++second)
    out.insert(out.end(), 5 + random.below(16), 1000.0 * second);
  return out;
}

TEST(Hybrid, ThresholdsAreThoseOfTheModel) {
  const std::array<double, 4> slas{100, 150, 200, 300};
  const std::vector<std::pair<double, std::vector<std::uint64_t>>> expected{
      {1, {1, 2, 3, 5}}, {2, {2, 3, 5, 7}}, {4, {3, 4, 6, 9}}, {8, {3, 5, 7, 11}}, {16, {4, 6, 8, 12}}};
  for (const auto& [cores, thresholds] : expected)
    for (std::size_t i = 0; i < slas.size(); ++i)
      EXPECT_EQ(hybrid_threshold(cores, slas[i]), thresholds[i]) << cores << " cores, " << slas[i] << " ms";
}

TEST(Hybrid, ALoneRequestGainsFromFourCoresAndNotFromMore) {
  EXPECT_EQ(hybrid_response(1, 2), 39.5);
  EXPECT_EQ(hybrid_response(1, 4), 30.5);
  EXPECT_EQ(hybrid_response(1, 8), 30.5);
}

TEST(Hybrid, RequestsThatComeLaterSlowDownThoseThatAreThere) {
  // Alone for 19.75 of 39.5 ms, then two: 79 ms at that pace, so each half takes 39.5.
  const hybrid_answer a = run_hybrid({2, 200, {0, 19.75}, hybrid_rule::vm});
  ASSERT_EQ(a.vm_responses.size(), 2U);
  EXPECT_NEAR(a.vm_responses[0], 19.75 + 39.5, 1e-9);
  // The second is alone for its last half.
  EXPECT_NEAR(a.vm_responses[1], 39.5 + 19.75, 1e-9);
}

TEST(Hybrid, AnEndComesBeforeAnArrivalOfTheSameMoment) {
  const std::vector<double> arrivals{0, 0, 0, 0, 0, 197.5};
  EXPECT_EQ(run_hybrid({2, 200, arrivals}).vm_responses.size(), 6U);
}

TEST(Hybrid, OverflowToFunctionsKeepsTheMachineWithinItsSla) {
  double requests = 0;
  double cold_starts = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const std::vector<double> arrivals = bursts(seed);
    const hybrid_answer alone = run_hybrid({2, 200, arrivals, hybrid_rule::vm});
    std::size_t in_large_bursts = 0;
    for (const double second : arrivals) {
      const auto [from, to] = std::equal_range(arrivals.begin(), arrivals.end(), second);
      in_large_bursts += to - from > 5 ? 1 : 0;
    }
    EXPECT_EQ(above(alone.vm_responses, 200), in_large_bursts);
    EXPECT_GT(static_cast<double>(in_large_bursts), 0.95 * static_cast<double>(arrivals.size()));
    const hybrid_answer helped = run_hybrid({2, 200, arrivals});
    EXPECT_EQ(helped.vm_responses.back(), 197.5);
    EXPECT_EQ(above(helped.function_responses, 200), helped.cold_starts);
    requests += static_cast<double>(arrivals.size());
    cold_starts += static_cast<double>(helped.cold_starts);
    const hybrid_answer warm = run_hybrid({2, 200, arrivals, hybrid_rule::threshold, 20});
    EXPECT_EQ(above(warm.function_responses, 200), 0U);
    // Of each burst the machine can do five and no more, so this is the least.
    EXPECT_EQ(helped.vm_responses.size(), 300U * 5);
  }
  EXPECT_LT(cold_starts, 0.01 * requests);
}

TEST(Hybrid, ProjectingEndsServesMoreThanTheThresholdWithoutBreakingTheSla) {
  random_source random{3};
  std::vector<double> arrivals;
  // Two states, a calm one and a busy one, of 2 s on average.
  bool busy = false;
  double until = 0;
  for (double at = 0; at < 300'000;) {
    if (at >= until) {
      busy = !busy;
      until = at + random.exponential(2'000);
    }
    at += random.exponential(busy ? 15 : 80);
    arrivals.push_back(at);
  }
  const hybrid_answer by_threshold = run_hybrid({8, 150, arrivals});
  const hybrid_answer projected = run_hybrid({8, 150, arrivals, hybrid_rule::projected});
  EXPECT_EQ(above(by_threshold.vm_responses, 150), 0U);
  EXPECT_EQ(above(projected.vm_responses, 150 + 1e-6), 0U);
  EXPECT_GT(projected.vm_responses.size(), by_threshold.vm_responses.size());
}

} // namespace
} // namespace squall::sim
