#include "client/cli/load.hpp"

#include "tests/client/fake_server.hpp"

#include <thread>

#include <gtest/gtest.h>

namespace squall::client::cli {
namespace {

using namespace std::chrono_literals;
using testing::fake_server;

TEST(Load, PercentilesAreExact) {
  load_report report;
  for (int i = 1; i <= 1000; ++i)
    report.latencies_ns.push_back(i);
  EXPECT_EQ(report.percentile_ns(0), 1);
  EXPECT_EQ(report.percentile_ns(0.5), 500);
  EXPECT_EQ(report.percentile_ns(0.999), 999);
  EXPECT_EQ(report.percentile_ns(1), 1000);
  EXPECT_EQ(load_report{}.percentile_ns(0.5), 0);
}

/// A server that stalls once for 300 ms. A generator that waited for answers, or that counted from the moment it managed to send, would see one slow call.
TEST(Load, AStallIsSeenByEveryCallThatWasMeantToBeSentDuringIt) {
  fake_server server;
  bool stalled = false;
  server.on_call = [&](fake_server& s, wire::route from, const wire::call_request& call) {
    if (!std::exchange(stalled, true))
      std::this_thread::sleep_for(300ms);
    s.answer(from, call, {});
  };
  options o;
  o.endpoint = server.endpoint();
  const auto cluster = cluster::connect(o).value();
  load_plan plan;
  plan.target = "x";
  plan.arrivals = arrivals::constant;
  plan.rate = 200;
  plan.duration = 600ms;
  const auto report = run_load(*cluster, plan, {});
  EXPECT_EQ(report.latencies_ns.size(), 119u);
  const auto slow = std::count_if(report.latencies_ns.begin(), report.latencies_ns.end(), [](std::int64_t ns) { return ns > 100'000'000; });
  EXPECT_GE(slow, 35);
}

TEST(Load, AWarmupIsNotCounted) {
  const fake_server server;
  options o;
  o.endpoint = server.endpoint();
  const auto cluster = cluster::connect(o).value();
  load_plan plan;
  plan.target = "x";
  plan.arrivals = arrivals::constant;
  plan.rate = 100;
  plan.warmup = 200ms;
  plan.duration = 200ms;
  const auto report = run_load(*cluster, plan, {});
  EXPECT_EQ(report.sent, 20u);
  EXPECT_EQ(report.latencies_ns.size(), 20u);
}

} // namespace
} // namespace squall::client::cli
