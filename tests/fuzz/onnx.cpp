#include "executors/cpu/detail/network.hpp"
#include "input.hpp"

#include <cstdlib>
#include <set>
#include <sstream>

/// A model file and a function's ports and parameters, both from the input: what the model says of itself is read and
/// compared with the ports. It is refused with a reason, or the network has the ports' tensors in their order.
///
/// Half of the inputs are the file as it is, the others say what a well-formed one declares (names, types, shapes,
/// operators), so that what lies behind the parser is reached.
namespace squall {
namespace {

using fuzzing::broken;
using fuzzing::input;

// Bytes as protobuf has them.
void put_number(std::string& out, std::uint64_t n) {
  for (; n >= 128; n >>= 7)
    out.push_back(static_cast<char>(n | 128));
  out.push_back(static_cast<char>(n));
}
void put(std::string& out, int field, std::uint64_t n) {
  put_number(out, static_cast<std::uint64_t>(field) << 3);
  put_number(out, n);
}
void put(std::string& out, int field, std::string_view bytes) {
  put_number(out, static_cast<std::uint64_t>(field) << 3 | 2);
  put_number(out, bytes.size());
  out += bytes;
}

/// Few, so that ports often name what the model has.
std::string name_from(input& in) {
  static constexpr std::string_view names[] = {"a", "b", "c", "b_index", "b_max", "", "d"};
  const auto pick = in.below(8);
  return std::string(pick < std::size(names) ? names[pick] : in.text(12));
}

std::int64_t extent_from(input& in) {
  static constexpr std::int64_t extents[] = {-1, 1, 2, 3, 0, -2, 1 << 20};
  const auto pick = in.below(8);
  return pick < std::size(extents) ? extents[pick] : static_cast<std::int64_t>(in.number());
}

/// ONNX's ValueInfoProto: a name, and a tensor's type and shape, or a sequence, or nothing at all.
std::string tensor_from(input& in, const std::string& name) {
  std::string dimensions;
  for (auto rank = in.below(5); rank > 0; --rank) {
    std::string dimension;
    if (const auto extent = extent_from(in); extent == -1)
      put(dimension, 2, name_from(in)); // a free one, by its name
    else
      put(dimension, 1, static_cast<std::uint64_t>(extent));
    put(dimensions, 1, dimension);
  }
  std::string tensor;
  put(tensor, 1, in.below(24)); // its datatype; some are none
  if (in.below(8) != 0)
    put(tensor, 2, dimensions);
  std::string type;
  put(type, in.below(16) == 1 ? 4 : 1, tensor);
  std::string info;
  put(info, 1, name);
  if (in.below(16) != 1)
    put(info, 2, type);
  return info;
}

std::string model_from(input& in) {
  static constexpr std::string_view operators[] = {"Identity", "Relu", "Add", "Shape", "Softmax", "Concat", "Nonsense"};
  std::string graph;
  std::vector<std::string> inputs;
  for (auto count = in.below(4); count > 0; --count) {
    inputs.push_back(name_from(in));
    put(graph, 11, tensor_from(in, inputs.back()));
  }
  for (auto count = in.below(4); count > 0; --count) {
    std::string node;
    const auto kind = in.below(std::size(operators));
    for (auto arity = 1 + static_cast<std::uint32_t>(kind == 2); arity > 0 && !inputs.empty(); --arity)
      put(node, 1, inputs[in.below(static_cast<std::uint32_t>(inputs.size()))]);
    const std::string name = name_from(in);
    put(node, 2, name);
    put(node, 4, operators[kind]);
    put(graph, 1, node);
    if (in.below(4) != 0)
      put(graph, 12, tensor_from(in, name));
  }
  put(graph, 2, "graph");
  std::string opset;
  put(opset, 2, 13 + in.below(4));
  std::string model;
  put(model, 1, 8);
  put(model, 8, opset);
  put(model, 7, graph);
  return model;
}

std::vector<functions::port> ports_from(input& in) {
  std::vector<functions::port> ports(in.below(4));
  for (functions::port& port : ports) {
    port.name = name_from(in);
    port.type = static_cast<functions::datatype>(1 + in.below(13));
    for (auto rank = in.below(5); rank > 0; --rank)
      port.shape.push_back(std::max<std::int64_t>(extent_from(in), -1));
    port.list = in.below(32) == 1;
    port.optional = in.below(32) == 1;
  }
  return ports;
}

executors::cpu::model_request request_from(input& in) {
  static constexpr std::string_view keys[] = {"rename.", "reduce.", "batch_axis.", "precision", "warm", ""};
  static constexpr std::string_view values[] = {"argmax", "none", "0", "1", "bf16", "1x3;2x2", "a=1x3,b=2"};
  executors::cpu::model_request request;
  request.spec.kind = functions::variant_kind::onnx;
  request.spec.max_batch = 1 + in.below(2) * 3;
  request.inputs = ports_from(in);
  request.outputs = ports_from(in);
  for (auto count = in.below(4); count > 0; --count) {
    const std::string key = std::string(keys[in.below(std::size(keys))]) + name_from(in);
    const auto pick = in.below(8);
    request.spec.parameters[key] = pick < std::size(values) ? std::string(values[pick]) : name_from(in);
  }
  return request;
}

void check(const functions::port& port, const ov::Output<ov::Node>& tensor) {
  if (executors::cpu::detail::to_datatype(tensor.get_element_type()) != port.type)
    broken("port '" + port.name + "' is bound to a tensor of another type");
  const auto& rank = tensor.get_partial_shape().rank();
  if (rank.is_static() && static_cast<std::size_t>(rank.get_length()) != port.shape.size())
    broken("port '" + port.name + "' is bound to a tensor of another rank");
}

void check(const executors::cpu::detail::bound_network& bound, const executors::cpu::model_request& request) {
  if (bound.model->inputs().size() != request.inputs.size() || bound.input_shapes.size() != request.inputs.size() ||
      bound.model->outputs().size() != request.outputs.size())
    broken("a network was bound that has other ports than the function");
  for (std::size_t i = 0; i < request.inputs.size(); ++i)
    check(request.inputs[i], bound.model->input(i));
  for (std::size_t i = 0; i < request.outputs.size(); ++i)
    check(request.outputs[i], bound.model->output(i));
}

void fuzz(input& in) {
  static ov::Core core;
  const bool as_it_is = in.below(2) == 1;
  const auto request = request_from(in);
  const auto parameters = executors::cpu::detail::read_parameters(request);
  if (!parameters.ok()) {
    if (parameters.error().message.empty())
      broken("parameters were refused without a reason");
    return;
  }
  const std::string file = as_it_is ? std::string(in.rest()) : model_from(in);
  try {
    const auto model = core.read_model(file, ov::Tensor{});
    const auto bound = executors::cpu::detail::bind_ports(model, request, *parameters);
    if (bound.ok())
      check(*bound, request);
    else if (bound.error().message.empty())
      broken("a model was refused without a reason");
  } catch (const std::exception& refused) {
    if (executors::cpu::detail::reason(refused).empty())
      broken("the runtime refused a model without a reason");
  }
}

} // namespace
} // namespace squall

SQUALL_FUZZ_TARGET(squall::fuzz)
