#include "gateway/infer_json.hpp"

#include "base/hash.hpp"
#include "calls/json.hpp"
#include "gateway/detail/tensor_json.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <cstring>

namespace squall::gateway {

namespace {

using calls::json_node;
using detail::json_out;
using detail::put;

const functions::port* find_port(const std::vector<functions::port>& ports, std::string_view name) {
  const auto found = std::ranges::find(ports, name, &functions::port::name);
  return found == ports.end() ? nullptr : &*found;
}

// -- reading ----------------------------------------------------------------------------------------------------------

error bad_parameter(const char* name, const char* expected) {
  return {errc::invalid_argument, "parameter '" + std::string{name} + "' must be " + expected, {}};
}

/// The protocol's 1 is the highest and 0 the default; ours rise, with 0 as the default.
std::uint32_t priority_of(std::uint64_t protocol_priority) {
  constexpr std::uint64_t levels = 100;
  return protocol_priority == 0 ? 0 : static_cast<std::uint32_t>(levels + 1 - std::min(protocol_priority, levels));
}

/// A number, or any text (which is hashed: the protocol allows both).
result<sequence_id> read_sequence_id(const json_node& node) {
  if (const auto number = node.as_uint64())
    return sequence_id{*number};
  const auto text = node.as_string();
  if (!text)
    return bad_parameter("sequence_id", "a whole number or a text");
  if (text->empty())
    return sequence_id{};
  std::uint64_t number = 0;
  const auto [end, failed] = std::from_chars(text->data(), text->data() + text->size(), number);
  if (failed == std::errc{} && end == text->data() + text->size())
    return sequence_id{number};
  fnv1a hash;
  hash.add(*text);
  return sequence_id{std::max<std::uint64_t>(hash.value(), 1)};
}

result<bool> read_flag(const json_node& parameters, const char* name) {
  const auto node = parameters.find(name);
  if (!node)
    return false;
  const auto flag = node->as_boolean();
  if (!flag)
    return bad_parameter(name, "true or false");
  return *flag;
}

/// The name of what continues, or a list of names.
result<std::vector<std::string>> read_then(const json_node& node) {
  if (const auto one = node.as_string())
    return std::vector{std::string{*one}};
  std::vector<std::string> names;
  for (std::size_t i = 0; i < node.size(); ++i) {
    const auto name = node.element(i).as_string();
    if (!name)
      return bad_parameter("then", "the name of a DAG or function, or a list of names");
    names.emplace_back(*name);
  }
  if (names.empty())
    return bad_parameter("then", "the name of a DAG or function, or a list of names");
  return names;
}

result<calls::call_options> read_options(const json_node& parameters) {
  if (parameters.type() != json_node::kind::object)
    return {errc::invalid_argument, "'parameters' must be an object"};
  calls::call_options out;
  if (const auto timeout = parameters.find("timeout")) {
    const auto us = timeout->as_int64();
    constexpr std::int64_t longest =
        std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::hours{24 * 365}).count();
    if (!us || *us < 0 || *us > longest)
      return bad_parameter("timeout", "a whole number of microseconds, of a year at most");
    out.deadline = std::chrono::microseconds{*us};
  }
  if (const auto priority = parameters.find("priority")) {
    const auto level = priority->as_uint64();
    if (!level)
      return bad_parameter("priority", "a whole number: 1 is the highest, 0 the default");
    out.priority = priority_of(*level);
  }
  if (const auto then = parameters.find("then")) {
    SQUALL_ASSIGN(names, read_then(*then));
    out.then = std::move(names);
  }
  if (const auto id = parameters.find("sequence_id")) {
    SQUALL_ASSIGN(sequence, read_sequence_id(*id));
    out.sequence.id = sequence;
  }
  SQUALL_ASSIGN(durable, read_flag(parameters, "durable"));
  out.durable = durable;
  SQUALL_ASSIGN(start, read_flag(parameters, "sequence_start"));
  SQUALL_ASSIGN(end, read_flag(parameters, "sequence_end"));
  out.sequence.start = start;
  out.sequence.end = end;
  return out;
}

/// A tensor for a list port is taken apart along its first dimension.
result<functions::value> as_list(std::string_view input, const functions::tensor& t) {
  if (t.shape.empty())
    return {errc::invalid_argument,
            "input '" + std::string{input} + "' is a list: its first dimension counts the elements"};
  const auto width = static_cast<std::size_t>(t.shape[0]);
  if (width > functions::max_map_width)
    return {errc::too_large, "input '" + std::string{input} + "' is a list of " + std::to_string(width) +
                                 "; the limit is " + std::to_string(functions::max_map_width)};
  const functions::shape inner(t.shape.begin() + 1, t.shape.end());
  functions::value_list out;
  out.reserve(width);
  if (t.type != functions::datatype::bytes) {
    const std::size_t size = width == 0 ? 0 : t.data.size() / width;
    for (std::size_t i = 0; i < width; ++i)
      out.push_back({functions::tensor{t.type, inner, t.data.slice(i * size, size)}});
    return functions::value{std::move(out)};
  }
  SQUALL_ASSIGN(texts, functions::bytes_elements(t));
  const std::size_t each = width == 0 ? 0 : texts.size() / width;
  for (std::size_t i = 0; i < width; ++i) {
    functions::tensor element = functions::bytes_tensor({texts.begin() + static_cast<std::ptrdiff_t>(i * each),
                                                         texts.begin() + static_cast<std::ptrdiff_t>((i + 1) * each)});
    element.shape = inner;
    out.push_back({std::move(element)});
  }
  return functions::value{std::move(out)};
}

result<std::string> read_name(const json_node& node, const char* of) {
  const auto name = node.find("name");
  const auto text = name ? name->as_string() : std::nullopt;
  if (!text)
    return {errc::invalid_argument, "each of '" + std::string{of} + "' must be an object with a 'name'"};
  return std::string{*text};
}

result<functions::named_value> read_input(const json_node& node, const model_metadata& model) {
  SQUALL_ASSIGN(name, read_name(node, "inputs"));
  SQUALL_ASSIGN(tensor, detail::read_tensor(name, node));
  const functions::port* port = find_port(model.inputs, name);
  if (port == nullptr || !port->list)
    return functions::named_value{std::move(name), {std::move(tensor)}};
  SQUALL_ASSIGN(list, as_list(name, tensor));
  return functions::named_value{std::move(name), std::move(list)};
}

result<> read_inputs(const json_node& root, const model_metadata& model, infer_request& into) {
  const auto inputs = root.find("inputs");
  if (!inputs || inputs->type() != json_node::kind::array)
    return {errc::invalid_argument, "'inputs' must be an array of tensors"};
  if (inputs->size() > functions::max_ports)
    return {errc::too_large,
            std::to_string(inputs->size()) + " inputs; the limit is " + std::to_string(functions::max_ports)};
  for (std::size_t i = 0; i < inputs->size(); ++i) {
    SQUALL_ASSIGN(input, read_input(inputs->element(i), model));
    into.inputs.push_back(std::move(input));
  }
  return {};
}

result<> read_outputs(const json_node& root, const model_metadata& model, infer_request& into) {
  const auto outputs = root.find("outputs");
  if (!outputs)
    return {};
  if (outputs->type() != json_node::kind::array)
    return {errc::invalid_argument, "'outputs' must be an array of objects with a 'name'"};
  for (std::size_t i = 0; i < outputs->size(); ++i) {
    SQUALL_ASSIGN(name, read_name(outputs->element(i), "outputs"));
    if (find_port(model.outputs, name) == nullptr)
      return {errc::invalid_argument, "unexpected inference output '" + name + "' for model '" + model.name + "'"};
    if (std::ranges::find(into.outputs, name) == into.outputs.end())
      into.outputs.push_back(std::move(name));
  }
  return {};
}

// -- writing ----------------------------------------------------------------------------------------------------------

/// The tensors of a list if they all have one datatype and shape, so that they can be stacked.
std::optional<std::vector<const functions::tensor*>> alike(const functions::value_list& list) {
  std::vector<const functions::tensor*> out;
  for (const functions::value& v : list) {
    const functions::tensor* t = v.as_tensor();
    if (t == nullptr || t->type != list.front().as_tensor()->type || t->shape != list.front().as_tensor()->shape)
      return std::nullopt;
    out.push_back(t);
  }
  return out;
}

functions::tensor stacked(const functions::value_list& list, const functions::port* port) {
  if (list.empty()) {
    functions::tensor none{port != nullptr ? port->type : functions::datatype::bytes, {0}, {}};
    for (const std::int64_t extent : port != nullptr ? port->shape : functions::shape{})
      none.shape.push_back(std::max<std::int64_t>(extent, 0));
    return none;
  }
  const auto width = static_cast<std::int64_t>(list.size());
  if (const auto tensors = alike(list)) {
    functions::tensor out{tensors->front()->type, {width}, {}};
    out.shape.insert(out.shape.end(), tensors->front()->shape.begin(), tensors->front()->shape.end());
    std::vector<std::byte> bytes;
    for (const functions::tensor* t : *tensors)
      bytes.insert(bytes.end(), t->data.span().begin(), t->data.span().end());
    out.data = shared_bytes::take(std::move(bytes));
    return out;
  }
  std::vector<std::string> texts;
  for (const functions::value& v : list)
    texts.push_back(calls::to_json(v));
  return functions::bytes_tensor({texts.begin(), texts.end()});
}

result<> write_output(json_out& out, const functions::named_value& output, const model_metadata& model) {
  const functions::value_list* list = output.value.as_list();
  const functions::tensor t =
      list != nullptr ? stacked(*list, find_port(model.outputs, output.name)) : *output.value.as_tensor();
  out.StartObject();
  out.Key("name");
  put(out, output.name);
  SQUALL_TRY(detail::write_tensor(out, output.name, t));
  out.EndObject();
  return {};
}

/// What was asked for, in that order; else all, in the model's order.
std::vector<const functions::named_value*> wanted(const infer_request& request, const infer_reply& reply) {
  std::vector<const functions::named_value*> out;
  if (request.outputs.empty()) {
    for (const functions::named_value& o : reply.outputs)
      out.push_back(&o);
  }
  for (const std::string& name : request.outputs) {
    const auto found = std::ranges::find(reply.outputs, name, &functions::named_value::name);
    if (found != reply.outputs.end())
      out.push_back(&*found);
  }
  return out;
}

void write_parameters(json_out& out, const infer_reply& reply,
                      const std::vector<const functions::named_value*>& outputs) {
  std::string absent;
  for (const functions::named_value* o : outputs) {
    if (o->value.absent())
      absent += (absent.empty() ? "" : ",") + o->name;
  }
  out.Key("parameters");
  out.StartObject();
  out.Key("call");
  put(out, to_string(reply.id));
  out.Key("stages_run");
  out.Int64(std::ranges::count(reply.outcome.trace, false, &calls::stage_trace::skipped));
  out.Key("stages_skipped");
  out.Int64(std::ranges::count(reply.outcome.trace, true, &calls::stage_trace::skipped));
  if (reply.outcome.receipt.missing > 0) {
    out.Key("stages_missing");
    out.Int64(reply.outcome.receipt.missing);
  }
  if (!absent.empty()) {
    out.Key("absent_outputs");
    put(out, absent);
  }
  out.EndObject();
}

void write_ports(json_out& out, const char* key, const std::vector<functions::port>& ports) {
  out.Key(key);
  out.StartArray();
  for (const functions::port& p : ports) {
    out.StartObject();
    out.Key("name");
    put(out, p.name);
    out.Key("datatype");
    put(out, functions::to_string(p.type));
    out.Key("shape");
    out.StartArray();
    if (p.list)
      out.Int64(-1);
    for (const std::int64_t extent : p.shape)
      out.Int64(extent);
    out.EndArray();
    out.EndObject();
  }
  out.EndArray();
}

std::string text_of(const rapidjson::StringBuffer& buffer) { return {buffer.GetString(), buffer.GetSize()}; }

/// Messages may quote what users sent; JSON takes UTF-8 only.
std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x80) {
      out.push_back(c);
      continue;
    }
    std::array<char, 5> hex{};
    std::snprintf(hex.data(), hex.size(), "\\x%02x", static_cast<unsigned>(static_cast<unsigned char>(c)));
    out += hex.data();
  }
  return out;
}

