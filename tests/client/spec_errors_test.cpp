#include "client/spec_file.hpp"

#include <gtest/gtest.h>

#include <string>

namespace squall::client {
namespace {

std::string error_of(std::string_view text) {
  const auto parsed = parse_specs(text, "f.yaml", "/nowhere");
  if (parsed.ok())
    return "no error";
  EXPECT_EQ(parsed.error().code, errc::invalid_argument);
  return parsed.error().message;
}

/// The error of a DAG whose stage `s` has this line of further keys. The stage's keys begin at 6:5.
std::string stage_error(const std::string& line) {
  return error_of(
      "apiVersion: squall/v1\nkind: Dag\nmetadata: {name: d}\nspec:\n  stages:\n  - name: s\n    function: f\n    " +
      line + "\n");
}

/// The error of a function whose only variant has this line of keys, at 7:5.
std::string variant_error(const std::string& line) {
  return error_of(
      "apiVersion: squall/v1\nkind: Function\nmetadata: {name: f}\nspec:\n  outputs: {y: {datatype: FP32, shape: "
      "[1]}}\n"
      "  variants:\n  - " +
      line + "\n");
}

TEST(SpecErrors, Documents) {
  EXPECT_EQ(error_of("[1, 2]"), "f.yaml:1:1: expected a mapping, not a list");
  EXPECT_EQ(error_of("kind: Dag"), "f.yaml:1:1: the key 'apiVersion' is missing");
  EXPECT_EQ(
      error_of("apiVersion: squall/v2"),
      "f.yaml:1:13: apiVersion: unknown apiVersion 'squall/v2'; did you mean 'squall/v1'? apiVersions: squall/v1");
  EXPECT_EQ(error_of("apiVersion: squall/v1\nkind: Dga"),
            "f.yaml:2:7: kind: unknown kind 'Dga'; did you mean 'Dag'? kinds: Function, Dag, Cluster");
  EXPECT_EQ(error_of("apiVersion: squall/v1\nkind: Cluster"),
            "f.yaml:2:7: kind: a Cluster is not applied to a cluster: start it with `squall up -f FILE`");
  EXPECT_EQ(
      error_of("apiVersion: squall/v1\nkind: Dag\nmetdata: {}"),
      "f.yaml:3:10: metdata: unknown key 'metdata'; did you mean 'metadata'? keys: apiVersion, kind, metadata, spec");
}

TEST(SpecErrors, Metadata) {
  EXPECT_EQ(error_of("apiVersion: squall/v1\nkind: Dag\nmetadata: {version: 1}"),
            "f.yaml:3:11: metadata: the key 'name' is missing");
  EXPECT_EQ(error_of("apiVersion: squall/v1\nkind: Dag\nmetadata: {name: a b}"),
            "f.yaml:3:18: metadata.name: 'a b' cannot name a DAG: use 1 to 128 letters, digits, '_', '-' and '.', "
            "beginning with a letter, a digit or '_'");
  EXPECT_EQ(error_of("apiVersion: squall/v1\nkind: Dag\nmetadata: {name: a, version: 0}"),
            "f.yaml:3:30: metadata.version: expected a whole number from 1 to 4294967295, not '0'");
}

TEST(SpecErrors, StagesSayWhichKeyAndWhere) {
  EXPECT_EQ(stage_error("inptus: {}"),
            "f.yaml:8:13: spec.stages[0].inptus: unknown key 'inptus'; did you mean 'inputs'? keys: name, "
            "function, inputs, map, max-width, when, join, may-fail, variant, compete");
  EXPECT_EQ(stage_error("inputs: [a]"), "f.yaml:8:13: spec.stages[0].inputs: expected a mapping, not a list");
  EXPECT_EQ(stage_error("may-fail: maybe"),
            "f.yaml:8:15: spec.stages[0].may-fail: expected true or false, not 'maybe'");
  EXPECT_EQ(stage_error("map: {a: 1}"), "f.yaml:8:10: spec.stages[0].map: expected a list, not a mapping");
  EXPECT_EQ(stage_error("max-width: 0"),
            "f.yaml:8:16: spec.stages[0].max-width: expected a whole number from 1 to 4096, not '0'");
  EXPECT_EQ(stage_error("name: t"), "f.yaml:8:5: the key 'name' is here twice");
  EXPECT_EQ(
      error_of("apiVersion: squall/v1\nkind: Dag\nmetadata: {name: d}\nspec:\n  stages:\n  - {name: a.b, function: f}"),
      "f.yaml:6:12: spec.stages[0].name: 'a.b' cannot name a stage: a '.' separates a stage from its output");
  EXPECT_EQ(error_of("apiVersion: squall/v1\nkind: Dag\nmetadata: {name: d}\nspec:\n  stages:\n  - {name: a}"),
            "f.yaml:6:5: spec.stages[0]: the key 'function' is missing");
  EXPECT_EQ(error_of("apiVersion: squall/v1\nkind: Dag\nmetadata: {name: d}\nspec:\n  stages:\n"
                     "  - {name: a, function: f@x}"),
            "f.yaml:6:25: spec.stages[0].function: expected a function with a version such as name@2, not 'f@x'");
  EXPECT_EQ(error_of("apiVersion: squall/v1\nkind: Dag\nmetadata: {name: d}\nspec:\n  stages:\n"
                     "  - {name: a, function: f}\n  - {name: a, function: f}"),
            "f.yaml:7:5: spec.stages[1]: there are two stages named 'a'; rename one");
}

TEST(SpecErrors, SourcesSayWhatIsAccepted) {
  EXPECT_EQ(
      stage_error("inputs: {x: crop}"),
      "f.yaml:8:17: spec.stages[0].inputs.x: expected $input, stage.output, a number, true, false or {const: ...}; "
      "'crop' is none of them (for text: {const: \"crop\"})");
  EXPECT_EQ(stage_error("inputs: {x: [1]}"),
            "f.yaml:8:17: spec.stages[0].inputs.x: expected $input, stage.output, a number, true, "
            "false or {const: ...}, not a list");
  EXPECT_EQ(stage_error("inputs: {x: {cosnt: 1}}"),
            "f.yaml:8:25: spec.stages[0].inputs.x.cosnt: unknown key 'cosnt'; did you mean 'const'? keys: const");
  EXPECT_EQ(stage_error("inputs: {x: $}"),
            "f.yaml:8:17: spec.stages[0].inputs.x: '' cannot name a DAG's input: use 1 to 128 letters, digits, '_', "
            "'-' and '.', "
            "beginning with a letter, a digit or '_'");
  EXPECT_EQ(stage_error("inputs: {x: }"),
            "f.yaml:8:17: spec.stages[0].inputs.x: expected $input, stage.output, a number, true, "
            "false or {const: ...}, not nothing");
}

TEST(SpecErrors, ConstantsMustBeRectangular) {
  EXPECT_EQ(stage_error("inputs: {x: {const: [[1, 2], [3]]}}"),
            "f.yaml:8:34: spec.stages[0].inputs.x.const[1]: 1 elements, the lists beside it have 2");
  EXPECT_EQ(stage_error("inputs: {x: {const: [[1], 2]}}"),
            "f.yaml:8:31: spec.stages[0].inputs.x.const[1]: expected a list, as the lists beside it have 2 dimensions, "
            "not '2'");
  EXPECT_EQ(stage_error("inputs: {x: {const: [1, [2]]}}"),
            "f.yaml:8:29: spec.stages[0].inputs.x.const[1]: expected an element, as the lists beside it hold elements, "
            "not a list");
  EXPECT_EQ(stage_error("inputs: {x: {const: [1, a]}}"),
            "f.yaml:8:29: spec.stages[0].inputs.x.const[1]: expected a number, not 'a'");
  EXPECT_EQ(stage_error("inputs: {x: {const: []}}"),
            "f.yaml:8:25: spec.stages[0].inputs.x.const: an empty list has no datatype; "
            "use {const: {datatype: ..., shape: [0], data: []}}");
  EXPECT_EQ(stage_error("inputs: {x: {const: {datatype: FP32, shape: [1]}}}"),
            "f.yaml:8:25: spec.stages[0].inputs.x.const: the key 'data' is missing");
}

TEST(SpecErrors, Conditions) {
  EXPECT_EQ(stage_error("when: a.b"), "f.yaml:8:11: spec.stages[0].when: expected a mapping, not 'a.b'");
  EXPECT_EQ(stage_error("when: {value: a.b}"),
            "f.yaml:8:11: spec.stages[0].when: a comparison is missing: below, above, at-most, "
            "at-least, equal or not-equal");
  EXPECT_EQ(stage_error("when: {below: 1}"), "f.yaml:8:11: spec.stages[0].when: the key 'value' is missing");
  EXPECT_EQ(stage_error("when: {value: a.b, belwo: 1}"),
            "f.yaml:8:31: spec.stages[0].when.belwo: unknown key 'belwo'; did you mean 'below'? keys: value, below, "
            "above, at-most, "
            "at-least, equal, not-equal, present, all, any, not");
  EXPECT_EQ(stage_error("when: {value: a.b, below: x}"),
            "f.yaml:8:31: spec.stages[0].when.below: expected a number, not 'x'");
  EXPECT_EQ(stage_error("when: {value: crop, below: 1}"),
            "f.yaml:8:19: spec.stages[0].when.value: 'crop' is neither $input nor stage.output; write $crop for an "
            "input of the DAG");
  EXPECT_EQ(
      stage_error("when: {present: a.b, value: c.d, below: 1}"),
      "f.yaml:8:11: spec.stages[0].when: 'present' stands alone; combine conditions with {all: [...]} or {any: [...]}");
  EXPECT_EQ(stage_error("when: {all: [{present: a.b}, 5]}"),
            "f.yaml:8:34: spec.stages[0].when.all[1]: expected a mapping, not '5'");
}

TEST(SpecErrors, Joins) {
  EXPECT_EQ(stage_error("join: some"),
            "f.yaml:8:11: spec.stages[0].join: expected all, any, {k: 2, wait: 40ms} or {best-effort: 2}, not 'some'");
  EXPECT_EQ(stage_error("join: {best-effort: 2, wait: 40ms}"),
            "f.yaml:8:34: spec.stages[0].join.wait: 'wait' does not go with best-effort, which waits for all until the "
            "call has to be answered");
  EXPECT_EQ(stage_error("join: {k: 0}"),
            "f.yaml:8:15: spec.stages[0].join.k: expected a whole number from 1 to 64, not '0'");
  EXPECT_EQ(stage_error("join: {k: 1, wait: 40}"),
            "f.yaml:8:24: spec.stages[0].join.wait: expected a duration such as 250us, 40ms or 2s, not '40'");
}

TEST(SpecErrors, Ports) {
  const auto port_error = [](const std::string& port) {
    return error_of("apiVersion: squall/v1\nkind: Dag\nmetadata: {name: d}\nspec:\n  inputs: {x: " + port +
                    "}\n  stages: []\n");
  };
  EXPECT_EQ(port_error("FP32"), "f.yaml:5:15: spec.inputs.x: expected a mapping, not 'FP32'");
  EXPECT_EQ(port_error("{datatype: FP31, shape: [1]}"),
            "f.yaml:5:26: spec.inputs.x.datatype: unknown datatype 'FP31'; did you mean 'FP32'? datatypes: BOOL, "
            "UINT8, UINT16, UINT32, "
            "UINT64, INT8, INT16, INT32, INT64, FP16, BF16, FP32, FP64, BYTES");
  EXPECT_EQ(port_error("{datatype: FP32}"), "f.yaml:5:15: spec.inputs.x: the key 'shape' is missing");
  EXPECT_EQ(
      port_error("{datatype: FP32, shape: [1, -2]}"),
      "f.yaml:5:43: spec.inputs.x.shape[1]: expected an extent: a whole number, or -1 for a free dimension, not '-2'");
  EXPECT_EQ(port_error("{datatype: FP32, shape: [1, 1, 1, 1, 1, 1, 1, 1, 1]}"),
            "f.yaml:5:39: spec.inputs.x.shape: 9 dimensions, a tensor has at most 8");
}

TEST(SpecErrors, Variants) {
  EXPECT_EQ(
      variant_error("{name: a}"),
      "f.yaml:7:5: spec.variants[0]: a variant has one of `builtin: NAME`, `model: FILE`, `library: FILE` (native "
      "code) and `code: FILE` or `entry: MODULE:NAME` (Python)");
  EXPECT_EQ(variant_error("{builtin: a, model: ./b}"),
            "f.yaml:7:5: spec.variants[0]: `builtin` and `model` do not go together");
  EXPECT_EQ(variant_error("{kind: onnx, builtin: a}"),
            "f.yaml:7:12: spec.variants[0].kind: `builtin` goes with kind: builtin");
  EXPECT_EQ(variant_error("{kind: python, builtin: a}"),
            "f.yaml:7:12: spec.variants[0].kind: `builtin` goes with kind: builtin");
  EXPECT_EQ(variant_error("{model: m.onnx}"),
            "f.yaml:7:13: spec.variants[0].model: 'm.onnx' is neither a path (it starts with ./, ../ or "
            "/) nor a key of the store (it starts with models/)");
  EXPECT_EQ(variant_error("{model: ./m.onnx}"), "f.yaml:7:13: spec.variants[0].model: no file /nowhere/./m.onnx");
  EXPECT_EQ(
      variant_error("{model: models/x, precision: fp32}"),
      "f.yaml:7:34: spec.variants[0].precision: unknown precision 'fp32'; did you mean 'f32'? precisions: f32, bf16");
  EXPECT_EQ(variant_error("{builtin: a, precision: f32}"),
            "f.yaml:7:29: spec.variants[0].precision: goes with kind: onnx");
  EXPECT_EQ(variant_error("{builtin: a, batch: {max: 300}}"),
            "f.yaml:7:31: spec.variants[0].batch.max: expected a whole number from 1 to 256, not '300'");
  EXPECT_EQ(variant_error("{builtin: a, memory: lots}"),
            "f.yaml:7:26: spec.variants[0].memory: expected a size such as 65536, 64KiB or 512MiB, not 'lots'");
  EXPECT_EQ(variant_error("{builtin: a, parameters: {precision: f32}}"),
            "f.yaml:7:42: spec.variants[0].parameters.precision: is set by the key `precision` of the variant");
  EXPECT_EQ(variant_error("{model: models/x, resources: {d: ./x}}"),
            "f.yaml:7:34: spec.variants[0].resources: goes with kind: builtin");
  EXPECT_EQ(variant_error("{builtin: a, parameters: {d: x}, resources: {d: ./x}}"),
            "f.yaml:7:53: spec.variants[0].resources.d: is among the `parameters`, too");
  EXPECT_EQ(
      error_of("apiVersion: squall/v1\nkind: Function\nmetadata: {name: f}\nspec: {variants: [{model: models/x}]}"),
      "f.yaml:4:7: spec: the key 'outputs' is missing; a function of a model, or of code, declares its ports");
  EXPECT_EQ(variant_error("{builtin: a}\n  - {builtin: b}"),
            "f.yaml:8:5: spec.variants[1]: there are two variants named 'default'; give each its own `name`");
}

TEST(SpecErrors, ADagOfTenThousandStages) {
  std::string text = "apiVersion: squall/v1\nkind: Dag\nmetadata: {name: d}\nspec:\n  stages:\n";
  for (int i = 0; i < 10'000; ++i)
    text += "  - {name: s" + std::to_string(i) + ", function: f}\n";
  EXPECT_EQ(error_of(text), "f.yaml:6:3: spec.stages: 10000 stages, a DAG may have 1000");
}

TEST(SpecErrors, WhatTheSpecItselfRefuses) {
  EXPECT_EQ(error_of("apiVersion: squall/v1\nkind: Dag\nmetadata: {name: d}\nspec: {stages: []}"),
            "f.yaml:4:7: spec: DAG 'd' has no stages; give at least one");
  EXPECT_EQ(error_of("apiVersion: squall/v1\nkind: Function\nmetadata: {name: f}\nspec:\n  outputs: {y: {datatype: "
                     "FP32, shape: [1]}}\n"
                     "  variants: [{builtin: b}]\n  state: [{input: x, output: y}]"),
            "f.yaml:5:3: spec: function 'f', state: there is no input 'x'; inputs: none");
}

} // namespace
} // namespace squall::client
