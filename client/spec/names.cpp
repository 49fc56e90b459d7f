#include "client/nearest.hpp"
#include "client/spec/readers.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <limits>

namespace squall::client::spec {

namespace {

constexpr std::array<std::string_view, 14> datatype_names{"BOOL", "UINT8", "UINT16", "UINT32", "UINT64",
                                                          "INT8", "INT16", "INT32",  "INT64",  "FP16",
                                                          "BF16", "FP32",  "FP64",   "BYTES"};

std::string bad_name(std::string_view name, std::string_view noun) {
  return fmt::format(
      "'{}' cannot name a {}: use 1 to {} letters, digits, '_', '-' and '.', beginning with a letter, a digit or '_'",
      name.substr(0, 140), noun, functions::max_name_length);
}

result<functions::shape> read_shape(const yaml_view& at) {
  SQUALL_ASSIGN(extents, at.items());
  if (extents.size() > functions::max_rank)
    return at.fail(fmt::format("{} dimensions, a tensor has at most {}", extents.size(), functions::max_rank));
  functions::shape shape;
  for (const yaml_view& extent : extents) {
    const auto number = extent.maybe_integer();
    if (!number || *number < -1)
      return extent.expected("an extent: a whole number, or -1 for a free dimension");
    shape.push_back(*number);
  }
  return shape;
}

result<functions::port> read_port(const std::string& name, const yaml_view& at) {
  SQUALL_ASSIGN(fields, at.mapping({"datatype", "shape", "list", "optional"}));
  SQUALL_ASSIGN(type_view, fields.require("datatype"));
  SQUALL_ASSIGN(type_name, type_view.text());
  const auto type = functions::datatype_from_string(type_name);
  if (!type)
    return type_view.fail(unknown_name("datatype", type_name, datatype_names));
  SQUALL_ASSIGN(shape_view, fields.require("shape"));
  SQUALL_ASSIGN(shape, read_shape(shape_view));
  functions::port port{.name = name, .type = *type, .shape = std::move(shape)};
  if (const auto list = fields.find("list")) {
    SQUALL_ASSIGN(flag, list->boolean());
    port.list = flag;
  }
  if (const auto optional = fields.find("optional")) {
    SQUALL_ASSIGN(flag, optional->boolean());
    port.optional = flag;
  }
  return port;
}

} // namespace

result<> check_key_name(const yaml_view& at, std::string_view name, std::string_view noun) {
  if (!functions::is_name(name))
    return at.fail(bad_name(name, noun));
  return {};
}

result<std::string> read_name(const yaml_view& at, std::string_view noun) {
  SQUALL_ASSIGN(name, at.text());
  SQUALL_TRY(check_key_name(at, name, noun));
  return name;
}

result<versioned_name> read_versioned_name(const yaml_view& at, std::string_view noun) {
  SQUALL_ASSIGN(text, at.text());
  versioned_name out;
  const std::size_t mark = text.find('@');
  if (mark != std::string::npos) {
    const char* end = text.data() + text.size();
    const auto [rest, failure] = std::from_chars(text.data() + mark + 1, end, out.version);
    if (failure != std::errc{} || rest != end || out.version == 0)
      return at.expected(fmt::format("a {} with a version such as name@2", noun));
  }
  out.name = text.substr(0, mark);
  SQUALL_TRY(check_key_name(at, out.name, noun));
  return out;
}

result<std::vector<functions::port>> read_ports(const yaml_view& at, std::string_view noun) {
  SQUALL_ASSIGN(entries, at.entries());
  std::vector<functions::port> ports;
  for (const auto& [name, view] : entries) {
    SQUALL_TRY(check_key_name(view, name, noun));
    SQUALL_ASSIGN(port, read_port(name, view));
    ports.push_back(std::move(port));
  }
  return ports;
}

} // namespace squall::client::spec
