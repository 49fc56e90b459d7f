#include "base/random.hpp"
#include "tests/functions/tables.hpp"

#include <cmath>
#include <cstring>

namespace squall::functions::builtins::testing {

namespace {

value shop() {
  return packed({integers("id", {1, 2, 3, 4}), doubles("price", {2.5, 10, NAN, 0}), integers("count", {4, 1, 2, 0}),
                 words("city", {"Rome", "Oslo", "Rome", ""})});
}

std::string mapped(const std::string& columns, value t = shop()) {
  return made("table-map", {std::move(t)}, {{"columns", columns}});
}
std::string filtered(const std::string& where, value t = shop()) {
  return made("table-filter", {std::move(t)}, {{"where", where}});
}

} // namespace

// -- the format

TEST(TableFormat, KeepsColumnsNamesTypesAndCellsOfSeveralElements) {
  auto vectors = singles("vector", {1, 2, 3, 4, 5, 6});
  vectors.width = 3;
  vectors.rows = 2;
  const auto v = packed({integers("id", {7, 8}), vectors, words("text", {"", "a\0b"}), flags("ok", {0, 1})});
  const auto t = unpacked(v);
  EXPECT_EQ(t.rows, 2U);
  EXPECT_EQ(detail::describe(*detail::find_column(t, "vector")), "FP32 x 3");
  EXPECT_EQ(detail::numbers_of<float>(*detail::find_column(t, "vector"))[5], 6);
  EXPECT_EQ(shown(t, "id"), "INT64 7|8");
  EXPECT_EQ(shown(t, "ok"), "BOOL 0|1");
}

TEST(TableFormat, ColumnsLieAtMultiplesOf64AsDocumented) {
  const auto v = packed({integers("id", {7}), words("text", {"abc"})});
  const auto bytes = v.as_tensor()->data.span();
  EXPECT_EQ(v.as_tensor()->data.text().substr(0, 8), std::string_view("SQTABLE\1", 8));
  std::uint64_t rows = 0, first = 0, second = 0;
  std::memcpy(&rows, &bytes[8], 8);
  std::memcpy(&first, &bytes[24], 8);
  std::memcpy(&second, &bytes[56], 8);
  EXPECT_EQ(rows, 1U);
  EXPECT_EQ(first, 128U) << "24 + 2 * 32 + the names, rounded up";
  EXPECT_EQ(second, 192U);
  EXPECT_EQ(bytes.size(), 192U + 16 + 3);
}

TEST(TableFormat, IsReadFromAddressesThatFitNoNumber) {
  const auto v = packed({integers("id", {7, -1})});
  std::string shifted = "x" + std::string{v.as_tensor()->data.text()};
  const auto size = static_cast<std::int64_t>(shifted.size()) - 1;
  const auto all = shared_bytes::take(std::move(shifted));
  EXPECT_EQ(shown(unpacked({tensor{datatype::uint8, {size}, all.slice(1, all.size() - 1)}})), "id INT64 7|-1");
}

TEST(TableFormat, DamagedBytesAreErrorsAndNothingElse) {
  const auto good = packed({integers("id", {1, 2, 3}), words("text", {"abc", "", "defg"}), singles("x", {1, 2, 3})});
  random_source random{7};
  int errors = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes{good.as_tensor()->data.text()};
    for (std::uint64_t i = 0; i <= random.below(3); ++i)
      bytes[random.below(bytes.size())] = static_cast<char>(random.below(256));
    bytes.resize(random.below(4) == 0 ? random.below(bytes.size() + 1) : bytes.size());
    const auto size = static_cast<std::int64_t>(bytes.size());
    const auto read = detail::read_table("t", {tensor{datatype::uint8, {size}, shared_bytes::take(std::move(bytes))}});
    errors += read.ok() ? 0 : 1;
    if (read.ok() && !read->columns.empty()) {
      EXPECT_FALSE(shown(*read).empty()); // reads every cell
    }
  }
  EXPECT_GT(errors, 1000);
}

TEST(TableFormat, SaysWhatIsNoTable) {
  EXPECT_EQ(
      made("table-filter", {{tensor_of(datatype::uint8, {3}, std::vector<std::uint8_t>{1, 2, 3})}},
           {{"where", "true"}}),
      "builtin 'table-filter': input 'table': its 3 bytes are no table; make one with table-from-csv, table-of, or as "
      "docs/tables.md says");
}

// -- map

