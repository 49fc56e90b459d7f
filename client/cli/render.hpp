#pragma once

#include "calls/json.hpp"
#include "client/cli/session.hpp"

#include <string>
#include <string_view>
#include <vector>

/// JSON of the cluster as users want to see it.
namespace squall::client::cli {

/// Text in columns, each as wide as its widest cell, two spaces apart; numbers stand right.
class table {
public:
  explicit table(std::vector<std::string> header) { rows_.push_back(std::move(header)); }
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  [[nodiscard]] std::string text() const;

private:
  std::vector<std::vector<std::string>> rows_;
};

/// How a column shows its value.
enum class shown_as : std::uint8_t { text, duration_ns, size_bytes, cost, count, names };
struct column {
  std::string_view title;
  std::string_view key;
  shown_as how = shown_as::text;
};

/// A table with one row for each object of an array.
[[nodiscard]] std::string table_of(const calls::json_node& objects, const std::vector<column>& columns);

/// One cell: strings as they are, lists as "a, b" (of objects: their names), durations and sizes with units.
[[nodiscard]] std::string cell_of(const calls::json_node& object, const column& c);

/// What the query "policy" tells, for people.
[[nodiscard]] std::string policy_text(const calls::json_node& policy);

/// Writes a node as it is.
void copy_json(const calls::json_node& node, calls::json_writer& out);

/// JSON with indentation, or as YAML. Both end with a newline.
[[nodiscard]] std::string pretty_json(const calls::json_node& node);
[[nodiscard]] std::string yaml_of(const calls::json_node& node);

/// JSON text in the format that was asked for; `as_table` is what `table` prints.
[[nodiscard]] result<std::string> rendered(output_format format, const std::string& json,
                                           const std::function<std::string(const calls::json_node&)>& as_table);

} // namespace squall::client::cli
