#include "controller/catalogue.hpp"

#include "functions/builtin/builtin.hpp"

#include <gtest/gtest.h>

namespace squall::controller {
namespace {

functions::function_spec echo(std::string name, std::uint32_t version = 1) {
  functions::function_spec spec;
  spec.name = std::move(name);
  spec.version = version;
  spec.inputs = {{"x", functions::datatype::uint8, {-1}, false, false}};
  spec.outputs = {{"x", functions::datatype::uint8, {-1}, false, false}};
  functions::variant_spec variant;
  variant.name = "default";
  variant.kind = functions::variant_kind::onnx; // ports of a builtin would be checked against the library
  variant.target = "models/echo";
  spec.variants = {variant};
  return spec;
}

functions::dag_spec chain(std::string name, const std::string& function) {
  functions::dag_spec spec;
  spec.name = std::move(name);
  spec.inputs = {{"x", functions::datatype::uint8, {-1}, false, false}};
  functions::stage_spec stage;
  stage.name = "only";
  stage.function = function;
  stage.inputs = {{"x", {functions::binding::source::dag_input, "", "x", {}}}};
  spec.stages = {stage};
  spec.outputs = {{"x", {functions::binding::source::stage_output, "only", "x", {}}}};
  return spec;
}

TEST(Catalogue, MakesAFunctionCallable) {
  catalogue c;
  const auto change = c.apply(echo("f"), false);
  ASSERT_TRUE(change.ok()) << change.error().message;
  EXPECT_EQ(change->functions_added.size(), 1u);
  EXPECT_EQ(change->dags_added.size(), 1u);
  ASSERT_NE(c.find_callable("f", 0), nullptr);
  EXPECT_TRUE(c.find_callable("f", 0)->of_function);
  EXPECT_EQ(c.find_callable("f", 2), nullptr);
}

TEST(Catalogue, TakesTheSameSpecAgainWithoutAChange) {
  catalogue c;
  ASSERT_TRUE(c.apply(echo("f"), false).ok());
  const auto again = c.apply(echo("f"), false);
  ASSERT_TRUE(again.ok());
  EXPECT_TRUE(again->empty());
}

TEST(Catalogue, RefusesAnotherSpecUnderTheSameVersionUnlessItReplaces) {
  catalogue c;
  ASSERT_TRUE(c.apply(echo("f"), false).ok());
  auto other = echo("f");
  other.variants[0].max_batch = 4;
  const auto refused = c.apply(other, false);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, errc::already_exists);
  EXPECT_TRUE(c.apply(other, true).ok());
}

TEST(Catalogue, FindsTheLatestVersion) {
  catalogue c;
  ASSERT_TRUE(c.apply(echo("f", 3), false).ok());
  ASSERT_TRUE(c.apply(echo("f", 2), false).ok());
  EXPECT_EQ(c.find_function("f", 0)->spec.version, 3u);
  EXPECT_EQ(c.find_function("f", 2)->spec.version, 2u);
  EXPECT_EQ(c.find_function("g", 0), nullptr);
}

TEST(Catalogue, BindsDagsAnewWhenTheirFunctionIsReplaced) {
  catalogue c;
  ASSERT_TRUE(c.apply(echo("f"), false).ok());
  ASSERT_TRUE(c.apply(chain("d", "f"), false).ok());
  const dag_id before = c.find_callable("d", 0)->dag->id;
  auto other = echo("f");
  other.variants[0].max_batch = 4;
  const auto change = c.apply(other, true);
  ASSERT_TRUE(change.ok()) << change.error().message;
  const auto& after = *c.find_callable("d", 0)->dag;
  EXPECT_NE(after.id, before);
  EXPECT_EQ(after.stages[0].function, c.find_function("f", 0)->id);
  EXPECT_NE(std::find(change->dags_removed.begin(), change->dags_removed.end(), before), change->dags_removed.end());
}

TEST(Catalogue, RefusesAReplacementThatADagCannotUse) {
  catalogue c;
  ASSERT_TRUE(c.apply(echo("f"), false).ok());
  ASSERT_TRUE(c.apply(chain("d", "f"), false).ok());
  auto other = echo("f");
  other.inputs[0].name = "y";
  const auto refused = c.apply(other, true);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message.find("'d'"), std::string::npos) << refused.error().message;
  EXPECT_EQ(c.find_function("f", 0)->spec.inputs[0].name, "x");
}

TEST(Catalogue, KeepsAFunctionThatADagUses) {
  catalogue c;
  ASSERT_TRUE(c.apply(echo("f"), false).ok());
  ASSERT_TRUE(c.apply(chain("d", "f"), false).ok());
  const auto refused = c.remove_function("f", 0);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, errc::invalid_argument);
  ASSERT_TRUE(c.remove_dag("d", 0).ok());
  EXPECT_TRUE(c.remove_function("f", 0).ok());
  EXPECT_EQ(c.find_callable("f", 0), nullptr);
}

TEST(Catalogue, NamesWhatIsNotThere) {
  catalogue c;
  EXPECT_EQ(c.remove_dag("nothing", 0).error().code, errc::not_found);
  EXPECT_EQ(c.remove_function("nothing", 7).error().message, "there is no function 'nothing' version 7");
}

