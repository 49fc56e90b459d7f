#include "client/values.hpp"

#include "calls/json.hpp"
#include "client/units.hpp"
#include "wire/arena.hpp"

#include <algorithm>
#include <fstream>
#include <optional>
#include <vector>

#include <fmt/format.h>
#include <sys/stat.h>

namespace squall::client {

namespace {

using calls::json_node;
using functions::datatype;

result<std::string> read_stream(std::istream& in, std::string_view name) {
  std::string text;
  std::vector<char> block(1u << 18);
  while (in.read(block.data(), static_cast<std::streamsize>(block.size())), in.gcount() > 0) {
    text.append(block.data(), static_cast<std::size_t>(in.gcount()));
    if (text.size() > wire::max_value_bytes)
      return {errc::too_large, fmt::format("{} has more than {} bytes ({}), the limit of a value", name, wire::max_value_bytes,
                                           format_size(wire::max_value_bytes))};
  }
  if (in.bad())
    return {errc::not_found, fmt::format("cannot read {}", name)};
  return text;
}

/// The port's shape with its free dimension set so that there are `count` elements.
std::optional<functions::shape> fill_free_dimension(functions::shape shape, std::size_t count) {
  std::size_t fixed = 1;
  std::int64_t* free = nullptr;
  for (std::int64_t& extent : shape) {
    if (extent >= 0)
      fixed *= static_cast<std::size_t>(extent);
    else if (free)
      return {};
    else
      free = &extent;
  }
  if (free && fixed > 0 && count % fixed == 0)
    *free = static_cast<std::int64_t>(count / fixed);
  else if (free || fixed != count)
    return {};
  return shape;
}

/// Nested arrays, flattened.
struct flat_array {
  std::vector<json_node> elements;
  functions::shape shape;
  bool ragged = false;

  void add(const json_node& node, std::size_t depth) {
    if (node.type() != json_node::kind::array) {
      ragged = ragged || depth != shape.size();
      elements.push_back(node);
      return;
    }
    const auto extent = static_cast<std::int64_t>(node.size());
    if (depth == shape.size() && elements.empty() && depth < functions::max_rank)
      shape.push_back(extent);
    if (depth >= shape.size() || shape[depth] != extent) {
      ragged = true;
      return;
    }
    for (std::size_t i = 0; i < node.size(); ++i)
      add(node.element(i), depth + 1);
  }
};

void write_element(const json_node& node, bool boolean, calls::json_writer& out) {
  if (const auto flag = node.as_boolean())
    return out.boolean(*flag);
  if (const auto integer = node.as_int64())
    return boolean ? out.boolean(*integer != 0) : out.number(*integer);
  if (const auto unsigned_integer = node.as_uint64())
    return out.number(*unsigned_integer);
  if (const auto number = node.as_double())
    return out.number(*number);
  if (const auto text = node.as_string())
    return out.string(*text);
  out.null();
}

/// The shape for elements that were written as `given`: as nested, or flat into the port's shape.
std::optional<functions::shape> shape_for(const functions::port& port, const flat_array& given) {
  const bool same_rank = given.shape.size() == port.shape.size();
  const bool fits = same_rank && std::equal(given.shape.begin(), given.shape.end(), port.shape.begin(),
                                            [](std::int64_t g, std::int64_t p) { return p == -1 || g == p; });
  if (fits)
    return given.shape;
  if (given.shape.size() > 1)
    return {};
  functions::shape wanted = port.shape;
  // A lone number is one element, whatever the rank.
  if (given.elements.size() == 1)
    std::ranges::replace(wanted, -1, 1);
  return fill_free_dimension(std::move(wanted), given.elements.size());
}

/// Through the JSON of a value, so that one reader decides which numbers fit which datatype.
result<functions::value> tensor_of(const functions::port& port, const flat_array& given) {
  const auto shape = given.ragged ? std::nullopt : shape_for(port, given);
  if (!shape)
    return {errc::invalid_argument, fmt::format("expected {}, got {} elements of shape {}{}", describe(port), given.elements.size(),
                                                functions::to_string(given.shape), given.ragged ? " that is not rectangular" : "")};
  calls::json_writer json;
  json.begin_object();
  json("datatype", port.type);
  json("shape", *shape);
  json.key("data");
  json.begin_array();
  for (const json_node& element : given.elements)
    write_element(element, port.type == datatype::boolean, json);
  json.end_array();
  json.end_object();
  auto value = calls::from_json<functions::value>(json.take());
  if (!value.ok())
    return {errc::invalid_argument, fmt::format("expected {}: {}", describe(port), value.error().message)};
  return value;
}

result<functions::value> value_of_json(const functions::port& port, const json_node& node, std::string_view text) {
  const bool is_value = node.is_null() || (node.type() == json_node::kind::object && node.find("datatype"));
  if (is_value)
    return calls::from_json<functions::value>(text);
  if (node.type() == json_node::kind::object)
    return {errc::invalid_argument, "an object must be {\"datatype\": ..., \"shape\": [...], \"data\": [...]}"};
  // An array for a list port is one element of the list, unless it holds whole values.
  const bool whole_list = port.list && node.type() == json_node::kind::array && node.size() > 0 && node.element(0).find("datatype");
  if (whole_list)
    return calls::from_json<functions::value>(text);
  flat_array given;
  given.add(node, 0);
  return tensor_of(port, given);
}

} // namespace

result<shared_bytes> read_file(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0 || S_ISDIR(info.st_mode))
    return {errc::not_found, fmt::format("no file {}", path)};
  // Before reading it: a large one costs time, and its size says it all.
  if (S_ISREG(info.st_mode) && static_cast<std::uint64_t>(info.st_size) > wire::max_value_bytes)
    return {errc::too_large, fmt::format("{} has {} bytes ({}); the limit of a value is {} bytes ({})", path, info.st_size,
                                         format_size(static_cast<std::uint64_t>(info.st_size)), wire::max_value_bytes,
                                         format_size(wire::max_value_bytes))};
  std::ifstream in{path, std::ios::binary};
  if (!in)
    return {errc::not_found, fmt::format("cannot open {}", path)};
  SQUALL_ASSIGN(text, read_stream(in, path));
  return shared_bytes::take(std::move(text));
}

