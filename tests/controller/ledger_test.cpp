#include "controller/ledger.hpp"

#include <gtest/gtest.h>

namespace squall::controller {
namespace {

using std::chrono::milliseconds;

calls::outcome late_outcome(duration queued, duration loading, duration executed, duration elapsed) {
  calls::outcome out;
  out.elapsed = elapsed;
  out.promise = {milliseconds{10}, calls::no_cost_limit, calls::firm_ppm, milliseconds{8}, {}};
  calls::stage_trace t;
  t.queued = queued + loading; // the figure includes the load
  t.loading = loading;
  t.executed = executed;
  out.trace.push_back(t);
  return out;
}

promise_record record(std::uint64_t id, bool kept, blame why) {
  promise_record r;
  r.call = call_id{id};
  r.kept = kept;
  r.why = why;
  return r;
}

TEST(Blame, NamesTheLargestPart) {
  EXPECT_EQ(
      blame_for(late_outcome(milliseconds{9}, milliseconds{1}, milliseconds{2}, milliseconds{12}), milliseconds{2}),
      blame::queue);
  EXPECT_EQ(
      blame_for(late_outcome(milliseconds{1}, milliseconds{9}, milliseconds{2}, milliseconds{12}), milliseconds{2}),
      blame::load);
  EXPECT_EQ(
      blame_for(late_outcome(milliseconds{1}, milliseconds{1}, milliseconds{10}, milliseconds{12}), milliseconds{2}),
      blame::execution);
  EXPECT_EQ(
      blame_for(late_outcome(milliseconds{1}, milliseconds{1}, milliseconds{2}, milliseconds{40}), milliseconds{2}),
      blame::network);
}

TEST(Blame, ExecutionAsPlannedIsNotToBlame) {
  EXPECT_EQ(
      blame_for(late_outcome(milliseconds{3}, milliseconds{0}, milliseconds{20}, milliseconds{23}), milliseconds{20}),
      blame::queue);
}

TEST(Blame, OfALostNodeAFailureAndTheCost) {
  calls::outcome lost;
  lost.code = errc::unavailable;
  EXPECT_EQ(blame_for(lost, {}), blame::node_lost);
  calls::outcome failed;
  failed.code = errc::failed;
  EXPECT_EQ(blame_for(failed, {}), blame::failure);
  auto dear = late_outcome({}, {}, milliseconds{2}, milliseconds{3});
  dear.promise.cost = 5;
  dear.receipt.cost = 6;
  EXPECT_EQ(blame_for(dear, {}), blame::cost);
  dear.receipt.cost = 5;
  EXPECT_EQ(blame_for(dear, {}), blame::none);
}

TEST(Ledger, CountsAllAndRemembersTheLast) {
  ledger all{2};
  all.settle(record(1, true, blame::none));
  all.settle(record(2, false, blame::queue));
  all.settle(record(3, false, blame::queue));
  EXPECT_EQ(all.kept(), 1u);
  EXPECT_EQ(all.broken(), 2u);
  EXPECT_EQ(all.by_blame().at(blame::queue), 2u);
  ASSERT_EQ(all.records().size(), 2u);
  EXPECT_EQ(all.records()[0].call, call_id{3});
  EXPECT_EQ(all.records()[1].call, call_id{2});
  EXPECT_EQ(all.blame_of(call_id{3}), blame::queue);
  EXPECT_EQ(all.blame_of(call_id{1}), blame::none) << "it is forgotten";
}

TEST(Ledger, CountsRefusalsAndOffers) {
  ledger all{1};
  all.refused(true);
  all.refused(false);
  all.redeemed();
  EXPECT_EQ(all.refusals(), 2u);
  EXPECT_EQ(all.refusals_with_offers(), 1u);
  EXPECT_EQ(all.redemptions(), 1u);
}

} // namespace
} // namespace squall::controller
