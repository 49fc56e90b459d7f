#include "tests/executors/node_world.hpp"

#include <gmock/gmock.h>

/// Dispatched calls: what the home says, and how a batch comes together on the node that runs it.
namespace squall::executors {
namespace {

using namespace testing;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class NodeOrders : public NodeTest {
protected:
  wire::call_context dispatched(std::uint64_t call, dag_id dag, std::uint64_t home = 1) {
    auto context = context_of(call, dag);
    for (auto& stage : context.plan.stages)
      stage.home = node_id{first_node_ + home - 1};
    context.plan.exit = node_id{first_node_ + home - 1};
    context.dispatched = true;
    return context;
  }
  void want(std::size_t machine, std::uint64_t replica, const std::string& function, bool wanted = true) {
    give(machine, wire::want_replica{replica_id{replica}, variant_of(function), wanted});
    settle();
  }
  wire::order_ticket ticket(std::uint64_t order, std::uint64_t replica, const std::string& function,
                            std::uint32_t tasks, duration within = duration::max()) {
    return {batch_id{order}, replica_id{replica}, variant_of(function), tasks, within};
  }
  void hand_out(std::size_t home, std::uint64_t runner, const wire::order_ticket& order,
                std::vector<calls::placing::task> tasks) {
    give(home, wire::hand_out{node_id{first_node_ + runner - 1}, order, std::move(tasks)});
  }
  [[nodiscard]] std::vector<wire::order_report> done_orders() {
    std::vector<wire::order_report> out;
    for (const auto& r : order_reports_)
      if (r.done)
        out.push_back(r);
    return out;
  }
};

} // namespace

TEST_F(NodeOrders, AHomeSaysWhatCouldRunAndRunsItWhenItIsTold) {
  const auto dag = add_dag_of("add");
  add_machine();
  join_all();
  want(0, 7, "add");
  ASSERT_THAT(replica_reports_, SizeIs(1));
  EXPECT_EQ(replica_reports_[0].replica, replica_id{7});
  EXPECT_EQ(replica_reports_[0].code, errc::ok);

  start(0, dispatched(1, dag), {number(3), number(4)});
  settle();
  ASSERT_THAT(ready_stages_, SizeIs(1));
  EXPECT_EQ(ready_stages_[0].call, call_id{1});
  EXPECT_EQ(ready_stages_[0].width, 1U);
  EXPECT_THAT(worker(0).batches, IsEmpty()) << "nothing runs before it is told to";

  hand_out(0, 1, ticket(5, 7, "add", 1), {{call_id{1}, 0, 0}});
  settle();
  const auto f = finished(1);
  ASSERT_TRUE(f);
  EXPECT_EQ(f->outputs, std::vector{number(11)});
  ASSERT_THAT(order_reports_, SizeIs(2)) << "its start and its end";
  EXPECT_FALSE(order_reports_[0].done);
  EXPECT_TRUE(order_reports_[1].done);
  EXPECT_EQ(order_reports_[1].order, batch_id{5});
  EXPECT_EQ(order_reports_[1].code, errc::ok);
  EXPECT_EQ(order_reports_[1].executed, duration{1ms});
  expect_memory_free();
}

TEST_F(NodeOrders, ABatchOfCallsOfTwoHomesRunsOnAThirdNodeWhenAllAreThere) {
  const auto dag = add_dag_of("id");
  for (int i = 0; i < 3; ++i)
    add_machine();
  join_all();
  want(2, 7, "id");
  start(0, dispatched(1, dag, 1), {number(3)});
  start(1, dispatched(2, dag, 2), {number(4)});
  settle();
  hand_out(0, 3, ticket(5, 7, "id", 2), {{call_id{1}, 0, 0}});
  settle();
  EXPECT_THAT(order_reports_, IsEmpty()) << "one of two is not enough";
  hand_out(1, 3, ticket(5, 7, "id", 2), {{call_id{2}, 0, 0}});
  settle();
  EXPECT_EQ(finished(1)->outputs, std::vector{number(3)});
  const auto second = finished(2);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->outputs, std::vector{number(4)});
  EXPECT_EQ(second->outcome.trace[0].node, node_id{3});
  EXPECT_EQ(second->outcome.trace[0].batch, 2U);
  expect_memory_free();
}

TEST_F(NodeOrders, ATaskWhoseCallHasEndedDoesNotHoldUpTheOthers) {
  const auto dag = add_dag_of("id");
  for (int i = 0; i < 2; ++i)
    add_machine();
  join_all();
  want(1, 7, "id");
  start(0, dispatched(1, dag, 1), {number(3)});
  settle();
  hand_out(0, 2, ticket(5, 7, "id", 2), {{call_id{1}, 0, 0}, {call_id{99}, 0, 0}});
  settle();
  const auto f = finished(1);
  ASSERT_TRUE(f);
  EXPECT_EQ(f->outputs, std::vector{number(3)});
  EXPECT_THAT(done_orders(), SizeIs(1));
}

