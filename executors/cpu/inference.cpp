#include "executors/cpu/inference.hpp"

#include "executors/cpu/detail/batching.hpp"
#include "executors/cpu/detail/network.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <mutex>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/lsan_interface.h>
#endif

namespace squall::executors::cpu {

namespace {

using detail::item_group;
using functions::tensor;

error from_exception(errc code, const std::string& doing, const std::exception& failure) {
  return {code, doing + ": " + detail::reason(failure), {}};
}

/// What an item must hold for the runtime to be called at all.
result<> check_item(const port_values& item, const std::vector<functions::port>& ports) {
  if (item.size() != ports.size())
    return {errc::invalid_argument,
            "the model takes " + std::to_string(ports.size()) + " inputs, given " + std::to_string(item.size())};
  for (std::size_t i = 0; i < ports.size(); ++i) {
    const auto& port = ports[i];
    const auto* given = item[i].as_tensor();
    if (given == nullptr)
      return {errc::invalid_argument,
              "input '" + port.name + "' is " + (item[i].absent() ? "absent" : "a list") + ", a tensor is needed"};
    const bool shape_fits = std::ranges::equal(
        given->shape, port.shape, [](auto extent, auto declared) { return declared < 0 || declared == extent; });
    if (given->type != port.type || !shape_fits)
      return {errc::invalid_argument,
              "input '" + port.name + "' takes " + std::string(functions::to_string(port.type)) + " " +
                  functions::to_string(port.shape) + ", given " + std::string(functions::to_string(given->type)) + " " +
                  functions::to_string(given->shape)};
    SQUALL_TRY(functions::validate(*given));
  }
  return {};
}

/// The runtime reads the value's own memory where it is aligned for its elements (it never writes to inputs), else a
/// copy.
ov::Tensor view_of(const tensor& value) {
  const auto element = detail::to_element(value.type);
  const ov::Shape shape(value.shape.begin(), value.shape.end());
  if (value.data.empty())
    return {element, shape};
  if (reinterpret_cast<std::uintptr_t>(value.data.data()) % functions::element_size(value.type) == 0)
    return {element, shape, const_cast<std::byte*>(value.data.data())};
  ov::Tensor copy(element, shape);
  std::memcpy(copy.data(), value.data.data(), value.data.size());
  return copy;
}

ov::Tensor join(std::span<const port_values> items, const item_group& group, std::size_t port, std::size_t axis) {
  const auto& first = *items[group.items.front()][port].as_tensor();
  const auto shape = detail::joined_shape(first.shape, axis, group.extents);
  ov::Tensor whole(detail::to_element(first.type), ov::Shape(shape.begin(), shape.end()));
  const auto stride = detail::bytes_below(shape, axis, functions::element_size(first.type));
  const auto runs = detail::runs_above(shape, axis);
  std::int64_t begin = 0;
  for (std::size_t i = 0; i < group.items.size(); ++i) {
    const auto& part = *items[group.items[i]][port].as_tensor();
    detail::put_slice(static_cast<std::byte*>(whole.data()), part.data.data(), runs, stride, shape[axis], begin,
                      group.extents[i]);
    begin += group.extents[i];
  }
  return whole;
}

class openvino_model final : public model {
public:
  openvino_model(model_request request, detail::model_parameters parameters, ov::CompiledModel compiled,
                 std::uint32_t lanes)
      : request_(std::move(request)), parameters_(std::move(parameters)), compiled_(std::move(compiled)) {
    for (std::uint32_t i = 0; i < lanes; ++i)
      requests_.push_back(compiled_.create_infer_request());
  }

  std::vector<result<port_values>> run(std::uint32_t lane, std::span<const port_values> items, output_memory& memory,
                                       const std::function<result<>()>& stop) override {
    SQUALL_CHECK(lane < requests_.size(), lane, requests_.size());
    std::vector<result<port_values>> results(items.size(), result<port_values>(errc::internal, "the item did not run"));
    std::vector<port_values> sound; // the items that may run, and where they came from
    std::vector<std::size_t> places;
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (auto checked = check_item(items[i], request_.inputs); !checked.ok()) {
        results[i] = checked.error();
        continue;
      }
      sound.push_back(items[i]);
      places.push_back(i);
    }
    for (const auto& group : detail::group_items(sound, parameters_.input_axes)) {
      auto outputs = run_group(requests_[lane], sound, group, memory, stop);
      for (std::size_t i = 0; i < group.items.size(); ++i)
        results[places[group.items[i]]] = std::move(outputs[i]);
    }
    return results;
  }

  const std::vector<calls::batch_time>& measured() const override { return measured_; }
  const std::string& warning() const override { return warning_; }

