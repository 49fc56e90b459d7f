#include "functions/rewrite.hpp"

#include "functions/chain.hpp"
#include "tests/functions/builders.hpp"

#include <gtest/gtest.h>

namespace squall::functions {

namespace {

using namespace testing;

port p(std::string name, bool optional = false, bool list = false) {
  return {std::move(name), datatype::fp32, {1}, list, optional};
}

function_spec builtin_function(std::string name, std::vector<port> inputs, std::vector<port> outputs) {
  auto f = function_of(name, std::move(inputs), std::move(outputs));
  f.variants.front().target = std::move(name);
  return f;
}

class RewriteTest : public ::testing::Test {
protected:
  RewriteTest() {
    known_.add(builtin_function("one", {p("a")}, {p("x")}));
    known_.add(builtin_function("two", {p("a"), p("b", true)}, {p("x"), p("y")}));
    known_.add(builtin_function("split", {p("a")}, {p("xs", false, true)}));
    known_.add(builtin_function("label", {p("a")}, {p("x")}));
    auto model = function_of("model", {p("a")}, {p("x")});
    model.variants.front().kind = variant_kind::onnx;
    known_.add(std::move(model));
  }

  static std::optional<builtin_facts> facts(const variant_spec& v) {
    if (v.kind != variant_kind::builtin)
      return std::nullopt;
    return builtin_facts{true, v.target != "two",
                         v.target == "label" ? std::vector<std::string>{"labels"} : std::vector<std::string>{}};
  }

  dag_spec spec(std::vector<stage_spec> stages, std::vector<dag_output> outputs, std::vector<std::string> rules) {
    dag_spec d;
    d.name = "d";
    d.version = 3;
    d.inputs = {p("in")};
    d.stages = std::move(stages);
    d.outputs = std::move(outputs);
    d.optimize = std::move(rules);
    return d;
  }

  /// Rewrites, and checks that what comes out is a DAG.
  result<rewritten_dag> rewritten(const dag_spec& d) {
    auto out = rewrite(d, known_.lookup(), facts);
    if (!out.ok())
      return out;
    auto all = known_;
    for (const auto& f : out->functions) {
      EXPECT_TRUE(validate(f).ok()) << f.name;
      all.add(f);
    }
    const auto compiled = compile(out->spec, dag_id{1}, all.lookup());
    EXPECT_TRUE(compiled.ok()) << (compiled.ok() ? "" : compiled.error().message);
    return out;
  }

  static std::string stages(const rewritten_dag& d) {
    std::string out;
    for (const auto& s : d.spec.stages) {
      out += (out.empty() ? "" : "; ") + s.name + "(";
      for (const auto& i : s.inputs)
        out += i.port + "=" + to_string(i.source) + " ";
      if (out.back() == ' ')
        out.pop_back();
      out += ')';
    }
    return out;
  }

