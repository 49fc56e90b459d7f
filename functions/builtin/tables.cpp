#include "functions/builtin/detail/expression.hpp"
#include "functions/builtin/detail/support.hpp"
#include "functions/builtin/detail/table.hpp"
#include "functions/detail/text.hpp"

#include <algorithm>

/// Operators that make columns: map, apply, and the ways in and out of tables; filter and union beside them.
namespace squall::functions::builtins::detail {

using functions::detail::quoted;
using functions::detail::unknown_name;

namespace {

outputs one_table(const table& t) {
  SQUALL_ASSIGN(v, write_table(t));
  return std::vector{std::move(v)};
}

// -- map

struct projection {
  bool everything = false; ///< "*": the columns that are there, first
  std::vector<definition> made;
};

result<projection> parse_projection(const std::string& text) {
  projection out;
  for (const auto part : split_list(text)) {
    if (part == "*") {
      if (out.everything || !out.made.empty())
        return invalid("'*' stands first, and once");
      out.everything = true;
      continue;
    }
    SQUALL_ASSIGN(d, parse_definition(part));
    out.made.push_back(std::move(d));
  }
  if (!out.everything && out.made.empty())
    return invalid("parameter 'columns' is empty; name a column, or write NAME = EXPRESSION, with commas between");
  return out;
}

result<std::unique_ptr<instance>> make_map(const settings& s) {
  SQUALL_ASSIGN(plan, parse_projection(s.text("columns")));
  return instance_of([plan = std::move(plan)](std::span<const value> inputs, const run_context& context) -> outputs {
    const stop_check go_on{context};
    SQUALL_ASSIGN(given, read_table("table", inputs[0]));
    table out{given.rows, {}};
    if (plan.everything)
      out.columns = given.columns;
    for (const auto& d : plan.made) {
      SQUALL_ASSIGN(made, d.of.evaluate(given, d.name, go_on));
      // With "*", a new column takes the place of the old one of its name.
      const auto old =
          std::find_if(out.columns.begin(), out.columns.end(), [&](const column& c) { return c.name == d.name; });
      if (plan.everything && old != out.columns.end())
        *old = std::move(made);
      else
        out.columns.push_back(std::move(made));
    }
    return one_table(out);
  });
}

// -- filter

result<std::unique_ptr<instance>> make_filter(const settings& s) {
  SQUALL_ASSIGN(where, expression::parse(s.text("where")));
  return instance_of([where = std::move(where)](std::span<const value> inputs, const run_context& context) -> outputs {
    const stop_check go_on{context};
    SQUALL_ASSIGN(given, read_table("table", inputs[0]));
    SQUALL_ASSIGN(rows, where.rows_where(given, go_on));
    if (rows.size() == given.rows)
      return std::vector{inputs[0]};
    return one_table(gather(given, rows));
  });
}

// -- union

/// Column by column of the first table; the others have the same ones, in any order.
result<table> stacked(const std::vector<table>& parts) {
  table out;
  std::vector<std::uint32_t> all;
  for (const auto& part : parts)
    out.rows += part.rows;
  if (out.rows > max_table_rows)
    return {errc::too_large, "the tables have " + std::to_string(out.rows) + " rows together; a table has at most " +
                                 std::to_string(max_table_rows)};
  for (const auto& first : parts.front().columns) {
    column c{first.name, first.type, first.width, out.rows, {}};
    std::vector<std::byte> bytes;
    text_builder texts{first.type == datatype::bytes ? out.rows : 0};
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const auto* part = find_column(parts[i], first.name);
      const auto where = "table " + std::to_string(i) + ": ";
      if (!part || parts[i].columns.size() != parts.front().columns.size())
        return invalid(where + "its " + std::to_string(parts[i].columns.size()) + " columns are not the " +
                       std::to_string(parts.front().columns.size()) + " of the first table" +
                       (part ? "" : ": " + quoted(first.name) + " is missing") +
                       "; bring them into line with table-map");
      if (part->type != first.type || part->width != first.width)
        return invalid(where + "column " + quoted(first.name) + " is " + describe(*part) + ", in the first table " +
                       describe(first) + "; convert it with table-map");
      if (first.type == datatype::bytes)
        for (std::size_t row = 0; row < part->rows; ++row)
          texts.add(text_cells{*part}[row]);
      else
        bytes.insert(bytes.end(), part->data.data(), part->data.data() + part->data.size());
    }
    if (first.type == datatype::bytes)
      c = std::move(texts).done(first.name);
    else
      c.data = shared_bytes::take(std::move(bytes));
    out.columns.push_back(std::move(c));
  }
  return out;
}

outputs unite(std::span<const value> inputs) {
  std::vector<table> parts;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const auto* list = inputs[i].as_list();
    for (std::size_t j = 0; j < (list ? list->size() : 1); ++j) {
      const auto& part = list ? (*list)[j] : inputs[i];
      if (part.absent())
        continue;
      SQUALL_ASSIGN(
          t,
          read_table(list ? "tables, element " + std::to_string(j) : std::string(1, static_cast<char>('a' + i)), part));
      parts.push_back(std::move(t));
    }
  }
  if (parts.empty())
    return invalid("none of the inputs a, b, c, d and tables has a table");
  SQUALL_ASSIGN(out, stacked(parts));
  return one_table(out);
}

