#include "client/spec_file.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

namespace squall::client {
namespace {

using namespace std::chrono_literals;
using functions::binding;
using functions::datatype;
using functions::predicate;

std::vector<spec_document> parse(std::string_view text, const std::filesystem::path& folder = ".") {
  auto parsed = parse_specs(text, "f.yaml", folder);
  EXPECT_TRUE(parsed.ok()) << parsed.error().message;
  return parsed.ok() ? std::move(parsed).value() : std::vector<spec_document>{};
}

/// A DAG with one stage named `s` whose body is given.
functions::stage_spec stage_of(const std::string& body) {
  const auto documents =
      parse("apiVersion: squall/v1\nkind: Dag\nmetadata: {name: d}\nspec:\n  stages:\n  - {name: s, function: f, " +
            body + "}\n");
  return documents.empty() ? functions::stage_spec{} : std::get<functions::dag_spec>(documents[0].spec).stages.at(0);
}

class scratch_folder {
public:
  scratch_folder() {
    char name[] = "/tmp/squall-spec-XXXXXX";
    path = ::mkdtemp(name);
  }
  ~scratch_folder() { std::filesystem::remove_all(path); }
  void write(const std::string& name, std::string_view content) const {
    std::filesystem::create_directories((path / name).parent_path());
    std::ofstream{path / name, std::ios::binary} << content;
  }
  std::filesystem::path path;
};

TEST(SpecFile, AFunctionWithEveryKey) {
  const scratch_folder folder;
  folder.write("m.onnx", "model");
  folder.write("dict.txt", "a\nb\n");
  const auto documents = parse(R"(
apiVersion: squall/v1
kind: Function
metadata: {name: read, version: 3}
spec:
  inputs:
    x: {datatype: FP32, shape: [1, 3, 48, -1]}
    hints: {datatype: BYTES, shape: [1], list: true, optional: true}
    state: {datatype: FP32, shape: [2]}
  outputs:
    text: {datatype: BYTES, shape: [-1]}
    next: {datatype: FP32, shape: [2]}
  variants:
  - name: bf16
    kind: onnx
    resource: cpu
    model: ./m.onnx
    precision: bf16
    parameters: {reduce.probs: argmax, factor: 0.5}
    batch: {max: 8, delay: 2ms}
    threads: 2
    memory: 100MiB
  - {builtin: ctc-collapse, resources: {dictionary: ./dict.txt}}
  state: [{input: state, output: next}]
)",
                               folder.path);
  ASSERT_EQ(documents.size(), 1u);
  const auto& spec = std::get<functions::function_spec>(documents[0].spec);
  EXPECT_EQ(spec.name, "read");
  EXPECT_EQ(spec.version, 3u);
  ASSERT_EQ(spec.inputs.size(), 3u);
  EXPECT_EQ(spec.inputs[0], (functions::port{"x", datatype::fp32, {1, 3, 48, -1}, false, false}));
  EXPECT_EQ(spec.inputs[1], (functions::port{"hints", datatype::bytes, {1}, true, true}));
  ASSERT_EQ(spec.variants.size(), 2u);
  const auto& v = spec.variants[0];
  EXPECT_EQ(v.kind, functions::variant_kind::onnx);
  EXPECT_EQ(v.max_batch, 8u);
  EXPECT_EQ(v.max_delay, 2ms);
  EXPECT_EQ(v.threads, 2u);
  EXPECT_EQ(v.memory_bytes, 100u << 20);
  ASSERT_EQ(documents[0].uploads.size(), 2u);
  EXPECT_EQ(v.target, documents[0].uploads[0].key);
  EXPECT_EQ(v.parameters,
            (std::map<std::string, std::string>{{"precision", "bf16"}, {"reduce.probs", "argmax"}, {"factor", "0.5"}}));
  EXPECT_EQ(spec.variants[1].name, "default");
  EXPECT_EQ(spec.variants[1].target, "ctc-collapse");
  EXPECT_EQ(spec.variants[1].parameters,
            (std::map<std::string, std::string>{{"dictionary", documents[0].uploads[1].key}}));
  EXPECT_EQ(spec.state, (std::vector<functions::state_spec>{{"state", "next"}}));
}

TEST(SpecFile, AnUploadIsNamedByItsBytes) {
  const scratch_folder folder;
  folder.write("a/m.onnx", "model");
  folder.write("b/m.onnx", "model");
  folder.write("c/m.onnx", "other");
  const auto a = make_upload(folder.path / "a/m.onnx").value();
  EXPECT_EQ(a.key.size(), std::string{"models/"}.size() + 32 + std::string{"-m.onnx"}.size());
  EXPECT_TRUE(a.key.starts_with("models/"));
  EXPECT_TRUE(a.key.ends_with("-m.onnx"));
  EXPECT_EQ(a.size_bytes, 5u);
  EXPECT_EQ(make_upload(folder.path / "b/m.onnx").value().key, a.key);
  EXPECT_NE(make_upload(folder.path / "c/m.onnx").value().key, a.key);
}

TEST(SpecFile, TwoVariantsOfOneModelUploadItOnce) {
  const scratch_folder folder;
  folder.write("m.onnx", "model");
  const auto documents = parse(R"(
apiVersion: squall/v1
kind: Function
metadata: {name: read}
spec:
  outputs: {y: {datatype: FP32, shape: [1]}}
  variants:
  - {name: f32, model: ./m.onnx, precision: f32}
  - {name: bf16, model: ./m.onnx, precision: bf16}
  - {name: kept, model: models/0123-m.onnx}
)",
                               folder.path);
  ASSERT_EQ(documents.size(), 1u);
  EXPECT_EQ(documents[0].uploads.size(), 1u);
  EXPECT_EQ(std::get<functions::function_spec>(documents[0].spec).variants[2].target, "models/0123-m.onnx");
}

