#include "examples/demo/function_time.hpp"

#include "tests/functions/builders.hpp"

#include <gtest/gtest.h>

namespace squall::demo {
namespace {

using functions::testing::from;
using functions::testing::stage_of;
using std::chrono::milliseconds;

calls::stage_trace ran(stage_index stage, int executed_ms, std::uint32_t width = 1) {
  calls::stage_trace t;
  t.stage = stage;
  t.executed = milliseconds{executed_ms};
  t.width = width;
  return t;
}

/// head -> left, right -> tail
functions::dag_spec diamond() {
  functions::dag_spec dag;
  dag.name = "diamond";
  dag.stages = {stage_of("head", "f", {{"x", from("$x")}}), stage_of("left", "f", {{"x", from("head.x")}}),
                stage_of("right", "f", {{"x", from("head.x")}}),
                stage_of("tail", "f", {{"a", from("left.x")}, {"b", from("right.x")}})};
  return dag;
}

TEST(FunctionTime, OfOneStageIsItsOwn) {
  functions::dag_spec dag;
  dag.stages = {stage_of("only", "f", {})};
  EXPECT_EQ(function_time(dag, std::vector{ran(0, 7)}, 2), milliseconds{7});
}

TEST(FunctionTime, OnManyLanesIsTheLongestPath) {
  EXPECT_EQ(function_time(diamond(), std::vector{ran(0, 1), ran(1, 20), ran(2, 30), ran(3, 2)}, 4), milliseconds{33});
}

TEST(FunctionTime, OnOneLaneIsTheSum) {
  EXPECT_EQ(function_time(diamond(), std::vector{ran(0, 1), ran(1, 20), ran(2, 30), ran(3, 2)}, 1), milliseconds{53});
}

TEST(FunctionTime, OfAMapIsSpreadOverTheLanesThatItCanFill) {
  functions::dag_spec dag;
  dag.stages = {stage_of("map", "f", {})};
  EXPECT_EQ(function_time(dag, std::vector{ran(0, 60, 12)}, 2), milliseconds{30});
  EXPECT_EQ(function_time(dag, std::vector{ran(0, 60, 2)}, 4), milliseconds{30});
  EXPECT_EQ(function_time(dag, std::vector{ran(0, 0, 0)}, 4), milliseconds{0});
}

TEST(FunctionTime, FollowsConditionsToo) {
  functions::dag_spec dag;
  dag.stages = {stage_of("fast", "f", {{"x", from("$x")}}), stage_of("slow", "f", {{"x", from("$x")}})};
  dag.stages[1].when = functions::testing::compare("fast.sure", functions::predicate::op::below, 0.9);
  EXPECT_EQ(function_time(dag, std::vector{ran(0, 4), ran(1, 10)}, 2), milliseconds{14});
}

TEST(FunctionTime, LeavesOutWhatDidNotRun) {
  EXPECT_EQ(function_time(diamond(), std::vector{ran(0, 1), ran(1, 20)}, 2), milliseconds{21});
  EXPECT_EQ(function_time(diamond(), {}, 2), milliseconds{0});
}

} // namespace
} // namespace squall::demo
