#include "base/random.hpp"
#include "tests/functions/tables.hpp"

#include <cmath>
#include <map>

namespace squall::functions::builtins::testing {

namespace {

value sales() {
  return packed({words("city", {"Rome", "Oslo", "Rome", "Oslo"}), integers("year", {1, 1, 2, 1}),
                 doubles("price", {1.5, 2, NAN, 4}), column_of<std::int32_t>("n", datatype::int32, {3, -1, 5, 2})});
}

std::string aggregated(const std::string& by, const std::string& columns, value t = sales()) {
  return made("table-aggregate", {std::move(t)}, {{"by", by}, {"columns", columns}});
}

std::string joined(value left, value right, parameter_map p) {
  return made("table-join", {std::move(left), std::move(right)}, p);
}

} // namespace

// -- groups

TEST(TableAggregate, GivesARowForEachGroupInOrderOfAppearance) {
  EXPECT_EQ(aggregated("city", "rows = count(), total = sum(n), avg = mean(n), lo = min(n), hi = max(n)"),
            "city BYTES Rome|Oslo; rows INT64 2|2; total INT64 8|1; avg FP64 4|0.5; lo INT32 3|-1; hi INT32 5|2");
  EXPECT_EQ(aggregated("city, year", "one = first(price)"),
            "city BYTES Rome|Oslo|Rome; year INT64 1|1|2; one FP64 1.5|2|nan");
  EXPECT_EQ(aggregated("", "rows = count(), lo = min(price), all = sum(price)"),
            "rows INT64 4; lo FP64 1.5; all FP64 nan")
      << "sums take not-a-number along, extremes pass it over";
  EXPECT_EQ(aggregated("city", ""), "city BYTES Rome|Oslo") << "the distinct values";
}

TEST(TableAggregate, NothingInIsNothingOut) {
  const auto empty = packed({words("city", {}), integers("n", {})});
  EXPECT_EQ(aggregated("city", "rows = count(), total = sum(n)", empty), "city BYTES; rows INT64; total INT64");
  EXPECT_EQ(aggregated("", "rows = count(), lo = min(n)", empty), "rows INT64; lo INT64");
}

TEST(TableAggregate, EqualMeansEqualNumbers) {
  const auto t = packed({doubles("x", {0.0, -0.0, NAN, -NAN, 1})});
  EXPECT_EQ(aggregated("x", "rows = count()", t), "x FP64 0|nan|1; rows INT64 2|2|1");
}

TEST(TableAggregate, NamesWhatDoesNotFit) {
  EXPECT_EQ(aggregated("town", "rows = count()"),
            "builtin 'table-aggregate': there is no column 'town'; columns: city, year, price, n");
  EXPECT_EQ(aggregated("", "x = sum(city)"),
            "builtin 'table-aggregate': sum of column 'city', which is BYTES: it takes single numbers; "
            "convert it with table-map, or use first");
  EXPECT_EQ(aggregated("", "x = some(n)"),
            "builtin 'table-aggregate': there is no aggregate 'some'; aggregates: count, first, max, mean, min, sum");
  EXPECT_EQ(aggregated("", "sum(n)"),
            "builtin 'table-aggregate': 'sum(n)' is not NAME = FUNCTION(COLUMN), such as total = sum(price)");
  EXPECT_EQ(aggregated("", "x = count(n)"),
            "builtin 'table-aggregate': 'x = count(n)': count() counts rows and takes no column");
  EXPECT_EQ(aggregated("", "x = sum(a)", packed({integers("a", {INT64_MAX, 1})})),
            "builtin 'table-aggregate': the sum of column 'a' passes 64 bits at row 1; convert it with float() in a "
            "table-map before");
  EXPECT_EQ(aggregated("n, n", "x = count()"), "builtin 'table-aggregate': column 'n' is named twice");
}

TEST(TableGroupBy, GivesATableForEachGroup) {
  const auto out = outputs_of("table-groupby", {sales()}, {{"by", "city"}});
  const auto& groups = *out[0].as_list();
  ASSERT_EQ(groups.size(), 2U);
  EXPECT_EQ(shown(unpacked(groups[0]), "n"), "INT32 3|5");
  EXPECT_EQ(shown(unpacked(groups[1]), "n"), "INT32 -1|2");
  EXPECT_EQ(shown(unpacked(out[1])), "city BYTES Rome|Oslo");
}

TEST(TableGroupBy, SaysWhenThereAreTooManyGroups) {
  std::vector<std::int64_t> ids(5000);
  for (std::size_t i = 0; i < ids.size(); ++i)
    ids[i] = static_cast<std::int64_t>(i);
  EXPECT_EQ(
      message(run("table-groupby", {packed({integers("id", ids)})}, {{"by", "id"}})),
      "builtin 'table-groupby': 5000 groups; a list has at most 4096: use table-aggregate, which has no such limit");
}

// -- joins

TEST(TableJoin, PutsRowsWithEqualKeysSideBySide) {
  const auto left = packed({integers("id", {1, 2, 3}), words("who", {"a", "b", "c"})});
  const auto right = packed({column_of<std::int32_t>("user", datatype::int32, {3, 1, 3}), doubles("paid", {5, 6, 7}),
                             words("who", {"x", "y", "z"})});
  EXPECT_EQ(joined(left, right, {{"on", "id = user"}}),
            "id INT64 1|3|3; who BYTES a|c|c; paid FP64 6|5|7; who_right BYTES y|x|z");
  EXPECT_EQ(joined(left, right, {{"on", "id = user"}, {"how", "left"}, {"suffix", "2"}}),
            "id INT64 1|2|3|3; who BYTES a|b|c|c; paid FP64 6|nan|5|7; who2 BYTES y||x|z; matched BOOL 1|0|1|1");
}

TEST(TableJoin, OnSeveralColumnsAndEmptyTables) {
  const auto left = packed({integers("a", {1, 1}), words("b", {"x", "y"})});
  const auto right = packed({integers("a", {1, 2}), words("b", {"y", "y"}), integers("v", {10, 20})});
  EXPECT_EQ(joined(left, right, {{"on", "a, b"}}), "a INT64 1; b BYTES y; v INT64 10");
  const auto none = packed({integers("a", {}), words("b", {}), integers("v", {})});
  EXPECT_EQ(joined(left, none, {{"on", "a"}}), "a INT64; b BYTES; b_right BYTES; v INT64");
  EXPECT_EQ(joined(left, none, {{"on", "a,b"}, {"how", "left"}, {"matched", ""}}),
            "a INT64 1|1; b BYTES x|y; v INT64 0|0");
  EXPECT_EQ(joined(none, right, {{"on", "a, b, v"}}), "a INT64; b BYTES; v INT64");
}

TEST(TableJoin, NamesWhatDoesNotFit) {
  const auto left = packed({integers("id", {1}), doubles("x", {1})});
  const auto right = packed({words("id", {"1"}), doubles("x", {1})});
  EXPECT_EQ(joined(left, right, {{"on", "id"}}),
            "builtin 'table-join': key 'id' is INT64 on the left and BYTES on the right; convert one with table-map");
  EXPECT_EQ(joined(left, right, {{"on", "x = y"}}),
            "builtin 'table-join': input 'right': there is no column 'y'; columns: id, x");
  EXPECT_EQ(joined(left, right, {{"on", ""}}),
            "builtin 'table-join': parameter 'on' is empty; name the columns whose values must agree, such as \"id\" "
            "or \"user = id\"");
  EXPECT_EQ(joined(left, right, {{"on", "x"}, {"suffix", ""}}).substr(0, 70),
            "builtin 'table-join': two columns, or one of an unfit name, would be c");
}

TEST(TableJoin, AgreesWithTheObviousAlgorithm) {
  random_source random{11};
  for (int round = 0; round < 200; ++round) {
    const auto side = [&](const char* payload) {
      std::vector<std::int64_t> a, v;
      std::vector<std::string> texts;
      for (std::uint64_t i = random.below(30); i > 0; --i) {
        a.push_back(static_cast<std::int64_t>(random.below(4)));
        texts.push_back(std::string(random.below(3), 'k'));
        v.push_back(static_cast<std::int64_t>(random.below(1000)));
      }
      return table_of({integers("a", a), words("b", {texts.begin(), texts.end()}), integers(payload, v)});
    };
    const auto left = side("l");
    const auto right = side("r");
    const auto at = [](const table& t, std::size_t c, std::size_t row) {
      return detail::numbers_of<std::int64_t>(t.columns[c])[row];
    };
    std::string expected;
    for (std::size_t i = 0; i < left.rows; ++i)
      for (std::size_t j = 0; j < right.rows; ++j)
        if (at(left, 0, i) == at(right, 0, j) &&
            detail::text_cells{left.columns[1]}[i] == detail::text_cells{right.columns[1]}[j])
          expected += std::to_string(at(left, 2, i)) + "+" + std::to_string(at(right, 2, j)) + " ";
    const auto out = unpacked(outputs_of(
        "table-join", {detail::write_table(left).value(), detail::write_table(right).value()}, {{"on", "a, b"}})[0]);
    std::string got;
    for (std::size_t i = 0; i < out.rows; ++i)
      got += std::to_string(at(out, 2, i)) + "+" + std::to_string(at(out, 3, i)) + " ";
    ASSERT_EQ(got, expected) << "round " << round;
  }
}

// -- lookups

namespace {

const value visits = packed({integers("user", {7, 8, 7})});

value objects(const std::vector<std::optional<std::string>>& contents) {
  value_list out;
  for (const auto& c : contents)
    out.push_back(c ? value{tensor{datatype::uint8, {static_cast<std::int64_t>(c->size())}, shared_bytes::copy_of(*c)}}
                    : value{});
  return {std::move(out)};
}

std::string looked_up(const value& found, parameter_map more) {
  more["key"] = "user";
  more["prefix"] = "users/";
  return made("table-lookup", {visits, found}, more);
}

} // namespace

TEST(TableLookup, NamesEachKeyOnce) {
  const auto keys =
      keys_of(*find("table-lookup"), {{"key", "user"}, {"prefix", "users/"}}, std::vector<value>{visits, {}});
  ASSERT_TRUE(keys.ok()) << keys.error().message;
  EXPECT_EQ(*keys, (std::vector<std::string>{"users/7", "users/8"}));
}

TEST(TableLookup, AddsWhatWasFound) {
  EXPECT_EQ(looked_up(objects({"Ann", "Bo"}), {{"into", "name"}}), "user INT64 7|8|7; name BYTES Ann|Bo|Ann");
}

TEST(TableLookup, DoesAsToldWithoutAnObject) {
  const auto found = objects({"Ann", std::nullopt});
  EXPECT_EQ(looked_up(found, {}),
            "builtin 'table-lookup': row 1: there is no object 'users/8' in the store; put it there, or set missing "
            "to drop or empty");
  EXPECT_EQ(looked_up(found, {{"missing", "drop"}}), "user INT64 7|7; value BYTES Ann|Ann");
  EXPECT_EQ(looked_up(found, {{"missing", "empty"}}), "user INT64 7|8|7; value BYTES Ann||Ann");
  EXPECT_EQ(looked_up({}, {}), "builtin 'table-lookup': the objects of its 2 keys were not read");
}

TEST(TableLookup, KeysAreTextsOrIntegers) {
  const auto keys = keys_of(*find("table-lookup"), {{"key", "x"}}, std::vector<value>{packed({doubles("x", {1})}), {}});
  ASSERT_FALSE(keys.ok());
  EXPECT_EQ(keys.error().message, "builtin 'table-lookup': column 'x' is FP64; keys are BYTES or integers");
}

} // namespace squall::functions::builtins::testing
