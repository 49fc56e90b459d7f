#include "sim/kaas.hpp"

#include "sim/kaas_statistics.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace squall::sim {
namespace {

constexpr std::uint32_t resnet = 0;
constexpr std::uint32_t bert = 1;

/// ResNet at 0, 2 and 3, BERT at 1, two GPUs: the example of the thesis, section 6.1.
kaas_problem example(const std::string& policy, bool faithful = false) {
  kaas_problem p;
  p.policy = policy;
  p.faithful = faithful;
  p.gpus = 2;
  p.models = {{"RESNET", 4, 2}, {"BERT", 10, 8}};
  p.requests = {{0, 0, resnet}, {1, 1, bert}, {2, 2, resnet}, {3, 3, resnet}};
  return p;
}

kaas_answer run(const kaas_problem& p) {
  auto a = run_kaas(p);
  EXPECT_TRUE(a.ok()) << a.error().message;
  return a.ok() ? *a : kaas_answer{};
}

using schedule = std::vector<kaas_dispatch>;
const schedule as_balance{{0, 0, 0, true}, {1, 1, 1, true}, {2, 6, 0, false}, {3, 8, 0, false}};
const schedule clairvoyant{{0, 0, 0, true}, {2, 2, 1, true}, {3, 6, 0, false}, {1, 8, 1, true}};

void expect_trace(const kaas_answer& a, const schedule& log, std::int64_t total, std::uint64_t cold, double wait,
                  double of_resnet, double of_bert) {
  EXPECT_EQ(a.log, log);
  EXPECT_EQ(a.total, total);
  EXPECT_EQ(a.cold, cold);
  EXPECT_EQ(a.mean_wait(), wait);
  EXPECT_EQ(a.mean_wait(resnet), of_resnet);
  EXPECT_EQ(a.mean_wait(bert), of_bert);
}

TEST(Kaas, RoundRobinGivesThePrintedTrace) {
  expect_trace(run(example("rr")), {{0, 0, 0, true}, {1, 1, 1, true}, {2, 6, 0, false}, {3, 19, 1, true}}, 25, 3, 5.0,
               20.0 / 3, 0);
}

TEST(Kaas, BalanceAndExclusiveGiveThePrintedTrace) {
  expect_trace(run(example("balance")), as_balance, 19, 2, 2.25, 3, 0);
  expect_trace(run(example("exclusive")), as_balance, 19, 2, 2.25, 3, 0);
}

TEST(Kaas, AQueueThatKnowsTheFutureGivesThePrintedTracesOfSrtfAndMlfqs) {
  expect_trace(run(example("srtf", true)), clairvoyant, 26, 3, 2.5, 1, 7);
  kaas_problem p = example("mlfq", true);
  p.draws = {0, 2, 4, 0}; // ResNet three times
  expect_trace(run(p), clairvoyant, 26, 3, 2.5, 1, 7);
}

TEST(Kaas, WorkConservingSrtfAndMlfqsDoAsBalanceOnTheExample) {
  expect_trace(run(example("srtf")), as_balance, 19, 2, 2.25, 3, 0);
  for (const std::uint64_t draw : {0, 1}) {
    kaas_problem p = example("mlfq");
    p.draws = {draw, draw, draw, draw};
    expect_trace(run(p), as_balance, 19, 2, 2.25, 3, 0);
  }
}

TEST(Kaas, AgingLetsALongRequestThatWaitedRunFirst) {
  kaas_problem p = example("srtf");
  p.gpus = 1;
  // When the GPU is free at 7, BERT has waited for 7 of its 8 steps, and the ResNet of step 6 for 1 of its 2.
  p.requests = {{0, 0, resnet}, {1, 0, bert}, {2, 1, resnet}, {3, 6, resnet}};
  const auto order = [](const kaas_answer& a) {
    std::vector<std::int64_t> out;
    for (const kaas_dispatch& d : a.log)
      out.push_back(d.seq);
    return out;
  };
  EXPECT_EQ(order(run(p)), (std::vector<std::int64_t>{0, 2, 3, 1}));
  p.aging_ppm = 1'000'000;
  p.requests[3].arrival = 7;
  EXPECT_EQ(order(run(p)), (std::vector<std::int64_t>{0, 2, 1, 3}));
}

TEST(Kaas, ExclusiveMovesAGpuToTheModelUnderPressureAfterTheWarmUp) {
  kaas_problem p = example("exclusive");
  p.gpus = 4;
  p.warmup = 0;
  p.requests.clear();
  for (std::int64_t i = 0; i < 12; ++i)
    p.requests.push_back({i, 0, resnet});
  const auto gpus_used = [](const kaas_answer& a) {
    std::vector<std::uint32_t> out;
    for (const kaas_dispatch& d : a.log)
      out.push_back(d.gpu);
    std::sort(out.begin(), out.end());
    out.erase(std::unique(out.begin(), out.end()), out.end());
    return out;
  };
  EXPECT_EQ(gpus_used(run(p)), (std::vector<std::uint32_t>{0, 1, 2, 3})) << "BERT has no load: it may lose all";
  p.rebalance = policy::rebalance_rule::none;
  EXPECT_EQ(gpus_used(run(p)), (std::vector<std::uint32_t>{0, 2}));
  p.rebalance = policy::rebalance_rule::pressure;
  p.warmup = 1000;
  EXPECT_EQ(gpus_used(run(p)), (std::vector<std::uint32_t>{0, 2}));
  p.warmup = 0;
  p.rebalance = policy::rebalance_rule::group_size;
  EXPECT_EQ(gpus_used(run(p)), (std::vector<std::uint32_t>{0, 2})) << "2 and 2 are as equal as can be";
}

TEST(Kaas, ExclusiveServesMoreModelsThanThereAreGpus) {
  kaas_problem p = example("exclusive");
  p.gpus = 1;
  p.models.push_back({"GPT", 3, 3});
  p.requests = {{0, 0, 0}, {1, 0, 1}, {2, 0, 2}, {3, 0, 0}, {4, 0, 1}, {5, 0, 2}};
  for (const auto rule :
       {policy::rebalance_rule::none, policy::rebalance_rule::pressure, policy::rebalance_rule::group_size}) {
    p.rebalance = rule;
    EXPECT_EQ(run(p).log.size(), 6U) << to_string(rule);
  }
}

TEST(Kaas, BadProblemsAreRefusedWithTheField) {
  const auto message = [](const kaas_problem& p) {
    const auto a = run_kaas(p);
    return a.ok() ? std::string{"no error"} : a.error().message;
  };
  kaas_problem p = example("balance");
  p.requests[2].seq = 1;
  EXPECT_EQ(message(p), "requests[2][0]: 1 is there twice");
  p = example("balance");
  p.requests[1].arrival = -1;
  EXPECT_EQ(message(p), "requests[1][1]: must not be below 0");
  p = example("best");
  EXPECT_EQ(message(p), "policy: 'best' is none");
  p = example("mlfq");
  p.draws = {1, 1};
  EXPECT_EQ(message(p).substr(0, 6), "draws:");
}

// Section 6.2: 4 GPUs, 1000 steps, load 0.8, Poisson. The tolerances allow for another generator: the standard error of
// a mean over these seeds is about 3 %.
class PoissonKaas : public testing::Test {
protected:
  static void SetUpTestSuite() { results_ = new auto(run_poisson({}, kaas_policies())); }
  static void TearDownTestSuite() { delete results_; }

