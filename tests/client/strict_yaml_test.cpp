#include "client/strict_yaml.hpp"

#include <gtest/gtest.h>

namespace squall::client {
namespace {

std::string error_of(std::string_view text) {
  auto parsed = yaml_view::parse(text, "f.yaml");
  return parsed.ok() ? "no error" : parsed.error().message;
}

yaml_view root_of(std::string_view text) { return yaml_view::parse(text, "f.yaml").value().front(); }

TEST(StrictYaml, DocumentsAreSeparateAndEmptyOnesAreLeftOut) {
  EXPECT_EQ(yaml_view::parse("a: 1\n---\n---\nb: 2\n", "f").value().size(), 2u);
  EXPECT_TRUE(yaml_view::parse("", "f").value().empty());
  EXPECT_TRUE(yaml_view::parse("# nothing\n", "f").value().empty());
}

TEST(StrictYaml, JsonIsRead) {
  const yaml_view root = root_of(R"({"a": [1, "2", true, null], "b": {"c": "x\ny"}})");
  const auto a = root.mapping({"a", "b"}).value().find("a")->items().value();
  EXPECT_EQ(a[0].maybe_integer(), 1);
  EXPECT_EQ(a[1].maybe_integer(), std::nullopt);
  EXPECT_EQ(a[2].maybe_boolean(), true);
  EXPECT_TRUE(a[3].is_null());
}

TEST(StrictYaml, WhatIsNotYamlSaysWhere) {
  EXPECT_EQ(error_of("a: [1, 2\n"), "f.yaml:2:1: end of sequence flow not found");
  EXPECT_EQ(error_of("a: b: c\n"), "f.yaml:1:5: illegal map value");
  EXPECT_EQ(error_of(std::string_view{"a\0b", 3}), "f.yaml: not a text file");
}

TEST(StrictYaml, ARepeatedKeyIsAnError) {
  EXPECT_EQ(error_of("a: 1\nb: 2\na: 3\n"), "f.yaml:3:1: the key 'a' is here twice");
}

TEST(StrictYaml, AKeyMustBeText) { EXPECT_EQ(error_of("? [1, 2]\n: x\n"), "f.yaml:1:3: a key must be text"); }

TEST(StrictYaml, TagsAreRefused) {
  EXPECT_EQ(error_of("a: !!binary aGk=\n"), "f.yaml:1:4: the tag tag:yaml.org,2002:binary is not supported");
  EXPECT_EQ(error_of("a: !!str 5\n"), "no error");
}

TEST(StrictYaml, NestingIsBounded) {
  std::string deep;
  for (int i = 0; i < 100; ++i)
    deep += "[";
  for (int i = 0; i < 100; ++i)
    deep += "]";
  EXPECT_EQ(error_of(deep), "f.yaml:1:66: nested deeper than 64 levels");
}

TEST(StrictYaml, WhatCannotBeginADocumentIsRefused) {
  EXPECT_EQ(error_of("a: 1\n---\n,b: 2\n"), "f.yaml:3:1: nothing can begin with this") << "and does not go on for ever";
  EXPECT_EQ(error_of("a: 1\n---\n---\n--- \nb: 2\n---\n"), "no error");
}

TEST(StrictYaml, AnAliasThatContainsItselfIsRefused) {
  EXPECT_NE(error_of("a: &a [*a]\n").find("nested deeper than 64 levels"), std::string::npos);
}

TEST(StrictYaml, AliasesThatMultiplyAreRefused) {
  std::string text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 10; ++i) {
    text += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int j = 0; j < 10; ++j)
      text += std::string{j ? ", " : ""} + "*a" + std::to_string(i - 1);
    text += "]\n";
  }
  EXPECT_NE(error_of(text).find("more than 1000000 nodes, with aliases expanded"), std::string::npos);
}

TEST(StrictYaml, TypesAreChecked) {
  const yaml_view root = root_of("n: 5\ns: \"5\"\nb: yes\nd: 40\nl: [1]\nm: {x: 1}\nz:\n");
  const auto map = root.mapping({"n", "s", "b", "d", "l", "m", "z"}).value();
  EXPECT_EQ(map.find("n")->integer(1, 10).value(), 5);
  EXPECT_EQ(map.find("n")->integer(6, 10).error().message,
            "f.yaml:1:4: n: expected a whole number from 6 to 10, not '5'");
  EXPECT_EQ(map.find("s")->integer(1, 10).error().message,
            "f.yaml:2:4: s: expected a whole number from 1 to 10, not the text \"5\"");
  EXPECT_EQ(map.find("b")->boolean().error().message, "f.yaml:3:4: b: expected true or false, not 'yes'");
  EXPECT_EQ(map.find("d")->duration().error().message,
            "f.yaml:4:4: d: expected a duration such as 250us, 40ms or 2s, not '40'");
  EXPECT_EQ(map.find("l")->text().error().message, "f.yaml:5:4: l: expected text, not a list");
  EXPECT_EQ(map.find("m")->items().error().message, "f.yaml:6:4: m: expected a list, not a mapping");
  EXPECT_FALSE(map.find("z"));
  EXPECT_EQ(map.require("z").error().message, "f.yaml:1:1: the key 'z' is missing");
}

TEST(StrictYaml, AMissingFileIsNotFound) {
  const auto loaded = yaml_view::load("/nowhere/x.yaml");
  EXPECT_EQ(loaded.error().code, errc::not_found);
  EXPECT_EQ(loaded.error().message, "/nowhere/x.yaml: cannot be opened: No such file or directory");
}

} // namespace
} // namespace squall::client
