#include "controller/catalogue.hpp"

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

} // namespace
} // namespace squall::controller
