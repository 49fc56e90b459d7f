#include "bench/direct/toolbox.hpp"

#include <chrono>
#include <fstream>

namespace squall::bench {

namespace {

using functions::datatype;
using functions::port;

port fp32(std::string name, functions::shape shape) {
  port made;
  made.name = std::move(name);
  made.shape = std::move(shape);
  return made;
}

port int32(std::string name, functions::shape shape) {
  auto made = fp32(std::move(name), std::move(shape));
  made.type = datatype::int32;
  return made;
}

/// Ports and parameters of a model, from the beginning of its name.
void describe(const std::string& model, executors::cpu::model_request& request) {
  auto& parameters = request.spec.parameters;
  if (model.starts_with("rec-")) {
    request.inputs = {fp32("x", {-1, 3, 48, -1})};
    request.outputs = {int32("probs_index", {-1, -1}), fp32("probs_max", {-1, -1})};
    parameters.merge(std::map<std::string, std::string>{
        {"rename.probs", "fetch_name_0"}, {"reduce.probs", "argmax"}, {"warm", "1x3x48x320"}});
  } else if (model.starts_with("det-")) {
    request.inputs = {fp32("x", {1, 3, -1, -1})};
    request.outputs = {fp32("probs", {1, 1, -1, -1})};
    parameters.merge(std::map<std::string, std::string>{{"rename.probs", "fetch_name_0"}, {"warm", "1x3x480x640"}});
  } else if (model.starts_with("cls-")) {
    request.inputs = {fp32("x", {-1, 3, 48, 192})};
    request.outputs = {fp32("probs", {-1, 2})};
    parameters["rename.probs"] = "softmax_0.tmp_0";
  } else {
    request.inputs = {int32("bytes", {-1, 2048})};
    request.outputs = {fp32("target_label", {-1, 214})};
  }
}

result<shared_bytes> read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string content((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (!file)
    return {errc::not_found, path.string() + " cannot be read"};
  return shared_bytes::take(std::move(content));
}

} // namespace

result<> toolbox::add_model(const std::string& use, const std::string& model, const std::string& precision) {
  if (!runtime_) {
    SQUALL_ASSIGN(made, executors::cpu::runtime::create({.lanes = lanes_, .cache_folder = {}}));
    runtime_ = std::move(made);
  }
  executors::cpu::model_request request;
  request.spec.name = precision;
  request.spec.kind = functions::variant_kind::onnx;
  request.spec.parameters["precision"] = precision;
  request.path = folder_ / (model + ".onnx");
  describe(model, request);
  SQUALL_ASSIGN(loaded, runtime_->load(request));
  models_[use] = std::move(loaded);
  return {};
}

result<> toolbox::add_builtin(const std::string& use, const std::string& name,
                              functions::builtins::parameter_map parameters) {
  const auto* found = functions::builtins::find(name);
  if (found == nullptr)
    return {errc::not_found, "there is no builtin '" + name + "'"};
  SQUALL_ASSIGN(keys, functions::builtins::resources_of(*found, parameters));
  functions::builtins::resource_map resources;
  for (const auto& key : keys) {
    SQUALL_ASSIGN(content, read_file(folder_ / key.key));
    resources.emplace(key.parameter, std::move(content));
  }
  auto& instances = builtins_[use];
  for (std::uint32_t lane = 0; lane < lanes_; ++lane) {
    SQUALL_ASSIGN(instance, functions::builtins::make_instance(*found, parameters, resources));
    instances.push_back(std::move(instance));
  }
  return {};
}

result<port_values> item_run::model(const std::string& use, port_values inputs) {
  const auto start = std::chrono::steady_clock::now();
  const std::vector<port_values> items = {std::move(inputs)};
  auto outputs = tools_.model(use).run(lane_, items, memory_, [] { return result<>(); });
  times_[use] += std::chrono::steady_clock::now() - start;
  return std::move(outputs.front());
}

result<port_values> item_run::builtin(const std::string& use, const port_values& inputs) {
  return tools_.builtin(use, lane_).run(inputs, {});
}

} // namespace squall::bench
