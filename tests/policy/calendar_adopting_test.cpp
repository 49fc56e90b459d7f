#include "base/random.hpp"
#include "tests/policy/calendar_world.hpp"

#include <gtest/gtest.h>

/// A calendar that takes over what another one had dispatched.
namespace squall::policy::calendar {
namespace {

/// One function of 10 ms on CPU.
void small_cluster(world& w, int lanes) {
  w.functions({{.function = 0, .exec = 10, .load = 5, .cost = 10}});
  w.dag(1, {{.function = 0}});
  w.dag(2, {{.function = 0}, {.function = 0, .after = {0}}});
  w.join(1, false, lanes, 1'000);
  w.call({.slo = 500});
  w.run_until(100);
}

TEST(CalendarAdopting, WhatRunsKeepsItsLaneAndWhatWaitsIsBookedAgain) {
  world w;
  small_cluster(w, 1);
  const call_id runs = w.call({.slo = 10}), waits = w.call({.slo = 20});
  w.run_until(104);
  w.take_over();
  // The lane is taken until 120: what would have to end before that has no place.
  const call_id tight = w.call({.slo = 14}), fits = w.call({.slo = 26});
  EXPECT_FALSE(w.admitted(tight));
  EXPECT_TRUE(w.admitted(fits));
  w.run_until(300);
  EXPECT_EQ(w.finish(runs), 110);
  EXPECT_EQ(w.finish(waits), 120);
  EXPECT_EQ(w.finish(fits), 130);
  EXPECT_EQ(w.broken(), 0) << w.first_broken();
}

TEST(CalendarAdopting, NothingIsRunTwiceAndLaterStagesFollow) {
  world w;
  small_cluster(w, 1);
  const int before = w.dispatched;
  const call_id first = w.call({.dag = 2, .slo = 20}), second = w.call({.dag = 2, .slo = 40});
  w.run_until(112); // the first stage of the first has ended
  w.take_over();
  w.run_until(115);
  w.take_over(); // and once more
  w.run_until(300);
  EXPECT_EQ(w.dispatched - before, 4);
  EXPECT_EQ(w.finish(first), 120);
  EXPECT_EQ(w.finish(second), 140);
}

TEST(CalendarAdopting, AReportThatIsSaidTwiceChangesNothing) {
  world w;
  small_cluster(w, 2);
  const call_id a = w.call({.slo = 10}), b = w.call({.slo = 30});
  w.run_until(103);
  w.take_over();
  const auto booked = w.policy().booked();
  w.tell(w.held());
  EXPECT_EQ(w.policy().booked(), booked);
  w.run_until(200);
  EXPECT_TRUE(w.finished(a) && w.finished(b));
  EXPECT_EQ(w.broken(), 0) << w.first_broken();
}

TEST(CalendarAdopting, ACallThatCanNoLongerBeInTimeIsBrokenLoudly) {
  world w;
  small_cluster(w, 1);
  const call_id late = w.call({.dag = 2, .slo = 20});
  w.run_until(105);
  w.takes = [](const world_variant&, int profiled) { return profiled; };
  w.exact = false;
  w.now = 118; // nobody decided anything for a while
  w.take_over();
  w.run_until(300);
  EXPECT_TRUE(w.abandoned(late));
  EXPECT_NE(w.why(late).find("lost"), std::string::npos) << w.why(late);
}

TEST(CalendarAdopting, WhatDoesNotFitItsDagIsAbandoned) {
  world w;
  small_cluster(w, 1);
  const call_id id = w.call({.slo = 100});
  w.run_until(103);
  auto held = w.held();
  held.calls.at(0).come.push_back({7, 1, false});
  placing::adopted_call unknown = held.calls.at(0);
  unknown.call.dag = dag_id{99};
  held.calls.push_back(unknown);
  calendar_policy other{{}, std::uint64_t{1} << 40};
  std::vector<placing::command> out;
  other.step(from_ns(0), placing::node_joined{node_id{1}, {{lane_id{1}, functions::resource_type::cpu}}, 1 << 30}, out);
  other.step(from_ns(1), held, out);
  EXPECT_EQ(other.check(true), "");
  EXPECT_EQ(std::count_if(out.begin(), out.end(),
                          [&](const auto& c) {
                            const auto* a = std::get_if<placing::abandon>(&c);
                            return a && a->id == id;
                          }),
            2);
}

/// Takes over again and again while calls come: the books stay right, and exact executors break hardly anything.
TEST(CalendarAdopting, TheBooksStayRightHoweverOftenItIsTakenOver) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    world w;
    random_source random{seed};
    w.functions({{.function = 0, .exec = 10, .load = 5, .cost = 10},
                 {.function = 1, .exec = 4, .load = 5, .cost = 4},
                 {.function = 1, .gpu = true, .exec = 1, .load = 5, .cost = 6, .max_batch = 4, .growth = 10}});
    w.dag(1, {{.function = 0}});
    w.dag(2, {{.function = 1}, {.function = 0, .after = {0}, .chance_ppm = 500'000}, {.function = 1, .after = {0, 1}}});
    w.join(1, false, 2, 1'000);
    w.join(2, true, 1, 1'000);
    w.call({.slo = 500});
    w.run_until(50);
    for (int i = 0; i < 200; ++i) {
      world_call c{.dag = 1 + random.below(2), .slo = 20 + static_cast<int>(random.below(60))};
      if (c.dag == 2 && random.below(2) == 0)
        c.skipped.insert(1);
      w.call(c);
      w.run_until(w.now + static_cast<std::int64_t>(random.below(12)));
      if (random.below(20) == 0)
        w.take_over();
      if (random.below(20) == 0)
        w.save_and_restore();
    }
    w.run_until(w.now + 1'000);
    EXPECT_GT(w.admitted(), 50);
    EXPECT_LE(w.broken() * 20, w.admitted()) << "seed " << seed << ": " << w.first_broken();
  }
}

} // namespace
} // namespace squall::policy::calendar
