#include "client/cli/render.hpp"

#include "client/units.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <functional>

namespace squall::client::cli {

namespace {

using calls::json_node;
using kind = json_node::kind;

/// Characters, not bytes: names may hold any UTF-8.
std::size_t width_of(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

bool is_numeric(std::string_view text) {
  return !text.empty() && (std::isdigit(static_cast<unsigned char>(text.front())) || text.front() == '-');
}

std::string compact_json(const json_node& node) {
  calls::json_writer out;
  copy_json(node, out);
  return out.take();
}

/// Whether YAML reads the text back as the same text without quotes.
bool plain_in_yaml(std::string_view text) {
  if (text.empty() || text == "true" || text == "false" || text == "null" || is_numeric(text))
    return false;
  return std::ranges::all_of(text,
                             [](unsigned char c) {
                               return std::isalnum(c) || c == '_' || c == '-' || c == '.' || c == '/' || c >= 0x80;
                             }) &&
         text.front() != '-' && text.front() != '.';
}

bool is_block(const json_node& node) {
  if (node.size() == 0)
    return false;
  if (node.type() == kind::object)
    return true;
  // Lists of plain things fit on a line.
  bool block = false;
  for (std::size_t i = 0; node.type() == kind::array && i < node.size(); ++i)
    block = block || node.element(i).size() > 0;
  return block;
}

void write_yaml(const json_node& node, std::size_t indent, bool after_dash, std::string& out) {
  const std::string spaces(indent, ' ');
  if (!is_block(node)) {
    const auto text = node.as_string();
    out += (text && plain_in_yaml(*text) ? std::string{*text} : compact_json(node)) + "\n";
    return;
  }
  for (std::size_t i = 0; i < node.size(); ++i) {
    out += i == 0 && after_dash ? std::string{} : spaces;
    if (node.type() == kind::array) {
      out += "- ";
      write_yaml(node.element(i), indent + 2, true, out);
      continue;
    }
    const auto [name, value] = node.member(i);
    out += (plain_in_yaml(name) ? std::string{name} : fmt::format("\"{}\"", name)) + ":";
    const bool block = is_block(value);
    out += block ? "\n" : " ";
    write_yaml(value, block && value.type() == kind::array ? indent : indent + 2, false, out);
  }
}

std::string scalar_text(const json_node& node) {
  if (const auto text = node.as_string())
    return std::string{*text};
  return node.is_null() ? "-" : compact_json(node);
}

std::string names_of(const json_node& list) {
  std::string names;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const json_node element = list.type() == kind::array ? list.element(i) : list.member(i).second;
    const auto name = element.find("name");
    names += (names.empty() ? "" : ", ") + scalar_text(name ? *name : element);
  }
  return names.empty() ? "-" : names;
}

} // namespace

void copy_json(const json_node& node, calls::json_writer& out) {
  switch (node.type()) {
    case kind::null:
      return out.null();
    case kind::boolean:
      return out.boolean(*node.as_boolean());
    case kind::string:
      return out.string(*node.as_string());
    case kind::number:
      if (const auto integer = node.as_int64())
        return out.number(*integer);
      if (const auto large = node.as_uint64())
        return out.number(*large);
      return out.number(node.as_double().value_or(0));
    case kind::array:
      out.begin_array();
      for (std::size_t i = 0; i < node.size(); ++i)
        copy_json(node.element(i), out);
      return out.end_array();
    case kind::object:
      out.begin_object();
      for (std::size_t i = 0; i < node.size(); ++i) {
        const auto [name, value] = node.member(i);
        out.key(name);
        copy_json(value, out);
      }
      return out.end_object();
  }
}

std::string table::text() const {
  std::vector<std::size_t> widths;
  for (const auto& row : rows_) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], width_of(row[i]));
  }
  // A column of figures stands right, with its title.
  std::vector<bool> right(widths.size(), rows_.size() > 1);
  for (std::size_t r = 1; r < rows_.size(); ++r)
    for (std::size_t i = 0; i < rows_[r].size(); ++i)
      right[i] = right[i] && (is_numeric(rows_[r][i]) || rows_[r][i] == "-");
  std::string out;
  for (const auto& row : rows_) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string gap(widths[i] - width_of(row[i]), ' ');
      line += (i == 0 ? "" : "  ") + (right[i] ? gap + row[i] : row[i] + gap);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

std::string cell_of(const json_node& object, const column& c) {
  const auto value = object.find(c.key);
  if (!value || value->is_null())
    return "-";
  if (c.how == shown_as::count)
    return std::to_string(value->size());
  if (c.how == shown_as::names)
    return names_of(*value);
  const auto number = value->as_int64();
  if (c.how == shown_as::cost && number)
    return format_cost(*number);
  if (c.how == shown_as::duration_ns && number)
    return format_duration(duration{*number});
  if (c.how == shown_as::size_bytes && number && *number >= 0)
    return format_size(static_cast<std::uint64_t>(*number));
  return scalar_text(*value);
}

std::string table_of(const json_node& objects, const std::vector<column>& columns) {
  std::vector<std::string> header;
  for (const column& c : columns)
    header.emplace_back(c.title);
  table out{std::move(header)};
  for (std::size_t i = 0; i < objects.size(); ++i) {
    std::vector<std::string> row;
    for (const column& c : columns)
      row.push_back(cell_of(objects.element(i), c));
    out.add(std::move(row));
  }
  return out.text();
}

std::string pretty_json(const json_node& node) {
  calls::json_writer out{calls::json_style::pretty};
  copy_json(node, out);
  return out.take() + "\n";
}

std::string yaml_of(const json_node& node) {
  std::string out;
  write_yaml(node, 0, false, out);
  return out;
}

result<std::string> rendered(output_format format, const std::string& json,
                             const std::function<std::string(const json_node&)>& as_table) {
  auto document = calls::json_document::parse(json);
  if (!document.ok())
    return {errc::corrupt, "the cluster answered with JSON that cannot be read: " + document.error().message};
  if (format == output_format::json)
    return pretty_json(document->root());
  return format == output_format::yaml ? yaml_of(document->root()) : as_table(document->root());
}

} // namespace squall::client::cli
