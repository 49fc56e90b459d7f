#pragma once

#include "functions/builtin/detail/table.hpp"
#include "tests/functions/running.hpp"

/// Tables in tests.
namespace squall::functions::builtins::testing {

using detail::column;
using detail::column_of;
using detail::table;

inline column integers(std::string name, std::vector<std::int64_t> cells) {
  return column_of(std::move(name), datatype::int64, std::move(cells));
}
inline column doubles(std::string name, std::vector<double> cells) {
  return column_of(std::move(name), datatype::fp64, std::move(cells));
}
inline column singles(std::string name, std::vector<float> cells) {
  return column_of(std::move(name), datatype::fp32, std::move(cells));
}
inline column flags(std::string name, std::vector<std::uint8_t> cells) {
  return column_of(std::move(name), datatype::boolean, std::move(cells));
}
inline column words(std::string name, const std::vector<std::string_view>& cells) {
  detail::text_builder out{cells.size()};
  for (const auto cell : cells)
    out.add(cell);
  return std::move(out).done(std::move(name));
}

inline table table_of(std::vector<column> columns) {
  table t;
  t.rows = columns.empty() ? 0 : columns.front().rows;
  t.columns = std::move(columns);
  return t;
}
inline value packed(std::vector<column> columns) { return detail::write_table(table_of(std::move(columns))).value(); }

inline table unpacked(const value& v) {
  auto t = detail::read_table("of the test", v);
  EXPECT_TRUE(t.ok()) << (t.ok() ? "" : t.error().message);
  return t.ok() ? *std::move(t) : table{};
}

/// The cells of a column as text, "a|b|c"; its datatype before them.
inline std::string shown(const table& t, std::string_view name) {
  const auto* c = detail::find_column(t, name);
  if (!c)
    return "no column " + std::string{name};
  std::string out{to_string(c->type)};
  for (std::size_t row = 0; row < t.rows; ++row) {
    out += row == 0 ? " " : "|";
    if (c->type == datatype::bytes) {
      out += detail::text_cells{*c}[row];
      continue;
    }
    detail::with_element_type(c->type, [&]<class T>(T) {
      const auto cell = detail::numbers_of<T>(*c)[row * c->width];
      std::ostringstream text;
      text << +cell;
      out += text.str();
    });
  }
  return out;
}

/// All columns: "id INT64 1|2; name BYTES a|b".
inline std::string shown(const table& t) {
  std::string out;
  for (const auto& c : t.columns)
    out += (out.empty() ? "" : "; ") + c.name + " " + shown(t, c.name);
  return out;
}

/// What a builtin with one table in and one out makes, as text, or its error.
inline std::string made(std::string_view name, std::vector<value> inputs, const parameter_map& parameters) {
  auto ran = run(name, std::move(inputs), parameters);
  return ran.ok() ? shown(unpacked(ran->front())) : ran.error().message;
}

} // namespace squall::functions::builtins::testing