  testing::catalogue known_;
};

stage_spec line(std::string name, std::string function, std::string of) {
  return stage_of(std::move(name), std::move(function), {{"a", from(of)}});
}

} // namespace

TEST_F(RewriteTest, WithoutRulesNothingChanges) {
  const auto d = spec({line("s", "one", "$in"), line("t", "one", "s.x")}, {{"o", from("t.x")}}, {});
  const auto out = rewritten(d);
  EXPECT_EQ(out->spec, d);
  EXPECT_TRUE(out->functions.empty());
}

TEST_F(RewriteTest, UnknownRulesAreNamed) {
  const auto out = rewritten(spec({line("s", "one", "$in")}, {}, {"fuze"}));
  ASSERT_FALSE(out.ok());
  EXPECT_EQ(out.error().message,
            "DAG 'd': there is no rule 'fuze'; did you mean 'fuse'? rules: compete, fuse, locality");
}

TEST_F(RewriteTest, FusesAChain) {
  const auto out = rewritten(spec({line("s", "one", "$in"), line("t", "label", "s.x"), line("u", "one", "t.x")},
                                  {{"o", from("u.x")}, {"m", from("s.x")}}, {"fuse"}));
  EXPECT_EQ(stages(*out), "s--u(i0=$in)");
  EXPECT_EQ(to_string(out->spec.outputs[0].source), "s--u.o1");
  EXPECT_EQ(to_string(out->spec.outputs[1].source), "s--u.o0");
  const auto& f = out->functions.front();
  EXPECT_EQ(f.name, "fused.d.s--u");
  EXPECT_EQ(f.version, 3U);
  EXPECT_EQ(f.variants.front().target, "fused-light");
  const auto steps = chain_from_text(f.variants.front().parameters.at("steps"));
  ASSERT_TRUE(steps.ok()) << steps.error().message;
  ASSERT_EQ(steps->steps.size(), 3U);
  EXPECT_EQ(steps->steps[1].stage, "t");
  EXPECT_EQ(steps->steps[1].parameters.at("@labels"), "r0") << "resources are those of the chain";
  EXPECT_EQ(f.variants.front().parameters.count("r0"), 1U);
}

TEST_F(RewriteTest, AChainWithAHeavyStepIsHeavy) {
  const auto out = rewritten(spec({line("s", "one", "$in"), line("t", "two", "s.x")}, {{"o", from("t.y")}}, {"fuse"}));
  EXPECT_EQ(out->functions.front().variants.front().target, "fused");
  EXPECT_EQ(to_string(out->spec.outputs[0].source), "s--t.o1") << "both outputs are there";
}

TEST_F(RewriteTest, ModelsConditionsJoinsAndForksEndAChain) {
  auto model = line("m", "model", "s.x");
  EXPECT_EQ(stages(*rewritten(spec({line("s", "one", "$in"), model}, {{"o", from("m.x")}}, {"fuse"}))),
            "s(a=$in); m(a=s.x)");
  auto conditional = line("t", "one", "s.x");
  conditional.when = compare("s.x", predicate::op::above, 1.0);
  EXPECT_EQ(stages(*rewritten(spec({line("s", "one", "$in"), conditional}, {{"o", from("t.x")}}, {"fuse"}))),
            "s(a=$in); t(a=s.x)");
  auto may_fail = line("t", "one", "s.x");
  may_fail.may_fail = true;
  EXPECT_EQ(stages(*rewritten(spec({line("s", "one", "$in"), may_fail}, {{"o", from("t.x")}}, {"fuse"}))),
            "s(a=$in); t(a=s.x)");
  EXPECT_EQ(stages(*rewritten(spec({line("s", "one", "$in"), line("t", "one", "s.x"), line("u", "one", "s.x")},
                                   {{"o", from("t.x")}, {"q", from("u.x")}}, {"fuse"}))),
            "s(a=$in); t(a=s.x); u(a=s.x)")
      << "two readers can run side by side";
}

TEST_F(RewriteTest, NothingWaitsForWhatItDidNotWaitFor) {
  // t also reads m, which runs beside s: fused with s, it would hold s up.
  auto both = stage_of("t", "two", {{"a", from("s.x")}, {"b", from("m.x")}});
  EXPECT_EQ(stages(*rewritten(
                spec({line("s", "one", "$in"), line("m", "model", "$in"), both}, {{"o", from("t.x")}}, {"fuse"}))),
            "s(a=$in); m(a=$in); t(a=s.x b=m.x)");
  // Here s waits for m anyway.
  EXPECT_EQ(stages(*rewritten(
                spec({line("m", "model", "$in"), line("s", "one", "m.x"), both}, {{"o", from("t.x")}}, {"fuse"}))),
            "m(a=$in); s--t(i0=m.x i1=m.x)");
}

TEST_F(RewriteTest, AConditionOnTheFirstStageIsKept) {
  auto head = line("s", "one", "$in");
  head.when = present("$in");
  const auto out = rewritten(spec({head, line("t", "one", "s.x")}, {{"o", from("t.x")}}, {"fuse"}));
  EXPECT_EQ(stages(*out), "s--t(i0=$in)");
  EXPECT_TRUE(out->spec.stages.front().when.has_value());
}

TEST_F(RewriteTest, MapsAreFusedElementByElement) {
  auto head = line("s", "one", "l.xs");
  head.map = {"a"};
  auto next = line("t", "one", "s.x");
  next.map = {"a"};
  const auto out = rewritten(spec({line("l", "split", "$in"), head, next}, {{"o", from("t.x")}}, {"fuse"}));
  EXPECT_EQ(stages(*out), "l(a=$in); s--t(i0=l.xs)");
  EXPECT_EQ(out->spec.stages[1].map, std::vector<std::string>{"i0"});
}

TEST_F(RewriteTest, CompetitorsFeedAJoinOfTheStagesName) {
  auto s = line("s", "two", "$in");
  s.compete = 3;
  const auto out = rewritten(spec({s, line("t", "one", "s.y")}, {{"o", from("t.x")}}, {"compete"}));
  EXPECT_EQ(stages(*out),
            "s--1(a=$in); s--2(a=$in); s--3(a=$in); s(r1.x=s--1.x r1.y=s--1.y r2.x=s--2.x r2.y=s--2.y r3.x=s--3.x "
            "r3.y=s--3.y); t(a=s.y)");
  const auto& join = out->spec.stages[3].join;
  EXPECT_TRUE(join.rule == join_rule::kind::count && join.count == 1 && join.must);
  EXPECT_TRUE(out->spec.stages[0].may_fail);
  EXPECT_EQ(out->functions.front().variants.front().parameters.at("outputs"), "2");
}

TEST_F(RewriteTest, WhoCannotCompeteIsNamed) {
  auto map = line("s", "one", "l.xs");
  map.map = {"a"};
  map.compete = 2;
  EXPECT_EQ(
      rewritten(spec({line("l", "split", "$in"), map}, {{"o", from("s.x")}}, {"compete"})).error().message,
      "DAG 'd': stage 's' cannot compete: it is a map, whose elements run side by side as they are; remove compete");
  auto many = line("s", "one", "$in");
  many.compete = 9;
  EXPECT_EQ(rewritten(spec({many}, {{"o", from("s.x")}}, {"compete"})).error().message,
            "DAG 'd': stage 's': compete is 9; at most 8 replicas compete");
}

TEST_F(RewriteTest, BothRulesTogether) {
  auto s = line("s", "one", "$in");
  s.compete = 2;
  const auto out =
      rewritten(spec({s, line("t", "one", "s.x"), line("u", "one", "t.x")}, {{"o", from("u.x")}}, {"fuse", "compete"}));
  EXPECT_EQ(stages(*out), "s--1(a=$in); s--2(a=$in); s(r1.x=s--1.x r2.x=s--2.x); t--u(i0=s.x)");
}

TEST(ChainText, IsReadAsWritten) {
  const chain c{{{"a", "one", {{"k", "tab\tline\nback\\slash"}}, {chain_source{std::nullopt, 0}}},
                 {"b", "two", {{"@labels", "r0"}}, {chain_source{0, 1}, std::nullopt}}},
                {{1, 0}, {0, 0}}};
  const auto read = chain_from_text(to_text(c));
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_EQ(*read, c);
}

TEST(ChainText, StepsOnlyReadWhatComesBefore) {
  EXPECT_EQ(chain_from_text("a\tone\t0.0\n0.0").error().message,
            "line 1 of the steps: '0.0' is no input ($0), no output of an earlier step (0.1), and not '-'");
  EXPECT_FALSE(chain_from_text("").ok());
  EXPECT_FALSE(chain_from_text("a\tone\n0.0").ok());
}

// -- sequels

namespace {

dag_spec small(const std::string& name, std::vector<port> inputs, const std::string& input, const std::string& output) {
  dag_spec d;
  d.name = name;
  d.inputs = std::move(inputs);
  d.stages = {line("run", "one", "$" + input)};
  d.outputs = {{output, from("run.x")}};
  return d;
}

} // namespace

TEST_F(RewriteTest, ASequelTakesOutputsByName) {
  const auto first = small("a", {p("in")}, "in", "mid");
  const auto next = small("b", {p("mid"), p("more", true)}, "mid", "out");
  const auto whole = sequel(first, "a", {p("mid")}, next);
  ASSERT_TRUE(whole.ok()) << whole.error().message;
  EXPECT_EQ(whole->name, "a.then.b");
  EXPECT_EQ(stages({*whole, {}}), "a--run(a=$in); b--run(a=a--run.x)");
  ASSERT_EQ(whole->outputs.size(), 2U);
  EXPECT_EQ(whole->outputs[0].name + " " + whole->outputs[1].name, "out a.mid");
  ASSERT_EQ(whole->inputs.size(), 2U);
  EXPECT_EQ(whole->inputs[1].name, "more") << "what finds no output is an input of the whole";
}

TEST_F(RewriteTest, ASequelOfOneInputTakesTheOnlyOutput) {
  const auto whole = sequel(small("a", {p("in")}, "in", "mid"), "a", {p("mid")}, small("b", {p("x")}, "x", "out"));
  ASSERT_TRUE(whole.ok()) << whole.error().message;
  EXPECT_EQ(whole->inputs.size(), 1U);
  EXPECT_TRUE(compile(*whole, dag_id{1}, known_.lookup()).ok());
}

TEST_F(RewriteTest, SequelsOfSequelsNameOutputsByTheirOwnDag) {
  const auto a = small("a", {p("in")}, "in", "x");
  const auto ab = sequel(a, "a", {p("x")}, small("b", {p("x")}, "x", "x"));
  const auto abb = sequel(*ab, "b", {p("x")}, small("b", {p("x")}, "x", "y"));
  ASSERT_TRUE(abb.ok()) << abb.error().message;
  std::string names;
  for (const auto& o : abb->outputs)
    names += o.name + " ";
  EXPECT_EQ(names, "y b.x a.x ");
  const auto third = sequel(*abb, "b", {p("y")}, small("b", {p("y")}, "y", "x"));
  ASSERT_TRUE(third.ok()) << third.error().message;
  const auto fourth = sequel(*third, "b", {p("x")}, small("c", {p("x")}, "x", "z"));
  ASSERT_TRUE(fourth.ok()) << fourth.error().message;
  names.clear();
  for (const auto& o : fourth->outputs)
    names += o.name + " ";
  EXPECT_EQ(names, "z b.again.x b.y b.x a.x ");
  EXPECT_EQ(stages({*abb, {}}), "a--run(a=$in); b--run(a=a--run.x); b--again-run(a=b--run.x)");
  EXPECT_TRUE(compile(*abb, dag_id{1}, known_.lookup()).ok());
}

TEST_F(RewriteTest, WhatDoesNotFollowIsNamed) {
  auto texts = p("mid");
  texts.type = datatype::bytes;
  EXPECT_EQ(
      sequel(small("a", {p("in")}, "in", "mid"), "a", {p("mid")}, small("b", {texts}, "mid", "out")).error().message,
      "'b' cannot continue 'a': its input 'mid' is BYTES [1], but output 'mid' is FP32 [1]");
}

} // namespace squall::functions