TEST(SpecFile, TheCascadeOfTheReadme) {
  const auto documents = parse(R"(
apiVersion: squall/v1
kind: Dag
metadata: {name: read-line}
spec:
  inputs:  {crop: {datatype: FP32, shape: [1, 3, 48, -1]}}
  stages:
  - {name: fast,  function: read-tiny@2,  inputs: {x: $crop}, variant: f32}
  - {name: sure,  function: ctc-decode, inputs: {probs: fast.probs}}
  - {name: slow,  function: read-small, inputs: {x: $crop}, when: {value: sure.confidence, below: 0.97}}
  - {name: again, function: ctc-decode, inputs: {probs: slow.probs}}
  - {name: pick,  function: first-present, inputs: {a: again.text, b: sure.text}, join: any}
  outputs: {text: pick.value}
)");
  ASSERT_EQ(documents.size(), 1u);
  const auto& dag = std::get<functions::dag_spec>(documents[0].spec);
  EXPECT_EQ(documents[0].where, "f.yaml:2:1");
  EXPECT_EQ(documents[0].name(), "read-line");
  EXPECT_EQ(dag.version, 1u);
  ASSERT_EQ(dag.stages.size(), 5u);
  EXPECT_EQ(dag.stages[0].function, "read-tiny");
  EXPECT_EQ(dag.stages[0].version, 2u);
  EXPECT_EQ(dag.stages[0].variant, "f32");
  EXPECT_EQ(to_string(dag.stages[0].inputs[0].source), "$crop");
  const predicate& when = dag.stages[2].when.value();
  EXPECT_EQ(when.operation, predicate::op::below);
  EXPECT_EQ(to_string(when.subject), "sure.confidence");
  EXPECT_EQ(std::get<double>(when.operand), 0.97);
  EXPECT_EQ(dag.stages[4].join.rule, functions::join_rule::kind::any);
  EXPECT_EQ(to_string(dag.outputs[0].source), "pick.value");
}

