#pragma once

#include "base/result.hpp"
#include "calls/json.hpp"

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

/// Files of problems: one JSON object a line in, one answer a line out.
namespace squall::sim {

/// Answers each line of standard input on standard output, in order; empty lines are passed over. A line that has no
/// answer gets {"error": ...} there, and its number and what is wrong on standard error; the others are answered all
/// the same. Gives the exit status: 0, or 1 if a line had no answer.
[[nodiscard]] int answer_lines(const std::function<result<std::string>(calls::json_node)>& answer);

// Reading fields. Errors name the path; keys that nobody asks for are passed over.

/// A field of an object; an error if the object has none or `node` is no object.
[[nodiscard]] result<calls::json_node> need(calls::json_node node, std::string_view name);
/// A field of an object that may be absent or null.
[[nodiscard]] std::optional<calls::json_node> maybe(calls::json_node node, std::string_view name);
/// A whole number (2.0 is one) from `least` to `most`.
[[nodiscard]] result<std::int64_t> whole(calls::json_node node, const std::string& path,
                                         std::int64_t least = std::numeric_limits<std::int64_t>::min(),
                                         std::int64_t most = std::numeric_limits<std::int64_t>::max());
[[nodiscard]] result<double> real(calls::json_node node, const std::string& path);
[[nodiscard]] result<std::string> text(calls::json_node node, const std::string& path);
[[nodiscard]] result<> need_array(calls::json_node node, const std::string& path);
/// An array of exactly `size` elements.
[[nodiscard]] result<> need_array(calls::json_node node, const std::string& path, std::size_t size);

[[nodiscard]] inline std::string at(const std::string& path, std::size_t index) {
  return path + "[" + std::to_string(index) + "]";
}

} // namespace squall::sim
