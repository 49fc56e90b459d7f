#include "builders.hpp"

#include <gtest/gtest.h>

namespace squall::functions {
namespace {

using namespace testing;

function_spec good() {
  return function_of("reader", {{"x", datatype::fp32, {1, 3, 48, -1}}}, {{"text", datatype::bytes, {-1}}});
}

std::string message(const function_spec& spec) {
  const auto checked = validate(spec);
  return checked.ok() ? "ok" : checked.error().message;
}

/// The message after one change to a good spec.
template <class Change>
std::string after(Change change) {
  auto spec = good();
  change(spec);
  return message(spec);
}

TEST(Names, AreLettersDigitsAndAFewMarks) {
  for (const auto* name : {"a", "read-tiny", "v1.2", "_x", "9", "fetch_name_0"})
    EXPECT_TRUE(is_name(name)) << name;
  for (const auto& name : {std::string{""}, std::string{"-a"}, std::string{".a"}, std::string{"a b"},
                           std::string{"a/b"}, std::string{"\xc3\xa4"}, std::string(129, 'a')})
    EXPECT_FALSE(is_name(name)) << name;
}

TEST(Words, RoundTrip) {
  EXPECT_EQ(variant_kind_from_string("onnx"), variant_kind::onnx);
  EXPECT_EQ(to_string(variant_kind::kernels), "kernels");
  EXPECT_EQ(resource_type_from_string("gpu"), resource_type::gpu);
  EXPECT_EQ(to_string(resource_type::cpu), "cpu");
  EXPECT_EQ(predicate_op_from_string("not"), predicate::op::negate);
  EXPECT_EQ(to_string(predicate::op::at_least), "at_least");
  EXPECT_FALSE(variant_kind_from_string("wasm").has_value());
  EXPECT_EQ(to_string(from("$crop")), "$crop");
  EXPECT_EQ(to_string(from("fast.probs")), "fast.probs");
  EXPECT_EQ(to_string(constant(scalar_value(1))), "constant");
  EXPECT_EQ(describe(port{"x", datatype::uint8, {-1, 3}, true, false}), "a list of UINT8 [-1,3]");
}

TEST(FunctionSpecs, AreAcceptedWhenTheyAreInOrder) { EXPECT_EQ(message(good()), "ok"); }

TEST(FunctionSpecs, AreRefusedForTheirName) {
  EXPECT_EQ(after([](auto& s) { s.name = "a b"; }),
            "function: 'a b' cannot name a function: use 1 to 128 letters, digits, '_', '-' and '.', beginning with a "
            "letter, a digit or '_'");
  EXPECT_NE(after([](auto& s) { s.name = "bell\a"; }).find("'bell?' cannot name a function"), std::string::npos);
  EXPECT_EQ(after([](auto& s) { s.version = 0; }), "function 'reader': version is 0; versions begin at 1");
}

TEST(FunctionSpecs, AreRefusedForTheirPorts) {
  EXPECT_EQ(after([](auto& s) { s.inputs.push_back(s.inputs[0]); }),
            "function 'reader' has two inputs named 'x'; rename one");
  EXPECT_EQ(
      after([](auto& s) {
        s.inputs[0].shape = {1, -2};
      }),
      "function 'reader', input 'x': shape [1,-2] has the extent -2; use -1 for a free dimension, else 0 or more");
  EXPECT_EQ(after([](auto& s) { s.inputs[0].shape = shape(9, 1); }),
            "function 'reader', input 'x' has 9 dimensions; the limit is 8");
  EXPECT_EQ(after([](auto& s) { s.outputs[0].optional = true; }),
            "function 'reader', output 'text' is optional; only inputs can be");
  EXPECT_EQ(after([](auto& s) { s.inputs[0].type = static_cast<datatype>(77); }),
            "function 'reader', input 'x': datatype number 77 is unknown");
  EXPECT_EQ(after([](auto& s) { s.outputs.resize(65); }), "function 'reader' has 65 outputs; the limit is 64");
}

TEST(FunctionSpecs, AreRefusedForTheirVariants) {
  EXPECT_EQ(after([](auto& s) { s.variants.clear(); }), "function 'reader' has no variants; give at least one");
  EXPECT_EQ(after([](auto& s) { s.variants.push_back(s.variants[0]); }),
            "function 'reader' has two variants named 'default'; rename one");
  EXPECT_EQ(after([](auto& s) { s.variants.resize(17); }), "function 'reader' has 17 variants; the limit is 16");
  EXPECT_EQ(
      after([](auto& s) { s.variants[0].target.clear(); }),
      "function 'reader', variant 'default': target is empty; name the builtin function, or the key of the model or "
      "of the code");
  EXPECT_EQ(after([](auto& s) { s.variants[0].max_batch = 0; }),
            "function 'reader', variant 'default': max_batch is 0; use 1 to 256");
  EXPECT_EQ(after([](auto& s) { s.variants[0].max_delay = duration{-1}; }),
            "function 'reader', variant 'default': max_delay is negative");
  EXPECT_EQ(after([](auto& s) { s.variants[0].threads = 1000; }),
            "function 'reader', variant 'default': threads is 1000; use 1 to 256");
  EXPECT_EQ(after([](auto& s) { s.variants[0].resource = resource_type::gpu; }),
            "function 'reader', variant 'default': builtin functions run on cpu; remove `resource: gpu`");
  EXPECT_EQ(after([](auto& s) { s.variants[0].kind = static_cast<variant_kind>(0); }),
            "function 'reader', variant 'default': kind number 0 is unknown");
}

TEST(FunctionSpecs, AreRefusedForTheirState) {
  const auto stateful = [](auto change) {
    return after([&](function_spec& s) {
      s.inputs.push_back({"state", datatype::fp32, {2, 1, 128}});
      s.outputs.push_back({"next", datatype::fp32, {2, 1, 128}});
      s.state = {{"state", "next"}};
      change(s);
    });
  };
  EXPECT_EQ(stateful([](auto&) {}), "ok");
  EXPECT_EQ(stateful([](auto& s) { s.state[0].input = "stat"; }),
            "function 'reader', state: there is no input 'stat'; did you mean 'state'? inputs: x, state");
  EXPECT_EQ(stateful([](auto& s) { s.state[0].output = "zzzzzz"; }),
            "function 'reader', state: there is no output 'zzzzzz'; outputs: text, next");
  EXPECT_EQ(stateful([](auto& s) { s.state.push_back(s.state[0]); }),
            "function 'reader', state: 'next' -> 'state' uses a port twice");
  EXPECT_EQ(
      stateful([](auto& s) { s.outputs[1].shape = {1}; }),
      "function 'reader', state: output 'next' is FP32 [1], but input 'state' is FP32 [2,1,128]; they must be the "
      "same tensor");
}

} // namespace
} // namespace squall::functions