bool write_error_to(rapidjson::StringBuffer& buffer, std::string_view message, errc code) {
  json_out out{buffer};
  out.StartObject();
  out.Key("error");
  const bool fine = put(out, message);
  out.Key("code");
  put(out, to_string(code));
  out.EndObject();
  return fine;
}

} // namespace

result<infer_request> read_infer(std::string_view json, const model_metadata& model) {
  auto document = calls::json_document::parse(json);
  if (!document.ok())
    return {errc::invalid_argument, "the request is no JSON: " + document.error().message};
  const json_node root = document->root();
  if (root.type() != json_node::kind::object)
    return {errc::invalid_argument, "the request must be a JSON object with 'inputs'"};
  infer_request out;
  if (const auto id = root.find("id")) {
    const auto text = id->as_string();
    if (!text)
      return {errc::invalid_argument, "'id' must be a text"};
    out.id = std::string{*text};
  }
  if (const auto parameters = root.find("parameters")) {
    SQUALL_ASSIGN(options, read_options(*parameters));
    out.options = options;
  }
  SQUALL_TRY(read_inputs(root, model, out));
  SQUALL_TRY(read_outputs(root, model, out));
  return out;
}

result<std::string> write_infer(const infer_request& request, const model_metadata& model, const infer_reply& reply) {
  const auto outputs = wanted(request, reply);
  rapidjson::StringBuffer buffer;
  json_out out{buffer};
  out.StartObject();
  out.Key("model_name");
  put(out, model.name);
  out.Key("model_version");
  put(out, std::to_string(model.version));
  if (request.id) {
    out.Key("id");
    put(out, *request.id);
  }
  write_parameters(out, reply, outputs);
  out.Key("outputs");
  out.StartArray();
  for (const functions::named_value* o : outputs) {
    if (!o->value.absent())
      SQUALL_TRY(write_output(out, *o, model));
  }
  out.EndArray();
  out.EndObject();
  return text_of(buffer);
}

std::string write_metadata(const model_metadata& model) {
  rapidjson::StringBuffer buffer;
  json_out out{buffer};
  out.StartObject();
  out.Key("name");
  put(out, model.name);
  out.Key("versions");
  out.StartArray();
  for (const std::uint32_t version : model.versions)
    put(out, std::to_string(version));
  out.EndArray();
  out.Key("platform");
  put(out, model.dag ? "ensemble" : "squall_function");
  write_ports(out, "inputs", model.inputs);
  write_ports(out, "outputs", model.outputs);
  out.EndObject();
  return text_of(buffer);
}

std::string write_error(const error& what) {
  rapidjson::StringBuffer buffer;
  if (!write_error_to(buffer, what.message, what.code)) {
    buffer.Clear();
    write_error_to(buffer, escaped(what.message), what.code);
  }
  return text_of(buffer);
}

} // namespace squall::gateway
