#include "tests/executors/flow_bench.hpp"

#include <gtest/gtest.h>

#include <chrono>

/// What a flow does when a join that must have its count goes on, or cannot.
namespace squall::executors {

namespace {

using namespace testing;
using namespace std::chrono_literals;
using functions::join_rule;
using functions::stage_spec;

stage_spec competitor(const std::string& name, const std::string& source) {
  auto s = ft::stage_of(name, "id", {{"a", ft::from(source)}});
  s.may_fail = true;
  return s;
}

/// in -> early -> b; a, b -> first(a, b) under the join.
functions::dag_spec race(bool must) {
  auto first = ft::stage_of("first", "first", {{"a", ft::from("a.x")}, {"b", ft::from("b.x")}});
  first.join = {join_rule::kind::count, 1, 0ms, must};
  return dag_of({port_of("in")},
                {competitor("a", "$in"), competitor("early", "$in"), competitor("b", "early.x"), first},
                {{"o", ft::from("first.x")}});
}

struct call_under_test {
  explicit call_under_test(const functions::dag_spec& spec, const std::map<std::string, std::uint64_t>& homes = {},
                           std::uint64_t self = 1)
      : graph(graph_of(spec)), plan(plan_of(*graph, homes)), f(graph, plan, node_id{self}, 1h) {
    EXPECT_TRUE(f.start({number(5)}).ok());
  }
  stage_index at(const std::string& name) const { return stage_named(*graph, name); }
  std::string ready() {
    std::string out;
    for (const auto& r : f.take_ready())
      out += (out.empty() ? "" : " ") + graph->dag->stages[r.stage].name;
    return out;
  }
  std::string cancelled() {
    std::string out;
    for (const auto s : f.take_cancelled())
      out += (out.empty() ? "" : " ") + graph->dag->stages[s].name;
    return out;
  }
  std::string refusals() {
    std::string out;
    for (const auto& r : f.take_refusals())
      out += (out.empty() ? "" : " ") + graph->dag->stages[r.stage].name + "<" + graph->dag->stages[r.consumer].name +
             ">" + std::to_string(r.node.value);
    return out;
  }
  void complete(const std::string& name) { f.complete(at(name), 0, {number(1)}); }
  calls::stage_trace trace(const std::string& name) const {
    for (const auto& t : f.trace())
      if (t.stage == at(name))
        return t;
    ADD_FAILURE() << "no trace of " << name;
    return {};
  }

