#include "sim/dag_model.hpp"
#include "sim/workload_kinds.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace squall::sim {
namespace {

dag_run_summary run_calendar(const workload& input, std::uint32_t assurance_ppm) {
  run_observer nobody;
  dag_run_config config;
  config.scheduler.policy = "calendar";
  config.assurance_ppm = assurance_ppm;
  dag_model model{input, config, nobody};
  const auto ran = model.run();
  EXPECT_TRUE(ran.ok()) << (ran.ok() ? "" : ran.error().message);
  return model.summary();
}

struct expectation {
  arrival_kind arrivals;
  dag_kind dags;
  double least; ///< share of the offered calls that are within both SLOs
};

const expectation expectations[] = {
    {arrival_kind::steady, dag_kind::ensemble, 0.88}, {arrival_kind::steady, dag_kind::cascade, 0.95},
    {arrival_kind::bursty, dag_kind::ensemble, 0.50}, {arrival_kind::bursty, dag_kind::cascade, 0.50},
    {arrival_kind::heavy, dag_kind::ensemble, 0.50},  {arrival_kind::heavy, dag_kind::cascade, 0.52}};

TEST(CalendarSim, FirmPromisesAreKeptAndMostOfTheCapacityIsUsed) {
  for (const expectation& e : expectations) {
    const dag_run_summary s = run_calendar(make_workload(e.arrivals, e.dags, 11), 1'000'000);
    EXPECT_EQ(s.broken, 0U);
    EXPECT_GE(static_cast<double>(s.met_both), e.least * static_cast<double>(s.offered));
  }
}

TEST(CalendarSim, AShareBreaksNoMoreThanItMay) {
  for (const arrival_kind arrivals : {arrival_kind::bursty, arrival_kind::heavy}) {
    const dag_run_summary s = run_calendar(make_workload(arrivals, dag_kind::cascade, 12), 970'000);
    EXPECT_LE(static_cast<double>(s.broken), 0.03 * static_cast<double>(s.admitted));
    EXPECT_GT(s.met_both, s.offered / 2);
  }
}

/// Every 30th call has a member that runs 40 times as long as profiled.
workload with_stalls(bool best_effort) {
  workload w = make_workload(arrival_kind::steady, dag_kind::ensemble, 13);
  for (workload_dag& dag : w.dags)
    for (workload_stage& stage : dag.stages)
      if (best_effort && stage.after.size() > 1)
        stage.best_effort = static_cast<std::uint32_t>(stage.after.size()) - 1;
  for (std::size_t r = 0; r < w.requests.size(); r += 30) {
    const workload_dag& dag = w.dags[w.requests[r].dag];
    const auto join =
        std::find_if(dag.stages.begin(), dag.stages.end(), [](const workload_stage& s) { return s.after.size() > 1; });
    if (join != dag.stages.end()) {
      w.requests[r].truths.assign(1, {});
      w.requests[r].truths[0].stage = join->after.front();
      w.requests[r].truths[0].stretch = 40;
    }
  }
  return w;
}

TEST(CalendarSim, BestEffortEnsemblesDoNotWaitForMembersThatStall) {
  const dag_run_summary all = run_calendar(with_stalls(false), 1'000'000);
  const dag_run_summary some = run_calendar(with_stalls(true), 1'000'000);
  EXPECT_GT(all.broken, 10U) << "what is waited for is late";
  EXPECT_LT(some.broken * 3, all.broken);
  EXPECT_GT(some.met_both, all.met_both);
}

} // namespace
} // namespace squall::sim
