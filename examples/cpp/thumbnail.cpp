#include "client/values.hpp"
#include "examples/cpp/support.hpp"

#include <cstdio>
#include <fstream>

/// Three builtins in a row, registered from C++: decode, shrink, encode.
namespace squall::examples {

namespace {

functions::function_spec builtin(const std::string& name, const std::string& target,
                                 std::map<std::string, std::string> parameters) {
  functions::function_spec spec;
  spec.name = name;
  functions::variant_spec variant;
  variant.name = "default";
  variant.target = target;
  variant.parameters = std::move(parameters);
  spec.variants.push_back(std::move(variant));
  return spec;
}

functions::stage_spec stage(const std::string& name, const std::string& function, const std::string& input,
                            functions::binding source) {
  functions::stage_spec spec;
  spec.name = name;
  spec.function = function;
  spec.inputs.push_back({input, std::move(source)});
  return spec;
}

functions::binding from_input(const std::string& name) { return {functions::binding::source::dag_input, {}, name, {}}; }
functions::binding from_stage(const std::string& name, const std::string& output) {
  return {functions::binding::source::stage_output, name, output, {}};
}

functions::dag_spec thumbnail_dag() {
  functions::dag_spec dag;
  dag.name = "example-thumbnail";
  dag.inputs.push_back({"file", functions::datatype::bytes, {1}, false, false});
  dag.stages.push_back(stage("picture", "example-decode", "data", from_input("file")));
  dag.stages.push_back(stage("small", "example-shrink", "image", from_stage("picture", "image")));
  dag.stages.push_back(stage("png", "example-encode", "image", from_stage("small", "image")));
  dag.outputs.push_back({"file", from_stage("png", "data")});
  return dag;
}

int run(const std::string& picture, const std::string& out) {
  const auto cluster = connect_or_exit();
  for (const auto& function : {builtin("example-decode", "decode-image", {}),
                               builtin("example-shrink", "resize", {{"width", "64"}, {"height", "64"}}),
                               builtin("example-encode", "encode-image", {{"format", "png"}})})
    value_or_exit(cluster->register_function(function));
  value_or_exit(cluster->register_dag(thumbnail_dag()));

  const auto ended = cluster->call("example-thumbnail", {{"file", value_or_exit(client::file_value(picture))}}).get();
  value_or_exit(ended.status());
  const auto png = value_or_exit(functions::first_text(*ended.find("file")));
  std::ofstream{out, std::ios::binary} << png;
  std::printf("%s: %zu bytes, in %.1f ms\n", out.c_str(), png.size(),
              static_cast<double>(ended.outcome.elapsed.count()) / 1e6);
  return 0;
}

} // namespace

} // namespace squall::examples

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: example-thumbnail PICTURE OUT.png\n");
    return 2;
  }
  return squall::examples::run(argv[1], argv[2]);
}
