#include "functions/builtin/detail/expression.hpp"
#include "functions/builtin/detail/row_keys.hpp"
#include "functions/builtin/detail/support.hpp"
#include "functions/detail/text.hpp"

#include <algorithm>
#include <set>

/// Rows that find others: in a second table, or in the store.
namespace squall::functions::builtins::detail {

using functions::detail::quoted;

namespace {

// -- join

struct join_plan {
  std::vector<std::string> left;
  std::vector<std::string> right; ///< parallel
  bool keep_left = false;
  std::string suffix;
  std::string matched;
};

/// "id" or "user = id": the names on both sides.
result<> parse_join_keys(const std::string& text, join_plan& out) {
  for (const auto part : split_list(text)) {
    const auto sign = part.find('=');
    SQUALL_ASSIGN(left, parse_column_name(part.substr(0, sign)));
    SQUALL_ASSIGN(right, parse_column_name(sign == std::string_view::npos ? part : part.substr(sign + 1)));
    out.left.push_back(std::move(left));
    out.right.push_back(std::move(right));
  }
  if (out.left.empty())
    return invalid(
        "parameter 'on' is empty; name the columns whose values must agree, such as \"id\" or \"user = id\"");
  return {};
}

struct key_columns {
  std::vector<const column*> left;
  std::vector<const column*> right;
};

result<key_columns> find_keys(const join_plan& plan, const table& left, const table& right) {
  key_columns out;
  for (std::size_t i = 0; i < plan.left.size(); ++i) {
    auto l = column_named(left, plan.left[i]);
    if (!l.ok())
      return invalid("input 'left': " + l.error().message);
    auto r = column_named(right, plan.right[i]);
    if (!r.ok())
      return invalid("input 'right': " + r.error().message);
    if (cell_type_of(**l) != cell_type_of(**r))
      return invalid("key " + quoted(plan.left[i]) + " is " + describe(**l) + " on the left and " + describe(**r) +
                     " on the right; convert one with table-map");
    out.left.push_back(*l);
    out.right.push_back(*r);
  }
  return out;
}

/// For each row of the result, the rows that it is made of.
struct matches {
  std::vector<std::uint32_t> left;
  std::vector<std::uint32_t> right; ///< no_row: nothing matched
};

/// Left rows in their order, for each the right rows in theirs.
result<matches> match(const join_plan& plan, const table& left, const table& right, const stop_check& go_on) {
  SQUALL_ASSIGN(keys, find_keys(plan, left, right));
  key_encoder encoder{right.rows};
  SQUALL_ASSIGN(right_codes, encoder.encode(keys.right, right.rows));
  SQUALL_ASSIGN(left_codes, encoder.encode(keys.left, left.rows));
  id_map ids{right.rows};
  std::vector<std::uint32_t> first; // by id: the first right row, then `next` leads on
  std::vector<std::uint32_t> next(right.rows, no_row);
  for (std::size_t row = right.rows; row-- > 0;) {
    const auto id = ids.id_of(right_codes[row]);
    if (id == first.size())
      first.push_back(no_row);
    next[row] = first[id];
    first[id] = static_cast<std::uint32_t>(row);
  }
  matches out;
  for (std::size_t row = 0; row < left.rows; ++row) {
    if (row % 4096 == 0)
      SQUALL_TRY(go_on());
    const auto id = ids.find(left_codes[row]);
    auto other = id == id_map::none ? no_row : first[id];
    if (other == no_row && !plan.keep_left)
      continue;
    do {
      out.left.push_back(static_cast<std::uint32_t>(row));
      out.right.push_back(other);
      other = other == no_row ? no_row : next[other];
    } while (other != no_row);
    if (out.left.size() > max_table_rows)
      return {errc::too_large,
              "the join has more than " + std::to_string(max_table_rows) +
                  " rows: keys repeat on both sides; join on more columns, or aggregate one side before"};
  }
  return out;
}

result<std::unique_ptr<instance>> make_join(const settings& s) {
  join_plan plan;
  SQUALL_TRY(parse_join_keys(s.text("on"), plan));
  plan.keep_left = s.text("how") == "left";
  plan.suffix = s.text("suffix");
  plan.matched = s.text("matched");
  return instance_of([plan = std::move(plan)](std::span<const value> inputs, const run_context& context) -> outputs {
    const stop_check go_on{context};
    SQUALL_ASSIGN(left, read_table("left", inputs[0]));
    SQUALL_ASSIGN(right, read_table("right", inputs[1]));
    SQUALL_ASSIGN(rows, match(plan, left, right, go_on));
    table out = gather(left, rows.left);
    for (const auto& c : right.columns) {
      if (std::find(plan.right.begin(), plan.right.end(), c.name) != plan.right.end())
        continue; // the left one says the same
      out.columns.push_back(gather(c, rows.right));
      if (find_column(left, c.name))
        out.columns.back().name += plan.suffix;
    }
    if (plan.keep_left && !plan.matched.empty()) {
      std::vector<std::uint8_t> matched(rows.right.size());
      std::transform(rows.right.begin(), rows.right.end(), matched.begin(), [](auto row) { return row != no_row; });
      out.columns.push_back(column_of(plan.matched, datatype::boolean, std::move(matched)));
    }
    SQUALL_ASSIGN(v, write_table(out));
    return std::vector{std::move(v)};
  });
}

// -- lookup

/// The key in the store of each row.
result<std::vector<std::string>> keys_of_rows(const settings& s, const table& t) {
  SQUALL_ASSIGN(name, parse_column_name(s.text("key")));
  SQUALL_ASSIGN(c, column_named(t, name));
  const auto type = cell_type_of(*c);
  std::vector<std::string> keys;
  keys.reserve(c->rows);
  if (type == cell_type::text) {
    const text_cells cells{*c};
    for (std::size_t row = 0; row < c->rows; ++row)
      keys.push_back(s.text("prefix") + std::string{cells[row]});
    return keys;
  }
  if (type != cell_type::integer)
    return invalid("column " + quoted(name) + " is " + describe(*c) + "; keys are BYTES or integers");
  with_element_type(c->type, [&]<class T>(T) {
    for (const auto number : numbers_of<T>(*c))
      keys.push_back(s.text("prefix") + std::to_string(number));
  });
  return keys;
}

/// Each key once, in order of appearance, and for each row which it is.
struct distinct_keys {
  std::vector<std::string> keys;
  std::vector<std::uint32_t> of_row;
};

distinct_keys distinct(std::vector<std::string> all) {
  distinct_keys out;
  std::unordered_map<std::string, std::uint32_t> known;
  for (auto& key : all) {
    const auto [at, fresh] = known.try_emplace(key, static_cast<std::uint32_t>(out.keys.size()));
    out.of_row.push_back(at->second);
    if (fresh)
      out.keys.push_back(std::move(key));
  }
  return out;
}

result<distinct_keys> keys_of_table(const settings& s, const table& t) {
  SQUALL_ASSIGN(all, keys_of_rows(s, t));
  auto out = distinct(std::move(all));
  if (out.keys.size() > max_map_width)
    return {errc::too_large, std::to_string(out.keys.size()) + " keys in one table; at most " +
                                 std::to_string(max_map_width) +
                                 " objects are looked up at once: split it with table-groupby"};
  for (const auto& key : out.keys)
    if (key.empty())
      return invalid("a key in column " + quoted(s.text("key")) + " is empty; filter such rows, or set prefix");
  return out;
}

result<std::vector<std::string>> lookup_keys(const settings& s, std::span<const value> inputs) {
  SQUALL_ASSIGN(t, read_table("table", inputs[0]));
  SQUALL_ASSIGN(found, keys_of_table(s, t));
  return std::move(found.keys);
}

result<std::unique_ptr<instance>> make_lookup(const settings& s) {
  SQUALL_ASSIGN(into, parse_column_name(s.text("into")));
  return instance_of([s, into = std::move(into)](std::span<const value> inputs, const run_context&) -> outputs {
    SQUALL_ASSIGN(t, read_table("table", inputs[0]));
    SQUALL_ASSIGN(wanted, keys_of_table(s, t));
    const auto* const objects = inputs[1].as_list();
    if (!objects || objects->size() != wanted.keys.size())
      return error{errc::failed, "the objects of its " + std::to_string(wanted.keys.size()) + " keys were not read"};
    const auto& missing = s.text("missing");
    std::vector<std::uint32_t> kept;
    text_builder cells{t.rows};
    for (std::size_t row = 0; row < t.rows; ++row) {
      const auto& object = (*objects)[wanted.of_row[row]];
      if (object.absent() && missing == "error")
        return error{errc::not_found, "row " + std::to_string(row) + ": there is no object " +
                                          quoted(wanted.keys[wanted.of_row[row]]) +
                                          " in the store; put it there, or set missing to drop or empty"};
      if (object.absent() && missing == "drop")
        continue;
      kept.push_back(static_cast<std::uint32_t>(row));
      cells.add(object.absent() ? std::string_view{} : as_tensor(object).data.text());
    }
    table out = kept.size() == t.rows ? std::move(t) : gather(t, kept);
    out.columns.push_back(std::move(cells).done(into));
    SQUALL_ASSIGN(v, write_table(out));
    return std::vector{std::move(v)};
  });
}

} // namespace

std::vector<builtin> table_join_builtins() {
  return {
      {.name = "table-join",
       .summary = "the rows of two tables whose keys agree, side by side",
       .inputs = {table_port("left"), table_port("right")},
       .outputs = {table_port("table")},
       .parameters = {{"on", parameter_kind::text, std::nullopt,
                       "the key columns, such as \"id\" or \"user = id, day\""},
                      {.name = "how",
                       .kind = parameter_kind::choice,
                       .fallback = "inner",
                       .summary = "left keeps left rows that match nothing",
                       .choices = {"inner", "left"}},
                      {"suffix", parameter_kind::text, "_right", "of right columns whose name the left has too"},
                      {"matched", parameter_kind::text, "matched",
                       "with left: a BOOL column that says what matched; empty: none"}},
       .light = true,
       .make = make_join},
      {.name = "table-lookup",
       .summary =
           "a column with the objects of the store that the keys in another column name, read through the node's cache",
       .inputs = {table_port("table"), {std::string{objects_port}, datatype::uint8, {-1}, true, true}},
       .outputs = {table_port("table")},
       .parameters = {{"key", parameter_kind::text, std::nullopt, "the column with the keys, BYTES or integers"},
                      {"prefix", parameter_kind::text, "", "stands before each key, such as users/"},
                      {"into", parameter_kind::text, "value", "the name of the new column, BYTES"},
                      {.name = "missing",
                       .kind = parameter_kind::choice,
                       .fallback = "error",
                       .summary = "what a key without an object does",
                       .choices = {"error", "drop", "empty"}},
                      {.name = max_age_parameter,
                       .kind = parameter_kind::integer,
                       .fallback = "1000",
                       .summary =
                           "so long, in ms, an object in the cache is used without asking the store for its version",
                       .least = 0,
                       .most = 86'400'000}},
       .make = make_lookup,
       .keys = lookup_keys},
  };
}

} // namespace squall::functions::builtins::detail
