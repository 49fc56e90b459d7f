#include "executors/flow.hpp"

#include "tests/executors/flow_bench.hpp"

#include <gtest/gtest.h>

#include <chrono>

namespace squall::executors {

namespace {

using namespace testing;
using namespace std::chrono_literals;
using functions::binding;
using functions::join_rule;
using functions::predicate;
using functions::stage_spec;

constexpr node_id self{1};

stage_spec id_of(const std::string& name, const std::string& source) {
  return ft::stage_of(name, "id", {{"a", ft::from(source)}});
}

stage_spec map_of(const std::string& name, const std::string& source) {
  auto s = id_of(name, source);
  s.map = {"a"};
  return s;
}

/// One flow of one call on node 1, with stages by name.
struct call_under_test {
  explicit call_under_test(const functions::dag_spec& spec, const std::map<std::string, std::uint64_t>& homes = {},
                           std::uint64_t exit = 1, duration cap = 1h)
      : graph(graph_of(spec)), plan(plan_of(*graph, homes, exit)), f(graph, plan, self, cap) {}

  stage_index at(const std::string& name) const { return stage_named(*graph, name); }

  /// Names of stages that became ready, with their elements when more or fewer than one.
  std::string ready() {
    std::string out;
    for (const auto& r : f.take_ready()) {
      out += (out.empty() ? "" : " ") + graph->dag->stages[r.stage].name;
      if (graph->dag->stages[r.stage].map)
        for (const auto e : r.elements)
          out += ":" + std::to_string(e);
    }
    return out;
  }
  /// "stage>node", for example "a>2 b>3".
  std::string departures() {
    std::string out;
    for (const auto& d : f.take_departures())
      out += (out.empty() ? "" : " ") + graph->dag->stages[d.stage].name + ">" + std::to_string(d.node.value);
    return out;
  }
  void complete(const std::string& name, float x, std::uint32_t element = 0) {
    f.complete(at(name), element, {number(x)});
  }
  void settle(const std::string& name, float x) { EXPECT_TRUE(f.settle(at(name), false, {number(x)}).ok()); }
  void skip(const std::string& name) { EXPECT_TRUE(f.settle(at(name), true, {}).ok()); }
  const calls::stage_trace& trace(const std::string& name) {
    kept = f.trace();
    for (const auto& t : kept)
      if (t.stage == at(name))
        return t;
    ADD_FAILURE() << name << " has no trace";
    return kept.front();
  }

