#include "policy/selection.hpp"

#include <gtest/gtest.h>

namespace squall::policy {
namespace {

const selection::can_run always = [](group_index, executor_index) { return true; };

/// Everything that can be chosen now.
std::vector<selection::choice> all_of(selection& s) {
  std::vector<selection::choice> out;
  while (const auto c = s.next(always))
    out.push_back(*c);
  return out;
}

std::unique_ptr<selection> make(const selection_config& config, std::size_t groups, std::size_t executors) {
  auto s = std::make_unique<selection>(config);
  for (std::size_t g = 0; g < groups; ++g)
    s->add_group(duration{static_cast<std::int64_t>(10 * (groups - g))}, 1);
  for (std::size_t e = 0; e < executors; ++e)
    s->add_executor(1);
  return s;
}

using choices = std::vector<selection::choice>;

TEST(Selection, ExecutorsAreTakenInTheOrderInWhichTheyBecameFree) {
  const auto s = make({.policy = "balance"}, 1, 3);
  s->enqueue(0, 1, from_ns(0));
  s->enqueue(0, 2, from_ns(0));
  EXPECT_EQ(all_of(*s), (choices{{0, 1, 0}, {0, 2, 1}}));
  s->release(1);
  s->release(0);
  for (std::uint64_t t = 3; t < 6; ++t)
    s->enqueue(0, t, from_ns(1));
  EXPECT_EQ(all_of(*s), (choices{{0, 3, 2}, {0, 4, 1}, {0, 5, 0}}));
}

TEST(Selection, RoundRobinWaitsForTheExecutorWhoseTurnItIs) {
  const auto s = make({.policy = "rr"}, 1, 2);
  for (std::uint64_t t = 1; t < 5; ++t)
    s->enqueue(0, t, from_ns(0));
  EXPECT_EQ(all_of(*s).size(), 2U);
  s->release(1);
  EXPECT_EQ(all_of(*s), choices{});
  s->release(0);
  EXPECT_EQ(all_of(*s), (choices{{0, 3, 0}, {0, 4, 1}}));
}

TEST(Selection, ShortTasksPassLongOnesUnlessThoseWaitedLongEnough) {
  for (const bool aging : {false, true}) {
    const auto s = make({.policy = "srtf", .aging_ppm = aging ? 1'000'000U : 0U}, 2, 1);
    s->enqueue(0, 1, from_ns(0));  // takes 20
    s->enqueue(1, 2, from_ns(11)); // takes 10
    EXPECT_EQ(s->next(always)->task, aging ? 1U : 2U);
  }
}

TEST(Selection, DrawsGoRoundTheBucketsThatHaveTasks) {
  const auto s = make({.policy = "mlfq", .draws = {4, 1, 7}}, 3, 3);
  s->enqueue(0, 1, from_ns(0));
  s->enqueue(2, 2, from_ns(0));
  s->enqueue(2, 3, from_ns(0));
  // 4 mod 2 is the first bucket; then only the third is left.
  EXPECT_EQ(all_of(*s), (choices{{0, 1, 0}, {2, 2, 1}, {2, 3, 2}}));
  EXPECT_EQ(s->draws_taken(), 3U);
}

TEST(Selection, ATaskThatCannotRunHoldsNobodyBack) {
  for (const char* policy : {"balance", "srtf", "mlfq", "exclusive"}) {
    selection s{{.policy = policy}};
    s.add_group(duration{1}, 1);
    s.add_group(duration{2}, 2);
    s.add_executor(1);
    s.add_executor(2);
    s.enqueue(0, 1, from_ns(0));
    s.enqueue(1, 2, from_ns(0));
    s.settle(from_ns(0));
    const auto no_memory = [](group_index g, executor_index) { return g != 0; };
    EXPECT_EQ(s.next(no_memory), (selection::choice{1, 2, 1})) << policy;
    EXPECT_EQ(s.next(no_memory), std::nullopt) << policy;
    EXPECT_EQ(s.next(always), (selection::choice{0, 1, 0})) << policy;
  }
}

TEST(Selection, ExclusiveDealsExecutorsInTurnAndMakesRoomForNewcomers) {
  const auto s = make({.policy = "exclusive", .rebalance = rebalance_rule::none}, 2, 3);
  EXPECT_EQ(s->owned(0), 2U);
  EXPECT_EQ(s->owned(1), 1U);
  s->enqueue(0, 1, from_ns(0));
  EXPECT_EQ(all_of(*s).size(), 1U);
  const group_index late = s->add_group(duration{5}, 1);
  EXPECT_EQ(s->owned(late), 0U);
  s->enqueue(late, 2, from_ns(1));
  s->settle(from_ns(1));
  EXPECT_EQ(s->owned(late), 1U);
  EXPECT_EQ(all_of(*s), (choices{{late, 2, 1}})) << "of the group without load";
}

TEST(Selection, WithdrawnTasksAndLostExecutorsAreNotChosen) {
  const auto s = make({.policy = "balance"}, 1, 2);
  for (std::uint64_t t = 1; t < 4; ++t)
    s->enqueue(0, t, from_ns(0));
  s->remove_executor(0);
  EXPECT_TRUE(s->withdraw(0, 2));
  EXPECT_FALSE(s->withdraw(0, 2));
  EXPECT_EQ(all_of(*s), (choices{{0, 1, 1}}));
  s->release(1);
  EXPECT_EQ(all_of(*s), (choices{{0, 3, 1}}));
  EXPECT_EQ(s->waiting(), 0U);
}

TEST(Selection, ASnapshotGoesOnAsTheOriginal) {
  for (const std::string& policy : selection_names()) {
    const auto original = make({.policy = policy, .seed = 5}, 3, 2);
    std::uint64_t task = 0;
    for (; task < 9; ++task)
      original->enqueue(static_cast<group_index>(task % 3), task, from_ns(0));
    original->settle(from_ns(0));
    const auto first = all_of(*original);
    calls::binary_writer out;
    original->save(out);
    selection copy{{}};
    calls::binary_reader in{out.bytes()};
    copy.restore(in);
    ASSERT_TRUE(in.finish("selection").ok()) << policy;
    for (selection* s : {original.get(), &copy}) {
      for (const auto& c : first)
        s->release(c.executor);
      s->settle(from_ns(1));
    }
    EXPECT_EQ(all_of(*original), all_of(copy)) << policy;
    EXPECT_EQ(original->waiting(), copy.waiting()) << policy;
  }
}

} // namespace
} // namespace squall::policy
