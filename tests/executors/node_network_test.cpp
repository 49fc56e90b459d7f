#include "tests/executors/node_world.hpp"

#include <gmock/gmock.h>

/// Several nodes: stages, maps and values between them.
namespace squall::executors {
namespace {

using namespace testing;
using functions::join_rule;
using functions::predicate;
using ::testing::HasSubstr;

class NodeNetwork : public NodeTest {
protected:
  /// Stages on machines; every machine that must hears of the start.
  void start_on(const std::vector<std::size_t>& indexes, const wire::call_context& context,
                const std::vector<value>& inputs) {
    for (const auto i : indexes)
      start(i, context, inputs);
  }
};

functions::dag_spec chain(const std::string& middle = "id") {
  return dag_of({port_of("i")},
                {ft::stage_of("a", "id", {{"a", ft::from("$i")}}), ft::stage_of("b", middle, {{"a", ft::from("a.x")}}),
                 ft::stage_of("c", "id", {{"a", ft::from("b.x")}})},
                {{"o", ft::from("c.x")}});
}

functions::dag_spec mapped() {
  auto each = ft::stage_of("each", "add", {{"a", ft::from("$k")}, {"b", ft::from("$i")}});
  each.map = {"a"};
  return dag_of({port_of("i"), port_of("k", false, true)}, {each}, {{"l", ft::from("each.x")}});
}

} // namespace

TEST_F(NodeNetwork, AChainGoesFromNodeToNodeWithoutTheController) {
  const auto dag = add_dag(chain());
  for (int i = 0; i < 3; ++i)
    add_machine();
  join_all();
  start(0, context_of(1, dag, {{"a", 1}, {"b", 2}, {"c", 3}}, 3), {number(6)});
  settle();
  auto f = finished(1);
  ASSERT_TRUE(f);
  EXPECT_EQ(f->node, node_id{3});
  EXPECT_EQ(f->outputs, std::vector{number(6)});
  ASSERT_EQ(f->outcome.trace.size(), 3U);
  for (std::uint64_t i = 0; i < 3; ++i)
    EXPECT_EQ(f->outcome.trace[i].node, node_id{i + 1});
  EXPECT_EQ(messages_between_nodes_, 2U);
  expect_memory_free();
}

TEST_F(NodeNetwork, ACascadeOverTwoNodes) {
  auto slow = ft::stage_of("slow", "id", {{"a", ft::from("$i")}});
  slow.when = ft::compare("fast.x", predicate::op::below, 5.0);
  auto pick = ft::stage_of("pick", "first", {{"a", ft::from("slow.x")}, {"b", ft::from("fast.x")}});
  pick.join.rule = join_rule::kind::any;
  const auto dag = add_dag(dag_of({port_of("i")}, {ft::stage_of("fast", "id", {{"a", ft::from("$i")}}), slow, pick},
                                  {{"o", ft::from("pick.x")}}));
  add_machine();
  add_machine();
  join_all();
  start_on({0, 1}, context_of(1, dag, {{"slow", 2}}, 1), {number(9)});
  start_on({1, 0}, context_of(2, dag, {{"slow", 2}}, 1), {number(2)});
  settle();
  const auto sure = finished(1);
  const auto unsure = finished(2);
  ASSERT_TRUE(sure && unsure);
  EXPECT_EQ(sure->outputs, std::vector{number(9)});
  EXPECT_EQ(sure->outcome.trace.at(1).node, node_id{2});
  EXPECT_TRUE(sure->outcome.trace.at(1).skipped);
  EXPECT_FALSE(unsure->outcome.trace.at(1).skipped);
  expect_memory_free();
}

TEST_F(NodeNetwork, LargeValuesTravelByReferenceOnOneHost) {
  const auto dag = add_dag(dag_of(
      {port_of("i")},
      {ft::stage_of("big", "big", {{"a", ft::from("$i")}}), ft::stage_of("size", "size", {{"p", ft::from("big.p")}})},
      {{"n", ft::from("size.x")}}));
  add_machine();
  add_machine();
  join_all();
  std::size_t inline_bytes = 0;
  on_peer_message_ = [&](const fake_post::sent_message& s) {
    for (const auto& p : s.message.payloads)
      inline_bytes += p.size();
  };
  start(0, context_of(1, dag, {{"size", 2}}, 2), {number(1)});
  settle();
  auto f = finished(1);
  ASSERT_TRUE(f);
  EXPECT_EQ(f->outputs, std::vector{number(200'000)});
  EXPECT_EQ(inline_bytes, 0U);
  EXPECT_EQ(f->holders, std::vector{node_id{1}});
  EXPECT_EQ(f->outcome.trace.at(1).bytes_moved, 0U);
  release(*std::move(f));
  expect_memory_free();
}

TEST_F(NodeNetwork, ToAnotherHostLargeValuesTravelInline) {
  const auto dag = add_dag(dag_of(
      {port_of("i")},
      {ft::stage_of("big", "big", {{"a", ft::from("$i")}}), ft::stage_of("size", "size", {{"p", ft::from("big.p")}})},
      {{"n", ft::from("size.x")}}));
  add_machine();
  add_machine().host = 77; // as the first machine sees it
  join_all();
  start(0, context_of(1, dag, {{"size", 2}}, 2), {number(1)});
  settle(false);
  worker(0).step();
  settle(false);
  EXPECT_GE(machines_[1]->arena->used_bytes(), 200'000U)
      << "the other host has its own copy, in shared memory for its worker";
  settle();
  auto f = finished(1);
  ASSERT_TRUE(f);
  EXPECT_EQ(f->outputs, std::vector{number(200'000)});
  EXPECT_EQ(f->holders, std::vector{node_id{1}}) << "the exit freed its own";
  EXPECT_GE(role(0).counters().bytes_to_hosts, 200'000U);
  release(*std::move(f));
  expect_memory_free();
}

TEST_F(NodeNetwork, ToSeveralNodesOfAnotherHostBytesGoOnce) {
  const auto dag = add_dag(dag_of(
      {port_of("i")},
      {ft::stage_of("big", "big", {{"a", ft::from("$i")}}), ft::stage_of("s1", "size", {{"p", ft::from("big.p")}}),
       ft::stage_of("s2", "size", {{"p", ft::from("big.p")}}), ft::stage_of("s3", "size", {{"p", ft::from("big.p")}})},
      {{"n1", ft::from("s1.x")}, {"n2", ft::from("s2.x")}, {"n3", ft::from("s3.x")}}));
  for (int i = 0; i < 4; ++i)
    add_machine();
  join_all();
  // As the first sees it, the others are on another host; they see each other, and themselves, on one.
  auto seen_by_first = welcome_for(0);
  for (std::size_t i = 1; i < 4; ++i)
    seen_by_first.peers[i].host = 77;
  give(0, wire::peers{seen_by_first.peers, {}});
  start(0, context_of(1, dag, {{"s1", 2}, {"s2", 3}, {"s3", 4}}, 2), {number(1)});
  settle();
  auto f = finished(1);
  ASSERT_TRUE(f);
  EXPECT_EQ(f->outputs, (std::vector{number(200'000), number(200'000), number(200'000)}));
  EXPECT_EQ(f->outcome.trace.size(), 4U);
  EXPECT_EQ(role(0).counters().bytes_to_hosts, 200'000U);
  EXPECT_EQ(machines_[2]->arena->used_bytes() + machines_[3]->arena->used_bytes(), 0U)
      << "they read the first one's copy";
  release(*std::move(f));
  expect_memory_free();
}

TEST_F(NodeNetwork, AMapIsScatteredAndGatheredInOrder) {
  const auto dag = add_dag(mapped());
  for (int i = 0; i < 3; ++i)
    add_machine();
  join_all();
  auto context = context_of(1, dag);
  context.plan.stages[0].spread = {node_id{1}, node_id{2}, node_id{3}, node_id{2}};
  start(0, context, {number(100), value{numbers({1, 2, 3, 4, 5, 6, 7})}});
  settle();
  auto f = finished(1);
  ASSERT_TRUE(f);
  EXPECT_EQ(f->outcome.code, errc::ok) << f->outcome.message;
  EXPECT_EQ(f->outputs[0], value{numbers({201, 202, 203, 204, 205, 206, 207})});
  EXPECT_EQ(f->outcome.trace[0].width, 7U);
  EXPECT_EQ(f->outcome.trace[0].executed, duration{7ms});
  EXPECT_EQ(role(0).counters().items, 2U);
  EXPECT_EQ(role(1).counters().items, 3U);
  EXPECT_EQ(role(2).counters().items, 2U);
  expect_memory_free();
}

TEST_F(NodeNetwork, AnElementThatFailsElsewhereFailsTheCallAndNamesTheNode) {
  auto each = ft::stage_of("each", "boom", {{"a", ft::from("$k")}});
  each.map = {"a"};
  const auto dag = add_dag(dag_of({port_of("k", false, true)}, {each}, {{"l", ft::from("each.x")}}));
  add_machine();
  add_machine();
  join_all();
  auto context = context_of(1, dag);
  context.plan.stages[0].spread = {node_id{2}, node_id{2}};
  start(0, context, {value{numbers({1, 2, 3})}});
  settle();
  auto f = finished(1);
  ASSERT_TRUE(f);
  EXPECT_THAT(f->outcome.message,
              HasSubstr("stage 'each' (function boom version 1): element 0: on node 'n2': it went off"));
  give(1, wire::drop_call{call_id{1}}); // as the controller does
  settle();
  expect_memory_free();
}

TEST_F(NodeNetwork, ElementsThatMayFailElsewhereAreAbsent) {
  auto each = ft::stage_of("each", "boom", {{"a", ft::from("$k")}});
  each.map = {"a"};
  each.may_fail = true;
  const auto dag = add_dag(dag_of({port_of("k", false, true)}, {each}, {{"l", ft::from("each.x")}}));
  add_machine();
  add_machine();
  join_all();
  auto context = context_of(1, dag);
  context.plan.stages[0].spread = {node_id{1}, node_id{2}};
  start(0, context, {value{numbers({1, 2, 3, 4})}});
  settle();
  EXPECT_EQ(finished(1)->outputs[0], value{value_list(4)});
  expect_memory_free();
}

TEST_F(NodeNetwork, AWorkerThatDiesElsewhereFailsTheMap) {
  const auto dag = add_dag(mapped());
  add_machine();
  add_machine();
  join_all();
  auto context = context_of(1, dag);
  context.plan.stages[0].spread = {node_id{1}, node_id{2}};
  start(0, context, {number(1), value{numbers({1, 2, 3, 4})}});
  settle(false);
  worker(1).die();
  settle();
  auto f = finished(1);
  ASSERT_TRUE(f);
  EXPECT_EQ(f->outcome.code, errc::unavailable);
  EXPECT_THAT(f->outcome.message, HasSubstr("on node 'n2'"));
  give(1, wire::drop_call{call_id{1}});
  settle();
  expect_memory_free();
}

TEST_F(NodeNetwork, LargeElementsOfAMapAreFreedEverywhere) {
  auto each = ft::stage_of("each", "big", {{"a", ft::from("$k")}});
  each.map = {"a"};
  auto sizes = ft::stage_of("sizes", "size", {{"p", ft::from("each.p")}});
  sizes.map = {"p"};
  const auto dag = add_dag(
      dag_of({port_of("k", false, true)}, {each, sizes}, {{"l", ft::from("sizes.x")}, {"p", ft::from("each.p")}}));
  add_machine();
  add_machine().host = 77;
  join_all();
  auto context = context_of(1, dag);
  context.plan.stages[0].spread = context.plan.stages[1].spread = {node_id{1}, node_id{2}};
  start(0, context, {value{numbers({1, 2, 3, 4})}});
  settle();
  auto f = finished(1);
  ASSERT_TRUE(f);
  EXPECT_EQ(f->outputs[0], value{numbers({200'000, 200'000, 200'000, 200'000})});
  EXPECT_EQ(f->holders, (std::vector{node_id{1}, node_id{2}}));
  EXPECT_TRUE(f->outputs_shared);
  release(*std::move(f));
  expect_memory_free();
}

TEST_F(NodeNetwork, AnEarlyAnswerStopsTheMembersOfOtherNodes) {
  auto vote = ft::stage_of("vote", "first", {{"a", ft::from("m.x")}, {"b", ft::from("n.x")}});
  vote.join = {join_rule::kind::count, 1, 0ms};
  const auto dag = add_dag(
      dag_of({port_of("i")},
             {ft::stage_of("m", "id", {{"a", ft::from("$i")}}), ft::stage_of("n", "id", {{"a", ft::from("$i")}}), vote},
             {{"r", ft::from("vote.x")}}));
  add_machine();
  add_machine();
  join_all();
  start_on({0, 1}, context_of(1, dag, {{"n", 2}}), {number(4)});
  ASSERT_EQ(worker(1).batches.size(), 1U);
  worker(0).step();
  worker(0).step();
  settle(false);
  auto f = finished(1);
  ASSERT_TRUE(f);
  EXPECT_TRUE(f->outcome.trace.at(1).late);
  EXPECT_EQ(worker(1).cancelled.size(), 1U);
  EXPECT_EQ(role(1).calls_here(), 0U);
  settle();
  release(*std::move(f));
  expect_memory_free();
}

TEST_F(NodeNetwork, ALateResultOfAnEndedCallIsDropped) {
  const auto dag = add_dag(chain());
  add_machine();
  add_machine();
  join_all();
  start(0, context_of(1, dag, {{"b", 2}}), {number(4)});
  settle(false);
  worker(0).step();
  give(0, wire::drop_call{call_id{1}});
  settle();
  EXPECT_FALSE(finished(1));
  EXPECT_EQ(role(0).calls_here(), 0U);
  EXPECT_EQ(role(0).counters().late_messages, 1U);
}

TEST_F(NodeNetwork, OnlyTheExitSpeaksWhenARemoteStageIsPastTheDeadline) {
  const auto dag = add_dag(chain());
  add_machine();
  add_machine();
  join_all();
  auto context = context_of(1, dag, {{"b", 2}});
  context.remaining = 100ms;
  start(0, context, {number(4)});
  settle(false);
  worker(0).step();
  machines_[1]->cut = true; // it never answers
  settle(false);
  pass(150ms);
  ASSERT_EQ(finished_.size(), 1U);
  EXPECT_EQ(finished_[0].outcome.code, errc::deadline_exceeded);
  EXPECT_THAT(finished_[0].outcome.message, HasSubstr("stage 'b'"));
  EXPECT_EQ(role(0).calls_here(), 0U);
}

TEST_F(NodeNetwork, AMessageForANodeThatIsNotKnownYetWaitsForIt) {
  const auto dag = add_dag(chain());
  add_machine();
  add_machine();
  join_all();
  auto alone = welcome_for(0);
  alone.peers.resize(1);
  give(0, alone);
  start(0, context_of(1, dag, {{"b", 2}}), {number(4)});
  settle();
  EXPECT_FALSE(finished(1));
  give(0, wire::peers{welcome_for(0).peers, {}});
  settle();
  EXPECT_TRUE(finished(1));
}

TEST_F(NodeNetwork, AnotherNodeThatCannotBeReachedFailsTheCall) {
  const auto dag = add_dag(chain());
  add_machine();
  add_machine();
  join_all();
  start(0, context_of(1, dag, {{"b", 2}}), {number(4)});
  settle();
  EXPECT_TRUE(finished(1));
  for (const auto& c : machines_[0]->post.connections)
    if (c.endpoint == "tcp://n2")
      machines_[0]->post.failing[c.peer] = errc::overloaded;
  start(0, context_of(2, dag, {{"b", 2}}), {number(4)});
  settle();
  auto f = finished(2);
  ASSERT_TRUE(f);
  EXPECT_EQ(f->outcome.code, errc::overloaded);
  EXPECT_THAT(f->outcome.message, HasSubstr("stage 'a'"));
}

} // namespace squall::executors