TEST(TableMap, KeepsMakesAndRenames) {
  EXPECT_EQ(mapped("id, total = price * count, town = city"),
            "id INT64 1|2|3|4; total FP64 10|10|nan|0; town BYTES Rome|Oslo|Rome|");
  EXPECT_EQ(
      mapped("*, count = count + 1, big = count > 1"),
      "id INT64 1|2|3|4; price FP64 2.5|10|nan|0; count INT64 5|2|3|1; city BYTES Rome|Oslo|Rome|; big BOOL 1|0|1|0");
}

TEST(TableMap, CalculatesAsWritten) {
  const auto one = [](const std::string& e) {
    return mapped("x = " + e, packed({integers("i", {7}), doubles("d", {-2.5}), words("t", {"abc"}), flags("b", {1})}));
  };
  EXPECT_EQ(one("1 + 2 * 3 - 4"), "x INT64 3");
  EXPECT_EQ(one("(1 + 2) * -3"), "x INT64 -9");
  EXPECT_EQ(one("i / 2"), "x FP64 3.5");
  EXPECT_EQ(one("i % 4"), "x INT64 3");
  EXPECT_EQ(one("abs(d) + 1"), "x FP64 3.5");
  EXPECT_EQ(one("floor(d) * ceil(d)"), "x FP64 6");
  EXPECT_EQ(one("int(d)"), "x INT64 -2");
  EXPECT_EQ(one("sqrt(float(i + 2))"), "x FP64 3");
  EXPECT_EQ(one("min(i, 3) + max(1, 2)"), "x INT64 5");
  EXPECT_EQ(one("if(b, t, 'none')"), "x BYTES abc");
  EXPECT_EQ(one("if(d > 0, 1, 0.5)"), "x FP64 0.5");
  EXPECT_EQ(one("length(t)"), "x INT64 3");
  EXPECT_EQ(one("contains(t, 'b') and starts_with(t, 'a') and not ends_with(t, 'b')"), "x BOOL 1");
  EXPECT_EQ(one("not i == 7 or t < 'b'"), "x BOOL 1");
  EXPECT_EQ(one("is_nan(log(d))"), "x BOOL 1");
  EXPECT_EQ(one("round(2.5) + exp(0)"), "x FP64 4");
  EXPECT_EQ(one("int(b) + 1e2"), "x FP64 101");
}

TEST(TableMap, NamesWhatDoesNotFit) {
  EXPECT_EQ(mapped("prize"),
            "builtin 'table-map': there is no column 'prize'; did you mean 'price'? columns: id, price, count, city");
  EXPECT_EQ(mapped("x = city * 2"), "builtin 'table-map': '*' does not take (a text, an integer)");
  EXPECT_EQ(mapped("x = city and true"), "builtin 'table-map': 'and' does not take (a text, a boolean)");
  EXPECT_EQ(mapped("x = abz(id)"),
            "builtin 'table-map': there is no function 'abz'; did you mean 'abs'? functions: abs, ceil, contains, "
            "ends_with, exp, float, floor, if, int, is_nan, length, log, max, min, round, sqrt and 1 more");
  EXPECT_EQ(mapped("x = abs(id, 2)"), "builtin 'table-map': function 'abs' takes 1 arguments, not 2");
  EXPECT_EQ(mapped("x = id +"), "builtin 'table-map': expected a column, a number, a 'text' or '(' at '' of 'id +'");
  EXPECT_EQ(mapped("id + 1"), "builtin 'table-map': 'id + 1' makes a column without a name; write NAME = id + 1");
  EXPECT_EQ(mapped("x = 9223372036854775807 + id"),
            "builtin 'table-map': row 0: the result does not fit into 64 bits, or a remainder is by 0");
  EXPECT_EQ(mapped("x = id % count"),
            "builtin 'table-map': row 3: the result does not fit into 64 bits, or a remainder is by 0");
  EXPECT_EQ(mapped("x = int(price)"),
            "builtin 'table-map': row 2: the result does not fit into 64 bits; convert with float()");
  EXPECT_EQ(
      mapped("id, id"),
      "builtin 'table-map': two columns, or one of an unfit name, would be called 'id'; give each its own name of 1 "
      "to 128 bytes");
  EXPECT_EQ(mapped(""),
            "builtin 'table-map': parameter 'columns' is empty; name a column, or write NAME = EXPRESSION, with commas "
            "between");
}

TEST(TableMap, ReadsAllWidthsOfNumbersAndQuotedNames) {
  const auto t = packed({column_of<std::uint8_t>("a", datatype::uint8, {255}),
                         column_of<std::int16_t>("b-c", datatype::int16, {-3}),
                         column_of<std::uint64_t>("u", datatype::uint64, {1ULL << 63}), singles("f", {0.5F})});
  EXPECT_EQ(mapped("x = a + `b-c` + f", t), "x FP64 252.5");
  EXPECT_EQ(mapped("x = u + 0", t), "builtin 'table-map': row 0: an unsigned number is beyond 2^63");
  EXPECT_EQ(mapped("`b-c`", t), "b-c INT16 -3") << "a column that is only named stays what it is";
}

