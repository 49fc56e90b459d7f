#include "executors/cpu/variants.hpp"

#include "functions/builtin/builtin.hpp"

#include <cstdio>
#include <fstream>

namespace squall::executors::cpu {

namespace {

namespace builtins = functions::builtins;

class onnx_variant final : public resident_variant {
public:
  onnx_variant(std::unique_ptr<model> loaded, output_memory& outputs) : model_(std::move(loaded)), outputs_(outputs) {}

  std::vector<result<port_values>> run(std::uint32_t lane, std::span<const port_values> items,
                                       const batch_control& control) override {
    return model_->run(lane, items, outputs_, [&control] { return control.go_on(); });
  }
  std::vector<calls::batch_time> measured() const override { return model_->measured(); }

private:
  std::unique_ptr<model> model_;
  output_memory& outputs_;
};

class builtin_variant final : public resident_variant {
public:
  explicit builtin_variant(std::vector<std::unique_ptr<builtins::instance>> instances)
      : instances_(std::move(instances)) {}

  std::vector<result<port_values>> run(std::uint32_t lane, std::span<const port_values> items,
                                       const batch_control& control) override {
    SQUALL_CHECK(lane < instances_.size(), lane, instances_.size());
    std::vector<result<port_values>> results;
    for (const auto& item : items)
      results.push_back(run_item(*instances_[lane], item, control));
    return results;
  }

private:
  static result<port_values> run_item(builtins::instance& instance, const port_values& item,
                                      const batch_control& control) {
    SQUALL_TRY(control.go_on());
    builtins::run_context context{&control.cancelled, std::nullopt};
    if (control.deadline)
      context.time_left = std::chrono::duration_cast<duration>(*control.deadline - host_clock::now());
    return instance.run(item, context);
  }

  std::vector<std::unique_ptr<builtins::instance>> instances_; ///< one per lane
};

result<shared_bytes> read_file(const std::string& parameter, const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string content((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (!file)
    return {errc::not_found, "parameter '" + parameter + "': the file " + path + " cannot be read"};
  return shared_bytes::take(std::move(content));
}

result<std::unique_ptr<resident_variant>> load_builtin(const wire::worker::load& request,
                                                       const variant_environment& environment) {
  const auto* found = builtins::find(request.spec.target);
  if (found == nullptr)
    return {errc::not_found, "there is no builtin '" + request.spec.target + "'"};
  builtins::resource_map resources;
  for (const auto& [parameter, path] : request.resources) {
    SQUALL_ASSIGN(content, read_file(parameter, path));
    resources.emplace(parameter, std::move(content));
  }
  std::vector<std::unique_ptr<builtins::instance>> instances;
  for (std::uint32_t lane = 0; lane < environment.lanes; ++lane) {
    SQUALL_ASSIGN(instance, builtins::make_instance(*found, request.spec.parameters, resources));
    instances.push_back(std::move(instance));
  }
  return std::unique_ptr<resident_variant>(std::make_unique<builtin_variant>(std::move(instances)));
}

result<std::unique_ptr<resident_variant>> load_model(const wire::worker::load& request,
                                                     const variant_environment& environment) {
  if (environment.inference == nullptr)
    return {errc::unsupported, environment.unusable};
  SQUALL_ASSIGN(loaded,
                environment.inference->load({request.spec, request.inputs, request.outputs, request.model_path}));
  if (!loaded->warning().empty())
    std::fprintf(stderr, "%s: %s\n", request.spec.target.c_str(),
                 loaded->warning().c_str()); // a line of the node's log
  return std::unique_ptr<resident_variant>(std::make_unique<onnx_variant>(std::move(loaded), *environment.outputs));
}

} // namespace

result<> batch_control::go_on() const {
  if (cancelled.load(std::memory_order_relaxed))
    return {errc::cancelled, "the batch was cancelled"};
  if (deadline && host_clock::now() >= *deadline)
    return {errc::deadline_exceeded, "the deadline passed before the item ran"};
  return {};
}

result<std::unique_ptr<resident_variant>> load_variant(const wire::worker::load& request,
                                                       const variant_environment& environment) {
  switch (request.spec.kind) {
    case functions::variant_kind::builtin:
      return load_builtin(request, environment);
    case functions::variant_kind::onnx:
      return load_model(request, environment);
    default:
      return {errc::unsupported, "the model host runs builtin and onnx variants, not " +
                                     std::string(functions::to_string(request.spec.kind))};
  }
}

result<shared_bytes> arena_memory::make(std::size_t size, const std::function<void(std::span<std::byte>)>& fill) {
  if (size > wire::max_value_bytes)
    return {errc::too_large, "an output of " + std::to_string(size) + " bytes is beyond the limit of " +
                                 std::to_string(wire::max_value_bytes)};
  if (size < wire::share_threshold_bytes)
    return heap_.make(size, fill);
  SQUALL_ASSIGN(block, arena_.allocate(size));
  fill(block.bytes);
  return arena_.freeze(block);
}

} // namespace squall::executors::cpu
