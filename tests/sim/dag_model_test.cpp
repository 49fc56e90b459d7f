#include "sim/dag_model.hpp"

#include "policy/dispatch_policies.hpp"
#include "sim/workload_kinds.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace squall::sim {
namespace {

/// Everything that happens, as text, and what was finished in time by when.
class recorder final : public run_observer {
public:
  std::string text;
  std::uint64_t kept_by_horizon = 0;
  explicit recorder(std::int64_t horizon) : horizon_(horizon) {}

  void admitted(std::int64_t t, std::size_t r, std::optional<std::int64_t> expected,
                calls::placing::micro_cost cost) override {
    add(t, "admit", r, static_cast<std::uint64_t>(expected.value_or(0) + cost));
  }
  void refused(std::int64_t t, std::size_t r, std::span<const offered> offers) override {
    add(t, "refuse", r, offers.size());
  }
  void loading(std::int64_t t, replica_id r, node_id n, variant_id v) override {
    add(t, "load", r.value, n.value * 1000 + v.value);
  }
  void evicted(std::int64_t t, replica_id r) override { add(t, "evict", r.value, 0); }
  void running(std::int64_t t, replica_id r, std::span<const calls::placing::task> tasks, std::int64_t until) override {
    for (const auto& task : tasks)
      add(t, "run", r.value, task.call.value * 1000 + task.stage);
    add(until, "until", r.value, tasks.size());
  }
  void dropped(std::int64_t t, std::size_t r, const std::string&) override { add(t, "drop", r, 0); }
  void finished(std::int64_t t, std::size_t r, calls::placing::micro_cost cost, bool kept) override {
    add(t, "finish", r, static_cast<std::uint64_t>(cost));
    kept_by_horizon += kept && t <= horizon_ ? 1 : 0;
  }

private:
  void add(std::int64_t t, const char* what, std::uint64_t a, std::uint64_t b) {
    text += std::to_string(t) + " " + what + " " + std::to_string(a) + " " + std::to_string(b) + "\n";
  }
  std::int64_t horizon_;
};

struct outcome {
  dag_run_summary summary;
  std::string text;
  std::uint64_t kept_by_horizon = 0;
};

outcome run(const workload& input, const std::string& policy, dag_run_config config = {}) {
  config.scheduler.policy = policy;
  recorder seen{input.horizon};
  dag_model model{input, config, seen};
  const auto ran = model.run();
  EXPECT_TRUE(ran.ok()) << policy << ": " << ran.error().message;
  return {model.summary(), seen.text, seen.kept_by_horizon};
}

/// The first so many requests of a workload.
workload first_of(workload w, std::size_t requests) {
  w.requests.resize(std::min(requests, w.requests.size()));
  return w;
}

std::vector<std::uint64_t> met_latency_in_table41(const std::string& policy) {
  std::vector<std::uint64_t> out;
  for (const std::int64_t slo : {20, 40, 60, 80})
    out.push_back(run(make_table41(slo), policy).summary.met_latency);
  return out;
}

TEST(Table41, FifoMeetsTheLatencySloOfTheseManyCalls) {
  EXPECT_EQ(met_latency_in_table41("fifo"), (std::vector<std::uint64_t>{5, 17, 29, 38}));
}

TEST(Table41, ClockworkThatRefusesNothingMeetsAHandful) {
  EXPECT_EQ(met_latency_in_table41("clockwork-naive:queueing=on"), (std::vector<std::uint64_t>{1, 3, 5, 6}));
}

TEST(Table41, ClockworkThatRefusesServesOneGpuWorthOfCalls) {
  for (const std::int64_t slo : {20, 40, 60, 80})
    EXPECT_EQ(run(make_table41(slo), "clockwork-naive").kept_by_horizon, 99U) << slo;
}

/// The mean of several seeds of what was kept by the horizon.
double mean_of_seeds(std::int64_t slo, const std::string& policy) {
  constexpr int seeds = 10;
  double sum = 0;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    dag_run_config config;
    config.seed = seed;
    sum += static_cast<double>(run(make_table41(slo), policy, config).kept_by_horizon);
  }
  return sum / seeds;
}

