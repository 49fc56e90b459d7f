#include "executors/cpu/detail/network.hpp"

#include <openvino/op/constant.hpp>
#include <openvino/op/squeeze.hpp>
#include <openvino/op/topk.hpp>
#include <openvino/opsets/opset11.hpp>

#include <algorithm>
#include <sstream>

namespace squall::executors::cpu::detail {

namespace {

struct type_pair {
  functions::datatype type;
  ov::element::Type_t element;
};

constexpr type_pair type_table[] = {
    {functions::datatype::boolean, ov::element::Type_t::boolean},
    {functions::datatype::uint8, ov::element::Type_t::u8},
    {functions::datatype::uint16, ov::element::Type_t::u16},
    {functions::datatype::uint32, ov::element::Type_t::u32},
    {functions::datatype::uint64, ov::element::Type_t::u64},
    {functions::datatype::int8, ov::element::Type_t::i8},
    {functions::datatype::int16, ov::element::Type_t::i16},
    {functions::datatype::int32, ov::element::Type_t::i32},
    {functions::datatype::int64, ov::element::Type_t::i64},
    {functions::datatype::fp16, ov::element::Type_t::f16},
    {functions::datatype::bf16, ov::element::Type_t::bf16},
    {functions::datatype::fp32, ov::element::Type_t::f32},
    {functions::datatype::fp64, ov::element::Type_t::f64},
};

std::string describe(const ov::Output<ov::Node>& tensor) {
  const auto type = to_datatype(tensor.get_element_type());
  std::ostringstream text;
  text << (type ? std::string(functions::to_string(*type)) : tensor.get_element_type().get_type_name()) << ' '
       << tensor.get_partial_shape();
  return text.str();
}

std::string describe_port(const functions::port& port) {
  return std::string(functions::to_string(port.type)) + ' ' + functions::to_string(port.shape);
}

/// Every name that the model gives its inputs, or outputs.
std::string list_names(const std::vector<ov::Output<ov::Node>>& tensors) {
  std::string text;
  for (const auto& tensor : tensors) {
    text += text.empty() ? "" : ", ";
    text += (tensor.get_names().empty() ? std::string("(unnamed)") : tensor.get_any_name()) + ' ' + describe(tensor);
  }
  return text.empty() ? "none" : text;
}

std::optional<std::size_t> find_tensor(const std::vector<ov::Output<ov::Node>>& tensors, const std::string& name) {
  for (std::size_t i = 0; i < tensors.size(); ++i)
    if (tensors[i].get_names().contains(name))
      return i;
  return std::nullopt;
}

error mismatch(std::string_view direction, const functions::port& port, const std::string& why) {
  return {errc::invalid_argument, std::string(direction) + " '" + port.name + "' " + why, {}};
}

/// What a function accepts the model must accept too; what a model returns the port must allow.
bool shapes_agree(const functions::port& port, const ov::PartialShape& shape, bool is_input) {
  if (shape.rank().is_dynamic())
    return true;
  if (static_cast<std::size_t>(shape.rank().get_length()) != port.shape.size())
    return false;
  for (std::size_t i = 0; i < port.shape.size(); ++i) {
    const auto& dimension = shape[static_cast<std::ptrdiff_t>(i)];
    if (port.shape[i] >= 0 ? !dimension.compatible(port.shape[i]) : is_input && dimension.is_static())
      return false;
  }
  return true;
}

result<> check_port(std::string_view direction, const functions::port& port, const ov::Output<ov::Node>& tensor) {
  if (port.list || port.optional)
    return mismatch(direction, port,
                    std::string("is ") + (port.list ? "a list" : "optional") +
                        ", but a model takes and gives exactly one tensor for each");
  const bool is_input = direction == "input";
  const bool types_agree = to_datatype(tensor.get_element_type()) == port.type;
  if (!types_agree || !shapes_agree(port, tensor.get_partial_shape(), is_input))
    return mismatch(direction, port,
                    "is declared as " + describe_port(port) + ", but the model has " + describe(tensor));
  return {};
}

result<ov::Output<ov::Node>> tensor_of_port(std::string_view direction, const functions::port& port,
                                            const std::string& name, const std::vector<ov::Output<ov::Node>>& tensors) {
  const auto place = find_tensor(tensors, name);
  if (!place)
    return mismatch(direction, port,
                    "is not in the model: it has no " + std::string(direction) + " '" + name + "' but " +
                        list_names(tensors) + "; rename." + port.name + " can name one");
  SQUALL_TRY(check_port(direction, port, tensors[*place]));
  return tensors[*place];
}

/// Adds `<name>_index` and `<name>_max` over the last axis of `source`.
void add_argmax(ov::Output<ov::Node> source, const std::string& name, std::vector<ov::Output<ov::Node>>& outputs) {
  const auto one = ov::op::v0::Constant::create(ov::element::i64, {}, {1});
  const auto last = ov::op::v0::Constant::create(ov::element::i64, {1}, {-1});
  const auto top = std::make_shared<ov::op::v11::TopK>(source, one, -1, ov::op::TopKMode::MAX,
                                                       ov::op::TopKSortType::NONE, ov::element::i32);
  const auto largest = std::make_shared<ov::op::v0::Squeeze>(top->output(0), last);
  const auto index = std::make_shared<ov::op::v0::Squeeze>(top->output(1), last);
  largest->output(0).set_names({name + "_max"});
  index->output(0).set_names({name + "_index"});
  outputs.push_back(index->output(0));
  outputs.push_back(largest->output(0));
}

/// The outputs that ports may name: what feeds each of the model's results, and the reduced ones.
result<std::vector<ov::Output<ov::Node>>> outputs_of(ov::Model& model, const model_parameters& parameters) {
  std::vector<ov::Output<ov::Node>> outputs;
  for (const auto& output : model.outputs())
    outputs.push_back(output.get_node()->input_value(0));
  const auto own = outputs;
  for (const auto& name : parameters.argmax) {
    const auto place = find_tensor(own, model_name(parameters, name));
    if (!place)
      return {errc::invalid_argument, "parameter 'reduce." + name + "': the model has no output '" +
                                          model_name(parameters, name) + "' but " + list_names(own)};
    if (const auto rank = own[*place].get_partial_shape().rank(); rank.is_dynamic() || rank.get_length() < 2)
      return {errc::invalid_argument, "parameter 'reduce." + name +
                                          "': needs an output of two axes or more, the model has " +
                                          describe(own[*place])};
    add_argmax(own[*place], name, outputs);
  }
  return outputs;
}

/// Fixes the extents that the ports fix, but for a batch axis along which items may be joined: the runtime knows more,
/// and the shapes are checked now.
void fix_extents(ov::Model& model, const model_request& request, const model_parameters& parameters) {
  std::map<ov::Output<ov::Node>, ov::PartialShape> shapes;
  for (std::size_t i = 0; i < request.inputs.size(); ++i) {
    ov::PartialShape shape;
    const auto& declared = request.inputs[i].shape;
    for (std::size_t axis = 0; axis < declared.size(); ++axis) {
      const bool may_grow = request.spec.max_batch > 1 && parameters.input_axes[i] == axis;
      shape.push_back(declared[axis] < 0 || may_grow ? ov::Dimension::dynamic() : ov::Dimension(declared[axis]));
    }
    shapes[model.input(i)] = shape;
  }
  model.reshape(shapes);
}

result<ov::ParameterVector> bind_inputs(ov::Model& model, const model_request& request,
                                        const model_parameters& parameters) {
  ov::ParameterVector bound;
  const auto tensors = model.inputs();
  for (const auto& port : request.inputs) {
    SQUALL_ASSIGN(tensor, tensor_of_port("input", port, model_name(parameters, port.name), tensors));
    bound.push_back(ov::as_type_ptr<ov::op::v0::Parameter>(tensor.get_node_shared_ptr()));
  }
  for (const auto& parameter : model.get_parameters())
    if (std::ranges::find(bound, parameter) == bound.end())
      return {errc::invalid_argument, "the model's input " + list_names({parameter->output(0)}) +
                                          " is no input of the function; every input needs a port"};
  return bound;
}

} // namespace

std::optional<functions::datatype> to_datatype(const ov::element::Type& type) {
  const auto found = std::ranges::find(type_table, static_cast<ov::element::Type_t>(type), &type_pair::element);
  return found == std::end(type_table) ? std::nullopt : std::optional(found->type);
}

ov::element::Type to_element(functions::datatype type) {
  const auto found = std::ranges::find(type_table, type, &type_pair::type);
  SQUALL_CHECK(found != std::end(type_table), functions::to_string(type));
  return found->element;
}

std::string reason(const std::exception& failure) {
  std::istringstream lines(failure.what());
  std::string text;
  for (std::string line; std::getline(lines, line);) {
    const bool is_place = line.starts_with("Exception from ") || (line.starts_with("Check '") && line.ends_with(':'));
    if (is_place || line.empty())
      continue;
    text += (text.empty() ? "" : " ") + line;
  }
  return text.empty() ? failure.what() : text;
}

result<bound_network> bind_ports(const std::shared_ptr<ov::Model>& model, const model_request& request,
                                 const model_parameters& parameters) {
  SQUALL_ASSIGN(inputs, bind_inputs(*model, request, parameters));
  SQUALL_ASSIGN(outputs, outputs_of(*model, parameters));
  ov::ResultVector results;
  for (const auto& port : request.outputs) {
    SQUALL_ASSIGN(tensor, tensor_of_port("output", port, model_name(parameters, port.name), outputs));
    results.push_back(std::make_shared<ov::op::v0::Result>(tensor));
  }
  bound_network bound{std::make_shared<ov::Model>(results, model->get_sinks(), inputs), {}};
  fix_extents(*bound.model, request, parameters);
  for (std::size_t i = 0; i < request.outputs.size(); ++i)
    SQUALL_TRY(check_port("output", request.outputs[i], bound.model->output(i)));
  for (const auto& input : bound.model->inputs())
    bound.input_shapes.push_back(input.get_partial_shape());
  return bound;
}

} // namespace squall::executors::cpu::detail
