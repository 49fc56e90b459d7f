#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace squall::functions::builtins::detail {

/// A part of an expression: a constant, a column, or an operator or function of other parts.
struct expression_node {
  enum class kind : std::uint8_t { integer, number, boolean, text, column, call };
  kind what = kind::integer;
  std::string text; ///< a constant, the column's name, or the operator's or function's
  std::int64_t integer = 0;
  double number = 0;
  bool boolean = false;
  std::vector<std::shared_ptr<const expression_node>> arguments;
};

} // namespace squall::functions::builtins::detail