  std::shared_ptr<const flow_graph> graph;
  calls::plan plan;
  flow f;
};

} // namespace

TEST(FlowCancel, TheFirstAnswerCancelsTheOthersAndWhatOnlyTheyNeed) {
  call_under_test c{race(true)};
  EXPECT_EQ(c.ready(), "a early");
  c.complete("a");
  EXPECT_EQ(c.ready(), "first");
  EXPECT_EQ(c.cancelled(), "early") << "b had not begun: there is nothing to withdraw";
  EXPECT_TRUE(c.trace("b").cancelled);
  EXPECT_TRUE(c.trace("b").late);
  EXPECT_TRUE(c.trace("early").cancelled);
  EXPECT_FALSE(c.trace("early").late) << "nobody joined it";
  EXPECT_FALSE(c.trace("a").cancelled);
  c.complete("early"); // too late: it had ended already
  EXPECT_EQ(c.ready(), "");
  c.complete("first");
  EXPECT_TRUE(c.f.finished());
  EXPECT_EQ(number_of(c.f.outputs()[0]), 1);
}

TEST(FlowCancel, OtherJoinsCancelNothing) {
  call_under_test c{race(false)};
  c.ready();
  c.complete("a");
  EXPECT_EQ(c.ready(), "first");
  EXPECT_EQ(c.cancelled(), "");
  EXPECT_FALSE(c.trace("b").cancelled);
}

TEST(FlowCancel, WhatSomebodyElseReadsGoesOn) {
  auto spec = race(true);
  spec.outputs.push_back({"early", ft::from("early.x")});
  call_under_test c{spec};
  c.ready();
  c.complete("a");
  EXPECT_EQ(c.cancelled(), "");
  EXPECT_TRUE(c.trace("b").cancelled);
  c.complete("early");
  c.ready();
  c.complete("first");
  EXPECT_TRUE(c.f.finished()) << "b is not waited for";
}

TEST(FlowCancel, AStageThatWasNotTakenYetIsTakenBack) {
  call_under_test c{race(true)};
  EXPECT_EQ(c.f.take_ready().size(), 2U);
  c.complete("early");
  c.complete("a"); // b is ready, but nobody has asked
  EXPECT_EQ(c.ready(), "first");
  EXPECT_EQ(c.cancelled(), "");
}

TEST(FlowCancel, AFailureLeavesTheRaceToTheOthers) {
  call_under_test c{race(true)};
  c.ready();
  c.f.fail(c.at("a"), 0, {errc::failed, "it broke", {}});
  EXPECT_FALSE(c.f.failure());
  c.complete("early");
  EXPECT_EQ(c.ready(), "b");
  c.complete("b");
  EXPECT_EQ(c.ready(), "first");
}

TEST(FlowCancel, WhenAllFailTheCallFailsWithTheLastError) {
  call_under_test c{race(true)};
  c.ready();
  c.f.fail(c.at("a"), 0, {errc::failed, "it broke", {}});
  c.complete("early");
  c.ready();
  c.f.fail(c.at("b"), 0, {errc::too_large, "so did I", {}});
  ASSERT_TRUE(c.f.failure());
  EXPECT_EQ(c.f.failure()->code, errc::too_large);
  EXPECT_EQ(c.f.failure()->message,
            "stage 'first' (function first version 1): 2 of the 2 stages that it joins failed; the last one: so did I");
}

TEST(FlowCancel, WhenAllAreSkippedTheJoinIsSkipped) {
  auto spec = race(true);
  spec.inputs.push_back(port_of("other", true));
  for (auto& s : spec.stages)
    if (s.name != "first")
      s.when = ft::compare("$in", functions::predicate::op::above, 100.0);
  spec.inputs.pop_back();
  call_under_test c{spec};
  EXPECT_EQ(c.ready(), "");
  EXPECT_TRUE(c.f.finished());
  EXPECT_TRUE(c.f.outputs()[0].absent());
}

TEST(FlowCancel, AnotherNodeIsToldAndCancelsThere) {
  const std::map<std::string, std::uint64_t> homes{{"early", 2}, {"b", 2}};
  call_under_test here{race(true), homes, 1};
  call_under_test there{race(true), homes, 2};
  EXPECT_EQ(here.ready(), "a");
  EXPECT_EQ(there.ready(), "early");
  here.complete("a");
  EXPECT_EQ(here.refusals(), "b<first>2");
  EXPECT_TRUE(here.trace("b").cancelled);
  there.f.unwanted(there.at("b"), there.at("first"));
  there.f.unwanted(there.at("b"), there.at("first")); // said twice
  EXPECT_EQ(there.cancelled(), "early");
  EXPECT_TRUE(there.f.over());
  there.f.unwanted(there.at("a"), there.at("first")); // not of that node
  there.f.unwanted(99, 0);
}

TEST(FlowCancel, AResultThatWasOnItsWayCounts) {
  call_under_test here{race(true), {{"early", 2}, {"b", 2}}, 1};
  here.complete("a");
  here.f.add_trace({{.stage = here.at("b"), .node = node_id{2}, .lane = lane_id{1}, .executed = 3ms}});
  EXPECT_TRUE(here.f.settle(here.at("b"), false, {number(2)}).ok());
  EXPECT_FALSE(here.trace("b").cancelled) << "it ran to its end";
  EXPECT_TRUE(here.trace("b").late);
}

} // namespace squall::executors
