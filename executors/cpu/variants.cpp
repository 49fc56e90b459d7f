#include "executors/cpu/variants.hpp"

#include "executors/native/library.hpp"
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

/// What a native function that the operator trusts finds in this process. There is no sandbox around it, and nobody
/// whom it could ask.
class trusted_services final : public native::services {
public:
  trusted_services(output_memory& memory, const batch_control* control) : memory_(memory), control_(control) {}

  result<block> allocate(std::size_t size) override {
    // The memory is made by fill(), and is the function's to write until it is frozen.
    auto place = std::make_shared<std::pair<shared_bytes, std::span<std::byte>>>();
    SQUALL_ASSIGN(made, memory_.make(size, [&](std::span<std::byte> bytes) { place->second = bytes; }));
    place->first = std::move(made);
    return block{place->second, [place] { return place->first; }};
  }
  void log(int, const std::string& text) override { std::fprintf(stderr, "%s\n", text.c_str()); }
  bool cancelled() override { return control_ != nullptr && !control_->go_on().ok(); }
  std::optional<duration> time_left() override {
    if (control_ == nullptr || !control_->deadline)
      return std::nullopt;
    return std::chrono::duration_cast<duration>(*control_->deadline - host_clock::now());
  }
  result<> emit(std::uint32_t, native::port_values) override { return {}; }
  result<shared_bytes> get(const std::string&) override { return refuse(); }
  result<> put(const std::string&, shared_bytes) override { return refuse(); }
  result<> erase(const std::string&) override { return refuse(); }
  result<std::vector<wire::wire_value>> call(std::uint32_t, const std::string&, std::uint32_t,
                                             std::vector<wire::wire_value>) override {
    return refuse();
  }

private:
  static error refuse() {
    return {errc::unsupported, "a function that runs in the node's own processes has neither state nor calls", {}};
  }

  output_memory& memory_;
  const batch_control* control_;
};

/// One instance of a trusted native function for each lane, since an instance is used by one thread at a time.
class native_variant final : public resident_variant {
public:
  native_variant(std::vector<std::unique_ptr<native::function>> instances, output_memory& memory)
      : instances_(std::move(instances)), memory_(memory) {}

  std::vector<result<port_values>> run(std::uint32_t lane, std::span<const port_values> items,
                                       const batch_control& control) override {
    SQUALL_CHECK(lane < instances_.size(), lane, instances_.size());
    trusted_services services(memory_, &control);
    return instances_[lane]->run(items, services);
  }

private:
  std::vector<std::unique_ptr<native::function>> instances_;
  output_memory& memory_;
};

result<std::unique_ptr<resident_variant>> load_native(const wire::worker::load& request,
                                                      const variant_environment& environment) {
  std::vector<std::unique_ptr<native::function>> instances;
  trusted_services services(*environment.outputs, nullptr);
  for (std::uint32_t lane = 0; lane < environment.lanes; ++lane) {
    SQUALL_ASSIGN(instance, native::function::load(request.model_path, request, services));
    instances.push_back(std::move(instance));
  }
  return std::unique_ptr<resident_variant>(
      std::make_unique<native_variant>(std::move(instances), *environment.outputs));
}

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
    case functions::variant_kind::native:
      return load_native(request, environment);
    default:
      return {errc::unsupported, "the model host runs builtin, onnx and trusted native variants, not " +
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