TEST(SpecFile, MapsAndJoins) {
  const auto stage =
      stage_of("inputs: {a: $x, b: t.y}, map: [a, b], max-width: 64, join: {k: 2, wait: 40ms}, may-fail: true");
  EXPECT_EQ(stage.map, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(stage.width_max, 64u);
  EXPECT_EQ(stage.join.rule, functions::join_rule::kind::count);
  EXPECT_EQ(stage.join.count, 2u);
  EXPECT_EQ(stage.join.wait, 40ms);
  EXPECT_TRUE(stage.may_fail);
  EXPECT_EQ(stage_of("map: a").map, std::vector<std::string>{"a"});
  EXPECT_FALSE(stage.join.best_effort());
  const auto due = stage_of("inputs: {a: $x, b: t.y}, join: {best-effort: 2}");
  EXPECT_TRUE(due.join.best_effort());
  EXPECT_EQ(due.join.count, 2u);
  EXPECT_TRUE(due.join.must);
}

TEST(SpecFile, Constants) {
  const auto constant = [](const std::string& text) {
    return stage_of("inputs: {a: " + text + "}").inputs.at(0).source.constant;
  };
  EXPECT_EQ(constant("3"), functions::scalar_value(std::int64_t{3}));
  EXPECT_EQ(constant("0.25"), functions::scalar_value(0.25));
  EXPECT_EQ(constant("-1e3"), functions::scalar_value(-1000.0));
  EXPECT_EQ(constant("true"), functions::scalar_value(true));
  EXPECT_EQ(constant("{const: hello}"), functions::scalar_value("hello"));
  EXPECT_EQ(constant("{const: \"5\"}"), functions::scalar_value("5"));
  EXPECT_EQ(constant("{const: 5}"), functions::scalar_value(std::int64_t{5}));
  const auto matrix = constant("{const: [[1, 2, 3], [4, 5, 6]]}");
  EXPECT_EQ(matrix.as_tensor()->shape, (functions::shape{2, 3}));
  EXPECT_EQ(matrix.as_tensor()->type, datatype::int64);
  EXPECT_EQ(constant("{const: [1, 2.5]}").as_tensor()->type, datatype::fp64);
  EXPECT_EQ(constant("{const: [true, false]}").as_tensor()->type, datatype::boolean);
  const auto texts = constant("{const: [a, b]}");
  EXPECT_EQ(functions::bytes_elements(*texts.as_tensor()).value(), (std::vector<std::string_view>{"a", "b"}));
  const auto typed = constant("{const: {datatype: FP32, shape: [2], data: [1, 2.5]}}");
  EXPECT_EQ(*typed.as_tensor(), functions::tensor_of(datatype::fp32, {2}, std::vector<float>{1, 2.5F}));
}

TEST(SpecFile, Conditions) {
  using op = predicate::op;
  const auto when = [](const std::string& text) { return stage_of("when: " + text).when.value(); };
  EXPECT_EQ(when("{value: a.b, at-least: 3}").operation, op::at_least);
  EXPECT_EQ(std::get<std::string>(when("{value: a.b, equal: pdf}").operand), "pdf");
  EXPECT_EQ(std::get<double>(when("{value: $x, not-equal: true}").operand), 1.0);
  EXPECT_EQ(when("{present: a.b}").operation, op::present);
  const auto both = when("{value: a.b, above: 1, at-most: 2}");
  EXPECT_EQ(both.operation, op::all);
  ASSERT_EQ(both.children.size(), 2u);
  EXPECT_EQ(both.children[0].operation, op::above);
  const auto nested = when("{any: [{present: a.b}, {not: {all: [{value: c.d, below: 1}]}}]}");
  EXPECT_EQ(nested.operation, op::any);
  EXPECT_EQ(nested.children[1].operation, op::negate);
  EXPECT_EQ(nested.children[1].children[0].operation, op::all);
}

TEST(SpecFile, SeveralDocumentsAndJson) {
  const auto documents = parse(R"(
apiVersion: squall/v1
kind: Function
metadata: {name: a}
spec: {variants: [{builtin: noop}]}
---
{"apiVersion": "squall/v1", "kind": "Dag", "metadata": {"name": "b"},
 "spec": {"stages": [{"name": "s", "function": "a"}], "outputs": {"y": "s.y"}}}
)");
  ASSERT_EQ(documents.size(), 2u);
  EXPECT_TRUE(documents[0].is_function());
  EXPECT_FALSE(documents[1].is_function());
}

} // namespace
} // namespace squall::client
