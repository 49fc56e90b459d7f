#pragma once

#include "functions/builtin/detail/table.hpp"

#include <memory>

/// Expressions over the columns of a table, row by row; docs/tables.md has the grammar and the functions.
namespace squall::functions::builtins::detail {

/// What a value in an expression is. Columns of integers are INT64 in it, FP32 is FP64.
enum class cell_type : std::uint8_t { integer, number, boolean, text };
[[nodiscard]] std::string_view to_string(cell_type type);
/// None for columns that expressions cannot read: 16-bit floats, and cells of several elements.
[[nodiscard]] std::optional<cell_type> cell_type_of(const column& c);

struct expression_node;

/// A parsed expression. Immutable; used by any thread.
class expression {
public:
  /// Errors quote the place.
  [[nodiscard]] static result<expression> parse(std::string_view text);

  /// Its value in every row. Errors name unknown columns, operands that do not fit, and the row of an overflow, a
  /// division by 0 or a number that an integer cannot hold. `go_on` is asked every few thousand rows.
  [[nodiscard]] result<column> evaluate(const table& t, std::string name, const stop_check& go_on) const;
  /// The rows in which a condition holds.
  [[nodiscard]] result<std::vector<std::uint32_t>> rows_where(const table& t, const stop_check& go_on) const;

  /// The column's name, if the expression is nothing but a column.
  [[nodiscard]] std::optional<std::string_view> plain_column() const;

private:
  explicit expression(std::shared_ptr<const expression_node> root) : root_(std::move(root)) {}
  std::shared_ptr<const expression_node> root_;
};

/// "total = price * count": a name and what it is of. Without "=", an expression that is a column keeps its name.
struct definition {
  std::string name;
  expression of;
};
[[nodiscard]] result<definition> parse_definition(std::string_view text);

/// A name in a parameter: letters, digits, '_' and '.', or anything within backquotes.
[[nodiscard]] result<std::string> parse_column_name(std::string_view text);
/// The names of a list, at least `least` of them, none twice.
[[nodiscard]] result<std::vector<std::string>> parse_column_names(std::string_view text, std::size_t least);

} // namespace squall::functions::builtins::detail