  static const kaas_policy_result& of(const std::string& policy) {
    return *std::find_if(results_->begin(), results_->end(), [&](const auto& r) { return r.policy == policy; });
  }
  static std::size_t runs_with_cold(const std::string& policy, std::uint64_t cold) {
    const auto& runs = of(policy).runs;
    return static_cast<std::size_t>(
        std::count_if(runs.begin(), runs.end(), [&](const kaas_answer& a) { return a.cold == cold; }));
  }

  static inline std::vector<kaas_policy_result>* results_ = nullptr;
};

TEST_F(PoissonKaas, MeansAreThoseOfTheRules) {
  struct row {
    const char* policy;
    double all, of_resnet, of_bert;
  };
  for (const row& r : {row{"rr", 128, 128, 127},
                       {"balance", 2.26, 2.26, 2.23},
                       {"srtf", 1.44, 0.82, 3.92},
                       {"mlfq", 2.92, 3.37, 1.10},
                       {"exclusive", 2.90, 1.87, 6.89}}) {
    EXPECT_NEAR(of(r.policy).mean_wait(), r.all, 0.15 * r.all) << r.policy;
    EXPECT_NEAR(of(r.policy).mean_wait(resnet), r.of_resnet, 0.15 * r.of_resnet) << r.policy;
    EXPECT_NEAR(of(r.policy).mean_wait(bert), r.of_bert, 0.15 * r.of_bert) << r.policy;
  }
}

TEST_F(PoissonKaas, ColdStartsAreEightButFourUnderExclusive) {
  for (const char* policy : {"rr", "balance", "srtf", "mlfq"})
    EXPECT_EQ(runs_with_cold(policy, 8), 200U) << policy;
  EXPECT_GE(runs_with_cold("exclusive", 4), 190U);
}

TEST_F(PoissonKaas, WithoutRebalancingExclusiveAlwaysHasFourColdStarts) {
  kaas_poisson settings;
  settings.rebalance = policy::rebalance_rule::none;
  const auto answers = run_poisson(settings, {"exclusive"});
  for (const kaas_answer& a : answers.front().runs)
    EXPECT_EQ(a.cold, 4U);
}

TEST_F(PoissonKaas, RoundRobinIsWorstInEverySeedByTenTimes) {
  for (std::size_t i = 0; i < 200; ++i) {
    const double rr = of("rr").runs[i].mean_wait();
    for (const char* policy : {"balance", "srtf", "mlfq", "exclusive"})
      EXPECT_GT(rr, of(policy).runs[i].mean_wait()) << policy << " " << i;
    EXPECT_GE(rr, 10 * of("balance").runs[i].mean_wait()) << i;
  }
}

TEST_F(PoissonKaas, SrtfHelpsTheShortAndHarmsTheLongInEverySeed) {
  for (std::size_t i = 0; i < 200; ++i) {
    const kaas_answer& srtf = of("srtf").runs[i];
    const kaas_answer& balance = of("balance").runs[i];
    EXPECT_LT(srtf.mean_wait(), balance.mean_wait()) << i;
    EXPECT_LT(srtf.mean_wait(resnet), balance.mean_wait(resnet)) << i;
    EXPECT_GT(srtf.mean_wait(bert), balance.mean_wait(bert)) << i;
  }
  const double ratio = of("srtf").mean_wait(bert) / of("balance").mean_wait(bert);
  EXPECT_GT(ratio, 1.5);
  EXPECT_LT(ratio, 2.0);
  EXPECT_GT(of("srtf").mean_wait(bert) / of("srtf").mean_wait(resnet), 4);
}

TEST_F(PoissonKaas, OverloadStarvesTheLongUnderSrtf) {
  kaas_poisson settings;
  settings.rho = 1.2;
  const auto overloaded = run_poisson(settings, {"srtf", "balance", "mlfq"});
  const double resnet_waits = overloaded[0].mean_wait(resnet);
  EXPECT_NEAR(resnet_waits, 2.1, 0.15 * 2.1);
  EXPECT_NEAR(overloaded[0].mean_wait(bert), 222, 0.15 * 222);
  EXPECT_GT(overloaded[0].mean_wait(bert) / resnet_waits, 80);
  // Measured against balance it does not look worse than at 0.8.
  EXPECT_NEAR(overloaded[0].mean_wait(bert) / overloaded[1].mean_wait(bert), 1.95, 0.3);
  EXPECT_NEAR(overloaded[2].mean_wait(bert), 4.1, 0.15 * 4.1);
}

TEST_F(PoissonKaas, WithEqualRatesExclusiveMovesOneGpu) {
  kaas_poisson settings;
  settings.rates = kaas_rates::equal_rate;
  const auto runs = run_poisson(settings, {"exclusive"}).front().runs;
  EXPECT_GE(std::count_if(runs.begin(), runs.end(), [](const kaas_answer& a) { return a.cold == 5; }), 190);
}

TEST(KaasSweeps, WaitsRiseWithTheRateOfArrivals) {
  const kaas_sweep sweep = run_sweep("arrival-rate", 100);
  const double balance[] = {.04, .28, .89, 3.2, 7.6, 25, 63, 111};
  for (const kaas_curve& c : sweep.curves)
    for (std::size_t i = 1; i < sweep.points.size(); ++i)
      EXPECT_GT(c.mean_waits[i], c.mean_waits[i - 1]) << c.policy << " " << sweep.points[i];
  for (std::size_t i = 0; i < sweep.points.size(); ++i) {
    EXPECT_NEAR(sweep.curves[1].mean_waits[i], balance[i], 0.25 * balance[i]) << sweep.points[i];
    for (std::size_t other = 1; other < 5 && sweep.points[i] >= 0.4; ++other)
      EXPECT_GT(sweep.curves[0].mean_waits[i], sweep.curves[other].mean_waits[i]) << sweep.points[i];
  }
}

TEST(KaasSweeps, MoreGpusHelpAllButRoundRobin) {
  const kaas_sweep sweep = run_sweep("gpus", 100);
  const double balance[] = {10.4, 4.7, 3.2, 2.3, 1.7, 1.4, 1.1, .86};
  for (std::size_t i = 1; i < sweep.points.size(); ++i) {
    EXPECT_GT(sweep.curves[0].mean_waits[i], sweep.curves[0].mean_waits[i - 1]) << "rr " << sweep.points[i];
    for (const std::size_t c : {1, 2, 3})
      EXPECT_LT(sweep.curves[c].mean_waits[i], sweep.curves[c].mean_waits[i - 1]) << c << " " << sweep.points[i];
  }
  for (std::size_t i = 0; i < sweep.points.size(); ++i)
    EXPECT_NEAR(sweep.curves[1].mean_waits[i], balance[i], 0.2 * balance[i]) << sweep.points[i];
}

TEST(KaasSweeps, LongerExecutionsCostTheirShare) {
  const kaas_sweep sweep = run_sweep("execution", 100);
  const auto& balance = sweep.curves[1].mean_waits;
  // In steps the wait grows with the execution time, in units of it hardly.
  EXPECT_NEAR(balance.back() / balance[1], 7.2 / 2.3, 0.8);
}

} // namespace
} // namespace squall::sim
