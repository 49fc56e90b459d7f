#include "executors/cpu/detail/parameters.hpp"

#include <algorithm>
#include <charconv>

namespace squall::executors::cpu::detail {

namespace {

/// An extent that nobody declared, for a warm-up: the strides of common networks divide it.
constexpr std::int64_t guessed_extent = 32;

error refused(const std::string& key, const std::string& why) {
  return {errc::invalid_argument, "parameter '" + key + "': " + why, {}};
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const auto end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos)
      return parts;
    text.remove_prefix(end + 1);
  }
}

std::optional<std::int64_t> read_number(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (code != std::errc{} || end != text.data() + text.size() || number < 0)
    return std::nullopt;
  return number;
}

/// "1x3x48x320".
std::optional<functions::shape> read_shape(std::string_view text) {
  functions::shape shape;
  for (const auto part : split(text, 'x')) {
    const auto extent = read_number(part);
    if (!extent)
      return std::nullopt;
    shape.push_back(*extent);
  }
  return shape;
}

const functions::port* find_port(const std::vector<functions::port>& ports, std::string_view name) {
  const auto found = std::ranges::find(ports, name, &functions::port::name);
  return found == ports.end() ? nullptr : &*found;
}

bool admits(const functions::port& port, const functions::shape& shape) {
  return std::ranges::equal(
      port.shape, shape, [](std::int64_t declared, std::int64_t extent) { return declared < 0 || declared == extent; });
}

/// The default: axis 0, but a scalar has no axis.
std::vector<std::optional<std::size_t>> default_axes(const std::vector<functions::port>& ports) {
  std::vector<std::optional<std::size_t>> axes;
  for (const auto& port : ports)
    axes.push_back(port.shape.empty() ? std::nullopt : std::optional<std::size_t>(0));
  return axes;
}

result<> set_axis(const model_request& request, const std::string& key, const std::string& name,
                  const std::string& text, model_parameters& out) {
  const bool is_input = find_port(request.inputs, name) != nullptr;
  const auto& ports = is_input ? request.inputs : request.outputs;
  const auto* port = find_port(ports, name);
  if (port == nullptr)
    return refused(key, "the function has no port '" + name + "'");
  auto& axis = (is_input ? out.input_axes : out.output_axes)[static_cast<std::size_t>(port - ports.data())];
  if (text == "none") {
    axis.reset();
    return {};
  }
  const auto number = read_number(text);
  if (!number || static_cast<std::size_t>(*number) >= port->shape.size())
    return refused(key,
                   "'" + text + "' is no axis of " + functions::to_string(port->shape) + "; a number from 0, or none");
  axis = static_cast<std::size_t>(*number);
  return {};
}

/// The shapes that the ports declare, free extents filled in.
warm_run declared_shapes(const model_request& request, const model_parameters& parameters, bool& guessed) {
  warm_run shapes;
  for (std::size_t i = 0; i < request.inputs.size(); ++i) {
    auto shape = request.inputs[i].shape;
    for (std::size_t axis = 0; axis < shape.size(); ++axis) {
      if (shape[axis] >= 0)
        continue;
      const bool is_batch = parameters.input_axes[i] == axis;
      shape[axis] = is_batch ? 1 : guessed_extent;
      guessed |= !is_batch;
    }
    shapes.push_back(std::move(shape));
  }
  return shapes;
}

/// One entry of `warm`: a shape of the only input, or name=shape of several.
result<> read_warm_entry(const model_request& request, std::string_view entry, warm_run& run) {
  for (const auto part : split(entry, ',')) {
    const auto equals = part.find('=');
    const auto name =
        equals == std::string_view::npos ? std::string_view(request.inputs.front().name) : part.substr(0, equals);
    const auto* port = find_port(request.inputs, name);
    if (port == nullptr)
      return refused("warm", "the function has no input '" + std::string(name) + "'");
    const auto shape = read_shape(equals == std::string_view::npos ? part : part.substr(equals + 1));
    if (!shape)
      return refused(
          "warm", "'" + std::string(part) + "' is no shape; write 1x3x48x320;1x3x48x640, or input=1x576,state=2x1x128");
    if (!admits(*port, *shape))
      return refused("warm", functions::to_string(*shape) + " is not a shape of input '" + port->name + "' " +
                                 functions::to_string(port->shape));
    run[static_cast<std::size_t>(port - request.inputs.data())] = *shape;
  }
  return {};
}

result<> read_warm(const model_request& request, model_parameters& out) {
  const auto given = request.spec.parameters.find("warm");
  const auto declared = declared_shapes(request, out, out.warm_is_guess);
  if (given == request.spec.parameters.end() || request.inputs.empty()) {
    out.warm.push_back(declared);
    return {};
  }
  out.warm_is_guess = false;
  for (const auto entry : split(given->second, ';')) {
    out.warm.push_back(declared);
    SQUALL_TRY(read_warm_entry(request, entry, out.warm.back()));
  }
  return {};
}

result<> read_one(const model_request& request, const std::string& key, const std::string& text,
                  model_parameters& out) {
  const auto dot = key.find('.');
  const auto family = key.substr(0, dot);
  const auto name = dot == std::string::npos ? std::string{} : key.substr(dot + 1);
  if (key == "warm") // needs the batch axes, so it is read when those are known
    return {};
  if (key == "precision") {
    if (text != "f32" && text != "bf16")
      return refused(key, "'" + text + "' is not one of f32, bf16");
    out.precision = text == "bf16" ? precision::bf16 : precision::f32;
    return {};
  }
  if (family == "rename" && !name.empty()) {
    out.renames[name] = text;
    return {};
  }
  if (family == "reduce" && !name.empty()) {
    if (text != "argmax")
      return refused(key, "'" + text + "' is not one of argmax");
    out.argmax.insert(name);
    return {};
  }
  if (family == "batch_axis" && !name.empty())
    return set_axis(request, key, name, text, out);
  return refused(key, "an onnx variant knows precision, rename.<port>, reduce.<output>, batch_axis.<port> and warm");
}

/// A rename that no port and no reduced output uses is a slip of the pen.
result<> check_renames(const model_request& request, const model_parameters& parameters) {
  for (const auto& [name, target] : parameters.renames) {
    if (find_port(request.inputs, name) == nullptr && find_port(request.outputs, name) == nullptr &&
        !parameters.argmax.contains(name))
      return refused("rename." + name, "the function has no port '" + name + "'");
    if (target.empty())
      return refused("rename." + name, "is empty; it names a tensor of the model");
  }
  return {};
}

} // namespace

result<model_parameters> read_parameters(const model_request& request) {
  model_parameters parameters;
  parameters.input_axes = default_axes(request.inputs);
  parameters.output_axes = default_axes(request.outputs);
  for (const auto& [key, text] : request.spec.parameters)
    SQUALL_TRY(read_one(request, key, text, parameters));
  SQUALL_TRY(check_renames(request, parameters));
  SQUALL_TRY(read_warm(request, parameters));
  return parameters;
}

const std::string& model_name(const model_parameters& parameters, const std::string& name) {
  const auto found = parameters.renames.find(name);
  return found == parameters.renames.end() ? name : found->second;
}

} // namespace squall::executors::cpu::detail
