#include "calls/json.hpp"
#include "client/nearest.hpp"
#include "client/spec/readers.hpp"

#include <fmt/format.h>

namespace squall::client::spec {

namespace {

using functions::datatype;

constexpr std::string_view source_forms = "$input, stage.output, a number, true, false or {const: ...}";

/// The elements of nested lists in row-major order, and the extents that they agree on.
struct flat_list {
  std::vector<yaml_view> elements;
  functions::shape shape;
};

result<> flatten(const yaml_view& at, std::size_t depth, flat_list& out) {
  if (!at.is_list()) {
    if (depth != out.shape.size())
      return at.expected(fmt::format("a list, as the lists beside it have {} dimensions", out.shape.size()));
    out.elements.push_back(at);
    return {};
  }
  SQUALL_ASSIGN(items, at.items());
  const auto extent = static_cast<std::int64_t>(items.size());
  if (depth == out.shape.size()) {
    if (!out.elements.empty())
      return at.expected("an element, as the lists beside it hold elements");
    if (depth == functions::max_rank)
      return at.fail(fmt::format("nested deeper than the {} dimensions of a tensor", functions::max_rank));
    out.shape.push_back(extent);
  } else if (out.shape[depth] != extent) {
    return at.fail(fmt::format("{} elements, the lists beside it have {}", extent, out.shape[depth]));
  }
  for (const yaml_view& item : items)
    SQUALL_TRY(flatten(item, depth + 1, out));
  return {};
}

result<functions::value> text_tensor(const flat_list& list) {
  std::vector<std::string_view> texts;
  for (const yaml_view& element : list.elements) {
    if (!element.is_scalar() || element.maybe_number() || element.maybe_boolean())
      return element.expected("text like the other elements (quote it)");
    texts.push_back(element.node().text);
  }
  functions::tensor tensor = functions::bytes_tensor(texts);
  tensor.shape = list.shape;
  return functions::value{std::move(tensor)};
}

result<functions::value> boolean_tensor(const flat_list& list) {
  std::string data;
  for (const yaml_view& element : list.elements) {
    SQUALL_ASSIGN(flag, element.boolean());
    data.push_back(flag ? '\1' : '\0');
  }
  return functions::value{functions::tensor{datatype::boolean, list.shape, shared_bytes::take(std::move(data))}};
}

result<functions::value> number_tensor(const flat_list& list) {
  std::vector<std::int64_t> integers;
  std::vector<double> reals;
  for (const yaml_view& element : list.elements) {
    SQUALL_ASSIGN(number, element.number());
    reals.push_back(number);
    if (const auto integer = element.maybe_integer())
      integers.push_back(*integer);
  }
  if (integers.size() == reals.size())
    return functions::value{functions::tensor_of(datatype::int64, list.shape, integers)};
  return functions::value{functions::tensor_of(datatype::fp64, list.shape, reals)};
}

result<functions::value> tensor_of_list(const yaml_view& at) {
  flat_list list;
  SQUALL_TRY(flatten(at, 0, list));
  if (list.elements.empty())
    return at.fail("an empty list has no datatype; use {const: {datatype: ..., shape: [0], data: []}}");
  const yaml_view& first = list.elements.front();
  if (first.maybe_boolean())
    return boolean_tensor(list);
  if (first.maybe_number())
    return number_tensor(list);
  return text_tensor(list);
}

void write_json(const yaml_view& at, calls::json_writer& out) {
  if (at.is_null())
    return out.null();
  if (const auto flag = at.maybe_boolean())
    return out.boolean(*flag);
  if (const auto integer = at.maybe_integer())
    return out.number(*integer);
  if (const auto number = at.maybe_number())
    return out.number(*number);
  if (at.is_scalar())
    return out.string(at.node().text);
  if (at.is_list()) {
    out.begin_array();
    const auto items = at.items().value();
    for (const yaml_view& item : items)
      write_json(item, out);
    return out.end_array();
  }
  out.begin_object();
  const auto entries = at.entries().value();
  for (const auto& [key, value] : entries) {
    out.key(key);
    write_json(value, out);
  }
  out.end_object();
}

/// {datatype, shape, data} is the JSON of a value, so that its reader decides what is right.
result<functions::value> typed_tensor(const yaml_view& at) {
  SQUALL_ASSIGN(fields, at.mapping({"datatype", "shape", "data"}));
  for (const std::string_view key : {"datatype", "shape", "data"})
    SQUALL_TRY(fields.require(key));
  calls::json_writer json;
  write_json(at, json);
  auto value = calls::from_json<functions::value>(json.take());
  if (!value.ok())
    return at.fail(value.error().message);
  return value;
}

} // namespace

result<functions::value> read_constant(const yaml_view& at) {
  if (at.is_list())
    return tensor_of_list(at);
  if (at.is_mapping())
    return typed_tensor(at);
  if (const auto flag = at.maybe_boolean())
    return functions::scalar_value(*flag);
  if (const auto integer = at.maybe_integer())
    return functions::scalar_value(*integer);
  if (const auto number = at.maybe_number())
    return functions::scalar_value(*number);
  if (at.is_scalar())
    return functions::scalar_value(std::string_view{at.node().text});
  return at.expected("text, a number, a boolean, a list or {datatype, shape, data}");
}

result<functions::binding> read_reference(const yaml_view& at) {
  if (!at.is_scalar())
    return at.expected("$input or stage.output");
  const std::string& text = at.node().text;
  functions::binding out;
  if (text.starts_with('$')) {
    out.from = functions::binding::source::dag_input;
    out.port = text.substr(1);
    SQUALL_TRY(check_key_name(at, out.port, "DAG's input"));
    return out;
  }
  const std::size_t dot = text.find('.');
  if (dot == std::string::npos)
    return at.fail(fmt::format("'{0}' is neither $input nor stage.output; write ${0} for an input of the DAG",
                               text.substr(0, 140)));
  out.from = functions::binding::source::stage_output;
  out.stage = text.substr(0, dot);
  out.port = text.substr(dot + 1);
  SQUALL_TRY(check_key_name(at, out.stage, "stage"));
  SQUALL_TRY(check_key_name(at, out.port, "stage's output"));
  return out;
}

result<functions::binding> read_source(const yaml_view& at) {
  functions::binding constant;
  constant.from = functions::binding::source::constant;
  if (at.is_mapping()) {
    SQUALL_ASSIGN(fields, at.mapping({"const"}));
    SQUALL_ASSIGN(behind, fields.require("const"));
    SQUALL_ASSIGN(value, read_constant(behind));
    constant.constant = std::move(value);
    return constant;
  }
  if (!at.is_scalar())
    return at.expected(source_forms);
  if (at.maybe_boolean() || at.maybe_number()) {
    SQUALL_ASSIGN(value, read_constant(at));
    constant.constant = std::move(value);
    return constant;
  }
  auto reference = read_reference(at);
  const std::string& text = at.node().text;
  if (!reference.ok() && !text.starts_with('$') && text.find('.') == std::string::npos)
    return at.fail(fmt::format("expected {}; '{}' is none of them (for text: {{const: \"{}\"}})", source_forms,
                               text.substr(0, 60), text.substr(0, 60)));
  return reference;
}

} // namespace squall::client::spec
