#include "calls/json.hpp"

#include "base/random.hpp"
#include "calls/placing.hpp"

#include <gtest/gtest.h>

#include <cmath>

namespace squall::calls {
namespace {

using functions::datatype;
using functions::value;
using functions::value_list;

template <class T>
std::string error_of(std::string_view text) {
  const auto read = from_json<T>(text);
  return read.ok() ? "" : read.error().message;
}

TEST(Json, NumbersAreTheNearestDoubles) {
  const auto number = [](const std::string& text) {
    const auto read = json_document::parse(text);
    return read.ok() ? read->root().as_double() : std::nullopt;
  };
  EXPECT_EQ(number("0.1"), 0.1);
  EXPECT_EQ(number("0.1000000000000000055511151231257827021181583404541015625"), 0.1);
  EXPECT_EQ(number("123456789012345678901234567890.5e-300"), 123456789012345678901234567890.5e-300);
  EXPECT_EQ(number("444.444444666666664226666642231285e-344"), 0.0);
  EXPECT_EQ(number("44444446646644446666666642233330e-344"), 44444446646644446666666642233330e-344);
  EXPECT_EQ(number("4.9406564584124654e-324"), std::numeric_limits<double>::denorm_min());
  EXPECT_EQ(number(std::string(80, '9') + "e-80"), 1.0);
  EXPECT_EQ(number("-0.0"), 0.0);
  EXPECT_TRUE(std::signbit(*number("-0.0")));
  for (const char* tiny : {"1e-400", "0.0001e-330", "1e-99999999999999999999", "0.001e-9223372036854775808", "0e5"})
    EXPECT_EQ(number(tiny), 0.0) << tiny;
  for (const std::string& huge :
       std::vector<std::string>{"1e309", "-1e400", std::string(80, '9') + "e308", "1e99999999999999999999"})
    EXPECT_EQ(number(huge), std::nullopt) << huge;
  EXPECT_EQ(number(std::string(308, '9')), 1e308);
  EXPECT_EQ(json_document::parse("[1e309]").error().message,
            "JSON: line 1, column 2: Number too big to be stored in double.");
}

TEST(Json, WholeNumbersAreExact) {
  const auto largest = json_document::parse("18446744073709551615");
  EXPECT_EQ(largest->root().as_uint64(), std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(largest->root().as_int64(), std::nullopt);
  const auto least = json_document::parse("-9223372036854775808");
  EXPECT_EQ(least->root().as_int64(), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(json_document::parse("-0")->root().as_int64(), 0);
  const auto beyond = json_document::parse("18446744073709551616");
  EXPECT_EQ(beyond->root().as_uint64(), std::nullopt);
  EXPECT_EQ(beyond->root().as_double(), 18446744073709551616.0);
  EXPECT_EQ(json_document::parse("1.0")->root().as_uint64(), std::nullopt);
  for (const char* wrong : {"+1", "01", "1.", ".5", "1e", "0x10", "--1", "1_0"})
    EXPECT_FALSE(json_document::parse(wrong).ok()) << wrong;
}

TEST(Json, AStructIsAnObjectOfItsFields) {
  const placement p{variant_id{3}, node_id{1}, {node_id{1}, node_id{2}}};
  EXPECT_EQ(to_json(p), R"({"variant":"3","home":"1","spread":["1","2"]})");
  const auto read = from_json<placement>(to_json(p, json_style::pretty));
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_EQ(*read, p);
}

TEST(Json, AVariantOfStructsCarriesItsName) {
  const placing::event fact = placing::call_arrived{call_id{9}, client_id{1}, dag_id{2}, never, 0, {}};
  const std::string text = to_json(fact);
  EXPECT_TRUE(text.starts_with(R"({"call_arrived":{"id":"9",)")) << text;
  EXPECT_NE(text.find(R"("deadline":null)"), std::string::npos) << text;
  const auto read = from_json<placing::event>(text);
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_EQ(*read, fact);
}

TEST(Json, EnumsPrintAsNames) {
  outcome o;
  o.code = errc::deadline_exceeded;
  EXPECT_NE(to_json(o).find(R"("code":"deadline_exceeded")"), std::string::npos);
  EXPECT_EQ(error_of<outcome>(R"({"code": "odd"})"), "code: 'odd' is not one of its names");
  const auto port = from_json<functions::port>(R"({"name": "x", "datatype": "INT8", "shape": [-1]})");
  ASSERT_TRUE(port.ok()) << port.error().message;
  EXPECT_EQ(port->type, datatype::int8);
}

TEST(Json, ASpecComesBack) {
  functions::dag_spec d;
  d.name = "read-line";
  functions::stage_spec s;
  s.name = "slow";
  s.when.emplace();
  s.when->operation = functions::predicate::op::below;
  s.when->subject = {functions::binding::source::stage_output, "sure", "confidence", {}};
  s.when->operand = 0.97;
  s.join.rule = functions::join_rule::kind::any;
  s.inputs.push_back({"x", {functions::binding::source::constant, "", "", functions::scalar_value("text")}});
  d.stages.push_back(s);
  const auto read = from_json<functions::dag_spec>(to_json(d));
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_EQ(*read, d);
  s.when->operand = std::string{"yes"};
  d.stages[0] = s;
  EXPECT_EQ(from_json<functions::dag_spec>(to_json(d)).value(), d);
}

TEST(Json, ErrorsNameThePathOfTheOffendingKey) {
  using functions::dag_spec;
  EXPECT_EQ(error_of<dag_spec>(R"({"stages": [{}, {"inputs": [{"prot": 1}]}]})"),
            "stages[1].inputs[0].prot: unknown key; known here: port, source");
  EXPECT_EQ(error_of<dag_spec>(R"({"stages": [{"name": 5}]})"), "stages[0].name: expected a string, found a number");
  EXPECT_EQ(error_of<dag_spec>(R"({"stages": {}})"), "stages: expected an array, found an object");
  EXPECT_EQ(error_of<dag_spec>(R"({"version": -1})"),
            "version: expected a whole number from 0 to 4294967295, found a number");
  EXPECT_EQ(error_of<dag_spec>(R"({"version": 1.5})"),
            "version: expected a whole number from 0 to 4294967295, found a number");
  EXPECT_EQ(error_of<dag_spec>(R"({"name": "a", "name": "b"})"), "name: given twice");
  EXPECT_EQ(error_of<dag_spec>("[]"), "expected an object, found an array");
}

TEST(Json, TextThatIsNotJsonIsAnErrorWithLineAndColumn) {
  EXPECT_EQ(error_of<placement>("{\n  \"variant\": ?}"), "JSON: line 2, column 14: Invalid value.");
  EXPECT_FALSE(from_json<placement>("").ok());
  EXPECT_FALSE(from_json<placement>("{} {}").ok());
  EXPECT_FALSE(from_json<std::string>("\"\xff\"").ok());
  EXPECT_EQ(error_of<value>(std::string(100'000, '[')), "JSON: line 1, column 130: nests more than 128 deep");
  EXPECT_TRUE(json_document::parse(std::string(128, '[') + std::string(128, ']')).ok());
  EXPECT_TRUE(json_document::parse("[" + std::string(500, ' ') + "{},[],{},[]]").ok());
}

TEST(Json, ATensorIsItsDatatypeShapeAndData) {
  const value v{
      functions::tensor_of<float>(datatype::fp32, {3}, {0.1F, -2.0F, std::numeric_limits<float>::infinity()})};
  EXPECT_EQ(to_json(v), R"({"datatype":"FP32","shape":[3],"data":[0.1,-2,"Infinity"]})");
  EXPECT_EQ(from_json<value>(to_json(v)).value(), v);
}

TEST(Json, ListsAndAbsentValues) {
  value list;
  list.data = value_list{functions::scalar_value(true), value{}, functions::scalar_value("a")};
  EXPECT_EQ(to_json(list),
            R"([{"datatype":"BOOL","shape":[1],"data":[true]},null,{"datatype":"BYTES","shape":[1],"data":["a"]}])");
  EXPECT_EQ(from_json<value>(to_json(list)).value(), list);
}

TEST(Json, BytesThatAreNotUtf8TravelAsBase64) {
  const value v{functions::bytes_tensor({std::string_view{"\xff\x00", 2}, "fine"})};
  EXPECT_EQ(to_json(v), R"({"datatype":"BYTES","shape":[2],"data":[{"b64":"/wA="},"fine"]})");
  EXPECT_EQ(from_json<value>(to_json(v)).value(), v);
}

TEST(Json, EveryDatatypeComesBack) {
  random_source random{3};
  for (int t = 1; t <= 13; ++t) {
    const auto type = static_cast<datatype>(t);
    std::string data;
    for (int i = 0; i < 64; ++i) {
      std::uint64_t bits = random.next();
      if (type == datatype::boolean)
        bits &= 1;
      if (type == datatype::fp16 || type == datatype::bf16)
        bits &= 0xbfff; // no NaN: its payload is not kept
      if (type == datatype::fp32)
        bits &= 0xbfffffff;
      if (type == datatype::fp64)
        bits &= 0xbfffffffffffffff;
      data.append(reinterpret_cast<const char*>(&bits), functions::element_size(type));
    }
    const value v{functions::tensor{type, {8, 8}, shared_bytes::take(data)}};
    const auto read = from_json<value>(to_json(v));
    ASSERT_TRUE(read.ok()) << read.error().message;
    EXPECT_EQ(*read, v) << to_string(type);
  }
}

TEST(Json, NestedDataIsRowMajor) {
  const auto v = from_json<value>(R"({"datatype": "INT32", "shape": [2, 2], "data": [[1, 2], [3, 4]]})");
  ASSERT_TRUE(v.ok()) << v.error().message;
  EXPECT_EQ(*v, (value{functions::tensor_of<std::int32_t>(datatype::int32, {2, 2}, {1, 2, 3, 4})}));
}

TEST(Json, ATensorThatDoesNotFitItselfIsAnError) {
  EXPECT_EQ(error_of<value>(R"({"datatype": "INT8", "shape": [1], "data": [128]})"),
            "element 0 of its data is not a INT8");
  EXPECT_EQ(error_of<value>(R"({"datatype": "INT8", "shape": [2], "data": [1]})"),
            "its shape [2] has 2 elements, its data 1");
  EXPECT_EQ(error_of<value>(R"({"datatype": "INT8", "data": [1]})"), "a tensor needs datatype, shape and data");
  EXPECT_EQ(error_of<value>(R"({"datatype": "INT7", "shape": [1], "data": [1]})"),
            "datatype: 'INT7' is not one of its names");
  EXPECT_EQ(error_of<value>(R"({"datatype": "INT8", "shape": [1], "data": [1], "more": 1})"),
            "more: unknown key; known here: datatype, shape, data");
}

TEST(Json, IdsOf64BitsSurvive) {
  const call_id id{0xfedcba9876543210};
  EXPECT_EQ(from_json<call_id>(to_json(id)).value(), id);
  EXPECT_EQ(from_json<call_id>("17").value(), call_id{17});
  EXPECT_EQ(error_of<call_id>("\"1x\""), "'1x' is not an id");
}

} // namespace
} // namespace squall::calls
