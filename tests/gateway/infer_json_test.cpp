#include "gateway/infer_json.hpp"

#include "fake_port.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace squall::gateway {
namespace {

using functions::datatype;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const model_metadata echo = fake_port{}.model;

result<functions::tensor> tensor_in(const std::string& fields) {
  auto request = read_infer(R"({"inputs":[{"name":"x",)" + fields + "}]}", echo);
  if (!request.ok())
    return request.error();
  return *request->inputs.at(0).value.as_tensor();
}

template <class T>
std::vector<T> numbers(const std::string& fields) {
  const auto t = tensor_in(fields);
  if (!t.ok()) {
    ADD_FAILURE() << t.error().message;
    return {};
  }
  const auto span = functions::elements_of<T>(*t);
  return {span.begin(), span.end()};
}

std::string written(functions::value v, const std::string& name = "x") {
  return write_infer({}, echo, {call_id{1}, {}, {{name, std::move(v)}}}).value();
}

TEST(InferJson, ReadsEveryDatatypeExactly) {
  EXPECT_THAT(numbers<std::uint8_t>(R"("shape":[4],"datatype":"BOOL","data":[true,false,1,0])"),
              ElementsAre(1, 0, 1, 0));
  EXPECT_THAT(numbers<std::uint8_t>(R"("shape":[2],"datatype":"UINT8","data":[0,255])"), ElementsAre(0, 255));
  EXPECT_THAT(numbers<std::int8_t>(R"("shape":[2],"datatype":"INT8","data":[-128,127])"), ElementsAre(-128, 127));
  EXPECT_THAT(numbers<std::int16_t>(R"("shape":[1],"datatype":"INT16","data":[-32768])"), ElementsAre(-32768));
  EXPECT_THAT(numbers<std::uint32_t>(R"("shape":[1],"datatype":"UINT32","data":[4294967295])"),
              ElementsAre(4294967295u));
  EXPECT_THAT(numbers<std::int64_t>(R"("shape":[2],"datatype":"INT64","data":[-9223372036854775808,9007199254740993])"),
              ElementsAre(std::numeric_limits<std::int64_t>::min(), 9007199254740993));
  EXPECT_THAT(numbers<std::uint64_t>(R"("shape":[1],"datatype":"UINT64","data":[18446744073709551615])"),
              ElementsAre(18446744073709551615u));
  EXPECT_THAT(numbers<float>(R"("shape":[3],"datatype":"FP32","data":[0.1,-2,"-Infinity"])"),
              ElementsAre(0.1F, -2.F, -std::numeric_limits<float>::infinity()));
  EXPECT_THAT(numbers<double>(R"("shape":[2],"datatype":"FP64","data":[0.1,1e300])"), ElementsAre(0.1, 1e300));
  const auto text = tensor_in(R"("shape":[2],"datatype":"BYTES","data":["a","\u00e9\n"])");
  EXPECT_THAT(functions::bytes_elements(*text).value(), ElementsAre("a", "\xc3\xa9\n"));
}

TEST(InferJson, DataIsFlatOrNested) {
  EXPECT_THAT(numbers<std::int32_t>(R"("shape":[2,2],"datatype":"INT32","data":[1,2,3,4])"), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(numbers<std::int32_t>(R"("shape":[2,2],"datatype":"INT32","data":[[1,2],[3,4]])"),
              ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(numbers<std::int32_t>(R"("shape":[],"datatype":"INT32","data":[5])"), ElementsAre(5));
  EXPECT_THAT(numbers<std::int32_t>(R"("shape":[0,3],"datatype":"INT32","data":[])"), ElementsAre());
}

TEST(InferJson, WrongTensorsAreRefusedByName) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {R"("shape":[3],"datatype":"INT32","data":[1,2])", "has 2 elements; shape [3] has 3"},
      {R"("shape":[2,2],"datatype":"INT32","data":[[1,2],[3]])", "must follow shape [2,2]"},
      {R"("shape":[4],"datatype":"INT32","data":[[1,2],[3,4]])", "must follow shape [4]"},
      {R"("shape":[],"datatype":"INT32","data":[[1]])", "must follow shape []"},
      {R"("shape":[2,4888888888888],"datatype":"INT32","data":[[1,2],[3,4]])", "must follow shape [2,4888888888888]"},
      {R"("shape":[2],"datatype":"INT32","data":[1,2.5])", "element 1 of 'data' is not a INT32"},
      {R"("shape":[1],"datatype":"UINT8","data":[256])", "is not a UINT8"},
      {R"("shape":[1],"datatype":"FP32","data":[1e39])", "is not a FP32"},
      {R"("shape":[1],"datatype":"BYTES","data":[1])", "is not a BYTES"},
      {R"("shape":[-1],"datatype":"INT32","data":[])", "not negative"},
      {R"("shape":[1099511627776,1099511627776],"datatype":"INT32","data":[])", ""},
      {R"("shape":[1],"datatype":"FLOAT","data":[1])", "no datatype 'FLOAT'"},
      {R"("shape":[1],"data":[1])", "'datatype' is missing"},
      {R"("shape":[1],"datatype":"INT32")", "'data' is missing"},
      {R"("datatype":"INT32","data":[1])", "'shape'"},
  };
  for (const auto& [fields, why] : cases) {
    const auto t = tensor_in(fields);
    ASSERT_FALSE(t.ok()) << fields;
    EXPECT_EQ(t.error().code, errc::invalid_argument) << fields;
    EXPECT_THAT(t.error().message, HasSubstr("input 'x': "));
    EXPECT_THAT(t.error().message, HasSubstr(why));
  }
  EXPECT_EQ(tensor_in(R"("shape":[1],"datatype":"FP16","data":[1])").error().code, errc::unsupported);
  EXPECT_EQ(tensor_in(R"("shape":[1],"datatype":"INT32","parameters":{"binary_data_size":4})").error().code,
            errc::unsupported);
}

TEST(InferJson, ReadsParameters) {
  const auto r = read_infer(
      R"({"id":"7","parameters":{"timeout":1500,"priority":1,"sequence_id":42,"sequence_start":true,"other":[]},"inputs":[]})",
      echo);
  ASSERT_TRUE(r.ok()) << r.error().message;
  EXPECT_EQ(r->id, "7");
  EXPECT_EQ(r->options.deadline, std::chrono::microseconds{1500});
  EXPECT_EQ(r->options.sequence, (calls::sequence{sequence_id{42}, true, false}));
  const auto priority = [](int level) {
    return read_infer(R"({"parameters":{"priority":)" + std::to_string(level) + R"(},"inputs":[]})", echo)
        ->options.priority;
  };
  EXPECT_GT(priority(1), priority(2));
  EXPECT_GT(priority(5000), priority(0));
  const auto text = read_infer(R"({"parameters":{"sequence_id":"camera"},"inputs":[]})", echo);
  EXPECT_NE(text->options.sequence.id, sequence_id{});
}

TEST(InferJson, WrongRequestsAreRefused) {
  for (const char* bad :
       {"", "[]", "{", R"({"inputs":{}})", R"({"id":7,"inputs":[]})", R"({"inputs":[7]})",
        R"({"inputs":[],"outputs":[{}]})", R"({"inputs":[],"parameters":[]})",
        R"({"inputs":[],"parameters":{"timeout":-1}})", R"({"inputs":[],"parameters":{"timeout":"1"}})",
        R"({"inputs":[],"parameters":{"sequence_start":1}})"})
    EXPECT_EQ(read_infer(bad, echo).error().code, errc::invalid_argument) << bad;
  EXPECT_EQ(read_infer(R"({"inputs":[],"outputs":[{"name":"nope"}]})", echo).error().message,
            "unexpected inference output 'nope' for model 'echo'");
  EXPECT_FALSE(read_infer(std::string(100'000, '['), echo).ok());
}

TEST(InferJson, AListInputIsTakenApart) {
  const auto r =
      read_infer(R"({"inputs":[{"name":"words","shape":[3,1],"datatype":"BYTES","data":["a","bb",""]}]})", echo);
  ASSERT_TRUE(r.ok()) << r.error().message;
  const auto* list = r->inputs[0].value.as_list();
  ASSERT_NE(list, nullptr);
  ASSERT_EQ(list->size(), 3u);
  EXPECT_EQ((*list)[1], (functions::value{functions::bytes_tensor({"bb"})}));
  // No element has a byte, so any count of them fits into the body.
  const auto wide =
      read_infer(R"({"inputs":[{"name":"words","shape":[4000000000,0],"datatype":"BYTES","data":[]}]})", echo);
  ASSERT_FALSE(wide.ok());
  EXPECT_EQ(wide.error().code, errc::too_large);
  EXPECT_THAT(wide.error().message, HasSubstr("input 'words' is a list of 4000000000; the limit is 4096"));
}

TEST(InferJson, WritesAGoldenResponse) {
  infer_request request;
  request.id = "abc";
  request.outputs = {"y", "x"};
  calls::outcome outcome;
  outcome.trace.resize(3);
  outcome.trace[1].skipped = true;
  const infer_reply reply{
      call_id{99},
      outcome,
      {{"x", {functions::tensor_of<float>(datatype::fp32, {1, 2}, {0.1F, -3.F})}}, {"unwanted", {}}, {"y", {}}}};
  EXPECT_EQ(
      write_infer(request, echo, reply).value(),
      R"({"model_name":"echo","model_version":"3","id":"abc","parameters":{"call":"99","stages_run":2,"stages_skipped":1,)"
      R"("absent_outputs":"y"},"outputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[0.1,-3]}]})");
}

TEST(InferJson, WritesEveryDatatypeSoThatItReadsBack) {
  EXPECT_THAT(written({functions::tensor_of<std::uint64_t>(datatype::uint64, {1}, {18446744073709551615u})}),
              HasSubstr("[18446744073709551615]"));
  EXPECT_THAT(written({functions::tensor_of<std::int64_t>(datatype::int64, {1}, {9007199254740993})}),
              HasSubstr("[9007199254740993]"));
  EXPECT_THAT(written({functions::tensor_of<double>(datatype::fp64, {2}, {0.1, 1e300})}), HasSubstr("[0.1,1e+300]"));
  EXPECT_THAT(written({functions::tensor_of<std::uint8_t>(datatype::boolean, {2}, {1, 0})}), HasSubstr("[true,false]"));
  EXPECT_THAT(written({functions::tensor_of<float>(datatype::fp32, {1}, {std::numeric_limits<float>::quiet_NaN()})}),
              HasSubstr(R"(["NaN"])"));
  EXPECT_THAT(written({functions::bytes_tensor({"a\"b", "\xc3\xa9"})}), HasSubstr("[\"a\\\"b\",\"\xc3\xa9\"]"));
  EXPECT_EQ(write_infer({}, echo, {call_id{1}, {}, {{"x", {functions::bytes_tensor({"\xff"})}}}}).error().code,
            errc::unsupported);
  EXPECT_EQ(
      write_infer({}, echo, {call_id{1}, {}, {{"x", {functions::tensor_of<std::uint16_t>(datatype::fp16, {1}, {0})}}}})
          .error()
          .code,
      errc::unsupported);
}

TEST(InferJson, ListsAreStackedWhenTheyCanBe) {
  const auto row = [](float a) { return functions::value{functions::tensor_of<float>(datatype::fp32, {2}, {a, a})}; };
  EXPECT_THAT(written({functions::value_list{row(1), row(2)}}),
              HasSubstr(R"("datatype":"FP32","shape":[2,2],"data":[1,1,2,2])"));
  EXPECT_THAT(written({functions::value_list{}}, "words"), HasSubstr(R"("datatype":"BYTES","shape":[0,1],"data":[])"));
  const std::string ragged = written({functions::value_list{row(1), functions::value{}}});
  EXPECT_THAT(ragged, HasSubstr(R"("datatype":"BYTES","shape":[2])"));
  EXPECT_THAT(ragged, HasSubstr(R"("null")"));
}

TEST(InferJson, ErrorsAreAlwaysJson) {
  EXPECT_EQ(write_error({errc::not_found, "no \"x\"", {}}), R"({"error":"no \"x\"","code":"not_found"})");
  EXPECT_EQ(write_error({errc::internal, "a\xff", {}}), R"({"error":"a\\xff","code":"internal"})");
}

} // namespace
} // namespace squall::gateway
