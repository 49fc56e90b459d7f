#include "tests/executors/node_world.hpp"

#include <gmock/gmock.h>

/// What a node does with its work between two controllers.
namespace squall::executors {
namespace {

using namespace testing;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class NodeHolding : public NodeTest {
protected:
  /// Nothing is heard of the controller for longer than nodes wait.
  void lose_controller() {
    answers_beats_ = false;
    pass(6500ms);
    hellos_.clear();
    finished_.clear();
    pass(1s);
  }
  /// Another one lets them keep what they have, or not.
  void next_controller(bool keeps) {
    answers_beats_ = true;
    ++epoch_;
    for (std::size_t i = 0; i < machines_.size(); ++i) {
      auto welcome = welcome_for(i);
      welcome.keeps = keeps;
      give(i, welcome);
    }
  }
  dag_id chain() {
    return add_dag(
        dag_of({port_of("i")},
               {ft::stage_of("a", "id", {{"a", ft::from("$i")}}), ft::stage_of("b", "id", {{"a", ft::from("a.x")}})},
               {{"o", ft::from("b.x")}}));
  }
};

} // namespace

TEST_F(NodeHolding, ACallGoesOnFromNodeToNodeAndItsEndWaits) {
  const auto dag = chain();
  add_machine();
  add_machine();
  join_all();
  auto context = context_of(1, dag, {{"a", 1}, {"b", 2}}, 2);
  context.claim.owner = client_id{4};
  start(0, context, {number(6)});
  lose_controller();
  ASSERT_FALSE(hellos_.empty());
  EXPECT_EQ(hellos_.back().held_epoch, 1U);
  EXPECT_TRUE(hellos_.back().held == node_id{1} || hellos_.back().held == node_id{2});
  settle();
  EXPECT_TRUE(finished_.empty()) << "there is nobody to tell";
  pass(2s);
  next_controller(true);
  settle();
  ASSERT_THAT(held_, SizeIs(2));
  EXPECT_THAT(held_[0].calls, IsEmpty()) << "the first node is done with it";
  ASSERT_THAT(held_[1].calls, SizeIs(1));
  EXPECT_TRUE(held_[1].calls[0].finished);
  EXPECT_EQ(held_[1].calls[0].context.claim.owner, client_id{4});
  EXPECT_GE(held_[1].calls[0].context.age, 9s) << "it grows old while it waits";
  EXPECT_EQ(held_[1].epoch, 2U);
  EXPECT_EQ(held_[1].peers, (std::vector{node_id{1}, node_id{2}}));
  auto f = finished(1);
  ASSERT_TRUE(f);
  EXPECT_EQ(f->outputs, std::vector{number(6)});
  release(std::move(*f));
  expect_memory_free();
}

TEST_F(NodeHolding, WhatRunsIsReportedAndEndsAsEver) {
  const auto dag = chain();
  add_machine();
  join_all();
  start(0, context_of(1, dag), {number(6)});
  lose_controller();
  next_controller(true);
  settle(false);
  ASSERT_THAT(held_, SizeIs(1));
  ASSERT_THAT(held_[0].calls, SizeIs(1));
  EXPECT_FALSE(held_[0].calls[0].finished);
  EXPECT_LE(held_[0].calls[0].context.remaining, 4s);
  settle();
  EXPECT_TRUE(finished(1));
}

TEST_F(NodeHolding, AControllerThatDoesNotLetItKeepsNothing) {
  const auto dag = chain();
  add_machine();
  join_all();
  start(0, context_of(1, dag), {number(6)});
  lose_controller();
  EXPECT_EQ(role(0).calls_here(), 1U);
  next_controller(false);
  EXPECT_EQ(role(0).calls_here(), 0U);
  settle();
  EXPECT_THAT(held_, IsEmpty());
  EXPECT_TRUE(finished_.empty());
  expect_memory_free();
}

TEST_F(NodeHolding, WithoutAnyControllerAllIsDroppedInTheEnd) {
  const auto dag = chain();
  add_machine();
  join_all();
  auto context = context_of(1, dag);
  context.remaining = 60s;
  start(0, context, {number(6)});
  lose_controller();
  EXPECT_EQ(role(0).calls_here(), 1U);
  pass(membership::grace);
  EXPECT_EQ(role(0).calls_here(), 0U);
  ASSERT_FALSE(hellos_.empty());
  EXPECT_EQ(hellos_.back().held, node_id{}) << "it joins as a new one";
  expect_memory_free();
}

TEST_F(NodeHolding, OrdersOfNobodyAreNotObeyed) {
  const auto dag = chain();
  add_machine();
  join_all();
  lose_controller();
  start(0, context_of(1, dag), {number(6)});
  settle();
  EXPECT_EQ(role(0).calls_here(), 0U);
}

TEST_F(NodeHolding, AHomeSaysHowFarItsCallHasComeAndARunnerWhatItRan) {
  const auto dag = chain();
  add_machine();
  join_all();
  give(0, wire::want_replica{replica_id{7}, variant_of("id"), true});
  settle();
  for (std::uint64_t id : {1, 2}) {
    auto context = context_of(id, dag);
    context.dispatched = true;
    start(0, context, {number(3)});
  }
  settle();
  give(0, wire::hand_out{
              node_id{1}, {batch_id{5}, replica_id{7}, variant_of("id"), 1, duration::max()}, {{call_id{1}, 0, 0}}});
  settle(false);
  lose_controller();
  settle(); // the batch ends; what follows waits for a scheduler
  next_controller(true);
  settle(false);
  ASSERT_THAT(held_, SizeIs(1));
  const auto& held = held_[0];
  ASSERT_THAT(held.orders, SizeIs(1));
  EXPECT_EQ(held.orders[0].order, batch_id{5});
  EXPECT_TRUE(held.orders[0].done);
  EXPECT_EQ(held.orders[0].tasks, (std::vector<calls::placing::task>{{call_id{1}, 0, 0}}));
  ASSERT_THAT(held.replicas, SizeIs(1));
  EXPECT_EQ(held.replicas[0].replica, replica_id{7});
  ASSERT_THAT(held.calls, SizeIs(2));
  for (const auto& call : held.calls) {
    const bool first = call.context.call == call_id{1};
    ASSERT_THAT(call.stages, SizeIs(first ? 2 : 1));
    EXPECT_EQ(call.stages[0].ended, first);
    EXPECT_FALSE(call.stages.back().ended);
    EXPECT_EQ(call.stages.back().width, 1U);
  }
  // The next scheduler goes on.
  give(0, wire::hand_out{
              node_id{1}, {batch_id{9}, replica_id{7}, variant_of("id"), 1, duration::max()}, {{call_id{1}, 1, 0}}});
  settle();
  EXPECT_EQ(finished(1)->outputs, std::vector{number(3)});
}

} // namespace squall::executors