TEST_F(NodeOrders, ABatchThatLosesAllItsTasksIsReportedAsCancelled) {
  const auto dag = add_dag_of("id");
  add_machine();
  join_all();
  want(0, 7, "id");
  start(0, dispatched(1, dag, 1), {number(3)});
  settle();
  hand_out(0, 1, ticket(5, 7, "id", 2), {{call_id{1}, 0, 0}});
  give(0, wire::drop_call{call_id{1}});
  EXPECT_THAT(done_orders(), IsEmpty()) << "another task may come";
  give(0, wire::order_short{ticket(5, 7, "id", 2), 1});
  settle();
  ASSERT_THAT(done_orders(), SizeIs(1));
  EXPECT_EQ(done_orders()[0].code, errc::cancelled);
  EXPECT_EQ(role(0).items_here(), 0U);
}

TEST_F(NodeOrders, ABatchThatIsTooLateIsGivenBackAndCanBeOrderedAnew) {
  const auto dag = add_dag_of("id");
  add_machine(1);
  join_all();
  want(0, 7, "id");
  want(0, 8, "id");
  start(0, dispatched(1, dag), {number(1)});
  start(0, dispatched(2, dag), {number(2)});
  settle();
  hand_out(0, 1, ticket(5, 7, "id", 1), {{call_id{1}, 0, 0}});
  settle(false); // it runs and takes the only lane
  hand_out(0, 1, ticket(6, 8, "id", 1, 2ms), {{call_id{2}, 0, 0}});
  settle(false);
  pass(3ms);
  ASSERT_THAT(done_orders(), SizeIs(1));
  EXPECT_EQ(done_orders()[0].order, batch_id{6});
  EXPECT_EQ(done_orders()[0].code, errc::deadline_exceeded);
  EXPECT_FALSE(finished(2)) << "the call goes on: the scheduler decides anew";
  settle();
  hand_out(0, 1, ticket(9, 8, "id", 1), {{call_id{2}, 0, 0}});
  settle();
  EXPECT_EQ(finished(2)->outputs, std::vector{number(2)});
}

TEST_F(NodeOrders, AMapIsReportedWithItsElementsAndGatheredInOrder) {
  auto each = ft::stage_of("each", "id", {{"a", ft::from("$k")}});
  each.map = {"a"};
  const auto dag = add_dag(dag_of({port_of("k", false, true)}, {each}, {{"l", ft::from("each.x")}}));
  for (int i = 0; i < 2; ++i)
    add_machine();
  join_all();
  want(0, 7, "id");
  want(1, 8, "id");
  start(0, dispatched(1, dag), {value{numbers({5, 6, 7})}});
  settle();
  ASSERT_THAT(ready_stages_, SizeIs(1));
  EXPECT_EQ(ready_stages_[0].width, 3U);
  EXPECT_EQ(ready_stages_[0].elements, (std::vector<std::uint32_t>{0, 1, 2}));
  hand_out(0, 2, ticket(6, 8, "id", 2), {{call_id{1}, 0, 0}, {call_id{1}, 0, 2}});
  hand_out(0, 1, ticket(5, 7, "id", 1), {{call_id{1}, 0, 1}});
  settle();
  const auto f = finished(1);
  ASSERT_TRUE(f);
  EXPECT_EQ(f->outputs[0], value{numbers({5, 6, 7})});
  expect_memory_free();
}

TEST_F(NodeOrders, AReplicaThatNobodyWantsAnyMoreIsUnloaded) {
  add_dag_of("id");
  add_machine();
  join_all();
  const auto resident = worker(0).known.size();
  want(0, 7, "id");
  want(0, 8, "id");
  EXPECT_THAT(replica_reports_, SizeIs(2)) << "one model, two instances";
  want(0, 7, "id", false);
  want(0, 8, "id", false);
  EXPECT_EQ(worker(0).known.size(), resident) << "what was there on demand stays";
}

TEST_F(NodeOrders, AReplicaOfAnUnknownVariantIsRefused) {
  add_machine();
  join_all();
  give(0, wire::want_replica{replica_id{7}, variant_id{999}, true});
  settle();
  ASSERT_THAT(replica_reports_, SizeIs(1));
  EXPECT_EQ(replica_reports_[0].code, errc::not_found);
}

TEST_F(NodeOrders, AWorkerThatDiesEndsTheBatchAndTheReplica) {
  const auto dag = add_dag_of("id");
  add_machine();
  join_all();
  want(0, 7, "id");
  start(0, dispatched(1, dag), {number(3)});
  settle();
  hand_out(0, 1, ticket(5, 7, "id", 1), {{call_id{1}, 0, 0}});
  settle(false);
  replica_reports_.clear();
  worker(0).die();
  settle();
  ASSERT_THAT(done_orders(), SizeIs(1));
  EXPECT_EQ(done_orders()[0].code, errc::unavailable);
  ASSERT_THAT(replica_reports_, SizeIs(1));
  EXPECT_NE(replica_reports_[0].code, errc::ok);
}

} // namespace squall::executors
