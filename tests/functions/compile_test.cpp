#include "builders.hpp"

#include <gtest/gtest.h>

namespace squall::functions {
namespace {

using namespace testing;
using op = predicate::op;

/// The functions of the tests: a cascade of readers, and list handling.
class Compile : public ::testing::Test {
protected:
  Compile() {
    const port line{"x", datatype::fp32, {1, 3, 48, -1}};
    const port probs{"probs", datatype::fp32, {1, -1, 10}};
    const port text{"text", datatype::bytes, {1}};
    const port confidence{"confidence", datatype::fp32, {1}};
    auto tiny = function_of("tiny", {line}, {probs});
    auto second = tiny.variants[0];
    second.name = "bf16";
    tiny.variants.push_back(second);
    known.add(tiny);
    auto newer = function_of("tiny", {line}, {probs});
    newer.version = 3;
    known.add(newer);
    known.add(function_of("decode", {{"probs", datatype::fp32, {1, -1, -1}}}, {text, confidence}));
    known.add(function_of("pick",
                          {{"a", datatype::bytes, {-1}, false, true}, {"b", datatype::bytes, {-1}, false, true}},
                          {{"value", datatype::bytes, {-1}}}));
    known.add(function_of("strict", {{"a", datatype::bytes, {-1}}, {"b", datatype::bytes, {-1}}},
                          {{"value", datatype::bytes, {-1}}}));
    known.add(function_of("split", {line}, {{"crops", datatype::fp32, {1, 3, 48, -1}, true}}));
    known.add(function_of("merge", {{"texts", datatype::bytes, {1}, true}}, {{"text", datatype::bytes, {1}}}));
    known.add(function_of("source", {}, {text}));
    known.add(function_of("copy", {{"text", datatype::bytes, {1}}}, {text}));
    known.add(function_of("scale", {{"x", datatype::fp32, {-1}}, {"by", datatype::uint8, {1, 1}}},
                          {{"y", datatype::fp32, {-1}}}));
    auto stateful = function_of("gate", {{"x", datatype::fp32, {1}}, {"state", datatype::fp32, {2}}},
                                {{"y", datatype::fp32, {1}}, {"next", datatype::fp32, {2}}});
    stateful.state = {{"state", "next"}};
    known.add(stateful);
  }

  [[nodiscard]] result<std::shared_ptr<const dag>> run(const dag_spec& spec) const {
    return compile(spec, dag_id{7}, known.lookup());
  }
  [[nodiscard]] std::string message(const dag_spec& spec) const {
    const auto compiled = run(spec);
    return compiled.ok() ? "ok" : compiled.error().message;
  }

  /// The cascade that the README shows.
  static dag_spec cascade() {
    dag_spec d;
    d.name = "read";
    d.inputs = {{"crop", datatype::fp32, {1, 3, 48, -1}}};
    auto slow = stage_of("slow", "tiny", {{"x", from("$crop")}});
    slow.when = compare("sure.confidence", op::below, 0.97);
    auto pick = stage_of("pick", "pick", {{"a", from("again.text")}, {"b", from("sure.text")}});
    pick.join.rule = join_rule::kind::any;
    d.stages = {stage_of("fast", "tiny", {{"x", from("$crop")}}),
                stage_of("sure", "decode", {{"probs", from("fast.probs")}}), slow,
                stage_of("again", "decode", {{"probs", from("slow.probs")}}), pick};
    d.outputs = {{"text", from("pick.value")}};
    return d;
  }

  /// crops of a picture, each read, the texts merged.
  static dag_spec mapped() {
    dag_spec d;
    d.name = "page";
    d.inputs = {{"page", datatype::fp32, {1, 3, 48, -1}}};
    auto read = stage_of("read", "tiny", {{"x", from("split.crops")}});
    read.map = {"x"};
    auto decode = stage_of("decode", "decode", {{"probs", from("read.probs")}});
    decode.map = {"probs"};
    d.stages = {stage_of("split", "split", {{"x", from("$page")}}), read, decode,
                stage_of("merge", "merge", {{"texts", from("decode.text")}})};
    d.outputs = {{"text", from("merge.text")}, {"texts", from("decode.text")}};
    return d;
  }