// -- apply

struct assignment {
  std::string port;
  std::string column;
};

/// "x = price, y = count".
result<std::vector<assignment>> parse_assignments(std::string_view parameter, const std::string& text) {
  std::vector<assignment> out;
  for (const auto part : split_list(text)) {
    const auto sign = part.find('=');
    if (sign == std::string_view::npos)
      return invalid("parameter " + quoted(parameter) + ": " + quoted(part) + " is not PORT = COLUMN");
    SQUALL_ASSIGN(name, parse_column_name(part.substr(sign + 1)));
    out.push_back({std::string{trimmed(part.substr(0, sign))}, std::move(name)});
  }
  if (out.empty())
    return invalid("parameter " + quoted(parameter) + " is empty; write PORT = COLUMN, with commas between");
  return out;
}

result<std::size_t> port_index(const std::string& builtin_name, std::string_view noun, const std::vector<port>& ports,
                               const std::string& name) {
  for (std::size_t i = 0; i < ports.size(); ++i)
    if (ports[i].name == name)
      return i;
  return {errc::invalid_argument,
          "builtin " + quoted(builtin_name) + ": " + unknown_name(noun, name, functions::detail::names_of(ports))};
}

struct applied {
  std::shared_ptr<instance> run; ///< of one table-apply: used by one thread at a time
  std::vector<port> inputs;
  std::vector<std::pair<std::size_t, std::string>> takes; ///< port, column
  std::vector<std::pair<std::size_t, std::string>> gives; ///< likewise
};

result<applied> parse_apply(const settings& s) {
  const auto& name = s.text("builtin");
  const auto* const b = find(name);
  if (!b || b->name == "table-apply")
    return {errc::invalid_argument, b ? "parameter 'builtin': table-apply does not apply itself"
                                      : unknown_name("builtin", name, functions::detail::names_of(all()))};
  if (b->keys || b->foreign_bytes || b->ports == signature::free)
    return invalid("builtin " + quoted(name) + " cannot be applied to columns; run it as a stage of its own");
  parameter_map parameters;
  for (const auto part : split_list(s.text("parameters"))) {
    const auto sign = std::min(part.find('='), part.size());
    parameters[std::string{trimmed(part.substr(0, sign))}] = trimmed(part.substr(std::min(sign + 1, part.size())));
  }
  SQUALL_ASSIGN(run, make_instance(*b, parameters, {}));
  applied out{std::move(run), b->inputs, {}, {}};
  SQUALL_ASSIGN(takes, parse_assignments("inputs", s.text("inputs")));
  SQUALL_ASSIGN(gives, parse_assignments("outputs", s.text("outputs")));
  for (auto& a : takes) {
    SQUALL_ASSIGN(index, port_index(name, "input", b->inputs, a.port));
    out.takes.emplace_back(index, std::move(a.column));
  }
  for (auto& a : gives) {
    SQUALL_ASSIGN(index, port_index(name, "output", b->outputs, a.port));
    out.gives.emplace_back(index, std::move(a.column));
  }
  return out;
}

/// The column as the port wants it: where that is FP32, numbers of other types are converted.
tensor tensor_for(const port& p, const column& c) {
  if (p.type != datatype::fp32 || c.type == datatype::fp32)
    return tensor_of_column(c);
  std::vector<float> numbers(c.rows * c.width);
  const bool converted =
      c.type != datatype::boolean && with_element_type(c.type, [&]<class T>(T) {
        const auto from = numbers_of<T>(c);
        std::transform(from.begin(), from.end(), numbers.begin(), [](T v) { return static_cast<float>(v); });
      });
  if (!converted)
    return tensor_of_column(c);
  column as_float = column_of(c.name, datatype::fp32, std::move(numbers));
  as_float.width = c.width;
  as_float.rows = c.rows;
  return tensor_of_column(as_float);
}

result<std::unique_ptr<instance>> make_apply(const settings& s) {
  SQUALL_ASSIGN(plan, parse_apply(s));
  return instance_of([plan = std::move(plan)](std::span<const value> inputs, const run_context& context) -> outputs {
    SQUALL_ASSIGN(t, read_table("table", inputs[0]));
    std::vector<value> given(plan.inputs.size());
    for (const auto& [port, name] : plan.takes) {
      SQUALL_ASSIGN(c, column_named(t, name));
      given[port].data = tensor_for(plan.inputs[port], *c);
    }
    SQUALL_ASSIGN(made, plan.run->run(given, context));
    for (const auto& [port, name] : plan.gives) {
      const auto* const tensor = made[port].as_tensor();
      if (!tensor)
        return invalid("the output for column " + quoted(name) + " is a list; only tensors become columns");
      SQUALL_ASSIGN(c, column_of_tensor("the output for column " + quoted(name), name, *tensor, t.rows));
      const auto old =
          std::find_if(t.columns.begin(), t.columns.end(), [&](const column& known) { return known.name == c.name; });
      if (old == t.columns.end())
        t.columns.push_back(std::move(c));
      else
        *old = std::move(c);
    }
    return one_table(t);
  });
}

