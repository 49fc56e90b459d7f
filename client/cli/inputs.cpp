#include "client/cli/inputs.hpp"

#include "calls/json.hpp"
#include "client/nearest.hpp"
#include "client/values.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace squall::client::cli {

namespace {

/// Names of everything that can be called.
std::vector<std::string> callable_names(cluster& from) {
  std::vector<std::string> names;
  for (const char* kind : {"dags", "functions"}) {
    const auto list = from.query(kind);
    const auto document = calls::json_document::parse(list.ok() ? *list : "[]");
    if (!document.ok())
      continue;
    for (std::size_t i = 0; i < document->root().size(); ++i)
      if (const auto name = document->root().element(i).find("name"))
        names.emplace_back(name->as_string().value_or(""));
  }
  return names;
}

result<functions::port> port_of(const calls::json_node& node) {
  calls::json_reader reader{node};
  functions::port port;
  reader.read(port);
  SQUALL_TRY(reader.status());
  return port;
}

result<functions::value> read_value(const functions::port& port, std::string_view text, std::FILE* standard_input) {
  if (text == "-") {
    std::string content;
    char block[1 << 16];
    while (const std::size_t got = std::fread(block, 1, sizeof block, standard_input))
      content.append(block, got);
    return value_of_bytes(port, shared_bytes::take(std::move(content)));
  }
  if (!text.starts_with('@'))
    return value_of_text(port, text);
  SQUALL_ASSIGN(bytes, read_file(std::string{text.substr(1)}));
  return value_of_bytes(port, bytes);
}

/// One --input, put where it belongs.
result<> add_input(const functions::port& port, std::string_view text, std::FILE* standard_input,
                   std::vector<functions::named_value>& values) {
  auto value = read_value(port, text, standard_input);
  if (!value.ok())
    return {value.error().code, fmt::format("input '{}': {}", port.name, value.error().message)};
  const auto before = std::ranges::find(values, port.name, &functions::named_value::name);
  const bool element = port.list && value->as_tensor();
  if (before == values.end()) {
    if (element)
      values.push_back({port.name, {functions::value_list{std::move(value).value()}}});
    else
      values.push_back({port.name, std::move(value).value()});
    return {};
  }
  if (!element)
    return {errc::invalid_argument, fmt::format("input '{}' is given twice, and is no list", port.name)};
  std::get<functions::value_list>(before->value.data).push_back(std::move(value).value());
  return {};
}

} // namespace

result<std::vector<functions::port>> ports_of(cluster& from, std::string_view target) {
  const std::string name{target.substr(0, target.find('@'))};
  const auto body = from.query("dags", name);
  if (!body.ok() && body.error().code == errc::not_found) {
    const auto names = callable_names(from);
    return {errc::not_found, unknown_name("name", name, std::vector<std::string_view>{names.begin(), names.end()})};
  }
  if (!body.ok())
    return body.error();
  SQUALL_ASSIGN(document, calls::json_document::parse(*body));
  std::vector<functions::port> ports;
  if (const auto inputs = document.root().find("inputs"))
    for (std::size_t i = 0; i < inputs->size(); ++i) {
      SQUALL_ASSIGN(port, port_of(inputs->element(i)));
      ports.push_back(std::move(port));
    }
  return ports;
}

result<std::vector<functions::named_value>> read_inputs(const std::vector<functions::port>& ports,
                                                        const std::vector<std::string>& given,
                                                        std::FILE* standard_input) {
  std::vector<functions::named_value> values;
  for (const std::string& input : given) {
    const std::size_t equals = input.find('=');
    if (equals == std::string::npos)
      return {errc::invalid_argument, fmt::format("--input {}: expected NAME=VALUE", input.substr(0, 60))};
    const std::string name = input.substr(0, equals);
    const auto port = std::ranges::find(ports, name, &functions::port::name);
    if (port == ports.end()) {
      std::vector<std::string_view> names;
      for (const functions::port& p : ports)
        names.push_back(p.name);
      return {errc::invalid_argument, unknown_name("input", name, names)};
    }
    SQUALL_TRY(add_input(*port, std::string_view{input}.substr(equals + 1), standard_input, values));
  }
  for (const functions::port& port : ports)
    if (!port.optional && std::ranges::find(values, port.name, &functions::named_value::name) == values.end())
      return {errc::invalid_argument, fmt::format("the input '{}' is missing ({}); give it with --input {}=...",
                                                  port.name, describe(port), port.name)};
  return values;
}

} // namespace squall::client::cli