  template <class Change>
  [[nodiscard]] std::string cascade_after(Change change) const {
    auto d = cascade();
    change(d);
    return message(d);
  }
  template <class Change>
  [[nodiscard]] std::string mapped_after(Change change) const {
    auto d = mapped();
    change(d);
    return message(d);
  }

  catalogue known;
};

using indexes = std::vector<stage_index>;

TEST_F(Compile, ResolvesACascade) {
  const auto compiled = run(cascade());
  ASSERT_TRUE(compiled.ok()) << compiled.error().message;
  const auto& d = **compiled;
  EXPECT_EQ(d.id, dag_id{7});
  ASSERT_EQ(d.stages.size(), 5u);
  EXPECT_EQ(d.stages[2].name, "slow");
  EXPECT_EQ(d.stages[2].producers, (indexes{1})) << "only its `when` reads a stage";
  EXPECT_EQ(d.stages[1].consumers, (indexes{2, 4}));
  EXPECT_EQ(d.stages[4].producers, (indexes{1, 3}));
  EXPECT_EQ(d.stages[4].consumers, (indexes{d.exit()}));
  EXPECT_EQ(d.exit_producers, (indexes{4}));
  ASSERT_TRUE(d.stages[2].when.has_value());
  EXPECT_EQ(d.stages[2].when->subject.stage, 1u);
  EXPECT_EQ(d.stages[2].when->subject.port, 1u);
  EXPECT_EQ(d.outputs[0].stage, 4u);
  EXPECT_EQ(d.stages[4].inputs[0].source.stage, 3u);
  EXPECT_FALSE(d.stages[4].inputs[0].required);
  EXPECT_TRUE(d.stages[0].inputs[0].bound);
  EXPECT_EQ(d.stages[1].output_count, 2u);
}

TEST_F(Compile, OrdersProducersFirstAndTiesByTheSpec) {
  auto d = cascade();
  std::reverse(d.stages.begin(), d.stages.end());
  const auto compiled = run(d);
  ASSERT_TRUE(compiled.ok()) << compiled.error().message;
  std::vector<std::string> names;
  for (const auto& s : (*compiled)->stages)
    names.push_back(s.name);
  EXPECT_EQ(names, (std::vector<std::string>{"fast", "sure", "slow", "again", "pick"}));
  EXPECT_EQ((*compiled)->stages[4].inputs[0].source.stage, 3u);
  EXPECT_EQ((*compiled)->stages[2].when->subject.stage, 1u);

  dag_spec sources;
  sources.name = "sources";
  sources.stages = {stage_of("z", "source", {}), stage_of("a", "source", {}), stage_of("m", "source", {})};
  const auto side_by_side = run(sources);
  ASSERT_TRUE(side_by_side.ok());
  EXPECT_EQ((*side_by_side)->stages[0].name, "z");
  EXPECT_EQ((*side_by_side)->exit_producers, (indexes{0, 1, 2})) << "stages without consumers";
}

TEST_F(Compile, TakesTheLatestVersionOrTheOneAskedFor) {
  EXPECT_EQ((*run(cascade()))->stages[0].function, function_id{2});
  auto d = cascade();
  d.stages[0].version = 1;
  EXPECT_EQ((*run(d))->stages[0].function, function_id{1});
  EXPECT_EQ((*run(d))->stages[0].variants, (std::vector{variant_id{100}, variant_id{101}}));
  d.stages[0].variant = "bf16";
  EXPECT_EQ((*run(d))->stages[0].variants, (std::vector{variant_id{101}}));
  d.stages[0].variant = "int8";
  EXPECT_EQ(message(d),
            "DAG 'read', stage 'fast': function 'tiny': there is no variant 'int8'; variants: default, bf16");
}

TEST_F(Compile, ResolvesAMap) {
  const auto compiled = run(mapped());
  ASSERT_TRUE(compiled.ok()) << compiled.error().message;
  const auto& d = **compiled;
  EXPECT_TRUE(d.stages[1].map);
  EXPECT_TRUE(d.stages[1].inputs[0].mapped);
  EXPECT_EQ(d.stages[1].width_max, max_map_width);
  EXPECT_EQ(d.stages[0].width_max, 0u);
  EXPECT_EQ(d.stages[2].consumers, (indexes{3, 4})) << "the exit gathers one of its outputs";
  EXPECT_EQ(d.exit_producers, (indexes{2, 3}));
}

TEST_F(Compile, RefusesUnknownFunctions) {
  EXPECT_EQ(cascade_after([](auto& d) { d.stages[0].function = "tinny"; }),
            "DAG 'read', stage 'fast': there is no function 'tinny'; register it first");
  EXPECT_EQ(cascade_after([](auto& d) { d.stages[0].version = 2; }),
            "DAG 'read', stage 'fast': function 'tiny' has no version 2; the latest is 3");
  auto d = cascade();
  d.stages[0].function = "none";
  EXPECT_EQ(run(d).error().code, errc::not_found);
}

TEST_F(Compile, RefusesNamesThatDoNotExist) {
  EXPECT_EQ(
      cascade_after([](auto& d) { d.stages[1].inputs[0].source = from("fast.prob"); }),
      "DAG 'read', stage 'sure', input 'probs': stage 'fast' (function 'tiny'): there is no output 'prob'; did you "
      "mean 'probs'? outputs: probs");
  EXPECT_EQ(
      cascade_after([](auto& d) { d.stages[1].inputs[0].source = from("fats.probs"); }),
      "DAG 'read', stage 'sure', input 'probs': there is no stage 'fats'; did you mean 'fast'? stages: fast, sure, "
      "slow, again, pick");
  EXPECT_EQ(
      cascade_after([](auto& d) { d.stages[0].inputs[0].source = from("$corp"); }),
      "DAG 'read', stage 'fast', input 'x': DAG 'read': there is no input 'corp'; did you mean 'crop'? inputs: crop");
  EXPECT_EQ(cascade_after([](auto& d) { d.stages[0].inputs[0].port = "image"; }),
            "DAG 'read', stage 'fast': function 'tiny': there is no input 'image'; inputs: x");
  EXPECT_EQ(
      cascade_after([](auto& d) { d.stages[2].when = compare("sure.confidenc", op::below, 0.97); }),
      "DAG 'read', stage 'slow', when: stage 'sure' (function 'decode'): there is no output 'confidenc'; did you mean "
      "'confidence'? outputs: text, confidence");
  EXPECT_EQ(cascade_after([](auto& d) { d.outputs[0].source = from("pick.text"); }),
            "DAG 'read', output 'text': stage 'pick' (function 'pick'): there is no output 'text'; outputs: value");
}

TEST_F(Compile, RefusesMissingAndDoubleBindings) {
  EXPECT_EQ(cascade_after([](auto& d) { d.stages[1].inputs.push_back(d.stages[1].inputs[0]); }),
            "DAG 'read', stage 'sure': input 'probs' is bound twice; remove one binding");
  EXPECT_EQ(cascade_after([](auto& d) { d.stages[1].inputs.clear(); }),
            "DAG 'read', stage 'sure' is unreachable: none of its inputs is bound; bind probs");
  EXPECT_EQ(cascade_after([](auto& d) { d.stages[4].inputs.clear(); }),
            "DAG 'read', stage 'pick' is unreachable: none of its inputs is bound; bind a, b");
  EXPECT_EQ(cascade_after([](auto& d) {
              d.stages[4] = stage_of("pick", "strict", {{"a", from("sure.text")}});
            }),
            "DAG 'read', stage 'pick': input 'b' (BYTES [-1]) of function 'strict' is not bound");
}

TEST_F(Compile, RefusesMismatchesAlongAnEdge) {
  EXPECT_EQ(
      cascade_after([](auto& d) { d.stages[1].inputs[0].source = from("$crop"); }),
      "DAG 'read', stage 'sure', input 'probs': '$crop' gives FP32 [1,3,48,-1], but the input takes FP32 [1,-1,-1]");
  EXPECT_EQ(
      cascade_after([](auto& d) {
        d.inputs[0].shape = {1, 1, 48, -1};
      }),
      "DAG 'read', stage 'fast', input 'x': '$crop' gives FP32 [1,1,48,-1], but the input takes FP32 [1,3,48,-1]");
  EXPECT_EQ(
      cascade_after([](auto& d) { d.inputs[0].type = datatype::fp16; }),
      "DAG 'read', stage 'fast', input 'x': '$crop' gives FP16 [1,3,48,-1], but the input takes FP32 [1,3,48,-1]");
  EXPECT_EQ(cascade_after([](auto& d) { d.inputs[0].shape = {-1, -1, -1, 320}; }), "ok") << "-1 matches everything";
}

TEST_F(Compile, RefusesListsWhereTensorsAreWantedAndTheReverse) {
  EXPECT_EQ(
      mapped_after([](auto& d) { d.stages[1].map.clear(); }),
      "DAG 'page', stage 'read', input 'x': 'split.crops' gives a list of FP32 [1,3,48,-1], but the input takes FP32 "
      "[1,3,48,-1]; name it in `map` to run once per element");
  EXPECT_EQ(
      mapped_after([](auto& d) { d.stages[0].map = {"x"}; }),
      "DAG 'page', stage 'split', input 'x': '$page' gives FP32 [1,3,48,-1], which the map cannot take apart into FP32 "
      "[1,3,48,-1]; remove it from `map`");
  EXPECT_EQ(
      cascade_after([](auto& d) {
        d.stages.push_back(stage_of("merge", "merge", {{"texts", from("sure.text")}}));
      }),
      "DAG 'read', stage 'merge', input 'texts': 'sure.text' gives BYTES [1], but the input takes a list of BYTES [1]");
  EXPECT_EQ(
      mapped_after([](auto& d) {
        d.inputs[0].list = true;
        d.stages[0].map = {"x"};
      }),
      "DAG 'page', stage 'read', input 'x': 'split.crops' gives a list of lists of FP32 [1,3,48,-1], which the map "
      "cannot take apart into FP32 [1,3,48,-1]");
}

TEST_F(Compile, LetsAMapHandInnerListsToAListPort) {
  auto d = mapped();
  d.inputs[0].list = true;
  d.stages.resize(1);
  d.stages[0].map = {"x"};
  d.outputs = {{"crops", from("split.crops")}};
  EXPECT_EQ(message(d), "ok");
}

TEST_F(Compile, ChecksTheNamesOfAMap) {
  EXPECT_EQ(mapped_after([](auto& d) { d.stages[1].map.push_back("y"); }),
            "DAG 'page', stage 'read': map: there is no bound input 'y'; bound inputs: x");
  EXPECT_EQ(mapped_after([](auto& d) { d.stages[1].map.push_back("x"); }),
            "DAG 'page', stage 'read': map names 'x' twice; remove one");
  EXPECT_EQ(mapped_after([](auto& d) { d.stages[1].width_max = 4097; }),
            "DAG 'page', stage 'read': width_max is 4097; the limit is 4096");
  EXPECT_EQ(mapped_after([](auto& d) { d.stages[0].width_max = 4; }),
            "DAG 'page', stage 'split': width_max is for a map; name the mapped inputs in `map`, or remove it");
}

TEST_F(Compile, NamesTheStagesOfACycle) {
  EXPECT_EQ(cascade_after([](auto& d) { d.stages[0].when = compare("again.confidence", op::above, 0.5); }),
            "DAG 'read' has a cycle: fast -> sure -> slow -> again -> fast; remove one of these edges");
  EXPECT_EQ(cascade_after([](auto& d) { d.stages[2].when = compare("again.confidence", op::below, 0.97); }),
            "DAG 'read' has a cycle: slow -> again -> slow; remove one of these edges");
  dag_spec self;
  self.name = "self";
  self.stages = {stage_of("s", "copy", {{"text", from("s.text")}})};
  EXPECT_EQ(message(self), "DAG 'self' has a cycle: s -> s; remove one of these edges");
}

TEST_F(Compile, RefusesBadNamesAndLimits) {
  EXPECT_EQ(cascade_after([](auto& d) { d.stages[1].name = "fast"; }),
            "DAG 'read' has two stages named 'fast'; rename one");
  EXPECT_EQ(cascade_after([](auto& d) { d.stages[1].name = "a.b"; }),
            "DAG 'read', stage 'a.b': the name of a stage has no '.', which separates it from its output");
  EXPECT_EQ(cascade_after([](auto& d) { d.outputs.push_back(d.outputs[0]); }),
            "DAG 'read' has two outputs named 'text'; rename one");
  EXPECT_EQ(cascade_after([](auto& d) { d.stages.clear(); }), "DAG 'read' has no stages; give at least one");
  EXPECT_EQ(cascade_after([](auto& d) { d.version = 0; }), "DAG 'read': version is 0; versions begin at 1");
  EXPECT_EQ(cascade_after([](auto& d) { d.stages[0].join.rule = static_cast<join_rule::kind>(9); }),
            "DAG 'read', stage 'fast': join rule number 9 is unknown");
}

TEST_F(Compile, RefusesTenThousandStagesByTheLimit) {
  dag_spec d;
  d.name = "huge";
  for (int i = 0; i < 10'000; ++i)
    d.stages.push_back(stage_of("same name", "nothing", {}));
  const auto compiled = compile(d, dag_id{1}, [](auto, auto) -> const registered_function* {
    ADD_FAILURE() << "the limit comes before any look-up";
    return nullptr;
  });
  EXPECT_EQ(compiled.error().code, errc::too_large);
  EXPECT_EQ(compiled.error().message, "DAG 'huge' has 10000 stages; the limit is 1000");
}

TEST_F(Compile, AcceptsAsManyStagesAsTheLimit) {
  dag_spec d;
  d.name = "long";
  d.inputs = {{"text", datatype::bytes, {1}}};
  for (std::size_t i = 0; i < max_stages; ++i)
    d.stages.push_back(stage_of("s" + std::to_string(i), "copy",
                                {{"text", i == 0 ? from("$text") : from("s" + std::to_string(i - 1) + ".text")}}));
  EXPECT_EQ(message(d), "ok");
}

TEST_F(Compile, RefusesInputsThatNothingReads) {
  EXPECT_EQ(cascade_after([](auto& d) {
              d.inputs.push_back({"extra", datatype::fp32, {1}});
            }),
            "DAG 'read': input 'extra' is read by no stage; bind it, remove it, or mark it optional");
  EXPECT_EQ(cascade_after([](auto& d) { d.inputs.push_back({"extra", datatype::fp32, {1}, false, true}); }), "ok");
  EXPECT_EQ(cascade_after([](auto& d) {
              d.inputs.push_back({"extra", datatype::fp32, {1}});
              d.stages[0].when = combine(op::negate, {compare("$extra", op::above, 1.0)});
            }),
            "ok")
      << "`when` reads it";
  EXPECT_EQ(cascade_after([](auto& d) {
              d.inputs.push_back({"extra", datatype::fp32, {1}});
              d.outputs.push_back({"extra", from("$extra")});
            }),
            "ok")
      << "it is passed through";
}

TEST_F(Compile, ChecksTheFormOfWhen) {
  const auto when = [&](predicate p) { return cascade_after([&](dag_spec& d) { d.stages[2].when = std::move(p); }); };
  EXPECT_EQ(when(combine(op::all, {compare("sure.text", op::equal, "x"), present("fast.probs")})), "ok");
  EXPECT_EQ(when(compare("sure.text", op::below, 1.0)),
            "DAG 'read', stage 'slow', when: 'sure.text' is BYTES [1], but 'below' compares with a number");
  EXPECT_EQ(when(compare("sure.confidence", op::equal, "x")),
            "DAG 'read', stage 'slow', when: 'sure.confidence' is FP32 [1], but 'equal' compares with a text");
  EXPECT_EQ(when(compare("sure.text", op::below, "x")),
            "DAG 'read', stage 'slow', when: 'below' compares with a number, got the text 'x'");
  EXPECT_EQ(when(compare("sure.confidence", op::below, 1.0 / 0.0)),
            "DAG 'read', stage 'slow', when: 'below' compares with a number that is not finite");
  EXPECT_EQ(when(combine(op::negate, {})), "DAG 'read', stage 'slow', when: 'not' takes one condition, got 0");
  EXPECT_EQ(
      when(combine(op::any, {})),
      "DAG 'read', stage 'slow', when: 'any' of no conditions never holds, so the stage is unreachable; give it a "
      "condition");
  EXPECT_EQ(when(combine(op::present, {present("sure.text")})),
            "DAG 'read', stage 'slow', when: 'present' takes a value, not conditions");
  EXPECT_EQ(when({op::present, constant(scalar_value(1)), {}, {}}),
            "DAG 'read', stage 'slow', when: 'present' tests a constant; name a stage's output or an input of the DAG");
  predicate deep = present("sure.text");
  for (std::size_t i = 0; i < max_when_terms; ++i) {
    std::vector<predicate> child;
    child.push_back(std::move(deep));
    deep = combine(op::negate, std::move(child));
  }
  EXPECT_EQ(when(deep), "DAG 'read', stage 'slow', when: has more than 64 terms");
}

TEST_F(Compile, AllowsListsInWhenOnlyInsideAMap) {
  EXPECT_EQ(
      mapped_after([](auto& d) { d.stages[3].when = compare("decode.confidence", op::below, 0.5); }),
      "DAG 'page', stage 'merge', when: 'decode.confidence' is a list of FP32 [1], which cannot be compared; test a "
      "tensor, or map the stage over the list");
  EXPECT_EQ(mapped_after([](auto& d) { d.stages[3].when = present("decode.confidence"); }), "ok");
  EXPECT_EQ(mapped_after([](auto& d) {
              auto again = stage_of("again", "tiny", {{"x", from("split.crops")}});
              again.map = {"x"};
              again.when = compare("decode.confidence", op::below, 0.97);
              d.stages.push_back(again);
            }),
            "ok");
}

TEST_F(Compile, ChecksJoins) {
  const auto join = [&](join_rule rule) { return cascade_after([&](dag_spec& d) { d.stages[4].join = rule; }); };
  EXPECT_EQ(join({join_rule::kind::all, 0, {}}), "ok") << "optional ports: it runs without what was skipped";
  EXPECT_EQ(join({join_rule::kind::count, 2, {}}), "ok");
  EXPECT_EQ(join({join_rule::kind::count, 3, {}}),
            "DAG 'read', stage 'pick': join needs 3 producer(s), but its inputs take from 2 stage(s)");
  EXPECT_EQ(join({join_rule::kind::count, 0, {}}), "DAG 'read', stage 'pick': join counts 0 producers; use 1 or more");
  EXPECT_EQ(join({join_rule::kind::count, 1, duration{-1}}), "DAG 'read', stage 'pick': the join's wait is negative");
  EXPECT_EQ(cascade_after([](auto& d) { d.stages[0].join.rule = join_rule::kind::any; }),
            "DAG 'read', stage 'fast': join needs 1 producer(s), but its inputs take from 0 stage(s)");
}

TEST_F(Compile, WantsOptionalPortsWhereAJoinMayLackAProducer) {
  EXPECT_EQ(
      cascade_after([](auto& d) { d.stages[4].function = "strict"; }),
      "DAG 'read', stage 'pick': input 'a' may be absent under this join, because stage 'again' may be; make the port "
      "optional in function 'strict', or use join: all");
  EXPECT_EQ(cascade_after([](auto& d) {
              d.stages[4].function = "strict";
              d.stages[4].join.rule = join_rule::kind::all;
            }),
            "ok")
      << "with join all it is skipped instead";
  EXPECT_EQ(cascade_after([](auto& d) {
              d.stages[4].function = "strict";
              d.stages[2].when.reset();
            }),
            "ok")
      << "nothing is conditional";
  EXPECT_EQ(
      cascade_after([](auto& d) {
        d.stages[4].function = "strict";
        d.stages[2].when.reset();
        d.stages[1].may_fail = true;
      }),
      "DAG 'read', stage 'pick': input 'b' may be absent under this join, because stage 'sure' may be; make the port "
      "optional in function 'strict', or use join: all");
}

TEST_F(Compile, FollowsAbsenceThroughTheElementsOfAMap) {
  auto d = mapped();
  auto again = stage_of("again", "tiny", {{"x", from("split.crops")}});
  again.map = {"x"};
  again.when = compare("decode.confidence", op::below, 0.97);
  auto second = stage_of("second", "decode", {{"probs", from("again.probs")}});
  second.map = {"probs"};
  auto pick = stage_of("pick", "pick", {{"a", from("second.text")}, {"b", from("decode.text")}});
  pick.map = {"a", "b"};
  pick.join.rule = join_rule::kind::any;
  d.stages.insert(d.stages.end(), {again, second, pick});
  EXPECT_EQ(message(d), "ok");
  d.stages.back().function = "strict";
  EXPECT_EQ(message(d),
            "DAG 'page', stage 'pick': input 'a' may be absent under this join, because stage 'second' may be; "
            "make the port optional in function 'strict', or use join: all");
}

TEST_F(Compile, FitsConstantsToTheirPorts) {
  const auto scaled = [](value by) {
    dag_spec d;
    d.name = "scaled";
    d.inputs = {{"x", datatype::fp32, {4}}};
    d.stages = {stage_of("scale", "scale", {{"x", from("$x")}, {"by", constant(std::move(by))}})};
    d.outputs = {{"y", from("scale.y")}};
    return d;
  };
  const auto compiled = run(scaled(scalar_value(200)));
  ASSERT_TRUE(compiled.ok()) << compiled.error().message;
  const value expected{tensor_of<std::uint8_t>(datatype::uint8, {1, 1}, {200})};
  EXPECT_EQ((*compiled)->stages[0].inputs[1].source.constant, expected);
  EXPECT_EQ(message(scaled(scalar_value(3.0))), "ok");
  EXPECT_EQ(message(scaled(scalar_value(256))),
            "DAG 'scaled', stage 'scale', input 'by': the constant: expected UINT8 [1,1], got INT64 [1]");
  EXPECT_EQ(message(scaled(scalar_value(0.5))),
            "DAG 'scaled', stage 'scale', input 'by': the constant: expected UINT8 [1,1], got FP64 [1]");
  EXPECT_EQ(message(scaled(scalar_value(-1))),
            "DAG 'scaled', stage 'scale', input 'by': the constant: expected UINT8 [1,1], got INT64 [1]");
  EXPECT_EQ(message(scaled(scalar_value("x"))),
            "DAG 'scaled', stage 'scale', input 'by': the constant: expected UINT8 [1,1], got BYTES [1]");
  EXPECT_EQ(message(scaled({})),
            "DAG 'scaled', stage 'scale', input 'by': the constant has no value; give one, or leave the "
            "input out if it is optional");
  EXPECT_EQ(message(scaled({tensor{datatype::uint8, {1 << 20, 2}, shared_bytes::take(std::string(2 << 20, 'x'))}})),
            "DAG 'scaled', stage 'scale', input 'by': a constant of 2097152 bytes; the limit is 1048576, pass it as an "
            "input of "
            "the DAG");
  auto d = scaled(scalar_value(1));
  d.stages[0].map = {"by"};
  EXPECT_EQ(message(d),
            "DAG 'scaled', stage 'scale', input 'by' is a constant and cannot be mapped; remove it from `map`: it is "
            "given whole to every element");
  EXPECT_EQ(cascade_after([](auto& c) { c.outputs[0].source = constant(scalar_value(1)); }),
            "DAG 'read', output 'text' is a constant; name a stage's output or an input of the DAG");
}

TEST_F(Compile, KeepsStateOutOfTheBindings) {
  dag_spec d;
  d.name = "speech";
  d.inputs = {{"x", datatype::fp32, {1}}};
  d.stages = {stage_of("gate", "gate", {{"x", from("$x")}})};
  d.outputs = {{"y", from("gate.y")}};
  const auto compiled = run(d);
  ASSERT_TRUE(compiled.ok()) << compiled.error().message;
  EXPECT_FALSE((*compiled)->stages[0].inputs[1].bound);
  EXPECT_FALSE((*compiled)->stages[0].inputs[1].required);
  d.stages[0].inputs.push_back({"state", constant(floats({2}, {0, 0}))});
  EXPECT_EQ(message(d),
            "DAG 'speech', stage 'gate': input 'state' is state that the sequence fills; remove its binding");
  d.stages[0].inputs.pop_back();
  d.inputs[0].list = true;
  d.stages[0].map = {"x"};
  EXPECT_EQ(message(d),
            "DAG 'speech', stage 'gate': function 'gate' keeps state, so its elements cannot run side by side; "
            "remove `map`");
}

TEST_F(Compile, MakesADagOfAFunction) {
  const auto* gate = known.lookup()("gate", 0);
  const auto spec = dag_of_function(gate->spec);
  EXPECT_EQ(spec.name, "gate");
  ASSERT_EQ(spec.inputs.size(), 1u);
  ASSERT_EQ(spec.outputs.size(), 1u);
  EXPECT_EQ(message(spec), "ok");
  EXPECT_EQ(message(dag_of_function(known.lookup()("pick", 0)->spec)), "ok");
  EXPECT_EQ(message(dag_of_function(known.lookup()("source", 0)->spec)), "ok");
}

} // namespace
} // namespace squall::functions