TEST(TableMap, ExpressionsAreBounded) {
  std::string deep(200, '(');
  EXPECT_NE(mapped("x = " + deep + "1" + std::string(200, ')')).find("nested more than 64 deep"), std::string::npos);
  std::string longer = "x = 1";
  for (int i = 0; i < 1500; ++i)
    longer += "+1";
  EXPECT_NE(mapped(longer).find("it has at most 2048"), std::string::npos);
}

// -- filter

TEST(TableFilter, KeepsTheRowsInWhichTheConditionHolds) {
  EXPECT_EQ(filtered("price > 1 and city == 'Rome'"), "id INT64 1; price FP64 2.5; count INT64 4; city BYTES Rome");
  EXPECT_EQ(filtered("price != price"), "id INT64 3; price FP64 nan; count INT64 2; city BYTES Rome")
      << "not-a-number equals nothing";
  EXPECT_EQ(filtered("id > 9"), "id INT64; price FP64; count INT64; city BYTES");
  EXPECT_EQ(filtered("count"), "builtin 'table-filter': the condition is an integer; compare it with something");
}

TEST(TableFilter, HandsOnATableThatItKeepsWhole) {
  const auto t = shop();
  const auto out = outputs_of("table-filter", {t}, {{"where", "id > 0"}});
  EXPECT_EQ(out[0].as_tensor()->data.data(), t.as_tensor()->data.data()) << "no copy";
}

// -- apply

TEST(TableApply, RunsABuiltinOnColumns) {
  const parameter_map p{
      {"builtin", "threshold"}, {"inputs", "x = price"}, {"outputs", "y = dear"}, {"parameters", "above = 2"}};
  EXPECT_EQ(made("table-apply", {shop()}, p),
            "id INT64 1|2|3|4; price FP64 2.5|10|nan|0; count INT64 4|1|2|0; city BYTES "
            "Rome|Oslo|Rome|; dear BOOL 1|1|0|0");
}

TEST(TableApply, NamesWhatDoesNotFit) {
  const auto applied = [](parameter_map p) { return made("table-apply", {shop()}, p); };
  EXPECT_EQ(applied({{"builtin", "treshold"}, {"inputs", "x = price"}, {"outputs", "y = a"}}).substr(0, 70),
            "builtin 'table-apply': there is no builtin 'treshold'; did you mean 't");
  EXPECT_EQ(applied({{"builtin", "threshold"}, {"inputs", "z = price"}, {"outputs", "y = a"}}),
            "builtin 'table-apply': builtin 'threshold': there is no input 'z'; inputs: x");
  EXPECT_EQ(applied({{"builtin", "threshold"}, {"inputs", "x = city"}, {"outputs", "y = a"}}),
            "builtin 'table-apply': builtin 'threshold': input 'x': expected FP32 [4], got BYTES [4]");
  EXPECT_EQ(applied({{"builtin", "mean"}, {"inputs", "x = price"}, {"outputs", "mean = a"}}),
            "builtin 'table-apply': the output for column 'a' is FP32 [1]; a column of this table needs [4] or [4, n]");
  EXPECT_EQ(applied({{"builtin", "table-lookup"}, {"inputs", "table = price"}, {"outputs", "table = a"}}),
            "builtin 'table-apply': builtin 'table-lookup' cannot be applied to columns; run it as a stage of its own");
}

// -- union

TEST(TableUnion, PutsRowsOneAfterTheOther) {
  const auto a = packed({integers("id", {1}), words("t", {"x"})});
  const auto b = packed({words("t", {"y", "z"}), integers("id", {2, 3})});
  EXPECT_EQ(made("table-union", {a, {}, b}, {}), "id INT64 1|2|3; t BYTES x|y|z");
  EXPECT_EQ(made("table-union", {a, {}, {}, {}, {value_list{b, {}, a}}}, {}), "id INT64 1|2|3|1; t BYTES x|y|z|x");
  const auto none = packed({integers("id", {}), words("t", {})});
  EXPECT_EQ(made("table-union", {none, none}, {}), "id INT64; t BYTES");
}

