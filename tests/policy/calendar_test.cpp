#include "base/random.hpp"
#include "policy/calendar/graph.hpp"
#include "tests/policy/calendar_world.hpp"

#include <gtest/gtest.h>

namespace squall::policy::calendar {
namespace {

using placing::preference;

/// One function of 10 ms on CPU (cost 10) and 2 ms on GPU (cost 30, batches of 8 that grow by a tenth), one lane each.
void small_cluster(world& w, bool gpu = true) {
  w.functions({{.function = 0, .exec = 10, .load = 5, .cost = 10},
               {.function = 0, .gpu = true, .exec = 2, .load = 5, .cost = 30, .max_batch = 8, .growth = 10}});
  w.dag(1, {{.function = 0}});
  w.join(1, false, 1, 1'000);
  if (gpu)
    w.join(2, true, 1, 1'000);
}

void warm_up(world& w) {
  w.call({.slo = 500});
  w.run_until(100);
}

TEST(Calendar, AdmitsWhatFitsAndKeepsThePromise) {
  world w;
  small_cluster(w, false);
  const call_id id = w.call({.slo = 15});
  EXPECT_TRUE(w.admitted(id));
  w.run_until(100);
  EXPECT_EQ(w.finish(id), 15); // 5 ms of load, 10 ms of execution
}

TEST(Calendar, RefusesWhatWouldBreakAPromise) {
  world w;
  small_cluster(w, false);
  warm_up(w);
  const call_id first = w.call({.slo = 10}), second = w.call({.slo = 19}), third = w.call({.slo = 20});
  EXPECT_TRUE(w.admitted(first));
  EXPECT_FALSE(w.admitted(second));
  EXPECT_TRUE(w.admitted(third));
  w.run_until(200);
  EXPECT_EQ(w.broken(), 0);
}

TEST(Calendar, GoesBeforeLaxerWorkWhereThatHasSlack) {
  world w;
  small_cluster(w, false);
  warm_up(w);
  const call_id running = w.call({.slo = 10}), lax = w.call({.slo = 100}), tight = w.call({.slo = 20});
  w.run_until(300);
  EXPECT_TRUE(w.admitted(tight));
  EXPECT_LT(w.finish(running), w.finish(tight));
  EXPECT_LT(w.finish(tight), w.finish(lax));
  EXPECT_EQ(w.broken(), 0);
}

TEST(Calendar, ThePreferenceChoosesThePlan) {
  world w;
  small_cluster(w);
  for (int i = 0; i < 20; ++i) { // the GPU is worth a replica
    w.call({.slo = 40, .max_cost = 30});
    w.run_until(w.now + 5);
  }
  w.run_until(w.now + 100);
  const call_id fast = w.call({.slo = 50, .preference = preference::fastest});
  w.run_until(w.now + 60);
  const call_id cheap = w.call({.slo = 50, .preference = preference::cheapest});
  w.run_until(w.now + 60);
  EXPECT_EQ(w.cost(fast), 30);
  EXPECT_EQ(w.broken(), 0);
  EXPECT_TRUE(w.admitted(cheap));
}

TEST(Calendar, TheCostSloHoldsWhateverLaneIsIdle) {
  world w;
  small_cluster(w);
  for (int i = 0; i < 40; ++i) {
    w.call({.slo = 60, .max_cost = i % 2 == 0 ? 10 : 30});
    w.run_until(w.now + 4);
  }
  w.run_until(w.now + 200);
  EXPECT_GT(w.admitted(), 20);
  EXPECT_EQ(w.broken(), 0);
}

TEST(Calendar, CallsJoinBatchesOfAGpu) {
  world w;
  small_cluster(w);
  for (int i = 0; i < 60; ++i) {
    for (int k = 0; k < 3; ++k)
      w.call({.slo = 40});
    w.run_until(w.now + 2);
  }
  w.run_until(w.now + 200);
  EXPECT_GT(w.largest_batch, 2);
  EXPECT_EQ(w.broken(), 0);
}

// -- offers of less, and reasons
// ---------------------------------------------------------------------------------------------------------------

bool offers(const placing::refuse& r, const std::string& what) {
  return std::any_of(r.offers.begin(), r.offers.end(),
                     [&](const placing::offer& o) { return o.how.find(what) != std::string::npos; });
}

placing::offer offer_of(const placing::refuse& r, const std::string& what) {
  for (const placing::offer& o : r.offers)
    if (o.how.find(what) != std::string::npos)
      return o;
  ADD_FAILURE() << "no offer of '" << what << "'";
  return {};
}

/// A quick model; when it is not sure a slow one on CPU or GPU, whose answer is decoded; the first that is there.
void two_speeds(world& w) {
  w.functions({{.function = 0, .exec = 5, .load = 5, .cost = 1},
               {.function = 1, .exec = 40, .load = 5, .cost = 10},
               {.function = 1, .gpu = true, .exec = 20, .load = 5, .cost = 5},
               {.function = 2, .exec = 2, .load = 5, .cost = 1}});
  w.dag(1, {{.function = 0},
            {.function = 1, .after = {0}, .chance_ppm = 500'000},
            {.function = 2, .after = {1}, .needs = {1}},
            {.function = 2, .after = {0, 2}}});
  w.join(1, false, 4, 1'000);
  w.join(2, true, 1, 1'000);
  for (int i = 0; i < 4; ++i) {
    w.call({.slo = 500});
    w.run_until(w.now + 60);
  }
}

TEST(Calendar, ACascadeThatWouldBeLateIsOfferedWithoutItsSlowBranch) {
  world w;
  two_speeds(w);
  const call_id id = w.call({.slo = 22});
  ASSERT_FALSE(w.admitted(id));
  const placing::offer early = offer_of(w.refusal(id), "stops early");
  EXPECT_LE(early.finish, std::chrono::milliseconds{22});
  EXPECT_EQ(early.cost, 2);
  w.redeem(early.ticket, id);
  EXPECT_TRUE(w.admitted(id));
  w.run_until(w.now + 300);
  EXPECT_LE(w.finish(id) - (w.now - 300), 22);
  EXPECT_EQ(w.cost(id), 2);
  EXPECT_EQ(w.broken(), 0) << w.first_broken();
}

TEST(Calendar, AnEnsembleThatWouldBeLateIsOfferedWithoutItsSlowestMember) {
  world w;
  w.functions({{.function = 0, .exec = 10, .load = 5, .cost = 10},
               {.function = 1, .exec = 60, .load = 5, .cost = 10},
               {.function = 2, .exec = 5, .load = 5, .cost = 1}});
  w.dag(1, {{.function = 0}, {.function = 1}, {.function = 0}, {.function = 2, .after = {0, 1, 2}, .best_effort = 2}});
  w.join(1, false, 4, 1'000);
  for (int i = 0; i < 4; ++i) {
    w.call({.slo = 500});
    w.run_until(w.now + 100);
  }
  const call_id id = w.call({.slo = 30});
  ASSERT_FALSE(w.admitted(id));
  const placing::offer fewer = offer_of(w.refusal(id), "without stage #1");
  w.redeem(fewer.ticket, id);
  const std::int64_t asked = w.now;
  w.run_until(w.now + 300);
  EXPECT_LE(w.finish(id), asked + 30);
  EXPECT_EQ(w.cost(id), 21);
  EXPECT_EQ(w.broken(), 0) << w.first_broken();
}

TEST(Calendar, WhereGpusAreTakenCpusAreOffered) {
  world w;
  two_speeds(w);
  const call_id id = w.call({.slo = 22});
  EXPECT_TRUE(offers(w.refusal(id), "on CPUs only"));
  const placing::offer cpus = offer_of(w.refusal(id), "on CPUs only");
  w.redeem(cpus.ticket, id);
  w.run_until(w.now + 500);
  EXPECT_TRUE(w.finished(id));
  EXPECT_EQ(w.broken(), 0) << w.first_broken();
}

TEST(Calendar, SaysWhyAndWhatWouldHaveBeenEnough) {
  world w, again;
  for (world* each : {&w, &again})
    two_speeds(*each);
  const call_id refused = w.call({.slo = 22});
  const placing::decision& how = w.refusal(refused).how;
  EXPECT_EQ(how.plans, 2U);
  EXPECT_EQ(how.binding, "the latency SLO");
  ASSERT_GT(how.enough_deadline.count(), 0);
  const int enough = static_cast<int>((how.enough_deadline.count() + 999'999) / 1'000'000);
  EXPECT_GT(enough, 22);
  const call_id id = again.call({.slo = enough, .max_cost = how.enough_cost});
  EXPECT_TRUE(again.admitted(id)) << "with " << enough << " ms";
  again.run_until(again.now + 500);
  EXPECT_EQ(again.broken(), 0) << again.first_broken();
}

// -- best-effort joins
// ---------------------------------------------------------------------------------------------------------------

/// Three members of 10 ms, and a vote of 5 ms that is content with two of them; `lanes` CPU lanes.
void ensemble(world& w, int lanes) {
  w.functions({{.function = 0, .exec = 10, .load = 5, .cost = 10}, {.function = 1, .exec = 5, .load = 5, .cost = 1}});
  w.dag(1, {{.function = 0}, {.function = 0}, {.function = 0}, {.function = 1, .after = {0, 1, 2}, .best_effort = 2}});
  w.join(1, false, lanes, 1'000);
  for (int i = 0; i < 4; ++i) {
    w.call({.slo = 500});
    w.run_until(w.now + 30);
  }
}

TEST(Calendar, AnEnsembleIsAnsweredInTimeWithoutAMemberThatStalls) {
  world w;
  ensemble(w, 4);
  w.exact = false;
  const call_id id = w.call({.slo = 60, .stalled = {{1, 5'000}}});
  const std::int64_t asked = w.now;
  w.run_until(w.now + 100);
  EXPECT_TRUE(w.admitted(id));
  ASSERT_TRUE(w.finished(id)) << w.why(id);
  EXPECT_LE(w.finish(id), asked + 60);
  EXPECT_EQ(w.missing(id), (std::set<stage_index>{1}));
  const call_id whole = w.call({.slo = 60});
  w.run_until(w.now + 6'000);
  EXPECT_TRUE(w.finished(whole));
  EXPECT_TRUE(w.missing(whole).empty()) << "the lane of the stalled member is all that is missing";
  EXPECT_EQ(w.broken(), 0) << w.first_broken();
}

TEST(Calendar, MembersThatWaitBehindAStalledOneAreLetGo) {
  world w;
  ensemble(w, 2);
  w.exact = false;
  std::vector<call_id> calls;
  calls.push_back(w.call({.slo = 80, .stalled = {{0, 3'000}}}));
  for (int i = 0; i < 2; ++i)
    calls.push_back(w.call({.slo = 120}));
  w.run_until(w.now + 500);
  for (const call_id id : calls)
    if (w.admitted(id)) {
      EXPECT_TRUE(w.finished(id)) << w.why(id);
      EXPECT_LE(w.missing(id).size(), 1U);
    }
  EXPECT_EQ(w.broken(), 0) << w.first_broken();
}

TEST(Calendar, WithFewerMembersThanItNeedsAnEnsembleIsLate) {
  world w;
  ensemble(w, 4);
  w.exact = false;
  const call_id id = w.call({.slo = 60, .stalled = {{0, 400}, {1, 400}}});
  w.run_until(w.now + 1'000);
  EXPECT_TRUE(w.admitted(id));
  EXPECT_EQ(w.broken(), 1);
}

TEST(Calendar, BestEffortStateSurvivesASnapshot) {
  world w;
  ensemble(w, 4);
  w.exact = false;
  const call_id id = w.call({.slo = 60, .stalled = {{2, 5'000}}});
  for (int i = 0; i < 12; ++i) {
    w.run_until(w.now + 5);
    w.save_and_restore();
  }
  EXPECT_TRUE(w.finished(id));
  EXPECT_EQ(w.broken(), 0) << w.first_broken();
}

// -- bad input
// ---------------------------------------------------------------------------------------------------------------------

TEST(Calendar, RefusesSlosThatCannotBe) {
  world w;
  small_cluster(w);
  for (const int slo : {0, -5}) {
    const call_id id = w.call({.slo = slo});
    EXPECT_FALSE(w.admitted(id));
    EXPECT_EQ(w.refusal(id).code, errc::invalid_argument);
    EXPECT_NE(w.refusal(id).message.find("in the past"), std::string::npos);
  }
  const call_id free = w.call({.max_cost = 0});
  EXPECT_EQ(w.refusal(free).code, errc::invalid_argument);
}

TEST(Calendar, ABudgetBelowTheCheapestPlanIsOfferedTheLeastCost) {
  world w;
  small_cluster(w);
  warm_up(w);
  const call_id id = w.call({.slo = 400, .max_cost = 9});
  ASSERT_FALSE(w.admitted(id));
  ASSERT_FALSE(w.refusal(id).offers.empty());
  EXPECT_EQ(w.refusal(id).offers.front().cost, 10);
}

TEST(Calendar, ADagThatIsNotKnownIsRefused) {
  world w;
  small_cluster(w);
  const call_id id = w.call({.dag = 7});
  EXPECT_EQ(w.refusal(id).code, errc::not_found);
}

// -- offers
// --------------------------------------------------------------------------------------------------------------------

struct offered : testing::Test {
  offered() {
    small_cluster(w, false);
    warm_up(w);
    w.call({.slo = 10});
    refused = w.call({.slo = 12});
    SQUALL_CHECK(!w.admitted(refused) && !w.refusal(refused).offers.empty());
    offer = w.refusal(refused).offers.front();
  }
  world w;
  call_id refused;
  placing::offer offer;
};

using CalendarOffers = offered;

TEST_F(CalendarOffers, ARedeemedTicketIsAPromise) {
  w.run_until(w.now + 150);
  w.redeem(offer.ticket, refused);
  EXPECT_TRUE(w.admitted(refused));
  const std::int64_t promised = 100 + offer.finish / std::chrono::milliseconds{1};
  w.run_until(w.now + 500);
  EXPECT_LE(w.finish(refused), promised);
  EXPECT_LE(w.cost(refused), offer.cost);
}

TEST_F(CalendarOffers, HoldsItsPlaceAgainstOthers) {
  // As many calls as could take every place before the promised finish.
  for (int i = 0; i < 40; ++i) {
    w.call({.slo = 250});
    w.run_until(w.now + 4);
  }
  w.redeem(offer.ticket, refused);
  ASSERT_TRUE(w.admitted(refused));
  w.run_until(w.now + 1'000);
  EXPECT_LE(w.finish(refused), 100 + offer.finish / std::chrono::milliseconds{1});
}

TEST_F(CalendarOffers, AnUnusedTicketFreesItsPlace) {
  const std::size_t held = w.policy().booked();
  w.run_until(w.now + 190);
  EXPECT_GT(w.policy().booked(), 0U);
  w.run_until(w.now + 20);
  EXPECT_EQ(w.policy().booked(), 0U);
  EXPECT_GT(held, 0U);
  w.redeem(offer.ticket, refused);
  EXPECT_FALSE(w.admitted(refused));
  EXPECT_EQ(w.refusal(refused).code, errc::not_found);
}

TEST_F(CalendarOffers, ATicketIsRedeemedOnce) {
  w.redeem(offer.ticket, refused);
  EXPECT_TRUE(w.admitted(refused));
  w.redeem(offer.ticket, refused);
  EXPECT_EQ(w.refusal(refused).code, errc::not_found);
  w.run_until(w.now + 500);
  EXPECT_TRUE(w.finished(refused));
}

TEST_F(CalendarOffers, ATicketIsOfItsClient) {
  w.redeem(offer.ticket, refused, 2);
  EXPECT_FALSE(w.admitted(refused));
  EXPECT_EQ(w.refusal(refused).code, errc::permission_denied);
  w.redeem(offer.ticket, refused, 1);
  EXPECT_TRUE(w.admitted(refused));
}

TEST_F(CalendarOffers, AClientHoldsOnlySoMany) {
  int offers = 0;
  for (int i = 0; i < 50; ++i)
    offers += static_cast<int>(w.refusal(w.call({.slo = 12})).offers.size());
  EXPECT_LT(offers, 5);
}

// -- branches and maps
// ---------------------------------------------------------------------------------------------------------------------

/// A cascade whose second stage runs rarely.
void cascade(world& w) {
  w.functions({{.function = 0, .exec = 2, .load = 5}, {.function = 1, .exec = 20, .load = 5}});
  w.dag(1, {{.function = 0}, {.function = 1, .after = {0}, .chance_ppm = 100'000}, {.function = 0, .after = {1}}});
  w.join(1, false, 2, 1'000);
}

int admitted_of_cascade(std::uint32_t assurance_ppm, int& broken) {
  world w;
  cascade(w);
  random_source random{5};
  for (int i = 0; i < 400; ++i) {
    world_call c{.slo = 60, .assurance_ppm = assurance_ppm};
    if (random.below(10) > 0)
      c.skipped.insert(1);
    w.call(c);
    w.run_until(w.now + 4);
  }
  w.run_until(w.now + 500);
  broken = w.broken();
  return w.admitted();
}

TEST(CalendarOdds, AShareAdmitsMoreThanFirmAndBreaksFew) {
  int broken_firm = 0, broken_share = 0;
  const int firm = admitted_of_cascade(placing::firm_ppm, broken_firm);
  const int share = admitted_of_cascade(970'000, broken_share);
  EXPECT_EQ(broken_firm, 0);
  EXPECT_GT(share, firm);
  EXPECT_LE(broken_share, share * 3 / 100 + 1);
}

TEST(CalendarOdds, OverbookedCallsNeverDisturbAFirmOne) {
  world w;
  cascade(w);
  std::vector<call_id> firm;
  for (int i = 0; i < 300; ++i) { // every branch runs, against all odds
    const bool sure = i % 3 == 0;
    const call_id id = w.call({.slo = 60, .assurance_ppm = sure ? placing::firm_ppm : 900'000});
    if (sure)
      firm.push_back(id);
    w.run_until(w.now + 6);
  }
  w.run_until(w.now + 500);
  int admitted = 0;
  for (const call_id id : firm)
    if (w.admitted(id)) {
      ++admitted;
      EXPECT_TRUE(w.finished(id)) << w.why(id);
    }
  EXPECT_GT(admitted, 10);
}

TEST(CalendarMaps, TheWidthIsBookedInFullAndGivenBack) {
  world w;
  w.functions({{.function = 0, .exec = 2, .load = 5}, {.function = 1, .exec = 5, .load = 5}});
  w.dag(1, {{.function = 0}, {.function = 1, .after = {0}, .width_max = 6}, {.function = 0, .after = {1}}});
  w.join(1, false, 2, 1'000);
  for (int i = 0; i < 60; ++i) {
    w.call({.slo = 80, .widths = {{1, static_cast<std::uint32_t>(i % 7)}}});
    w.run_until(w.now + 10);
  }
  w.run_until(w.now + 500);
  EXPECT_GT(w.admitted(), 10);
  EXPECT_EQ(w.broken(), 0);
}

TEST(CalendarMaps, WiderThanDeclaredIsBrokenLoudly) {
  world w;
  w.functions({{.function = 0, .exec = 2, .load = 5}});
  w.dag(1, {{.function = 0}, {.function = 0, .after = {0}, .width_max = 2}});
  w.join(1, false, 2, 1'000);
  const call_id id = w.call({.slo = 200, .widths = {{1, 3}}});
  w.run_until(300);
  EXPECT_TRUE(w.abandoned(id));
  EXPECT_NE(w.why(id).find("declared"), std::string::npos);
}

// -- what goes wrong
// ----------------------------------------------------------------------------------------------------------------------

TEST(CalendarRepair, WorkOfALostNodeGoesElsewhere) {
  world w;
  w.functions({{.function = 0, .exec = 10, .load = 5}});
  w.dag(1, {{.function = 0}, {.function = 0, .after = {0}}});
  w.join(1, false, 2, 1'000);
  w.join(2, false, 2, 1'000);
  std::vector<call_id> ids;
  for (int i = 0; i < 20; ++i) {
    ids.push_back(w.call({.slo = 200}));
    w.run_until(w.now + 8);
  }
  w.lose(1);
  w.run_until(w.now + 1'000);
  int kept = 0;
  for (const call_id id : ids)
    kept += w.admitted(id) && w.finished(id) ? 1 : 0;
  EXPECT_EQ(kept, w.admitted());
  w.join(1, false, 2, 1'000);
  const call_id after = w.call({.slo = 200});
  w.run_until(w.now + 300);
  EXPECT_TRUE(w.finished(after));
}

TEST(CalendarRepair, NodesAndDagsThatGoLeaveTheirPlacesToOthers) {
  world w;
  w.functions({{.function = 0, .exec = 10}});
  w.dag(1, {{.function = 0}});
  w.join(1, false, 2, 1'000);
  std::size_t after_few = 0;
  for (std::uint64_t i = 2; i < 300; ++i) {
    w.dag(i, {{.function = 0}, {.function = 0, .after = {0}}});
    w.join(i, false, 2, 1'000);
    const auto call = w.call({.dag = i, .slo = 100});
    ASSERT_TRUE(w.admitted(call)) << i;
    w.remove_dag(i); // while the call runs
    if (i % 50 == 0)
      w.save_and_restore();
    w.run_until(w.now + 50);
    ASSERT_TRUE(w.finished(call)) << i;
    EXPECT_FALSE(w.admitted(w.call({.dag = i, .slo = 100})));
    w.lose(i);
    if (i == 10)
      after_few = w.policy().memory_bytes();
  }
  EXPECT_LE(w.policy().memory_bytes(), after_few + after_few / 2);
  const auto last = w.call({.dag = 1, .slo = 100});
  w.run_until(w.now + 100);
  EXPECT_TRUE(w.finished(last));
}

TEST(CalendarRepair, RemovedFunctionsAreEvictedAndLeaveTheirPlacesToOthers) {
  world w;
  w.join(1, false, 2, 1'000);
  std::vector<world_variant> functions;
  std::size_t after_few = 0;
  for (std::uint64_t i = 1; i < 300; ++i) {
    const auto f = static_cast<int>(i) - 1;
    functions.push_back({.function = f, .exec = 10, .load = 5});
    w.functions(functions, functions.size() - 1);
    w.dag(i, {{.function = f}});
    const auto call = w.call({.dag = i, .slo = 100});
    ASSERT_TRUE(w.admitted(call)) << i;
    w.remove_dag(i);
    w.tell(placing::function_removed{function_id{i}, {variant_id{i}}}); // while the call still uses it
    if (i % 50 == 0)
      w.save_and_restore();
    w.run_until(w.now + 500);
    ASSERT_TRUE(w.finished(call)) << i;
    EXPECT_EQ(w.resident(), 0u) << i;
    if (i == 10)
      after_few = w.policy().memory_bytes();
  }
  EXPECT_LE(w.policy().memory_bytes(), after_few + after_few / 2);
  w.functions(functions, functions.size() - 1); // it comes back
  w.dag(1000, {{.function = functions.back().function}});
  const auto last = w.call({.dag = 1000, .slo = 100});
  w.run_until(w.now + 100);
  EXPECT_TRUE(w.finished(last));
}

TEST(CalendarResidency, ANodeLoadsNoMoreReplicasThanItHasLanes) {
  world w;
  w.functions({{.function = 0, .exec = 10, .load = 5, .memory = 100}});
  w.dag(1, {{.function = 0}});
  w.join(1, false, 2, 1'000);
  std::size_t most = 0;
  for (int i = 0; i < 2'000; ++i) { // as much again as two lanes can do
    w.call({.slo = 60});
    w.call({.slo = 60});
    w.run_until(w.now + 5);
    most = std::max(most, w.resident());
  }
  w.run_until(w.now + 100);
  EXPECT_EQ(most, 2u) << "there is memory for ten";
  EXPECT_EQ(w.broken(), 0);
}

TEST(CalendarRepair, WithoutAnyNodeThePromiseIsBrokenLoudly) {
  world w;
  small_cluster(w, false);
  const call_id id = w.call({.slo = 200});
  w.run_until(3);
  w.lose(1);
  w.run_until(20);
  EXPECT_TRUE(w.abandoned(id));
  EXPECT_NE(w.why(id).find("lost"), std::string::npos);
}

TEST(CalendarRepair, AFunctionTenTimesSlowerBreaksOnlyItsOwnCalls) {
  world w;
  w.functions({{.function = 0, .exec = 5, .load = 5}, {.function = 1, .exec = 5, .load = 5}});
  w.dag(1, {{.function = 0}});
  w.dag(2, {{.function = 1}});
  w.join(1, false, 4, 1'000);
  w.exact = false;
  w.takes = [](const world_variant& v, int profiled) { return v.function == 1 ? 10 * profiled : profiled; };
  std::vector<call_id> honest;
  for (int i = 0; i < 300; ++i) {
    if (i % 5 == 0)
      w.call({.dag = 2, .slo = 100});
    honest.push_back(w.call({.dag = 1, .slo = 100}));
    w.run_until(w.now + 4);
  }
  w.run_until(w.now + 1'000);
  int admitted = 0;
  for (const call_id id : honest)
    if (w.admitted(id)) {
      ++admitted;
      EXPECT_TRUE(w.finished(id)) << w.why(id);
    }
  EXPECT_GT(admitted, 200);
}

/// One function of 10 ms on four lanes, whose executions take `times` as long for half a second.
void learn_that_it_is_slow(world& w, int times) {
  w.functions({{.function = 0, .exec = 10, .load = 5}});
  w.dag(1, {{.function = 0}});
  w.join(1, false, 4, 1'000);
  w.exact = false;
  w.takes = [times](const world_variant&, int profiled) { return times * profiled; };
  for (int i = 0; i < 50; ++i) {
    w.call({.dag = 1, .slo = 1'000});
    w.run_until(w.now + 10);
  }
  w.run_until(w.now + 1'000);
  w.takes = [](const world_variant&, int profiled) { return profiled; };
}

TEST(CalendarRepair, WhatSeemedTooSlowIsTriedAgainAfterAWhile) {
  world w;
  learn_that_it_is_slow(w, 8);
  const call_id soon = w.call({.dag = 1, .slo = 25});
  EXPECT_FALSE(w.admitted(soon)) << "it takes 80 ms, as far as is known";
  std::vector<call_id> asked;
  const auto any = [&] { return std::any_of(asked.begin(), asked.end(), [&](call_id id) { return w.admitted(id); }); };
  for (int i = 0; i < 500 && !any(); ++i) {
    asked.push_back(w.call({.dag = 1, .slo = 25}));
    w.run_until(w.now + 20);
  }
  ASSERT_TRUE(any()) << "nothing is admitted for 10 s";
  EXPECT_GT(asked.size(), 40u) << "what was just measured is believed for a second";
  w.run_until(w.now + 100);
  EXPECT_TRUE(w.finished(asked.back())) << w.why(asked.back());
}

TEST(CalendarRepair, AProfileThatIsMeasuredAtLastIsNotCountedTwice) {
  world w;
  w.measured = false;
  learn_that_it_is_slow(w, 4);
  w.measured = true;
  w.functions({{.function = 0, .exec = 40, .load = 5}});
  EXPECT_TRUE(w.admitted(w.call({.dag = 1, .slo = 60}))) << "40 ms, not 4 times 40";
}

TEST(CalendarRepair, ACancelledCallFreesItsPlace) {
  world w;
  small_cluster(w, false);
  warm_up(w);
  w.call({.slo = 10});
  const call_id second = w.call({.slo = 20});
  EXPECT_FALSE(w.admitted(w.call({.slo = 20})));
  w.cancel(second);
  EXPECT_TRUE(w.admitted(w.call({.slo = 20})));
  w.run_until(w.now + 400);
}

TEST(CalendarRepair, CallsWithoutAPromiseRunWhenThereIsRoom) {
  world w;
  small_cluster(w, false);
  std::vector<call_id> ids;
  for (int i = 0; i < 5; ++i)
    ids.push_back(w.call({.slo = world::no_slo, .assurance_ppm = 0}));
  const call_id promised = w.call({.slo = 30});
  w.run_until(400);
  for (const call_id id : ids)
    EXPECT_TRUE(w.finished(id));
  EXPECT_LE(w.finish(promised), 30);
}

// -- the books
// -----------------------------------------------------------------------------------------------------------------------

/// The neighbours are of one variant, so one batch could take both stages of a call, were it not for their order.
TEST(Calendar, NeighbouringStagesOfOneFunctionKeepTheirOrderInBatches) {
  world w;
  w.functions({{.function = 0, .gpu = true, .exec = 4, .load = 5, .max_batch = 8, .growth = 10}});
  w.dag(1, {{.function = 0}, {.function = 0, .after = {0}}, {.function = 0, .after = {1}}});
  w.join(1, true, 2, 1'000);
  for (int i = 0; i < 200; ++i) {
    w.call({.slo = 30 + i % 7 * 10});
    w.call({.slo = 60});
    w.run_until(w.now + 2);
  }
  w.run_until(w.now + 500);
  EXPECT_GT(w.admitted(), 100);
  EXPECT_GT(w.largest_batch, 2);
  EXPECT_EQ(w.broken(), 0) << w.first_broken();
  EXPECT_EQ(w.policy().booked(), 0U);
}

/// One lane and one replica of a variant, with batches of up to four that grow by half; calls of one stage.
struct books : testing::Test {
  books() {
    g.set_now(0);
    variant_entry& v = g.variants.emplace_back();
    v.info.id = variant_id{1};
    v.info.max_batch = 4;
    v.times = {10, 15, 20, 25};
    g.nodes.push_back({node_id{1}, {}, {}, 1'000, 0});
    g.nodes[0].lanes[0] = {0};
    g.lanes.push_back({0, functions::resource_type::cpu, {}, {}});
    g.lane_count[0] = 1;
    replica = g.add_replica(0, 0, 0);
    g.set_ready(replica, true, 0);
    dag_entry& dag = g.dags.emplace_back();
    dag.id = dag_id{1};
    dag.stages.emplace_back().variants = {0};
    for (int i = 0; i < 6; ++i)
      calls.push_back(book(i));
  }
  task_ref book(int i) {
    const slot s = g.add_call();
    call_entry& call = g.calls[s];
    call.id = call_id{static_cast<std::uint64_t>(i) + 1};
    call.dag = 0;
    call.deadline = 1'000 + i;
    call.stages.assign(1, {0, 1, 1, 0, stage_phase::waiting, true});
    call.tasks.assign(1, {none, 0, 1'000'000, false});
    const auto at = static_cast<std::uint32_t>(g.lanes[0].order.size());
    g.insert({s, 0}, 0, {0, replica, at, at, 10 * i}, i);
    return {s, 0};
  }
  [[nodiscard]] std::vector<std::byte> bytes() const {
    calls::binary_writer out;
    g.save(out);
    return out.take();
  }
  graph g;
  slot replica = none;
  std::vector<task_ref> calls;
};
using CalendarBooks = books;

TEST_F(CalendarBooks, ATrialThatRemovesTasksIsTakenBackToTheByte) {
  ASSERT_EQ(g.check(true), "");
  // Batches of two, so that what is removed both shrinks batches and empties them.
  const slot second = g.calls[calls[1].call].tasks[0].batch;
  g.remove(calls[2]);
  g.join(calls[2], second);
  ASSERT_EQ(g.check(true), "");
  const auto before = bytes();
  random_source random{5};
  for (int round = 0; round < 200; ++round) {
    g.begin();
    for (int step = 0; step < 6; ++step) {
      const task_ref task = calls[random.below(calls.size())];
      const slot from = g.calls[task.call].tasks[0].batch;
      if (from == none)
        continue;
      g.remove(task);
      const slot to = g.calls[calls[random.below(calls.size())].call].tasks[0].batch;
      if (to != none && to != from && g.batches[to].tasks.size() < 4)
        g.join(task, to);
    }
    g.take_back();
    ASSERT_EQ(g.check(true), "") << round;
    ASSERT_TRUE(bytes() == before) << "round " << round;
  }
}

// -- random workloads
// -----------------------------------------------------------------------------------------------------------------

struct random_run {
  world w;
  random_source random;
  std::uint32_t functions = 0;

  explicit random_run(std::uint64_t seed) : random(seed) {
    functions = 2 + static_cast<std::uint32_t>(random.below(4));
    std::vector<world_variant> variants;
    for (std::uint32_t f = 0; f < functions; ++f) {
      const int exec = 1 + number(30), memory = 50 + number(400);
      variants.push_back({static_cast<int>(f), false, exec, 1 + number(40), memory, exec, 1 + number(4), 85});
      if (random.below(3) > 0)
        variants.push_back(
            {static_cast<int>(f), true, 1 + exec / 8, 1 + number(20), memory, 2 * exec, 1 + number(16), 12});
    }
    w.functions(variants);
    for (std::uint64_t d = 1; d <= 3; ++d)
      w.dag(d, random_dag());
    const int cpus = 1 + number(3), gpus = number(3);
    for (int n = 0; n < cpus; ++n)
      w.join(static_cast<std::uint64_t>(n) + 1, false, 1 + number(4), 2'500);
    for (int n = 0; n < gpus; ++n)
      w.join(static_cast<std::uint64_t>(n) + 10, true, 1, 1'000);
  }

  int number(int below) { return static_cast<int>(random.below(static_cast<std::uint64_t>(below))); }

  std::vector<world_stage> random_dag() {
    std::vector<world_stage> out;
    const int stages = 1 + number(5);
    for (int s = 0; s < stages; ++s) {
      world_stage stage{.function = number(static_cast<int>(functions))};
      for (int p = 0; p < s; ++p)
        if (random.below(2) == 0)
          stage.after.push_back(static_cast<stage_index>(p));
      if (random.below(4) == 0)
        stage.chance_ppm = 300'000;
      else if (random.below(5) == 0)
        stage.width_max = 4;
      if (stage.after.size() > 1 && random.below(3) == 0)
        stage.best_effort = 1 + static_cast<std::uint32_t>(random.below(stage.after.size()));
      else if (!stage.after.empty() && random.below(2) == 0)
        stage.needs = {stage.after.front()};
      out.push_back(stage);
    }
    return out;
  }

  /// Whatever the branches do: chance says nothing about what happens here.
  world_call random_call(std::uint32_t assurance_ppm) {
    world_call c{.dag = 1 + random.below(3), .slo = 5 + number(300), .assurance_ppm = assurance_ppm};
    if (random.below(2) == 0)
      c.max_cost = 5 + number(120);
    for (stage_index s = 0; s < 6; ++s) {
      if (random.below(2) == 0)
        c.skipped.insert(s);
      c.widths[s] = static_cast<std::uint32_t>(random.below(5));
    }
    c.priority = static_cast<std::uint32_t>(random.below(3));
    c.preference = static_cast<preference>(random.below(3));
    return c;
  }
};

/// Stages that are neither conditional nor maps run once.
void make_possible(world_call& c, const std::vector<world_stage>& dag) {
  for (stage_index s = 0; s < dag.size(); ++s) {
    if (dag[s].chance_ppm == 1'000'000)
      c.skipped.erase(s);
    if (dag[s].width_max == 1)
      c.widths.erase(s);
  }
}

TEST(CalendarProperty, FirmPromisesAreKeptWhateverTheBranchesDo) {
  int admitted = 0;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    random_run run{seed};
    for (int i = 0; i < 150; ++i) {
      world_call c = run.random_call(placing::firm_ppm);
      make_possible(c, run.w.dag_of(c.dag));
      const call_id id = run.w.call(c);
      if (!run.w.admitted(id) && !run.w.refusal(id).offers.empty() && run.random.below(2) == 0) {
        run.w.run_until(run.w.now + run.number(100));
        run.w.redeem(run.w.refusal(id).offers.back().ticket, id);
      }
      run.w.run_until(run.w.now + run.number(12));
      if (run.random.below(40) == 0)
        run.w.save_and_restore();
    }
    run.w.run_until(run.w.now + 3'000);
    ASSERT_EQ(run.w.broken(), 0) << "seed " << seed << ": " << run.w.first_broken();
    ASSERT_EQ(run.w.let_go, 0) << "seed " << seed << ": everything was on time, and yet a join did not wait";
    ASSERT_EQ(run.w.policy().booked(), 0U) << "seed " << seed;
    admitted += run.w.admitted();
  }
  EXPECT_GT(admitted, 2'000);
}

TEST(CalendarProperty, TheBooksStayRightWhateverGoesWrong) {
  for (std::uint64_t seed = 100; seed < 130; ++seed) {
    random_run run{seed};
    run.w.exact = false;
    random_source late{seed};
    run.w.takes = [&](const world_variant&, int profiled) {
      return late.below(4) == 0 ? profiled + static_cast<int>(late.below(30)) : profiled;
    };
    for (int i = 0; i < 120; ++i) {
      world_call c = run.random_call(i % 2 == 0 ? placing::firm_ppm : 900'000);
      make_possible(c, run.w.dag_of(c.dag));
      run.w.call(c);
      run.w.run_until(run.w.now + run.number(12));
      if (i == 60)
        run.w.lose(1);
      if (i == 80)
        run.w.join(1, false, 2, 2'500);
      if (run.random.below(40) == 0)
        run.w.save_and_restore();
    }
    run.w.run_until(run.w.now + 5'000);
    ASSERT_EQ(run.w.policy().booked(), 0U) << "seed " << seed;
  }
}

} // namespace
} // namespace squall::policy::calendar