result<functions::value> file_value(const std::string& path) {
  SQUALL_ASSIGN(bytes, read_file(path));
  return functions::value{functions::bytes_tensor({bytes.text()})};
}

result<functions::value> value_of_bytes(const functions::port& port, const shared_bytes& bytes) {
  if (port.type == datatype::bytes)
    return functions::value{functions::bytes_tensor({bytes.text()})};
  const std::size_t size = functions::element_size(port.type);
  const auto shape = bytes.size() % size == 0 ? fill_free_dimension(port.shape, bytes.size() / size) : std::nullopt;
  if (!shape)
    return {errc::invalid_argument, fmt::format("{} bytes are not a whole {}", bytes.size(), describe(port))};
  return functions::value{functions::tensor{port.type, *shape, bytes}};
}

result<functions::value> value_of_text(const functions::port& port, std::string_view text) {
  const bool bracket = text.starts_with('[') || text.starts_with('{') || text == "null";
  if (port.type == datatype::bytes && !bracket)
    return functions::scalar_value(text);
  auto document = calls::json_document::parse(text);
  if (!document.ok() && port.type == datatype::bytes)
    return functions::scalar_value(text);
  if (!document.ok())
    return {errc::invalid_argument, fmt::format("expected {}, not '{}' (@FILE reads a file)", describe(port), text.substr(0, 60))};
  return value_of_json(port, document->root(), text);
}

std::string summary(const functions::value& value, std::size_t width) {
  if (value.absent())
    return "absent";
  std::string text;
  if (const auto* list = value.as_list()) {
    text = fmt::format("{} elements: ", list->size());
    for (std::size_t i = 0; i < list->size() && text.size() < width; ++i)
      text += (i == 0 ? "" : "; ") + summary((*list)[i], width);
  } else {
    const auto& tensor = *value.as_tensor();
    text = fmt::format("{} {}", to_string(tensor.type), functions::to_string(tensor.shape));
    std::vector<std::string_view> elements;
    if (tensor.type == datatype::bytes)
      if (auto read = functions::bytes_elements(tensor); read.ok())
        elements = std::move(read).value();
    const std::size_t size = functions::element_size(tensor.type);
    const std::size_t count = tensor.type == datatype::bytes ? elements.size() : tensor.data.size() / size;
    for (std::size_t i = 0; i < count && text.size() < width; ++i)
      text += (i == 0 ? " " : ", ") + (tensor.type == datatype::bytes ? std::string{elements[i]}
                                                                      : fmt::format("{:.6g}", functions::number_at(tensor, i).value()));
  }
  return text.size() > width ? text.substr(0, width - 3) + "..." : text;
}

} // namespace squall::client
