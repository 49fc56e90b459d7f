#include "sim/dag_model.hpp"
#include "sim/workload_kinds.hpp"

#include <gtest/gtest.h>

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

} // namespace
} // namespace squall::sim