TEST(Catalogue, SuggestsTheNearestName) {
  catalogue c;
  ASSERT_TRUE(c.apply(echo("read-line"), false).ok());
  EXPECT_EQ(c.nearest("raed-line"), "read-line");
  EXPECT_EQ(c.nearest("completely-else"), "");
}

TEST(Catalogue, PinsTheVersionsOfADagsFunctions) {
  catalogue c;
  ASSERT_TRUE(c.apply(echo("f", 1), false).ok());
  ASSERT_TRUE(c.apply(chain("d", "f"), false).ok());
  ASSERT_TRUE(c.apply(echo("f", 2), false).ok());
  EXPECT_EQ(c.find_callable("d", 0)->dag->spec.stages[0].version, 1u);
}

// -- rules

functions::function_spec builtin(std::string name) {
  functions::function_spec spec;
  functions::variant_spec variant;
  variant.name = "default";
  variant.target = name;
  spec.variants = {variant};
  spec.name = std::move(name);
  return spec;
}

functions::stage_spec no_op(std::string name, const std::string& after) {
  functions::stage_spec stage;
  stage.name = std::move(name);
  stage.function = "noop";
  functions::binding source{functions::binding::source::dag_input, "", "x", {}};
  if (!after.empty())
    source = {functions::binding::source::stage_output, after, "x", {}};
  stage.inputs = {{"x", source}};
  return stage;
}

/// Two no-ops in a row, under the rules.
functions::dag_spec two(std::string name, std::vector<std::string> rules) {
  auto spec = chain(std::move(name), "noop");
  spec.stages = {no_op("one", ""), no_op("two", "one")};
  spec.outputs = {{"x", {functions::binding::source::stage_output, "two", "x", {}}}};
  spec.optimize = std::move(rules);
  return spec;
}

TEST(Catalogue, AppliesTheRulesOfADag) {
  catalogue c;
  ASSERT_TRUE(c.apply(builtin("noop"), false).ok());
  const auto change = c.apply(two("d", {"fuse"}), false);
  ASSERT_TRUE(change.ok()) << change.error().message;
  ASSERT_EQ(change->functions_added.size(), 1u);
  EXPECT_EQ(change->functions_added[0]->spec.name, "fused.d.one--two");
  EXPECT_EQ(c.find_callable("d", 0)->dag->stages.size(), 1u);
  EXPECT_EQ(c.find_callable("d", 0)->spec.stages.size(), 2u) << "as it was applied";
  EXPECT_EQ(c.find_callable("fused.d.one--two", 0), nullptr);
  EXPECT_TRUE(c.apply(two("d", {"fuse"}), false)->empty()) << "the same again";
}

TEST(Catalogue, FunctionsOfRulesComeAndGoWithTheirDag) {
  catalogue c;
  ASSERT_TRUE(c.apply(builtin("noop"), false).ok());
  ASSERT_TRUE(c.apply(two("d", {"fuse"}), false).ok());
  EXPECT_FALSE(c.remove_function("noop", 0).ok()) << "the DAG still uses it";
  const auto refused = c.remove_function("fused.d.one--two", 0);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().message,
            "function 'fused.d.one--two' version 1 belongs to DAG 'd' version 1, whose rules made it; choose "
            "another name, or change the DAG");
  EXPECT_FALSE(c.apply(echo("fused.d.one--two"), true).ok());
  const auto plain = c.apply(two("d", {}), true);
  ASSERT_TRUE(plain.ok()) << plain.error().message;
  EXPECT_EQ(plain->functions_removed.size(), 1u);
  EXPECT_EQ(plain->dags_removed.size(), 1u);
  EXPECT_EQ(c.find_function("fused.d.one--two", 0), nullptr);
  ASSERT_TRUE(c.apply(two("d", {"fuse"}), true).ok());
  EXPECT_EQ(c.remove_dag("d", 0)->functions_removed.size(), 1u);
  EXPECT_EQ(c.functions().size(), 1u);
}

TEST(Catalogue, AReplacedFunctionIsFusedAnew) {
  catalogue c;
  ASSERT_TRUE(c.apply(builtin("noop"), false).ok());
  ASSERT_TRUE(c.apply(two("d", {"fuse"}), false).ok());
  const auto before = c.find_callable("d", 0)->dag->id;
  auto heavy = builtin("noop");
  heavy.variants[0].target = "sleep";
  heavy.inputs = heavy.outputs = {{"x", functions::datatype::uint8, {-1}, false, false}};
  const auto change = c.apply(heavy, true);
  ASSERT_TRUE(change.ok()) << change.error().message;
  EXPECT_NE(c.find_callable("d", 0)->dag->id, before);
  const auto& chain = c.find_function("fused.d.one--two", 0)->spec.variants[0];
  EXPECT_EQ(chain.target, "fused");
  EXPECT_NE(chain.parameters.at("steps").find("sleep"), std::string::npos);
  auto model = echo("noop");
  ASSERT_TRUE(c.apply(model, true).ok());
  EXPECT_EQ(c.find_callable("d", 0)->dag->stages.size(), 2u) << "a model is not fused";
  EXPECT_EQ(c.find_function("fused.d.one--two", 0), nullptr);
}