TEST(TableUnion, NamesWhatDoesNotFit) {
  const auto a = packed({integers("id", {1})});
  EXPECT_EQ(made("table-union", {a, packed({doubles("id", {1})})}, {}),
            "builtin 'table-union': table 1: column 'id' is FP64, in the first table INT64; convert it with table-map");
  EXPECT_EQ(made("table-union", {a, packed({integers("no", {1})})}, {}),
            "builtin 'table-union': table 1: its 1 columns are not the 1 of the first table: 'id' is missing; bring "
            "them into line "
            "with table-map");
  EXPECT_EQ(made("table-union", {}, {}), "builtin 'table-union': none of the inputs a, b, c, d and tables has a table");
}

// -- tensors and text

TEST(TableOf, TakesAndGivesTensors) {
  const auto ids = ints({2}, {1, 2});
  const auto vectors = floats({2, 2}, {1, 2, 3, 4});
  auto made_of = make_instance(*find("table-of"), {{"columns", "id, v"}}, {}).value();
  const auto t = made_of->run(std::vector<value>{ids, vectors}, {}).value();
  EXPECT_EQ(shown(unpacked(t[0])), "id INT32 1|2; v FP32 1|3");
  auto back = make_instance(*find("table-columns"), {{"columns", "v, id"}}, {}).value();
  const auto columns = back->run(t, {}).value();
  EXPECT_EQ(columns[0], vectors);
  EXPECT_EQ(columns[1], ids);
  EXPECT_EQ(message(made_of->run(std::vector<value>{ids, floats({3}, {1, 2, 3})}, {})),
            "builtin 'table-of': input 1, for column 'v', is FP32 [3]; a column of this table needs [2] or [2, n]");
}

TEST(TableCsv, ReadsTypesQuotesAndEmptyCells) {
  const auto read = [](std::string_view text) { return made("table-from-csv", {scalar_value(text)}, {}); };
  EXPECT_EQ(read("id,price,name\r\n1,2.5,\"a, \"\"b\"\"\"\r\n-2,,\"x\ny\"\n"),
            "id INT64 1|-2; price FP64 2.5|nan; name BYTES a, \"b\"|x\ny");
  EXPECT_EQ(read("a,b\n"), "a BYTES; b BYTES");
  EXPECT_EQ(read("a\n1\nx"), "a BYTES 1|x");
  EXPECT_EQ(read("a,b\n1\n"), "builtin 'table-from-csv': line 2 has 1 cells, the first line 2");
  EXPECT_EQ(read("a\n\"x"), "builtin 'table-from-csv': line 2: a quote is not closed");
  EXPECT_EQ(read(""), "builtin 'table-from-csv': there is no line with the names of the columns");
}

TEST(TableCsv, WritesWhatItReads) {
  const std::string text = "id,price,name\n1,2.5,\"a, \"\"b\"\"\"\n-2,,\"x\ny\"\n";
  const auto t = outputs_of("table-from-csv", {scalar_value(text)});
  EXPECT_EQ(testing::text(outputs_of("table-to-csv", {t[0]})[0]), text);
  EXPECT_EQ(testing::text(outputs_of("table-to-csv", {packed({flags("b", {1, 0})})}, {{"separator", "tab"}})[0]),
            "b\ntrue\nfalse\n");
}

// -- size

TEST(TableSize, AMillionRowsGoThroughEveryOperator) {
  constexpr std::size_t rows = 1'000'000;
  std::vector<std::int64_t> ids(rows), groups(rows);
  std::vector<double> prices(rows);
  for (std::size_t i = 0; i < rows; ++i) {
    ids[i] = static_cast<std::int64_t>(i);
    groups[i] = static_cast<std::int64_t>(i % 1000);
    prices[i] = static_cast<double>(i % 7);
  }
  const auto t = packed({integers("id", ids), integers("g", groups), doubles("price", prices)});
  const auto m = outputs_of("table-map", {t}, {{"columns", "*, twice = price * 2"}});
  const auto f = outputs_of("table-filter", m, {{"where", "id % 2 == 0"}});
  EXPECT_EQ(unpacked(f[0]).rows, rows / 2);
  const auto a = outputs_of("table-aggregate", {f[0]}, {{"by", "g"}, {"columns", "n = count(), total = sum(twice)"}});
  EXPECT_EQ(unpacked(a[0]).rows, 500U);
  const auto j = unpacked(outputs_of("table-join", {f[0], a[0]}, {{"on", "g"}})[0]);
  EXPECT_EQ(j.rows, rows / 2);
  EXPECT_EQ(detail::numbers_of<std::int64_t>(*detail::find_column(j, "n"))[17], 1000);
  EXPECT_EQ(unpacked(outputs_of("table-union", {f[0], f[0]})[0]).rows, rows);
}

} // namespace squall::functions::builtins::testing