TEST(Table41, TheThesisRefusingKeepsAboutHalf) {
  const std::vector<std::pair<std::int64_t, double>> expected{{20, 566}, {40, 646}, {60, 638}, {80, 634}};
  for (const auto& [slo, kept] : expected)
    EXPECT_NEAR(mean_of_seeds(slo, "thesis:batching=off"), kept, 0.08 * kept) << slo;
}

TEST(Table41, TheThesisQueueingKeepsAHandful) {
  const std::vector<std::pair<std::int64_t, double>> expected{{20, 5.7}, {40, 19}, {60, 33}, {80, 49}};
  for (const auto& [slo, kept] : expected)
    EXPECT_NEAR(mean_of_seeds(slo, "thesis:batching=off,queueing=on"), kept, 0.2 * kept) << slo;
}

TEST(DagModel, EveryPolicyRunsTheSameFromItsSnapshots) {
  const workload input = first_of(make_workload(arrival_kind::bursty, dag_kind::cascade, 3), 150);
  for (const std::string& name : policy::dispatch_policy_names()) {
    dag_run_config restoring;
    restoring.restore_every = 7;
    EXPECT_EQ(run(input, name, restoring).text, run(input, name).text) << name;
  }
}

TEST(DagModel, PoliciesAreSwitchedUnderLoadAndNothingIsLost) {
  const workload input = first_of(make_workload(arrival_kind::steady, dag_kind::ensemble, 4), 800);
  for (const std::string& name : policy::dispatch_policy_names()) {
    dag_run_config config;
    config.policies = {{300, name}, {900, "clockwork-naive"}, {910, "clockwork"}, {1500, name}, {1501, "fifo"}};
    config.restore_every = 101;
    const dag_run_summary s = run(input, "thesis", config).summary;
    EXPECT_EQ(s.offered, input.requests.size());
    EXPECT_EQ(s.admitted + s.refused, s.offered) << name;
  }
}

TEST(DagModel, AnUnknownPolicyIsAnError) {
  const workload input = make_table41(20);
  run_observer nobody;
  dag_run_config config;
  config.scheduler.policy = "no-such-policy";
  dag_model model{input, config, nobody};
  const auto ran = model.run();
  ASSERT_FALSE(ran.ok());
  EXPECT_NE(ran.error().message.find("no-such-policy"), std::string::npos);
}

TEST(WorkloadKinds, ASeedGivesTheSameWorkloadAndAnotherAnother) {
  const auto arrivals = [](std::uint64_t seed) {
    std::vector<std::int64_t> out;
    for (const auto& r : make_workload(arrival_kind::bursty, dag_kind::ensemble, seed).requests)
      out.push_back(r.arrival);
    return out;
  };
  EXPECT_EQ(arrivals(1), arrivals(1));
  EXPECT_NE(arrivals(1), arrivals(2));
}

TEST(WorkloadKinds, CallsArriveAtTheRatesOfTheirKind) {
  const auto mean = [](arrival_kind kind, dag_kind dags) {
    double sum = 0;
    for (std::uint64_t seed = 1; seed <= 20; ++seed)
      sum += static_cast<double>(make_workload(kind, dags, seed).requests.size());
    return sum / 20;
  };
  EXPECT_NEAR(mean(arrival_kind::steady, dag_kind::ensemble), 3500, 60);
  EXPECT_NEAR(mean(arrival_kind::steady, dag_kind::cascade), 7000, 90);
  EXPECT_NEAR(mean(arrival_kind::heavy, dag_kind::ensemble), 12000, 120);
  EXPECT_NEAR(mean(arrival_kind::bursty, dag_kind::ensemble), 3750, 400);
}

TEST(WorkloadKinds, AThirdOfTheLargeModelsRun) {
  std::uint64_t skipped = 0;
  const workload w = make_workload(arrival_kind::heavy, dag_kind::cascade, 1);
  for (const auto& r : w.requests)
    skipped += static_cast<std::uint64_t>(!r.truths.empty());
  EXPECT_NEAR(static_cast<double>(skipped) / static_cast<double>(w.requests.size()), 0.65, 0.02);
}

} // namespace
} // namespace squall::sim