// -- from and to plain tensors

result<std::unique_ptr<instance>> make_from_tensors(const settings& s) {
  SQUALL_ASSIGN(names, parse_column_names(s.text("columns"), 1));
  return instance_of([names = std::move(names)](std::span<const value> inputs, const run_context&) -> outputs {
    if (inputs.size() != names.size())
      return invalid("the function has " + std::to_string(inputs.size()) + " inputs, but parameter 'columns' names " +
                     std::to_string(names.size()) + " columns");
    table out;
    for (std::size_t i = 0; i < names.size(); ++i) {
      const auto* const tensor = inputs[i].as_tensor();
      const auto what = "input " + std::to_string(i) + ", for column " + quoted(names[i]) + ",";
      if (!tensor || tensor->shape.empty())
        return invalid(what + " is no tensor with a first dimension; make it required, and [-1] or [-1, n]");
      if (i == 0)
        out.rows = static_cast<std::size_t>(tensor->shape[0]);
      SQUALL_ASSIGN(c, column_of_tensor(what, names[i], *tensor, out.rows));
      out.columns.push_back(std::move(c));
    }
    return one_table(out);
  });
}

result<std::unique_ptr<instance>> make_to_tensors(const settings& s) {
  SQUALL_ASSIGN(names, parse_column_names(s.text("columns"), 1));
  return instance_of([names = std::move(names)](std::span<const value> inputs, const run_context&) -> outputs {
    if (inputs.size() != 1 || !inputs[0].as_tensor())
      return invalid("the function has " + std::to_string(inputs.size()) +
                     " inputs; declare one, the table: UINT8 [-1]");
    SQUALL_ASSIGN(t, read_table("table", inputs[0]));
    std::vector<value> out;
    for (const auto& name : names) {
      SQUALL_ASSIGN(c, column_named(t, name));
      out.push_back({tensor_of_column(*c)});
    }
    return out;
  });
}

} // namespace

std::vector<builtin> table_builtins() {
  const std::vector<port> in{table_port("table")};
  const std::vector<port> out{table_port("table")};
  return {
      {.name = "table-map",
       .summary = "columns of expressions over the columns of a table",
       .inputs = in,
       .outputs = out,
       .parameters = {{"columns", parameter_kind::text, std::nullopt,
                       "what to keep and to make, such as \"id, total = price * count\"; \"*\" first keeps all"}},
       .light = true,
       .make = make_map},
      {.name = "table-filter",
       .summary = "the rows in which a condition holds",
       .inputs = in,
       .outputs = out,
       .parameters = {{"where", parameter_kind::text, std::nullopt,
                       "the condition, such as \"price > 10 and city == 'Rome'\""}},
       .light = true,
       .make = make_filter},
      {.name = "table-apply",
       .summary = "columns that another builtin makes of columns",
       .inputs = in,
       .outputs = out,
       .parameters = {{"builtin", parameter_kind::text, std::nullopt, "its name"},
                      {"inputs", parameter_kind::text, std::nullopt, "columns for its inputs, such as \"x = score\""},
                      {"outputs", parameter_kind::text, std::nullopt,
                       "columns for its outputs, such as \"y = accepted\""},
                      {"parameters", parameter_kind::text, "", "its own, such as \"above = 0.7\""}},
       .make = make_apply},
      {.name = "table-union",
       .summary = "the rows of tables with the same columns, one table after the other",
       .inputs = {table_port("a", true),
                  table_port("b", true),
                  table_port("c", true),
                  table_port("d", true),
                  {"tables", datatype::uint8, {-1}, true, true}},
       .outputs = out,
       .parameters = {},
       .light = true,
       .make = make_plain<unite>},
      {.name = "table-of",
       .summary = "a table of tensors with one first dimension; the function declares its inputs",
       .inputs = {},
       .outputs = {},
       .parameters = {{"columns", parameter_kind::text, std::nullopt,
                       "the names of the columns, in the order of the inputs"}},
       .ports = signature::free,
       .light = true,
       .make = make_from_tensors},
      {.name = "table-columns",
       .summary = "columns of a table as tensors; the function declares its input and its outputs",
       .inputs = {},
       .outputs = {},
       .parameters = {{"columns", parameter_kind::text, std::nullopt, "the columns, in the order of the outputs"}},
       .ports = signature::free,
       .light = true,
       .make = make_to_tensors},
  };
}

} // namespace squall::functions::builtins::detail