  /// Runs every warm-up shape on all lanes at once, so that each of the runtime's streams has its kernels.
  result<> warm_up() {
    for (const auto& shapes : parameters_.warm) {
      SQUALL_TRY(warm_with(shapes, 1));
      if (request_.spec.max_batch > 1)
        SQUALL_TRY(warm_with(shapes, request_.spec.max_batch));
    }
    return {};
  }

private:
  std::vector<result<port_values>> run_group(ov::InferRequest& request, std::span<const port_values> items,
                                             const item_group& group, output_memory& memory,
                                             const std::function<result<>()>& stop) {
    const auto all = [&](const error& e) {
      return std::vector<result<port_values>>(group.items.size(), result<port_values>(e));
    };
    if (auto go_on = stop(); !go_on.ok())
      return all(go_on.error());
    try {
      for (std::size_t port = 0; port < request_.inputs.size(); ++port) {
        const auto axis = parameters_.input_axes[port];
        const bool joined = axis && group.items.size() > 1;
        request.set_input_tensor(
            port, joined ? join(items, group, port, *axis) : view_of(*items[group.items.front()][port].as_tensor()));
      }
      request.infer();
      return read_outputs(request, group, memory);
    } catch (const std::bad_alloc&) {
      return all({errc::overloaded, "the model host has no memory left for this batch", {}});
    } catch (const std::exception& failure) {
      return all(
          from_exception(errc::failed, "the model failed on " + describe_inputs(items[group.items.front()]), failure));
    }
  }

  std::string describe_inputs(const port_values& item) const {
    std::string text;
    for (std::size_t i = 0; i < item.size(); ++i)
      text += (i == 0 ? "" : ", ") + request_.inputs[i].name + " " + functions::to_string(item[i].as_tensor()->shape);
    return text;
  }

  std::vector<result<port_values>> read_outputs(ov::InferRequest& request, const item_group& group,
                                                output_memory& memory) {
    std::vector<result<port_values>> results(group.items.size(), result<port_values>(port_values{}));
    for (std::size_t port = 0; port < request_.outputs.size(); ++port) {
      const auto whole = request.get_output_tensor(port);
      std::int64_t begin = 0;
      for (std::size_t i = 0; i < results.size(); ++i) {
        const auto extent = group.extents.empty() ? -1 : group.extents[i];
        if (results[i].ok()) {
          if (auto part = read_output(whole, port, group, begin, extent, memory); part.ok())
            results[i].value().push_back(functions::value{std::move(part).value()});
          else
            results[i] = part.error();
        }
        begin += extent;
      }
    }
    return results;
  }

  /// The part of an output that belongs to one item; `extent` -1: all of it.
  result<tensor> read_output(const ov::Tensor& whole, std::size_t port, const item_group& group, std::int64_t begin,
                             std::int64_t extent, output_memory& memory) const {
    const auto& declared = request_.outputs[port];
    const auto& made = whole.get_shape();
    functions::shape shape(made.begin(), made.end());
    const auto* source = static_cast<const std::byte*>(whole.data());
    const auto axis = parameters_.output_axes[port];
    const auto full_extent = axis ? shape[*axis] : 1;
    if (extent >= 0) {
      std::int64_t total = 0;
      for (const auto part : group.extents)
        total += part;
      if (!axis || full_extent != total)
        return {errc::failed, "output '" + declared.name + "' " + functions::to_string(shape) + " cannot be cut into " +
                                  std::to_string(total) + " items; name its batch_axis, or set max_batch to 1"};
      shape[*axis] = extent;
    }
    const bool fits = std::ranges::equal(shape, declared.shape,
                                         [](auto extent, auto allowed) { return allowed < 0 || allowed == extent; });
    if (!fits)
      return {errc::failed, "output '" + declared.name + "' is declared as " + functions::to_string(declared.shape) +
                                ", the model made " + functions::to_string(shape)};
    SQUALL_ASSIGN(count, functions::element_count(shape));
    const auto element_bytes = functions::element_size(declared.type);
    const auto fill = [&](std::span<std::byte> to) {
      if (extent < 0)
        std::memcpy(to.data(), source, to.size());
      else
        detail::take_slice(source, to.data(), detail::runs_above(shape, *axis),
                           detail::bytes_below(shape, *axis, element_bytes), full_extent, begin, extent);
    };
    SQUALL_ASSIGN(bytes, memory.make(count * element_bytes, fill));
    return tensor{declared.type, std::move(shape), std::move(bytes)};
  }

  result<> warm_with(const detail::warm_run& shapes, std::uint32_t batch) {
    try {
      std::vector<std::vector<ov::Tensor>> inputs(requests_.size());
      for (std::size_t lane = 0; lane < requests_.size(); ++lane) {
        for (std::size_t port = 0; port < shapes.size(); ++port) {
          auto shape = shapes[port];
          if (parameters_.input_axes[port])
            shape[*parameters_.input_axes[port]] *= batch;
          ov::Tensor zeros(detail::to_element(request_.inputs[port].type), ov::Shape(shape.begin(), shape.end()));
          std::memset(zeros.data(), 0, zeros.get_byte_size());
          requests_[lane].set_input_tensor(port, zeros);
        }
      }
      for (auto& request : requests_)
        request.start_async();
      for (auto& request : requests_)
        request.wait();
      measure(batch);
    } catch (const std::exception& failure) {
      if (!parameters_.warm_is_guess)
        return from_exception(errc::invalid_argument,
                              "the model fails on its first run; is the parameter 'warm' right?", failure);
      warning_ = "not warmed up, because free extents were guessed as 32; the parameter 'warm' can name shapes";
    }
    return {};
  }

