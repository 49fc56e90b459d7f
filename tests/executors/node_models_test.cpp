#include "tests/executors/node_world.hpp"

#include <gmock/gmock.h>

/// One node: what is resident, and the state of sequences.
namespace squall::executors {
namespace {

using namespace testing;
using functions::binding;
using functions::join_rule;
using functions::predicate;
using ::testing::HasSubstr;

class NodeModels : public NodeTest {};
class NodeSequences : public NodeTest {};

// -- models

TEST_F(NodeModels, AModelIsFetchedOnceThenLoadedThenReported) {
  const auto dag = add_dag_of("model");
  auto& m = add_machine();
  join_all();
  m.store->objects["models/m"] = {"weights", 3};
  for (std::uint64_t c = 1; c <= 3; ++c)
    start(0, context_of(c, dag), {number(static_cast<float>(c))});
  wait_for_load(0);
  EXPECT_EQ(m.store->gets, 1U);
  const auto path = worker(0).loads.at(0).model_path;
  EXPECT_EQ(std::filesystem::file_size(path), 7U);
  m.post.time += 20ms;
  worker(0).finish_load();
  settle();
  for (std::uint64_t c = 1; c <= 3; ++c) {
    auto f = finished(c);
    ASSERT_TRUE(f);
    EXPECT_EQ(f->outputs, std::vector{number(static_cast<float>(c))});
    EXPECT_GE(f->outcome.trace.at(0).loading, duration{20ms});
  }
  ASSERT_EQ(residencies_.size(), 1U);
  EXPECT_TRUE(residencies_[0].resident);
  EXPECT_EQ(residencies_[0].memory_bytes, 1000U);
}

TEST_F(NodeModels, AModelThatIsNotInTheStoreFailsTheCallAndIsReported) {
  const auto dag = add_dag_of("model");
  add_machine();
  join_all();
  start(0, context_of(1, dag), {number(1)});
  settle();
  auto f = finished(1);
  ASSERT_TRUE(f);
  EXPECT_EQ(f->outcome.code, errc::not_found);
  EXPECT_THAT(f->outcome.message, HasSubstr("object 'models/m' of the store"));
  EXPECT_THAT(f->outcome.message, HasSubstr("function model version 1"));
  ASSERT_EQ(residencies_.size(), 1U);
  EXPECT_EQ(residencies_[0].code, errc::not_found);
}

TEST_F(NodeModels, AStoreThatIsDownFailsTheCallAndTheNextTryMayWork) {
  const auto dag = add_dag_of("model");
  auto& m = add_machine();
  join_all();
  m.store->down = true;
  start(0, context_of(1, dag), {number(1)});
  settle();
  EXPECT_EQ(finished(1)->outcome.code, errc::unavailable);
  m.store->down = false;
  m.store->objects["models/m"] = {"weights", 1};
  pass(1500ms);
  start(0, context_of(2, dag), {number(2)});
  wait_for_load(0);
  worker(0).finish_load();
  settle();
  EXPECT_EQ(finished(2)->outcome.code, errc::ok);
}

TEST_F(NodeModels, AModelThatIsNoModelFailsTheCall) {
  const auto dag = add_dag_of("model");
  auto& m = add_machine();
  join_all();
  m.store->objects["models/m"] = {"weights", 1};
  start(0, context_of(1, dag), {number(1)});
  wait_for_load(0);
  worker(0).finish_load(errc::corrupt);
  settle();
  EXPECT_EQ(finished(1)->outcome.code, errc::corrupt);
}

TEST_F(NodeModels, AWorkerThatDiesIsLoadedAnew) {
  const auto dag = add_dag_of("model");
  auto& m = add_machine();
  join_all();
  m.store->objects["models/m"] = {"weights", 1};
  start(0, context_of(1, dag), {number(1)});
  wait_for_load(0);
  worker(0).finish_load();
  settle();
  EXPECT_TRUE(finished(1));
  worker(0).die();
  settle();
  EXPECT_FALSE(residencies_.back().resident);
  worker(0).become_ready();
  start(0, context_of(2, dag), {number(2)});
  wait_for_load(0);
  EXPECT_EQ(m.store->gets, 1U) << "the file is still in the cache";
  worker(0).finish_load();
  settle();
  EXPECT_TRUE(finished(2));
}

TEST_F(NodeModels, AFileWhoseKeyNamesItsContentIsNotAskedForAgain) {
  const std::string key = "models/0123456789abcdef0123456789abcdef-m.onnx";
  for (auto& f : functions_)
    if (f.spec.name == "model")
      f.spec.variants[0].target = key;
  const auto dag = add_dag_of("model");
  auto& m = add_machine();
  join_all();
  m.store->objects[key] = {"weights", 1};
  for (std::uint64_t c = 1; c <= 2; ++c) {
    start(0, context_of(c, dag), {number(1)});
    wait_for_load(0);
    worker(0).finish_load();
    settle();
    EXPECT_TRUE(finished(c));
    EXPECT_EQ(m.store->stats, 1U);
    worker(0).die();
    settle();
    worker(0).become_ready();
    m.store->objects.clear();
  }
}

TEST_F(NodeModels, ALightBuiltinWithFilesRunsHereOnceTheyAreHere) {
  auto& label = add_function("name-of", {{"index", functions::datatype::int32, {1}, false, false}},
                             {{"label", functions::datatype::bytes, {1}, false, false}});
  label.variants[0].target = "label";
  label.variants[0].parameters = {{"labels", "lists/names"}};
  const auto dag = add_dag_of("name-of");
  auto& m = add_machine();
  give(0, welcome_for(0));
  worker(0).become_ready();
  m.store->objects["lists/names"] = {"cat\ndog\n", 1};
  give(0, wire::preload{variant_of("name-of")});
  const value second{functions::tensor_of(functions::datatype::int32, {1}, std::vector<std::int32_t>{1})};
  std::optional<wire::call_finished> f;
  for (std::uint64_t c = 1; c < 2000 && role(0).counters().stages_light == 0; ++c) {
    std::this_thread::sleep_for(1ms);
    settle();
    start(0, context_of(c, dag), {second});
    settle();
    f = finished(c);
  }
  ASSERT_TRUE(f);
  EXPECT_EQ(f->outputs, std::vector{functions::scalar_value("dog")});
}

TEST_F(NodeModels, ALoadWaitsForAWorkerThatIsBeingStarted) {
  const auto dag = add_dag_of("model");
  auto& m = add_machine();
  give(0, welcome_for(0));
  m.store->objects["models/m"] = {"weights", 1};
  start(0, context_of(1, dag), {number(1)});
  for (int i = 0; i < 2000 && role(0).cached_bytes() == 0; ++i) {
    settle();
    std::this_thread::sleep_for(1ms);
  }
  EXPECT_TRUE(worker(0).loads.empty());
  worker(0).become_ready();
  ASSERT_EQ(worker(0).loads.size(), 1U);
  worker(0).finish_load();
  settle();
  EXPECT_EQ(finished(1)->outcome.code, errc::ok);
}

// -- sequences

TEST_F(NodeSequences, StateGoesFromCallToCall) {
  const auto dag = add_dag_of("count");
  add_machine();
  join_all();
  const auto call = [&](std::uint64_t id, calls::sequence s, float a) {
    auto context = context_of(id, dag);
    context.sequence = s;
    start(0, context, {number(a)});
  };
  call(1, {sequence_id{5}, true, false}, 1);
  call(2, {sequence_id{5}, false, false}, 2); // waits for the state that the first leaves
  EXPECT_EQ(worker(0).batches.size(), 1U);
  call(3, {sequence_id{6}, true, false}, 10);
  settle();
  EXPECT_EQ(finished(1)->outputs, std::vector{number(1)});
  EXPECT_EQ(finished(2)->outputs, std::vector{number(3)});
  EXPECT_EQ(finished(3)->outputs, std::vector{number(10)});
  call(4, {sequence_id{5}, false, true}, 3);
  settle();
  EXPECT_EQ(finished(4)->outputs, std::vector{number(6)});
  call(5, {sequence_id{5}, false, false}, 3);
  settle();
  EXPECT_EQ(finished(5)->outcome.code, errc::data_loss);
  EXPECT_EQ(role(0).sequences_here(), 1U);
  give(0, wire::end_sequence{sequence_id{6}});
  EXPECT_EQ(role(0).sequences_here(), 0U);
}

TEST_F(NodeSequences, AStatefulFunctionRunsWithoutASequenceToo) {
  const auto dag = add_dag_of("count");
  add_machine();
  join_all();
  start(0, context_of(1, dag), {number(7)});
  settle();
  EXPECT_EQ(finished(1)->outputs, std::vector{number(7)});
  EXPECT_EQ(role(0).sequences_here(), 0U);
}

TEST_F(NodeSequences, ACallThatEndsGivesItsTurnAway) {
  const auto dag = add_dag_of("count");
  add_machine();
  join_all();
  for (std::uint64_t id = 1; id <= 3; ++id) {
    auto context = context_of(id, dag);
    context.sequence = {sequence_id{5}, id == 1, false};
    start(0, context, {number(1)});
  }
  give(0, wire::drop_call{call_id{2}}); // waits
  give(0, wire::drop_call{call_id{1}}); // runs
  settle();
  EXPECT_EQ(finished(3)->outcome.code, errc::data_loss) << "the first one left no state";
}

} // namespace
} // namespace squall::executors