  std::shared_ptr<const flow_graph> graph;
  calls::plan plan;
  flow f;
  std::vector<calls::stage_trace> kept;
};

functions::dag_spec cascade() {
  auto slow = id_of("slow", "$i");
  slow.when = ft::compare("fast.x", predicate::op::below, 0.5);
  auto pick = ft::stage_of("pick", "first", {{"a", ft::from("slow.x")}, {"b", ft::from("fast.x")}});
  pick.join.rule = join_rule::kind::any;
  return dag_of({port_of("i")}, {id_of("fast", "$i"), slow, pick}, {{"o", ft::from("pick.x")}});
}

functions::dag_spec ensemble(std::uint32_t count, duration wait) {
  auto vote = ft::stage_of("vote", "first", {{"a", ft::from("m.x")}, {"b", ft::from("n.x")}, {"c", ft::from("o.x")}});
  vote.join = {join_rule::kind::count, count, wait};
  return dag_of({port_of("i")}, {id_of("m", "$i"), id_of("n", "$i"), id_of("o", "$i"), vote},
                {{"r", ft::from("vote.x")}});
}

functions::dag_spec one_map(std::uint32_t width_max = 0) {
  auto each = map_of("each", "$k");
  each.width_max = width_max;
  return dag_of({port_of("k", false, true)}, {each}, {{"o", ft::from("each.x")}});
}

} // namespace

TEST(Flow, RunsASingleStage) {
  call_under_test c{dag_of({port_of("i")}, {id_of("run", "$i")}, {{"o", ft::from("run.x")}})};
  EXPECT_EQ(c.ready(), "");
  ASSERT_TRUE(c.f.start({number(4)}).ok());
  EXPECT_EQ(c.ready(), "run");
  EXPECT_EQ(c.f.inputs_of(0, 0), std::vector{number(4)});
  EXPECT_FALSE(c.f.over());
  c.complete("run", 9);
  EXPECT_TRUE(c.f.finished());
  EXPECT_TRUE(c.f.over());
  EXPECT_EQ(c.f.outputs(), std::vector{number(9)});
  EXPECT_EQ(c.departures(), "");
}

TEST(Flow, ACascadeStopsWhenTheFirstModelIsSure) {
  call_under_test c{cascade()};
  ASSERT_TRUE(c.f.start({number(1)}).ok());
  EXPECT_EQ(c.ready(), "fast");
  c.complete("fast", 0.9F);
  EXPECT_EQ(c.ready(), "pick");
  EXPECT_EQ(c.f.inputs_of(c.at("pick"), 0), (std::vector<value>{{}, number(0.9F), {}}));
  c.complete("pick", 0.9F);
  ASSERT_TRUE(c.f.finished());
  EXPECT_TRUE(c.trace("slow").skipped);
  EXPECT_EQ(c.trace("slow").width, 0U);
}

TEST(Flow, ACascadeGoesOnWhenTheFirstModelIsNotSure) {
  call_under_test c{cascade()};
  ASSERT_TRUE(c.f.start({number(1)}).ok());
  c.complete("fast", 0.1F);
  EXPECT_EQ(c.ready(), "fast slow");
  c.complete("slow", 0.7F);
  EXPECT_EQ(c.ready(), "pick");
  EXPECT_EQ(c.f.inputs_of(c.at("pick"), 0), (std::vector<value>{number(0.7F), number(0.1F), {}}));
}

TEST(Flow, ASkippedStageSkipsWhoeverNeedsIt) {
  auto a = id_of("a", "$i");
  a.when = ft::compare("$i", predicate::op::above, 10.0);
  call_under_test c{dag_of({port_of("i")}, {a, id_of("b", "a.x"), id_of("c", "b.x"), id_of("d", "$i")},
                           {{"deep", ft::from("c.x")}, {"other", ft::from("d.x")}})};
  ASSERT_TRUE(c.f.start({number(1)}).ok());
  EXPECT_EQ(c.ready(), "d");
  c.complete("d", 5);
  ASSERT_TRUE(c.f.finished());
  EXPECT_EQ(c.f.outputs(), (std::vector<value>{{}, number(5)}));
}

TEST(Flow, GathersAMapInOrder) {
  call_under_test c{one_map()};
  ASSERT_TRUE(c.f.start({value{numbers({1, 2, 3})}}).ok());
  EXPECT_EQ(c.ready(), "each:0:1:2");
  EXPECT_EQ(c.f.inputs_of(0, 1), std::vector{number(2)});
  EXPECT_EQ(c.f.mapped_inputs_of(0, 2), std::vector{number(3)});
  EXPECT_EQ(c.f.whole_inputs_of(0), std::vector<value>(1));
  c.complete("each", 30, 2);
  c.complete("each", 10, 0);
  c.complete("each", 99, 0); // comes twice
  EXPECT_FALSE(c.f.finished());
  c.complete("each", 20, 1);
  ASSERT_TRUE(c.f.finished());
  EXPECT_EQ(c.f.outputs(), std::vector{value{numbers({10, 20, 30})}});
  EXPECT_EQ(c.trace("each").width, 3U);
  EXPECT_EQ(c.trace("each").bytes_in, 12U);
  EXPECT_EQ(c.trace("each").bytes_out, 12U);
}

TEST(Flow, AMapOfNothingSettlesAtOnceWithEmptyLists) {
  call_under_test c{one_map()};
  ASSERT_TRUE(c.f.start({value{value_list{}}}).ok());
  EXPECT_EQ(c.ready(), "");
  ASSERT_TRUE(c.f.finished());
  EXPECT_EQ(c.f.outputs(), std::vector{value{value_list{}}});
  EXPECT_FALSE(c.trace("each").skipped);
}

TEST(Flow, AConditionOverAListIsTestedElementByElement) {
  auto each = map_of("each", "$k");
  each.when = ft::compare("$k", predicate::op::above, 2.0);
  call_under_test c{dag_of({port_of("k", false, true)}, {each, map_of("next", "each.x")}, {{"o", ft::from("next.x")}})};
  ASSERT_TRUE(c.f.start({value{numbers({1, 5, 2, 7})}}).ok());
  EXPECT_EQ(c.ready(), "each:1:3");
  c.complete("each", 50, 1);
  c.complete("each", 70, 3);
  EXPECT_EQ(c.ready(), "next:1:3") << "what is absent upstream is absent downstream";
  c.complete("next", 51, 1);
  c.complete("next", 71, 3);
  EXPECT_EQ(c.f.outputs(), (std::vector{value{value_list{{}, number(51), {}, number(71)}}}));
  EXPECT_EQ(c.trace("each").width, 2U);
}

TEST(Flow, AMapWhoseElementsAllFailTheConditionIsAListOfAbsentValues) {
  auto each = map_of("each", "$k");
  each.when = ft::compare("$k", predicate::op::above, 100.0);
  call_under_test c{dag_of({port_of("k", false, true)}, {each}, {{"o", ft::from("each.x")}})};
  ASSERT_TRUE(c.f.start({value{numbers({1, 5})}}).ok());
  ASSERT_TRUE(c.f.finished());
  EXPECT_EQ(c.f.outputs(), (std::vector{value{value_list{{}, {}}}}));
}

TEST(Flow, MappedListsMustHaveOneWidth) {
  auto add = ft::stage_of("add", "add", {{"a", ft::from("$k")}, {"b", ft::from("$l")}});
  add.map = {"a", "b"};
  call_under_test c{dag_of({port_of("k", false, true), port_of("l", false, true)}, {add}, {{"o", ft::from("add.x")}})};
  ASSERT_TRUE(c.f.start({value{numbers({1, 2})}, value{numbers({1})}}).ok());
  ASSERT_TRUE(c.f.failure());
  EXPECT_EQ(c.f.failure()->code, errc::invalid_argument);
  EXPECT_EQ(
      c.f.failure()->message,
      "stage 'add' (function add version 1): maps over lists of 2 and 1 elements; they must have the same number");
  EXPECT_TRUE(c.f.over());
}

TEST(Flow, AMapThatIsTooWideFails) {
  call_under_test c{one_map(2)};
  ASSERT_TRUE(c.f.start({value{numbers({1, 2, 3})}}).ok());
  ASSERT_TRUE(c.f.failure());
  EXPECT_EQ(c.f.failure()->code, errc::too_large);
  EXPECT_EQ(c.f.failure()->message, "stage 'each' (function id version 1): maps over 3 elements; its width_max is 2");
}

TEST(Flow, AnOpenDimensionIsCheckedWhereTheNextStageFixesIt) {
  const functions::port any{"i", functions::datatype::fp32, {-1}, false, false};
  call_under_test c{dag_of({any}, {id_of("run", "$i")}, {{"o", ft::from("run.x")}})};
  ASSERT_TRUE(c.f.start({ft::floats({2}, {1, 2})}).ok());
  ASSERT_TRUE(c.f.failure());
  EXPECT_EQ(c.f.failure()->code, errc::invalid_argument);
  EXPECT_NE(c.f.failure()->message.find("'a'"), std::string::npos) << c.f.failure()->message;
}

// -- joins

TEST(Flow, JoinOfSomeGoesOnWithTheFirstAndMarksTheOthersLate) {
  call_under_test c{ensemble(2, 0ms)};
  ASSERT_TRUE(c.f.start({number(1)}).ok());
  EXPECT_EQ(c.ready(), "m n o");
  c.complete("n", 2);
  EXPECT_EQ(c.ready(), "");
  c.complete("o", 3);
  EXPECT_EQ(c.ready(), "vote");
  c.complete("m", 1); // too late to count, although `vote` has not run yet
  EXPECT_EQ(c.f.inputs_of(c.at("vote"), 0), (std::vector<value>{{}, number(2), number(3)}));
  c.complete("vote", 2);
  ASSERT_TRUE(c.f.finished());
  EXPECT_TRUE(c.trace("m").late);
  EXPECT_EQ(c.trace("m").bytes_out, 4U) << "its own figures are kept when it ended before the call";
  EXPECT_FALSE(c.trace("n").late);
}

TEST(Flow, JoinOfSomeFinishesWithoutThoseThatNeverCome) {
  call_under_test c{ensemble(1, 0ms), {{"o", 2}}};
  ASSERT_TRUE(c.f.start({number(1)}).ok());
  c.complete("m", 1);
  c.complete("vote", 1);
  ASSERT_TRUE(c.f.finished());
  EXPECT_EQ(c.f.unsettled(), (std::vector<stage_index>{c.at("n"), c.at("o")}));
  EXPECT_TRUE(c.trace("n").late);
  EXPECT_EQ(c.trace("o").node, node_id{2});
  EXPECT_TRUE(c.trace("o").late);
}

TEST(Flow, WhatTheCallDoesWithoutIsSkippedAtOnce) {
  call_under_test c{ensemble(2, 50ms)};
  c.f.leave_out({c.at("n")});
  ASSERT_TRUE(c.f.start({number(1)}).ok());
  EXPECT_EQ(c.ready(), "m o");
  EXPECT_TRUE(c.f.skipped(c.at("n")));
  c.complete("m", 1);
  c.complete("o", 2);
  EXPECT_EQ(c.ready(), "vote") << "nobody is left to wait for";
}

TEST(Flow, JoinOfSomeWaitsForMoreAsLongAsItMay) {
  call_under_test c{ensemble(1, 50ms)};
  ASSERT_TRUE(c.f.start({number(1)}).ok());
  EXPECT_EQ(c.f.next_wait(), std::nullopt);
  c.f.pass_time(10ms);
  c.complete("m", 1);
  EXPECT_EQ(c.ready(), "m n o");
  EXPECT_EQ(c.f.next_wait(), duration{50ms});
  c.f.pass_time(49ms);
  EXPECT_EQ(c.ready(), "");
  c.f.pass_time(50ms);
  EXPECT_EQ(c.ready(), "vote");
  EXPECT_EQ(c.f.next_wait(), std::nullopt);
}

TEST(Flow, JoinOfSomeNeverWaitsWhenAllAreHere) {
  call_under_test c{ensemble(1, 50ms)};
  ASSERT_TRUE(c.f.start({number(1)}).ok());
  EXPECT_EQ(c.ready(), "m n o");
  c.complete("m", 1);
  c.complete("n", 1);
  c.complete("o", 1);
  EXPECT_EQ(c.ready(), "vote");
}

TEST(Flow, TheDeadlineCapsTheWaitOfAJoin) {
  call_under_test c{ensemble(1, 10s), {}, 1, 100ms};
  ASSERT_TRUE(c.f.start({number(1)}).ok());
  c.f.pass_time(200ms);
  EXPECT_EQ(c.ready(), "m n o");
  c.complete("m", 1);
  EXPECT_EQ(c.ready(), "vote") << "the wait was over before the first came";
}

TEST(Flow, JoinOfSomeIsSkippedWhenTooFewCanCome) {
  auto spec = ensemble(2, 0ms);
  for (int i = 0; i < 3; ++i)
    spec.stages[static_cast<std::size_t>(i)].when = ft::compare("$i", predicate::op::above, static_cast<double>(i));
  call_under_test c{spec};
  ASSERT_TRUE(c.f.start({number(1)}).ok());
  EXPECT_EQ(c.ready(), "m");
  c.complete("m", 1);
  ASSERT_TRUE(c.f.finished());
  EXPECT_EQ(c.f.outputs(), std::vector<value>(1));
}

TEST(Flow, JoinOfAnyWaitsForAllToSettle) {
  call_under_test c{cascade(), {{"slow", 2}}};
  ASSERT_TRUE(c.f.start({number(1)}).ok());
  c.complete("fast", 0.1F);
  EXPECT_EQ(c.ready(), "fast");
  c.skip("slow");
  EXPECT_EQ(c.ready(), "pick");
}

// -- failures

TEST(Flow, AFailureNamesTheStageAndItsFunction) {
  call_under_test c{cascade()};
  ASSERT_TRUE(c.f.start({number(1)}).ok());
  c.f.fail(c.at("fast"), 0, {errc::unavailable, "the model host died", 20ms});
  ASSERT_TRUE(c.f.failure());
  EXPECT_EQ(c.f.failure()->code, errc::unavailable);
  EXPECT_EQ(c.f.failure()->message, "stage 'fast' (function id version 1): the model host died");
  EXPECT_EQ(c.f.failure()->retry_after, duration{20ms});
}

TEST(Flow, AStageThatMayFailIsSkippedByItsFailure) {
  auto spec = cascade();
  spec.stages[1].may_fail = true;
  call_under_test c{spec};
  ASSERT_TRUE(c.f.start({number(1)}).ok());
  c.complete("fast", 0.1F);
  EXPECT_EQ(c.ready(), "fast slow");
  c.f.fail(c.at("slow"), 0, {errc::failed, "no", {}});
  EXPECT_FALSE(c.f.failure());
  EXPECT_EQ(c.ready(), "pick");
  EXPECT_TRUE(c.trace("slow").failed);
}

TEST(Flow, AnElementThatMayFailIsAbsent) {
  auto spec = one_map();
  spec.stages[0].may_fail = true;
  call_under_test c{spec};
  ASSERT_TRUE(c.f.start({value{numbers({1, 2})}}).ok());
  c.f.fail(0, 0, {errc::failed, "no", {}});
  c.complete("each", 20, 1);
  EXPECT_EQ(c.f.outputs(), (std::vector{value{value_list{{}, number(20)}}}));
}

TEST(Flow, AnElementThatMayNotFailIsNamed) {
  call_under_test c{one_map()};
  ASSERT_TRUE(c.f.start({value{numbers({1, 2})}}).ok());
  c.f.fail(0, 1, {errc::failed, "no", {}});
  ASSERT_TRUE(c.f.failure());
  EXPECT_EQ(c.f.failure()->message, "stage 'each' (function id version 1): element 1: no");
}

TEST(Flow, AWrongNumberOfOutputsIsAFailure) {
  call_under_test c{one_map()};
  ASSERT_TRUE(c.f.start({value{numbers({1})}}).ok());
  c.f.complete(0, 0, {});
  ASSERT_TRUE(c.f.failure());
  EXPECT_EQ(c.f.failure()->code, errc::failed);
}

// -- several nodes

TEST(Flow, TellsEachNodeThatHasAConsumerOnceAndOnlyWhatItReads) {
  auto split = ft::stage_of("split", "split", {{"a", ft::from("$i")}});
  auto sum = ft::stage_of("sum", "sum", {{"xs", ft::from("split.xs")}});
  call_under_test c{
      dag_of({port_of("i")}, {split, sum, id_of("n1", "split.n"), id_of("n2", "split.n")},
             {{"s", ft::from("sum.x")}, {"a", ft::from("n1.x")}, {"b", ft::from("n2.x")}, {"n", ft::from("split.n")}}),
      {{"sum", 2}, {"n1", 3}, {"n2", 3}},
      4};
  ASSERT_TRUE(c.f.start({number(1)}).ok());
  EXPECT_EQ(c.ready(), "split");
  EXPECT_FALSE(c.f.over());
  c.f.complete(0, 0, {value{numbers({1, 2})}, number(2)});
  EXPECT_EQ(c.departures(), "split>2 split>3 split>4");
  EXPECT_TRUE(c.f.over());
  EXPECT_FALSE(c.f.finished());
  EXPECT_EQ(c.f.outputs_for(0, node_id{2}), (std::vector<value>{value{numbers({1, 2})}, {}}));
  EXPECT_EQ(c.f.outputs_for(0, node_id{3}), (std::vector<value>{{}, number(2)}));
  EXPECT_EQ(c.f.outputs_for(0, node_id{4}), (std::vector<value>{{}, number(2)}));
  EXPECT_EQ(c.f.news_for(node_id{2}).size(), 1U);
  EXPECT_EQ(c.f.news_for(node_id{2}).size(), 0U) << "figures are sent once";
}

TEST(Flow, TellsTheExitOfASkippedStage) {
  auto a = id_of("a", "$i");
  a.when = ft::compare("$i", predicate::op::above, 10.0);
  call_under_test c{dag_of({port_of("i")}, {a}, {{"o", ft::from("a.x")}}), {}, 2};
  ASSERT_TRUE(c.f.start({number(1)}).ok());
  EXPECT_EQ(c.departures(), "a>2");
  EXPECT_TRUE(c.f.skipped(0));
  EXPECT_EQ(c.f.outputs_for(0, node_id{2}), std::vector<value>(1));
}

TEST(Flow, ResultsOfOtherNodesMayComeBeforeTheStart) {
  call_under_test c{
      dag_of({port_of("i")},
             {id_of("far", "$i"), ft::stage_of("here", "add", {{"a", ft::from("far.x")}, {"b", ft::from("$i")}})},
             {{"o", ft::from("here.x")}, {"i", ft::from("$i")}}),
      {{"far", 2}}};
  c.settle("far", 8);
  c.settle("far", 9); // comes twice
  EXPECT_EQ(c.ready(), "");
  ASSERT_TRUE(c.f.start({number(1)}).ok());
  ASSERT_TRUE(c.f.start({number(2)}).ok()); // comes twice
  EXPECT_EQ(c.ready(), "here");
  EXPECT_EQ(c.f.inputs_of(c.at("here"), 0), (std::vector<value>{number(8), number(1)}));
  c.complete("here", 3);
  EXPECT_EQ(c.f.outputs(), (std::vector<value>{number(3), number(1)}));
}

TEST(Flow, RefusesMessagesThatDoNotFitTheCall) {
  call_under_test c{cascade(), {{"fast", 2}}};
  EXPECT_EQ(c.f.start({}).error().code, errc::corrupt);
  EXPECT_EQ(c.f.settle(7, false, {}).error().code, errc::corrupt);
  EXPECT_EQ(c.f.settle(c.at("slow"), false, {number(1)}).error().code, errc::corrupt) << "its home is here";
  EXPECT_EQ(c.f.settle(c.at("fast"), false, {number(1), number(2)}).error().code, errc::corrupt);
  EXPECT_FALSE(c.f.failure());
  c.complete("slow", 1); // not ready
  c.f.complete(c.at("slow"), 7, {number(1)});
  EXPECT_EQ(c.departures(), "");
}

TEST(Flow, AListThatIsNoneIsAFailureNotACrash) {
  call_under_test c{one_map()};
  ASSERT_TRUE(c.f.start({number(1)}).ok());
  ASSERT_TRUE(c.f.failure());
  EXPECT_EQ(c.f.failure()->code, errc::corrupt);
}

TEST(Flow, ALongChainOfSkippedStagesIsNoDeepRecursion) {
  std::vector<stage_spec> stages{id_of("s0", "$i")};
  stages[0].when = ft::compare("$i", predicate::op::above, 10.0);
  for (int i = 1; i < 1000; ++i)
    stages.push_back(id_of("s" + std::to_string(i), "s" + std::to_string(i - 1) + ".x"));
  call_under_test c{dag_of({port_of("i")}, stages, {{"o", ft::from("s999.x")}})};
  ASSERT_TRUE(c.f.start({number(1)}).ok());
  EXPECT_TRUE(c.f.finished());
  EXPECT_EQ(c.f.trace().size(), 1000U);
}

} // namespace squall::executors
