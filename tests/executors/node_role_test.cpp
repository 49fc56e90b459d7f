#include "tests/executors/node_world.hpp"

#include <gmock/gmock.h>

/// One node: joining, calls, ends.
namespace squall::executors {
namespace {

using namespace testing;
using functions::binding;
using functions::join_rule;
using functions::predicate;
using ::testing::HasSubstr;

class NodeJoining : public NodeTest {};
class NodeCalls : public NodeTest {};

functions::dag_spec cascade() {
  auto slow = ft::stage_of("slow", "id", {{"a", ft::from("$i")}});
  slow.when = ft::compare("fast.x", predicate::op::below, 5.0);
  auto pick = ft::stage_of("pick", "first", {{"a", ft::from("slow.x")}, {"b", ft::from("fast.x")}});
  pick.join.rule = join_rule::kind::any;
  return dag_of({port_of("i")}, {ft::stage_of("fast", "id", {{"a", ft::from("$i")}}), slow, pick},
                {{"o", ft::from("pick.x")}});
}

// -- joining

TEST_F(NodeJoining, SaysHelloEverySecondUntilItIsWelcome) {
  add_machine(3);
  settle();
  ASSERT_EQ(hellos_.size(), 1U);
  EXPECT_EQ(hellos_[0].name, "n1");
  EXPECT_EQ(hellos_[0].lanes.size(), 3U);
  EXPECT_EQ(hellos_[0].lanes[0].id, lane_id{1});
  EXPECT_EQ(hellos_[0].endpoint, "tcp://n1");
  pass(2500ms);
  EXPECT_EQ(hellos_.size(), 3U);
  join_all();
  pass(2500ms);
  EXPECT_EQ(hellos_.size(), 3U);
  ASSERT_EQ(beats_.size(), 2U);
  EXPECT_EQ(beats_[0].node, node_id{1});
  EXPECT_GT(beats_[0].arena_capacity_bytes, 0U);
  EXPECT_GT(beats_[0].wall_clock_ns, 0);
}

TEST_F(NodeJoining, TellsInEachBeatHowLongTheAnswerToAnEarlierOneTook) {
  add_machine();
  join_all();
  pass(1500ms);
  ASSERT_EQ(beats_.size(), 1U);
  EXPECT_EQ(beats_[0].round_trip, 0ns) << "none was answered yet";
  answers_beats_ = false;
  pass(1s); // the second one waits
  ASSERT_EQ(beats_.size(), 2U);
  pass(700ms);
  give(0, wire::pong{});
  pass(1s);
  ASSERT_GE(beats_.size(), 3U);
  EXPECT_GE(beats_.back().round_trip, 1s);
  EXPECT_LE(beats_.back().round_trip, 1300ms);
}

TEST_F(NodeJoining, SaysHelloAgainWhenTheControllerForgotIt) {
  const auto dag = add_dag_of("id");
  add_machine();
  join_all();
  start(0, context_of(1, dag), {number(1)});
  EXPECT_EQ(role(0).calls_here(), 1U);
  pass(1s);
  hellos_.clear();
  wire::reply reply;
  reply.code = errc::not_found;
  reply.message = "node 1 is not in the cluster";
  give(0, reply, request_id{2});
  settle(false);
  ASSERT_EQ(hellos_.size(), 1U);
  epoch_ = 2;
  first_node_ = 9;
  give(0, welcome_for(0));
  EXPECT_EQ(role(0).calls_here(), 0U) << "calls of the old epoch are gone";
  settle();
  EXPECT_TRUE(finished_.empty()) << "nobody is told of them";
  start(0, context_of(2, dag), {number(4)});
  settle();
  EXPECT_EQ(finished(2)->node, node_id{9});
  expect_memory_free();
}

TEST_F(NodeJoining, SaysHelloAgainWhenTheControllerIsSilent) {
  add_machine();
  join_all();
  answers_beats_ = false;
  hellos_.clear();
  pass(4s);
  EXPECT_EQ(hellos_.size(), 0U);
  pass(3s);
  EXPECT_GE(hellos_.size(), 1U);
}

TEST_F(NodeJoining, IgnoresCallsOfAnEpochThatIsOver) {
  const auto dag = add_dag_of("id");
  add_machine();
  start(0, context_of(1, dag), {number(1)});
  settle();
  EXPECT_EQ(role(0).calls_here(), 0U);
  EXPECT_TRUE(finished_.empty());
}

TEST_F(NodeJoining, SaysGoodbye) {
  add_machine();
  join_all();
  role(0).stop();
  deliver();
  EXPECT_EQ(leaves_, 1U);
}

TEST_F(NodeJoining, AMessageMayComeBeforeItsDag) {
  add_machine();
  join_all();
  const auto dag = add_dag_of("id");
  start(0, context_of(1, dag), {number(3)});
  settle();
  EXPECT_FALSE(finished(1));
  give(0, wire::define_dag{{dag, dags_[dag]}});
  settle();
  ASSERT_TRUE(finished(1));
}

TEST_F(NodeJoining, ADagThatNeverComesEndsItsCalls) {
  add_machine();
  join_all();
  const auto dag = add_dag_of("id");
  start(0, context_of(1, dag), {number(3)});
  pass(4s);
  auto f = finished(1);
  ASSERT_TRUE(f);
  EXPECT_EQ(f->outcome.code, errc::not_found);
}

TEST_F(NodeJoining, AForgottenFunctionIsUnloadedWhenNothingUsesItAnyMore) {
  const auto dag = add_dag_of("model");
  auto& m = add_machine();
  join_all();
  m.store->objects["models/m"] = {"weights", 1};
  start(0, context_of(1, dag), {number(3)});
  wait_for_load(0);
  worker(0).finish_load();
  EXPECT_EQ(worker(0).batches.size(), 1U);
  give(0, wire::forget_dag{dag});
  give(0, wire::forget_function{function_named("model").id});
  pass(2s);
  EXPECT_TRUE(worker(0).unloaded.empty()) << "a call still uses it";
  settle();
  EXPECT_EQ(finished(1)->outcome.code, errc::ok);
  pass(2s);
  EXPECT_EQ(worker(0).unloaded, std::vector{variant_of("model")});
}

// -- calls

TEST_F(NodeCalls, ALightBuiltinRunsRightHere) {
  const auto dag = add_dag_of("light");
  add_machine();
  join_all();
  start(0, context_of(1, dag), {number(3)});
  EXPECT_EQ(worker(0).batches.size(), 0U);
  settle();
  auto f = finished(1);
  ASSERT_TRUE(f);
  EXPECT_EQ(f->outcome.code, errc::ok) << f->outcome.message;
  EXPECT_EQ(f->outputs, std::vector{number(3)});
  EXPECT_TRUE(f->holders.empty());
  ASSERT_EQ(f->outcome.trace.size(), 1U);
  EXPECT_EQ(f->outcome.trace[0].node, node_id{1});
  EXPECT_EQ(f->outcome.trace[0].lane, lane_id{});
  EXPECT_EQ(f->outcome.trace[0].bytes_in, 4U);
  EXPECT_EQ(role(0).counters().stages_light, 1U);
  EXPECT_EQ(role(0).counters().items, 0U);
  expect_memory_free();
}

TEST_F(NodeCalls, ALongChainOfLightStagesGivesOthersTheirTurn) {
  std::vector<functions::stage_spec> stages{ft::stage_of("s0", "light", {{"a", ft::from("$i")}})};
  for (int i = 1; i < 200; ++i)
    stages.push_back(
        ft::stage_of("s" + std::to_string(i), "light", {{"a", ft::from("s" + std::to_string(i - 1) + ".x")}}));
  const auto dag = add_dag(dag_of({port_of("i")}, stages, {{"o", ft::from("s199.x")}}));
  auto& m = add_machine();
  join_all();
  start(0, context_of(1, dag), {number(3)});
  EXPECT_EQ(role(0).counters().stages_light, node_role::light_stages_per_round);
  EXPECT_EQ(m.post.alarm, m.post.time) << "it goes on in the next round";
  pass(1ms);
  settle();
  EXPECT_EQ(finished(1)->outputs, std::vector{number(3)});
}

TEST_F(NodeCalls, AHeavyFunctionRunsInTheWorker) {
  const auto dag = add_dag_of("add");
  auto& m = add_machine();
  join_all();
  auto context = context_of(1, dag);
  context.age = 5ms;
  start(0, context, {number(3), number(4)});
  ASSERT_EQ(worker(0).batches.size(), 1U);
  EXPECT_EQ(worker(0).batches[0].remaining, duration{10s});
  EXPECT_TRUE(worker(0).known.contains(variant_of("add"))) << "it was told what the variant is";
  m.post.time += 2ms;
  settle();
  auto f = finished(1);
  ASSERT_TRUE(f);
  EXPECT_EQ(f->outputs, std::vector{number(11)});
  const auto& trace = f->outcome.trace.at(0);
  EXPECT_EQ(trace.begin, duration{5ms});
  EXPECT_EQ(trace.executed, duration{1ms});
  EXPECT_EQ(trace.batch, 1U);
  EXPECT_NE(trace.lane, lane_id{});
  expect_memory_free();
}

TEST_F(NodeCalls, CallsOfOneVariantShareABatch) {
  const auto dag = add_dag_of("id");
  add_machine(1);
  join_all();
  for (std::uint64_t c = 1; c <= 6; ++c)
    start(0, context_of(c, dag), {number(static_cast<float>(c))});
  settle();
  for (std::uint64_t c = 1; c <= 6; ++c)
    EXPECT_EQ(finished(c)->outputs, std::vector{number(static_cast<float>(c))});
  EXPECT_EQ(worker(0).largest_batch, 5U) << "those that came while the first ran";
}

TEST_F(NodeCalls, ACascadeSkipsTheSlowModel) {
  const auto dag = add_dag(cascade());
  add_machine();
  join_all();
  start(0, context_of(1, dag), {number(9)});
  start(0, context_of(2, dag), {number(2)});
  settle();
  const auto sure = finished(1);
  const auto unsure = finished(2);
  ASSERT_TRUE(sure && unsure);
  EXPECT_TRUE(sure->outcome.trace[1].skipped || sure->outcome.trace[2].skipped);
  EXPECT_EQ(unsure->outputs, std::vector{number(2)});
  expect_memory_free();
}

TEST_F(NodeCalls, AMapRunsItsElementsInOneNodeAndGathersThemInOrder) {
  auto each = ft::stage_of("each", "id", {{"a", ft::from("$k")}});
  each.map = {"a"};
  const auto dag =
      add_dag(dag_of({port_of("k", false, true)}, {each, ft::stage_of("sum", "sum", {{"xs", ft::from("each.x")}})},
                     {{"s", ft::from("sum.x")}, {"l", ft::from("each.x")}}));
  add_machine();
  join_all();
  start(0, context_of(1, dag), {value{numbers({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})}});
  settle();
  auto f = finished(1);
  ASSERT_TRUE(f);
  EXPECT_EQ(f->outputs[1], value{numbers({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})});
  EXPECT_EQ(f->outcome.trace[0].width, 12U);
  EXPECT_GT(f->outcome.trace[0].batch, 1U);
  expect_memory_free();
}

TEST_F(NodeCalls, AFailureNamesStageFunctionAndNode) {
  const auto dag = add_dag_of("boom");
  add_machine();
  join_all();
  start(0, context_of(1, dag), {number(1)});
  settle();
  auto f = finished(1);
  ASSERT_TRUE(f);
  EXPECT_EQ(f->outcome.code, errc::failed);
  EXPECT_EQ(f->outcome.message, "stage 'run' (function boom version 1): it went off, on node 'n1'");
  EXPECT_TRUE(f->outputs.empty());
  expect_memory_free();
}

TEST_F(NodeCalls, AWorkerThatDiesInMidBatchFailsItsItemsOnly) {
  const auto dag = add_dag_of("id");
  add_machine(1);
  join_all();
  start(0, context_of(1, dag), {number(1)});
  start(0, context_of(2, dag), {number(2)});
  worker(0).die();
  settle();
  auto f = finished(1);
  ASSERT_TRUE(f);
  EXPECT_EQ(f->outcome.code, errc::unavailable);
  EXPECT_THAT(f->outcome.message, HasSubstr("model host died"));
  EXPECT_FALSE(finished(2)) << "what was queued waits for the next worker";
  worker(0).become_ready();
  settle();
  EXPECT_EQ(finished(2)->outcome.code, errc::ok);
  EXPECT_EQ(role(0).counters().worker_lost, 1U);
  expect_memory_free();
}

TEST_F(NodeCalls, AWorkerThatIsBehindRefuses) {
  const auto dag = add_dag_of("id");
  add_machine();
  join_all();
  worker(0).refuses = true;
  start(0, context_of(1, dag), {number(1)});
  settle();
  EXPECT_EQ(finished(1)->outcome.code, errc::overloaded);
  expect_memory_free();
}

TEST_F(NodeCalls, WorkPastTheDeadlineIsNotStarted) {
  const auto dag = add_dag_of("id");
  add_machine(1);
  join_all();
  start(0, context_of(1, dag), {number(1)});
  auto late = context_of(2, dag);
  late.remaining = 50ms;
  start(0, late, {number(2)});
  EXPECT_EQ(worker(0).batches.size(), 1U);
  pass(60ms);
  auto f = finished(2);
  ASSERT_TRUE(f);
  EXPECT_EQ(f->outcome.code, errc::deadline_exceeded);
  EXPECT_THAT(f->outcome.message, HasSubstr("stage 'run'"));
  settle();
  EXPECT_EQ(finished(1)->outcome.code, errc::ok);
  EXPECT_EQ(worker(0).steps, 1U);
  expect_memory_free();
}

TEST_F(NodeCalls, ACallThatIsPastItsDeadlineIsAnsweredAtOnce) {
  const auto dag = add_dag_of("light");
  add_machine();
  join_all();
  auto late = context_of(1, dag);
  late.remaining = duration{-1};
  start(0, late, {number(2)});
  settle();
  EXPECT_EQ(finished(1)->outcome.code, errc::deadline_exceeded);
}

TEST_F(NodeCalls, ABatchThatRunsPastTheDeadlineIsCancelled) {
  const auto dag = add_dag_of("id");
  add_machine();
  join_all();
  auto context = context_of(1, dag);
  context.remaining = 50ms;
  start(0, context, {number(1)});
  const auto batch = worker(0).batches.at(0).batch;
  pass(60ms);
  EXPECT_EQ(finished(1)->outcome.code, errc::deadline_exceeded);
  EXPECT_EQ(worker(0).cancelled, std::vector{batch});
  settle();
  expect_memory_free();
}

TEST_F(NodeCalls, ADroppedCallIsForgotten) {
  const auto dag = add_dag_of("id");
  add_machine(1);
  join_all();
  start(0, context_of(1, dag), {number(1)});
  start(0, context_of(2, dag), {number(2)});
  give(0, wire::drop_call{call_id{1}});
  give(0, wire::drop_call{call_id{2}});
  EXPECT_EQ(worker(0).cancelled.size(), 1U);
  settle();
  EXPECT_FALSE(finished(1));
  EXPECT_FALSE(finished(2));
  EXPECT_EQ(worker(0).steps, 1U) << "the second one never ran";
  start(0, context_of(1, dag), {number(1)});
  settle();
  EXPECT_FALSE(finished(1)) << "late messages of a call that ended are dropped";
  EXPECT_EQ(role(0).counters().late_messages, 1U);
  expect_memory_free();
}

TEST_F(NodeCalls, ABatchWithAnItemThatIsStillWantedGoesOn) {
  const auto dag = add_dag_of("id");
  add_machine(1);
  join_all();
  start(0, context_of(1, dag), {number(1)});
  start(0, context_of(2, dag), {number(2)});
  start(0, context_of(3, dag), {number(3)});
  worker(0).step(); // the other two run together now
  ASSERT_EQ(worker(0).batches.at(0).items.size(), 2U);
  give(0, wire::drop_call{call_id{2}});
  EXPECT_TRUE(worker(0).cancelled.empty());
  settle();
  EXPECT_TRUE(finished(3));
  expect_memory_free();
}

TEST_F(NodeCalls, AStartThatComesTwiceIsOneCall) {
  const auto dag = add_dag_of("id");
  add_machine();
  join_all();
  start(0, context_of(1, dag), {number(1)});
  start(0, context_of(1, dag), {number(1)});
  settle();
  start(0, context_of(1, dag), {number(1)});
  settle();
  EXPECT_TRUE(finished(1));
  EXPECT_FALSE(finished(1));
  EXPECT_EQ(worker(0).steps, 1U);
}

TEST_F(NodeCalls, WhatDoesNotFitIsRefusedAndHarmsNobody) {
  const auto dag = add_dag_of("add");
  add_machine();
  join_all();
  auto short_plan = context_of(1, dag);
  short_plan.plan.stages.clear();
  start(0, short_plan, {number(1), number(2)});
  start(0, context_of(2, dag), {number(1)});                      // an input is missing
  start(0, context_of(3, dag), {value{numbers({1})}, number(2)}); // a list where a tensor belongs
  auto unknown = context_of(4, dag);
  unknown.plan.stages[0].variant = variant_id{999};
  start(0, unknown, {number(1), number(2)});
  actors::incoming garbage{machines_[0]->controller_connection,
                           {1, wire::message_type::start_call, wire::role::node, request_id{5}},
                           {filled(20, 'x'), {}}};
  role(0).on_messages({&garbage, 1});
  start(0, context_of(6, dag), {number(1), number(2)});
  settle();
  EXPECT_FALSE(finished(1));
  EXPECT_EQ(finished(2)->outcome.code, errc::corrupt);
  EXPECT_NE(finished(4)->outcome.message.find("variant 999 is not known"), std::string::npos);
  EXPECT_EQ(finished(6)->outcome.code, errc::ok);
  EXPECT_GE(role(0).counters().bad_messages, 2U);
}

TEST_F(NodeCalls, AnEnsembleIsAnsweredWithTheMembersThatAreThere) {
  auto vote = ft::stage_of("vote", "first", {{"a", ft::from("m.x")}, {"b", ft::from("n.x")}});
  vote.join = {join_rule::kind::count, 1, 30ms};
  const auto dag = add_dag(dag_of(
      {port_of("i")},
      {ft::stage_of("m", "id", {{"a", ft::from("$i")}}), ft::stage_of("n", "model", {{"a", ft::from("$i")}}), vote},
      {{"r", ft::from("vote.x")}}));
  add_machine();
  join_all();
  machines_[0]->store->silent = true; // the model never comes
  start(0, context_of(1, dag), {number(4)});
  settle();
  EXPECT_FALSE(finished(1));
  pass(31ms);
  settle();
  auto f = finished(1);
  ASSERT_TRUE(f);
  EXPECT_EQ(f->outputs, std::vector{number(4)});
  EXPECT_TRUE(f->outcome.trace.at(1).late);
  expect_memory_free();
}

// -- memory

TEST_F(NodeCalls, LargeOutputsStayUntilTheyAreReleased) {
  const auto dag = add_dag_of("big");
  add_machine();
  join_all();
  start(0, context_of(1, dag), {number(1)});
  settle();
  auto f = finished(1);
  ASSERT_TRUE(f);
  EXPECT_TRUE(f->outputs_shared);
  EXPECT_EQ(f->holders, std::vector{node_id{1}});
  EXPECT_EQ(f->outputs[0].byte_size(), 200'000U);
  EXPECT_GT(worker(0).memory->used_bytes(), 0U);
  EXPECT_EQ(role(0).calls_here(), 0U);
  release(*std::move(f));
  expect_memory_free();
}

TEST_F(NodeCalls, ForAClientOfAnotherHostOutputsTravelInline) {
  const auto dag = add_dag_of("big");
  add_machine();
  join_all();
  auto context = context_of(1, dag);
  context.client_host = 0;
  start(0, context, {number(1)});
  settle();
  auto f = finished(1);
  ASSERT_TRUE(f);
  EXPECT_FALSE(f->outputs_shared);
  EXPECT_EQ(f->outputs[0], picture(200'000, 'b'));
  release(*std::move(f));
  expect_memory_free();
}

TEST_F(NodeCalls, LargeInputsGoToTheArenaOnceAndAreFreedAtTheEnd) {
  const auto dag = add_dag_of("size");
  auto& m = add_machine();
  join_all();
  start(0, context_of(1, dag), {picture(300'000, 'p')});
  EXPECT_GE(m.arena->used_bytes(), 300'000U);
  EXPECT_TRUE(m.arenas->locate(worker(0).batches.at(0).items.at(0).at(0).as_tensor()->data))
      << "the worker gets a reference";
  settle();
  auto f = finished(1);
  EXPECT_EQ(f->outputs, std::vector{number(300'000)});
  EXPECT_TRUE(f->holders.empty()) << "nobody reads the blocks any more";
  m.post.sent.clear();
  expect_memory_free();
}

TEST_F(NodeCalls, BlocksThatNobodyReleasesGoAfterTheDeadline) {
  const auto dag = add_dag_of("big");
  add_machine();
  join_all();
  start(0, context_of(1, dag), {number(1)});
  settle();
  EXPECT_TRUE(finished(1));
  pass(30s);
  EXPECT_EQ(role(0).calls_with_blocks(), 1U);
  pass(12s);
  expect_memory_free();
}

TEST_F(NodeCalls, WhatADroppedCallStillProducesIsFreed) {
  const auto dag = add_dag_of("big");
  add_machine();
  join_all();
  start(0, context_of(1, dag), {number(1)});
  give(0, wire::drop_call{call_id{1}});
  settle();
  expect_memory_free();
}

TEST_F(NodeCalls, AReleaseWaitsForTheBatchThatReads) {
  const auto dag = add_dag_of("size");
  auto& m = add_machine();
  join_all();
  start(0, context_of(1, dag), {picture(300'000, 'p')});
  give(0, wire::drop_call{call_id{1}});
  worker(0).batches.at(0).items.clear(); // the worker maps the block; nothing in this process pins it
  EXPECT_GE(m.arena->used_bytes(), 300'000U);
  settle();
  expect_memory_free();
}

} // namespace
} // namespace squall::executors
