#include "builders.hpp"
#include "running.hpp"

#include <filesystem>
#include <fstream>
#include <set>

namespace squall::functions::builtins {
namespace {

using namespace testing;

function_spec of(std::string target, parameter_map parameters = {}) {
  function_spec f;
  f.name = "f";
  variant_spec v;
  v.name = "default";
  v.target = std::move(target);
  v.parameters = std::move(parameters);
  f.variants = {v};
  return f;
}

std::string completed(const function_spec& spec) {
  const auto done = complete(spec);
  return done.ok() ? "ok" : done.error().message;
}

/// Settings that satisfy the required parameters.
parameter_map required_of(const builtin& b) {
  parameter_map given;
  for (const auto& p : b.parameters)
    if (!p.fallback)
      given[std::string{p.name}] = "inline:a\nb";
  if (b.name == "resize")
    given["width"] = "8";
  static const std::map<std::string_view, parameter_map> valid{
      {"first-answer", {{"outputs", "1"}}},
      {"fused", {{"steps", "s\tnoop\t$0\n0.0"}}},
      {"fused-light", {{"steps", "s\tnoop\t$0\n0.0"}}},
      {"table-aggregate", {{"columns", "n = count()"}}},
      {"table-apply", {{"builtin", "threshold"}, {"inputs", "x = a"}, {"outputs", "y = b"}}},
      {"table-columns", {{"columns", "a"}}},
      {"table-filter", {{"where", "a > 1"}}},
      {"table-groupby", {{"by", "a"}}},
      {"table-join", {{"on", "a"}}},
      {"table-lookup", {{"key", "a"}}},
      {"table-map", {{"columns", "a"}}},
      {"table-of", {{"columns", "a"}}},
  };
  if (const auto known = valid.find(b.name); known != valid.end())
    for (const auto& [name, text] : known->second)
      given[name] = text;
  return given;
}

TEST(Library, IsOrderedAndEveryNameIsFound) {
  std::string_view previous;
  for (const auto& b : all()) {
    EXPECT_LT(previous, b.name);
    EXPECT_EQ(find(b.name), &b);
    EXPECT_FALSE(b.summary.empty()) << b.name;
    previous = b.name;
  }
  EXPECT_EQ(find("no-such"), nullptr);
  EXPECT_GE(all().size(), 28u);
}

TEST(Library, EveryBuiltinMakesAFunctionThatPassesValidation) {
  for (const auto& b : all()) {
    const auto spec = complete(of(std::string{b.name}, required_of(b)));
    ASSERT_TRUE(spec.ok()) << b.name << ": " << spec.error().message;
    EXPECT_TRUE(validate(*spec).ok()) << b.name << ": " << validate(*spec).error().message;
    EXPECT_EQ(spec->inputs, b.inputs);
    EXPECT_TRUE(make_instance(b, required_of(b), {}).ok()) << b.name;
  }
}

TEST(Library, EveryDefaultIsWithinItsBounds) {
  for (const auto& b : all())
    for (const auto& p : b.parameters) {
      EXPECT_TRUE(is_name(p.name)) << b.name;
      EXPECT_FALSE(p.summary.empty()) << b.name << " " << p.name;
      EXPECT_TRUE(!p.fallback || settings::read({p}, {}, nullptr).ok()) << b.name << " " << p.name;
    }
}

std::string shown(const std::vector<port>& ports) {
  std::string out;
  for (const auto& p : ports)
    out += (out.empty() ? "`" : "<br>`") + p.name + "` " + describe(p) + (p.optional ? ", optional" : "");
  return out;
}

std::string shown(const std::vector<parameter>& parameters) {
  std::string out;
  for (const auto& p : parameters) {
    std::string value = p.fallback ? (p.fallback->empty() ? "" : " = " + std::string{*p.fallback}) : " (required)";
    if (p.kind == parameter_kind::resource && p.fallback)
      value = " = nothing";
    out += (out.empty() ? "`" : "<br>`") + std::string{p.name} + "`" + value + ": " + std::string{p.summary};
  }
  return out;
}

TEST(Library, IsListedInItsReadme) {
  std::ifstream file{std::filesystem::path{SQUALL_SOURCE_DIR} / "functions/builtin/README.md"};
  const std::string readme{std::istreambuf_iterator<char>{file}, {}};
  for (const auto& b : all()) {
    const auto row = "| `" + std::string{b.name} + "` | " + std::string{b.summary} + " | " + shown(b.inputs) + " | " +
                     shown(b.outputs) + " | " + shown(b.parameters) + " |\n";
    EXPECT_NE(readme.find(row), std::string::npos) << "README.md should have the row\n" << row;
  }
}

TEST(Library, RunsWhatParsesForeignBytesElsewhere) {
  std::set<std::string_view> foreign;
  for (const auto& b : all())
    if (b.foreign_bytes) {
      foreign.insert(b.name);
      EXPECT_FALSE(b.light) << b.name;
    }
  EXPECT_EQ(foreign, (std::set<std::string_view>{"decode-image", "file-magic", "table-from-csv"}));
}

TEST(Library, NoInstanceCrashesOnAbsentOrWrongInputs) {
  const std::vector<value> odd = {{},
                                  floats({0}, {}),
                                  floats({1, 1, 0}, {}),
                                  texts({}),
                                  {value_list{}},
                                  {value_list{value{}}},
                                  ints({1}, {7}),
                                  {tensor{datatype::uint8, {0, 0, 3}, {}}},
                                  {tensor{datatype::fp32, {5}, {}}}};
  for (const auto& b : all()) {
    auto made = make_instance(b, required_of(b), {});
    ASSERT_TRUE(made.ok()) << b.name;
    for (const auto& v : odd) {
      const auto ran = (*made)->run(std::vector<value>(b.inputs.size(), v), {});
      EXPECT_TRUE(ran.ok() || ran.error().message.starts_with("builtin '" + std::string{b.name} + "'")) << message(ran);
    }
    EXPECT_FALSE((*made)->run(std::vector<value>(b.inputs.size() + 1), {}).ok());
  }
}

TEST(Completion, FillsPortsThatWereLeftOut) {
  const auto spec = complete(of("argmax"));
  ASSERT_TRUE(spec.ok());
  EXPECT_EQ(spec->inputs, find("argmax")->inputs);
  EXPECT_EQ(spec->outputs, find("argmax")->outputs);
}

TEST(Completion, AcceptsNarrowerPortsAndFreerOnesWhereTheBuiltinAllowsThem) {
  auto line = of("line-tensor");
  line.outputs = {{"x", datatype::fp32, {1, 3, 48, 320}}};
  EXPECT_EQ(completed(line), "ok");
  auto ranked = of("argmax");
  ranked.inputs = {{"x", datatype::fp32, {1, -1, 6906}}};
  ranked.outputs = {{"index", datatype::int32, {1, -1}}, {"max", datatype::fp32, {1, -1}}};
  EXPECT_EQ(completed(ranked), "ok");
  auto pick = of("first-present");
  pick.inputs = find("first-present")->inputs;
  for (auto& p : pick.inputs)
    p.type = datatype::fp32;
  EXPECT_EQ(completed(pick), "ok");
}

TEST(Completion, RefusesPortsThatAreNotTheBuiltins) {
  auto f = of("line-tensor");
  f.inputs = {{"picture", datatype::uint8, {-1, -1, 3}}};
  EXPECT_EQ(completed(f),
            "function 'f', variant 'default': builtin 'line-tensor' has the inputs image, but the function declares "
            "picture; leave them out to take those of the builtin");
  f.inputs = {{"image", datatype::fp32, {-1, -1, 3}}};
  EXPECT_EQ(completed(f),
            "function 'f', variant 'default': builtin 'line-tensor': input 'image' is UINT8 [-1,-1,3], but the "
            "function declares FP32 [-1,-1,3]");
  f.inputs = {{"image", datatype::uint8, {-1, -1, 3}, false, true}};
  EXPECT_EQ(completed(f),
            "function 'f', variant 'default': builtin 'line-tensor': input 'image' is not optional, but the function "
            "declares it so");
  auto label = of("argmax");
  label.outputs = {{"index", datatype::int64, {-1}}, {"max", datatype::fp32, {-1}}};
  EXPECT_EQ(completed(label),
            "function 'f', variant 'default': builtin 'argmax': output 'index' is INT32 [-1], but the function "
            "declares INT64 [-1]");
}

TEST(Completion, RefusesUnknownBuiltinsAndBatches) {
  EXPECT_TRUE(completed(of("ctc-decod"))
                  .starts_with("function 'f', variant 'default': there is no builtin 'ctc-decod'; did you "
                               "mean 'ctc-decode'?"))
      << completed(of("ctc-decod"));
  auto batched = of("noop");
  batched.variants[0].max_batch = 4;
  EXPECT_EQ(completed(batched),
            "function 'f', variant 'default': builtin functions run one item at a time; remove max_batch");
}

TEST(Completion, LeavesOtherKindsAlone) {
  auto f = of("models/tiny");
  f.variants[0].kind = variant_kind::onnx;
  EXPECT_EQ(*complete(f), f);
}

TEST(Parameters, AreCheckedAtRegistration) {
  const auto with = [](std::string target, parameter_map parameters) {
    return completed(of(std::move(target), std::move(parameters)));
  };
  const std::string where = "function 'f', variant 'default', builtin ";
  EXPECT_EQ(with("sleep", {{"millisecond", "1"}}),
            where +
                "'sleep': there is no parameter 'millisecond'; did you mean 'milliseconds'? parameters: milliseconds, "
                "tail_milliseconds, tail_percent");
  EXPECT_EQ(with("sleep", {{"milliseconds", "soon"}}),
            where + "'sleep': parameter 'milliseconds': 'soon' is not a number");
  EXPECT_EQ(with("sleep", {{"milliseconds", "nan"}}),
            where + "'sleep': parameter 'milliseconds': 'nan' is not a number");
  EXPECT_EQ(with("sleep", {{"milliseconds", "-1"}}),
            where + "'sleep': parameter 'milliseconds': -1 is out of bounds; use 0 to 3600000");
  EXPECT_EQ(with("prime", {{"n", "12.5"}}), where + "'prime': parameter 'n': '12.5' is not an integer");
  EXPECT_EQ(with("encode-image", {{"format", "gif"}}),
            where + "'encode-image': parameter 'format': 'gif' is not one of: jpeg, png");
  EXPECT_EQ(with("page-tensor", {{"mean", "1,2"}}),
            where + "'page-tensor': parameter 'mean': '1,2' is not three numbers with commas, one per channel");
  EXPECT_EQ(with("page-tensor", {{"mean", "1,2,x"}}), where + "'page-tensor': parameter 'mean': 'x' is not a number");
  EXPECT_EQ(with("page-tensor", {{"mean", "0.5, 0.5, 0.5"}}), "ok");
  EXPECT_EQ(with("label", {}),
            where + "'label': parameter 'labels': is missing; it is the names of the classes from 0 on, one a line");
  EXPECT_EQ(with("label", {{"labels", ""}}),
            where +
                "'label': parameter 'labels': is empty; give the key of an object in the store, "
                "or \"inline:\" and the content");
  EXPECT_EQ(with("label", {{"labels", "models/labels"}}), "ok") << "its content is not needed yet";
}

TEST(Resources, AreNamedByTheirKeysAndGivenByParameter) {
  const auto& label = *find("label");
  EXPECT_EQ(*resources_of(label, {{"labels", "models/labels"}}),
            (std::vector<resource_key>{{"labels", "models/labels"}}));
  EXPECT_TRUE(resources_of(label, {{"labels", "inline:a"}})->empty());
  EXPECT_TRUE(resources_of(*find("file-magic"), {})->empty()) << "its default is inline";
  EXPECT_FALSE(resources_of(label, {}).ok());
  EXPECT_EQ(make_instance(label, {{"labels", "models/labels"}}, {}).error().message,
            "builtin 'label': parameter 'labels': the content of key 'models/labels' was not loaded");
  const auto named = run("label", {ints({2}, {1, 0})}, {{"labels", "models/labels"}}, {},
                         {{"labels", shared_bytes::copy_of("cat\ndog\n")}});
  EXPECT_EQ(all_texts((*named)[0]), (std::vector<std::string>{"dog", "cat"}));
}

TEST(Guard, ReadsTensorsAtOddAddresses) {
  const std::vector<float> numbers{1, 3, 2};
  const auto bytes = shared_bytes::copy_of("." + std::string{reinterpret_cast<const char*>(numbers.data()), 12});
  const auto out = outputs_of("argmax", {{tensor{datatype::fp32, {1, 3}, bytes.slice(1, 12)}}});
  EXPECT_EQ(out[0], ints({1}, {1}));
  const value list{value_list{{tensor{datatype::fp32, {1, 2}, bytes.slice(1, 8)}}}};
  EXPECT_TRUE(run("vote-direction", {list}).ok());
}

TEST(Guard, ChecksInputsAgainstThePorts) {
  EXPECT_EQ(message(run("crop", {floats({1, 1, 3}, {0, 0, 0}), floats({4}, {0, 0, 1, 1})})),
            "builtin 'crop': input 'image': expected UINT8 [-1,-1,3], got FP32 [1,1,3]");
  EXPECT_EQ(message(run("crop", {})), "builtin 'crop': input 'image' is missing; it is UINT8 [-1,-1,3]");
  EXPECT_EQ(message(run("merge-text", {{value_list{texts({"a"}), {value_list{}}}}})),
            "builtin 'merge-text': input 'texts', element 1: expected a tensor, got a list");
  EXPECT_EQ(
      message(run("merge-text", {texts({"a"})})),
      "builtin 'merge-text': input 'texts': expected a list of BYTES [-1], got a single tensor; put it into a list");
}

} // namespace
} // namespace squall::functions::builtins