TEST(Catalogue, WhatTheRulesMakeMustBeFree) {
  catalogue c;
  ASSERT_TRUE(c.apply(builtin("noop"), false).ok());
  ASSERT_TRUE(c.apply(echo("fused.d.one--two"), false).ok());
  const auto refused = c.apply(two("d", {"fuse"}), false);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, errc::already_exists);
}

// -- sequels

TEST(Catalogue, MakesADagOfWhatContinuesOnce) {
  catalogue c;
  ASSERT_TRUE(c.apply(builtin("noop"), false).ok());
  ASSERT_TRUE(c.apply(two("d", {}), false).ok());
  catalogue_change first, second;
  const auto whole = c.find_sequel(*c.find_callable("noop", 0), {"d", "d@1"}, first);
  ASSERT_TRUE(whole.ok()) << whole.error().message;
  EXPECT_EQ((*whole)->stages.size(), 5u);
  ASSERT_EQ(first.dags_added.size(), 1u);
  EXPECT_EQ(first.dags_added[0], *whole);
  EXPECT_EQ(*c.find_sequel(*c.find_callable("noop", 0), {"d", "d@1"}, second), *whole);
  EXPECT_TRUE(second.empty());
  EXPECT_EQ(c.sequels().size(), 1u);
  const auto removed = c.remove_dag("d", 0);
  EXPECT_EQ(removed->dags_removed.size(), 2u) << "with what was made of it";
  EXPECT_TRUE(c.sequels().empty());
}

TEST(Catalogue, KeepsABoundedNumberOfSequels) {
  catalogue c;
  ASSERT_TRUE(c.apply(builtin("noop"), false).ok());
  for (std::uint32_t version = 1; version <= catalogue::max_sequels + 1; ++version) {
    auto spec = two("d", {});
    spec.version = version;
    ASSERT_TRUE(c.apply(spec, false).ok());
    catalogue_change change;
    ASSERT_TRUE(c.find_sequel(*c.find_callable("noop", 0), {"d@" + std::to_string(version)}, change).ok());
    EXPECT_EQ(change.dags_removed.size(), version > catalogue::max_sequels ? 1u : 0u);
  }
  EXPECT_EQ(c.sequels().size(), catalogue::max_sequels);
}

TEST(Catalogue, SaysWhatCannotContinue) {
  catalogue c;
  ASSERT_TRUE(c.apply(builtin("noop"), false).ok());
  catalogue_change change;
  const auto& target = *c.find_callable("noop", 0);
  EXPECT_EQ(c.find_sequel(target, {"nop"}, change).error().message,
            "there is no DAG or function 'nop' to continue with; did you mean 'noop'?");
  EXPECT_EQ(c.find_sequel(target, {"noop@0"}, change).error().code, errc::invalid_argument);
  EXPECT_EQ(c.find_sequel(target, std::vector<std::string>(17, "noop"), change).error().message,
            "17 DAGs are to continue the call; at most 16");
  EXPECT_TRUE(change.empty());
}

// -- locality

TEST(Catalogue, CallsThatReadTheSameKeysAgreeInTheirAffinity) {
  catalogue c;
  auto lookup = builtin("table-lookup");
  lookup.variants[0].parameters = {{"key", "id"}};
  ASSERT_TRUE(c.apply(lookup, false).ok());
  auto spec = chain("users", "table-lookup");
  spec.inputs[0].name = "table";
  spec.stages[0].inputs = {{"table", {functions::binding::source::dag_input, "", "table", {}}}};
  spec.outputs = {{"table", {functions::binding::source::stage_output, "only", "table", {}}}};
  const auto table = [](std::vector<std::int64_t> ids) {
    auto made =
        functions::builtins::make_instance(*functions::builtins::find("table-of"), {{"columns", "id"}}, {}).value();
    const functions::shape s{static_cast<std::int64_t>(ids.size())};
    return made->run(std::vector<functions::value>{{functions::tensor_of(functions::datatype::int64, s, ids)}}, {})
        .value();
  };
  ASSERT_TRUE(c.apply(spec, false).ok());
  EXPECT_EQ(c.affinity(*c.find_callable("users", 0)->dag, table({1})), 0u) << "it did not ask for it";
  spec.optimize = {"locality"};
  ASSERT_TRUE(c.apply(spec, true).ok());
  const auto& dag = *c.find_callable("users", 0)->dag;
  EXPECT_NE(c.affinity(dag, table({1})), 0u);
  EXPECT_EQ(c.affinity(dag, table({1, 2})), c.affinity(dag, table({2, 1, 2})));
  EXPECT_NE(c.affinity(dag, table({1})), c.affinity(dag, table({2})));
  EXPECT_EQ(c.affinity(dag, {{functions::tensor_of(functions::datatype::uint8, {1}, std::vector<std::uint8_t>{9})}}),
            0u)
      << "no table: the stage will say so";
}

} // namespace
} // namespace squall::controller
