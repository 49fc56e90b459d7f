#include "functions/builtin/detail/expression.hpp"
#include "functions/builtin/detail/row_keys.hpp"
#include "functions/builtin/detail/support.hpp"
#include "functions/detail/text.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

/// Rows that belong together: groups and what is said of them.
namespace squall::functions::builtins::detail {

using functions::detail::quoted;

namespace {

/// The group of each row, numbered as they appear; all rows are one group when nothing is named.
struct grouping {
  std::vector<std::uint32_t> group_of;
  std::vector<std::uint32_t> first; ///< row of each group

  [[nodiscard]] std::size_t count() const { return first.size(); }
};

result<grouping> group_rows(const table& t, const std::vector<std::string>& by) {
  std::vector<const column*> keys;
  for (const auto& name : by) {
    SQUALL_ASSIGN(c, column_named(t, name));
    keys.push_back(c);
  }
  grouping out;
  out.group_of.resize(t.rows);
  key_encoder encoder{t.rows};
  SQUALL_ASSIGN(codes, encoder.encode(keys, t.rows));
  id_map groups{t.rows};
  for (std::size_t row = 0; row < t.rows; ++row) {
    out.group_of[row] = groups.id_of(codes[row]);
    if (out.group_of[row] == out.first.size())
      out.first.push_back(static_cast<std::uint32_t>(row));
  }
  return out;
}

// -- groups

result<std::unique_ptr<instance>> make_group(const settings& s) {
  SQUALL_ASSIGN(by, parse_column_names(s.text("by"), 1));
  return instance_of([by = std::move(by)](std::span<const value> inputs, const run_context& context) -> outputs {
    const stop_check go_on{context};
    SQUALL_ASSIGN(t, read_table("table", inputs[0]));
    SQUALL_ASSIGN(groups, group_rows(t, by));
    if (groups.count() > max_map_width)
      return error{errc::too_large, std::to_string(groups.count()) + " groups; a list has at most " +
                                        std::to_string(max_map_width) +
                                        ": use table-aggregate, which has no such limit"};
    std::vector<std::vector<std::uint32_t>> rows(groups.count());
    for (std::size_t row = 0; row < t.rows; ++row)
      rows[groups.group_of[row]].push_back(static_cast<std::uint32_t>(row));
    value_list tables;
    for (const auto& group : rows) {
      SQUALL_TRY(go_on());
      SQUALL_ASSIGN(one, write_table(gather(t, group)));
      tables.push_back(std::move(one));
    }
    table keys{groups.count(), {}};
    for (const auto& name : by)
      keys.columns.push_back(gather(*find_column(t, name), groups.first));
    SQUALL_ASSIGN(keys_value, write_table(keys));
    return std::vector<value>{{std::move(tables)}, std::move(keys_value)};
  });
}

// -- aggregates

struct aggregate {
  std::string name;
  std::string function; ///< count, sum, mean, min, max or first
  std::string of;       ///< a column; empty with count
};

/// "total = sum(price)".
result<aggregate> parse_aggregate(std::string_view text) {
  const auto sign = text.find('=');
  const auto open = text.find('(', sign == std::string_view::npos ? 0 : sign);
  if (sign == std::string_view::npos || open == std::string_view::npos || text.back() != ')')
    return invalid(quoted(text) + " is not NAME = FUNCTION(COLUMN), such as total = sum(price)");
  SQUALL_ASSIGN(name, parse_column_name(text.substr(0, sign)));
  aggregate out{std::move(name), std::string{trimmed(text.substr(sign + 1, open - sign - 1))}, {}};
  static const std::vector<std::string_view> known{"count", "first", "max", "mean", "min", "sum"};
  if (std::find(known.begin(), known.end(), out.function) == known.end())
    return {errc::invalid_argument, functions::detail::unknown_name("aggregate", out.function, known)};
  const auto inside = trimmed(text.substr(open + 1, text.size() - open - 2));
  if (out.function == "count") {
    if (!inside.empty())
      return invalid(quoted(text) + ": count() counts rows and takes no column");
    return out;
  }
  SQUALL_ASSIGN(of, parse_column_name(inside));
  out.of = std::move(of);
  return out;
}

column count_rows(const std::string& name, const grouping& groups) {
  std::vector<std::int64_t> counts(groups.count());
  for (const auto g : groups.group_of)
    ++counts[g];
  return column_of(name, datatype::int64, std::move(counts));
}

template <class T>
result<column> sum_integers(const aggregate& a, const column& c, const grouping& groups) {
  const auto from = numbers_of<T>(c);
  std::vector<std::int64_t> sums(groups.count());
  for (std::size_t row = 0; row < from.size(); ++row) {
    auto& sum = sums[groups.group_of[row]];
    bool over = __builtin_add_overflow(sum, from[row], &sum);
    if (over)
      return invalid("the sum of column " + quoted(a.of) + " passes 64 bits at row " + std::to_string(row) +
                     "; convert it with float() in a table-map before");
  }
  return column_of(a.name, datatype::int64, std::move(sums));
}

template <class T>
std::vector<double> sum_floats(const column& c, const grouping& groups) {
  const auto from = numbers_of<T>(c);
  std::vector<double> sums(groups.count());
  for (std::size_t row = 0; row < from.size(); ++row)
    sums[groups.group_of[row]] += static_cast<double>(from[row]);
  return sums;
}

template <class T>
column mean_of(const aggregate& a, const column& c, const grouping& groups) {
  auto sums = sum_floats<T>(c, groups);
  const auto counted = count_rows({}, groups);
  const auto counts = numbers_of<std::int64_t>(counted);
  for (std::size_t g = 0; g < sums.size(); ++g)
    sums[g] /= static_cast<double>(counts[g]);
  return column_of(a.name, datatype::fp64, std::move(sums));
}

/// Not-a-number loses against every number.
template <class T>
column extreme_of(const aggregate& a, const column& c, const grouping& groups) {
  const auto from = numbers_of<T>(c);
  std::vector<T> best(groups.count());
  for (std::size_t g = 0; g < best.size(); ++g)
    best[g] = from[groups.first[g]];
  const bool least = a.function == "min";
  for (std::size_t row = 0; row < from.size(); ++row) {
    auto& b = best[groups.group_of[row]];
    const T v = from[row];
    if (b != b || (least ? v < b : b < v)) // b != b: not-a-number
      b = v;
  }
  return column_of(a.name, c.type, std::move(best));
}

result<column> run_aggregate(const aggregate& a, const table& t, const grouping& groups) {
  if (a.function == "count")
    return count_rows(a.name, groups);
  SQUALL_ASSIGN(c, column_named(t, a.of));
  if (a.function == "first") {
    auto out = gather(*c, groups.first);
    out.name = a.name;
    return out;
  }
  const auto type = cell_type_of(*c);
  if (!type || *type == cell_type::text || *type == cell_type::boolean)
    return invalid(a.function + " of column " + quoted(a.of) + ", which is " + describe(*c) +
                   ": it takes single numbers; convert it with table-map, or use first");
  result<column> out{column{}};
  with_element_type(c->type, [&]<class T>(T) {
    if (a.function == "mean")
      out = mean_of<T>(a, *c, groups);
    else if (a.function != "sum")
      out = extreme_of<T>(a, *c, groups);
    else if constexpr (std::is_floating_point_v<T>)
      out = column_of(a.name, datatype::fp64, sum_floats<T>(*c, groups));
    else
      out = sum_integers<T>(a, *c, groups);
  });
  return out;
}

result<std::unique_ptr<instance>> make_aggregate(const settings& s) {
  SQUALL_ASSIGN(by, parse_column_names(s.text("by"), 0));
  std::vector<aggregate> plan;
  for (const auto part : split_list(s.text("columns"))) {
    SQUALL_ASSIGN(a, parse_aggregate(part));
    plan.push_back(std::move(a));
  }
  if (plan.empty() && by.empty())
    return invalid(
        "parameters 'by' and 'columns' are empty; write columns such as \"n = count(), total = sum(price)\"");
  return instance_of([by = std::move(by), plan = std::move(plan)](std::span<const value> inputs,
                                                                  const run_context& context) -> outputs {
    const stop_check go_on{context};
    SQUALL_ASSIGN(t, read_table("table", inputs[0]));
    SQUALL_ASSIGN(groups, group_rows(t, by));
    table out{groups.count(), {}};
    for (const auto& name : by)
      out.columns.push_back(gather(*find_column(t, name), groups.first));
    for (const auto& a : plan) {
      SQUALL_TRY(go_on());
      SQUALL_ASSIGN(c, run_aggregate(a, t, groups));
      out.columns.push_back(std::move(c));
    }
    SQUALL_ASSIGN(v, write_table(out));
    return std::vector{std::move(v)};
  });
}

} // namespace

std::vector<builtin> table_group_builtins() {
  const std::vector<port> in{table_port("table")};
  return {
      {.name = "table-groupby",
       .summary =
           "one table for each group of rows that agree in some columns, in order of appearance, to map over; keys "
           "has a row for each",
       .inputs = in,
       .outputs = {{"groups", datatype::uint8, {-1}, true}, table_port("keys")},
       .parameters = {{"by", parameter_kind::text, std::nullopt, "the columns, with commas between"}},
       .make = make_group},
      {.name = "table-aggregate",
       .summary =
           "a row for each group of rows that agree in some columns, in order of appearance, with numbers of the group",
       .inputs = in,
       .outputs = {table_port("table")},
       .parameters = {{"by", parameter_kind::text, "",
                       "the columns, with commas between; empty: all rows are one group"},
                      {"columns", parameter_kind::text, "",
                       "such as \"n = count(), total = sum(price)\"; also mean, min, max and first"}},
       .light = true,
       .make = make_aggregate},
  };
}

} // namespace squall::functions::builtins::detail