  /// The median of three runs on the first lane, which has its inputs and its kernels.
  void measure(std::uint32_t batch) {
    std::array<duration, 3> times{};
    for (auto& time : times) {
      const auto began = std::chrono::steady_clock::now();
      requests_.front().infer();
      time = std::chrono::steady_clock::now() - began;
    }
    std::ranges::sort(times);
    const auto known = std::ranges::find(measured_, batch, &calls::batch_time::batch);
    if (known == measured_.end())
      measured_.push_back({batch, times[1]});
    else
      known->time = std::max(known->time, times[1]);
  }

  const model_request request_;
  const detail::model_parameters parameters_;
  ov::CompiledModel compiled_;
  std::vector<ov::InferRequest> requests_; ///< one per lane
  std::vector<calls::batch_time> measured_;
  std::string warning_;
};

class openvino_runtime final : public runtime {
public:
  explicit openvino_runtime(const runtime_options& options) : options_(options) {
    if (!options_.cache_folder.empty())
      core_.set_property(ov::cache_dir(options_.cache_folder));
    const auto able = core_.get_property("CPU", ov::device::capabilities);
    has_bf16_ = std::ranges::find(able, ov::device::capability::BF16) != able.end();
  }

  result<std::unique_ptr<model>> load(const model_request& request) override {
    SQUALL_ASSIGN(parameters, detail::read_parameters(request));
    if (parameters.precision == detail::precision::bf16 && !has_bf16_)
      return {errc::unsupported, "parameter 'precision': this CPU cannot compute in bf16; f32 works everywhere"};
    for (const auto* ports : {&request.inputs, &request.outputs})
      for (const auto& port : *ports)
        if (port.type == functions::datatype::bytes)
          return {errc::invalid_argument, "port '" + port.name + "' is BYTES; a model takes and gives numbers"};
    SQUALL_ASSIGN(network, read_network(request.path));
    try {
      SQUALL_ASSIGN(bound, detail::bind_ports(network, request, parameters));
      auto compiled = core_.compile_model(bound.model, "CPU", settings(request, parameters));
      auto made = std::make_unique<openvino_model>(request, std::move(parameters), std::move(compiled), options_.lanes);
      SQUALL_TRY(made->warm_up());
      return std::unique_ptr<model>(std::move(made));
    } catch (const std::exception& failure) {
      return from_exception(errc::invalid_argument, "the model in " + request.path + " cannot be compiled", failure);
    }
  }

private:
  result<std::shared_ptr<ov::Model>> read_network(const std::string& path) {
    std::error_code code;
    if (!std::filesystem::is_regular_file(path, code))
      return {errc::not_found, "there is no model file " + path};
    try {
#if defined(__SANITIZE_ADDRESS__)
      // A reader that finds that a file is none of its own leaks a little, and is unloaded when leaks are looked for,
      // so that no suppression could name it.
      const __lsan::ScopedDisabler the_readers_own;
#endif
      return core_.read_model(path);
    } catch (const std::exception& failure) {
      return from_exception(errc::invalid_argument, path + " is no model that can be read (ONNX is expected)", failure);
    }
  }

  /// One stream per lane, each of the variant's threads: batches on different lanes neither wait for each other nor
  /// spread over each other's cores. Placing threads is the operating system's business, because other models and
  /// functions run beside this one.
  ov::AnyMap settings(const model_request& request, const detail::model_parameters& parameters) const {
    const auto threads = static_cast<std::int32_t>(std::max(1U, request.spec.threads) * options_.lanes);
    return {ov::hint::inference_precision(parameters.precision == detail::precision::bf16 ? ov::element::bf16
                                                                                          : ov::element::f32),
            ov::hint::execution_mode(ov::hint::ExecutionMode::PERFORMANCE),
            ov::num_streams(static_cast<std::int32_t>(options_.lanes)), ov::inference_num_threads(threads),
            ov::hint::enable_cpu_pinning(false)};
  }

  const runtime_options options_;
  ov::Core core_;
  bool has_bf16_ = false;
};

} // namespace

std::string runtime_version() { return std::string("OpenVINO ") + ov::get_openvino_version().buildNumber; }

result<shared_bytes> heap_memory::make(std::size_t size, const std::function<void(std::span<std::byte>)>& fill) {
  if (size == 0)
    return shared_bytes{};
  auto block = std::make_shared_for_overwrite<std::byte[]>(size);
  const std::span<std::byte> bytes{block.get(), size};
  fill(bytes);
  return shared_bytes{std::move(block), bytes};
}

result<std::unique_ptr<runtime>> runtime::create(const runtime_options& options) {
  SQUALL_CHECK(options.lanes > 0);
  try {
    return std::unique_ptr<runtime>(std::make_unique<openvino_runtime>(options));
  } catch (const std::exception& failure) {
    return from_exception(errc::unsupported, "the inference runtime does not start", failure);
  }
}

} // namespace squall::executors::cpu
