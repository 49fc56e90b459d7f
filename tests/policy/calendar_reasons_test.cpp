// What would have been enough is true: the log of facts, replayed with the SLOs that a refusal suggests, admits the
// call.
#include "tests/policy/calendar_world.hpp"

#include <gtest/gtest.h>

namespace squall::policy::calendar {
namespace {

/// Whether the policy admits the call when it hears the log again, with `change` made to the call's SLOs.
bool replay_admits(const world& w, call_id id, const std::function<void(placing::call_arrived&)>& change) {
  calendar_policy policy{calendar_config{}};
  for (const auto& [at, told] : w.log) {
    placing::event fact = told;
    auto* arrived = std::get_if<placing::call_arrived>(&fact);
    const bool is_it = arrived != nullptr && arrived->id == id;
    if (is_it)
      change(*arrived);
    std::vector<placing::command> out;
    policy.step(at, fact, out);
    if (is_it)
      return std::ranges::any_of(out, [&](const placing::command& c) {
        const auto* admitted = std::get_if<placing::admit>(&c);
        return admitted != nullptr && admitted->id == id && admitted->promised;
      });
  }
  ADD_FAILURE() << "call " << to_string(id) << " is not in the log";
  return false;
}

/// Refused in the log as it is, for the stated reason, and admitted with what the refusal suggests.
void expect_enough(const world& w, call_id id, const std::string& binding) {
  ASSERT_FALSE(w.admitted(id));
  const placing::decision& how = w.refusal(id).how;
  EXPECT_EQ(how.binding, binding);
  ASSERT_GT(how.enough_deadline.count(), 0) << "nothing is suggested to a call bound by " << how.binding;
  EXPECT_FALSE(replay_admits(w, id, [](placing::call_arrived&) {}));
  const time_point arrival = std::ranges::find_if(w.log, [&](const auto& entry) {
                               const auto* fact = std::get_if<placing::call_arrived>(&entry.second);
                               return fact != nullptr && fact->id == id;
                             })->first;
  EXPECT_TRUE(replay_admits(w, id,
                            [&](placing::call_arrived& fact) {
                              fact.deadline = arrival + how.enough_deadline;
                              fact.max_cost = how.enough_cost;
                            }))
      << how.enough_deadline.count() << " ns and " << how.enough_cost;
}

/// One function, 10 ms on CPU (cost 10) and 2 ms on GPU (cost 30); one lane each where there is one.
void two_kinds(world& w, bool cpu, bool gpu) {
  w.functions({{.function = 0, .exec = 10, .load = 5, .cost = 10},
               {.function = 0, .gpu = true, .exec = 2, .load = 5, .cost = 30}});
  w.dag(1, {{.function = 0}});
  if (cpu)
    w.join(1, false, 1, 1'000);
  if (gpu)
    w.join(2, true, 1, 1'000);
}

/// Calls of `slo` until one is refused.
call_id fill(world& w, int slo) {
  for (int i = 0; i < 100; ++i)
    if (const call_id id = w.call({.slo = slo}); !w.admitted(id))
      return id;
  ADD_FAILURE() << "nothing was refused";
  return {};
}

void warm(world& w) {
  w.call({.slo = 500});
  w.run_until(w.now + 200);
}

TEST(CalendarReasons, ALongerDeadlineIsEnoughForACallThatNoPlanIsFastEnoughFor) {
  world w;
  two_kinds(w, true, false);
  warm(w);
  expect_enough(w, w.call({.slo = 1}), "the latency SLO");
}

TEST(CalendarReasons, AHigherCostIsEnoughForACallThatNoPlanIsCheapEnoughFor) {
  world w;
  two_kinds(w, true, false);
  warm(w);
  expect_enough(w, w.call({.slo = 500, .max_cost = 9}), "the cost SLO");
}

TEST(CalendarReasons, BothAreRaisedWhereOneAloneIsNotEnough) {
  world w;
  two_kinds(w, true, false);
  warm(w);
  expect_enough(w, w.call({.slo = 1, .max_cost = 9}), "the cost SLO");
}

TEST(CalendarReasons, ALongerDeadlineIsEnoughWhereLanesOfCpusAreTaken) {
  world w;
  two_kinds(w, true, false);
  warm(w);
  expect_enough(w, fill(w, 40), "lanes of CPUs for stage #0");
}

TEST(CalendarReasons, ALongerDeadlineIsEnoughWhereLanesOfGpusAreTaken) {
  world w;
  two_kinds(w, false, true);
  warm(w);
  expect_enough(w, fill(w, 20), "lanes of GPUs for stage #0");
}

TEST(CalendarReasons, ALongerDeadlineIsEnoughBehindAQueueManyTimesAsLong) {
  world w;
  two_kinds(w, true, false);
  warm(w);
  for (int i = 0; i < 60; ++i)
    w.call({.slo = 600 + 10 * i}); // these have slack, and calls of the same length would go before them
  const call_id tail = fill(w, 610);
  w.run_until(w.now + 105); // the next refusal is looked into again
  EXPECT_FALSE(w.admitted(tail));
  const call_id tight = fill(w, 10);
  expect_enough(w, tight, w.refusal(tight).how.binding);
}

TEST(CalendarReasons, ALongerDeadlineIsEnoughWhereNothingIsLoaded) {
  world w;
  two_kinds(w, true, false);
  const call_id id = w.call({.slo = 12}); // 5 ms of load and 10 ms of execution
  expect_enough(w, id, "lanes of CPUs for stage #0");
}

TEST(CalendarReasons, WhateverBindsUnderOverloadWhatIsSuggestedIsEnough) {
  world w;
  two_kinds(w, true, true);
  warm(w);
  std::set<std::string> suggested;
  for (int i = 0; i < 1'500; ++i) {
    const call_id id = w.call({.slo = 20 + i * 7 % 120, .max_cost = i % 3 == 0 ? 10 : placing::no_cost_limit});
    if (!w.admitted(id) && w.refusal(id).how.enough_deadline.count() > 0) {
      suggested.insert(w.refusal(id).how.binding);
      expect_enough(w, id, w.refusal(id).how.binding);
    }
    if (i % 2 == 0)
      w.run_until(w.now + 1);
  }
  EXPECT_EQ(suggested, (std::set<std::string>{"lane time of CPUs", "lane time of GPUs", "lanes of CPUs for stage #0",
                                              "lanes of GPUs for stage #0"}));
}

} // namespace
} // namespace squall::policy::calendar
