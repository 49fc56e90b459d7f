#include "functions/builtin/detail/expression.hpp"

#include "functions/builtin/detail/expression_node.hpp"
#include "functions/detail/text.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

namespace squall::functions::builtins::detail {

using functions::detail::quoted;

namespace {

/// Rows that are evaluated together: their cells stay in the cache.
constexpr std::size_t block_rows = 2048;

struct range {
  std::size_t begin = 0;
  std::size_t count = 0;
};

/// The cells of a block; the vector of the bound part's type is used.
struct cells {
  std::vector<std::int64_t> integers;
  std::vector<double> numbers;
  std::vector<std::uint8_t> booleans;
  std::vector<std::string_view> texts;

  template <class T>
  std::vector<T>& of() {
    if constexpr (std::is_same_v<T, std::int64_t>)
      return integers;
    else if constexpr (std::is_same_v<T, double>)
      return numbers;
    else if constexpr (std::is_same_v<T, std::uint8_t>)
      return booleans;
    else
      return texts;
  }
};

/// A part of an expression that knows its table: its type, and how to fill a block.
struct bound {
  cell_type type = cell_type::integer;
  std::function<result<>(range, cells&)> fill;
};

using arguments = std::vector<bound>;

error at_row(std::size_t row, const std::string& what) { return invalid("row " + std::to_string(row) + ": " + what); }

bool numeric(const bound& b) { return b.type == cell_type::integer || b.type == cell_type::number; }

template <class T>
constexpr cell_type type_of() {
  if constexpr (std::is_same_v<T, std::int64_t>)
    return cell_type::integer;
  else if constexpr (std::is_same_v<T, double>)
    return cell_type::number;
  else if constexpr (std::is_same_v<T, std::uint8_t>)
    return cell_type::boolean;
  else
    return cell_type::text;
}

bound as_number(bound b) {
  if (b.type == cell_type::number)
    return b;
  return {cell_type::number, [inner = std::move(b)](range r, cells& out) -> result<> {
            SQUALL_TRY(inner.fill(r, out));
            out.numbers.assign(out.integers.begin(), out.integers.end());
            return {};
          }};
}

/// `operation(x)`, which may be a result that fails; its error is named by the row.
template <class Out, class In, class Operation>
bound map_one(bound argument, Operation operation) {
  return {type_of<Out>(), [argument = std::move(argument), operation](range r, cells& out) -> result<> {
            cells given;
            SQUALL_TRY(argument.fill(r, given));
            auto& to = out.of<Out>();
            const auto& from = given.of<In>();
            to.resize(r.count);
            for (std::size_t i = 0; i < r.count; ++i) {
              if constexpr (std::is_convertible_v<decltype(operation(from[i])), Out>) {
                to[i] = static_cast<Out>(operation(from[i]));
              } else {
                const std::optional<Out> made = operation(from[i]);
                if (!made)
                  return at_row(r.begin + i, "the result does not fit into 64 bits; convert with float()");
                to[i] = *made;
              }
            }
            return {};
          }};
}

template <class Out, class In, class Operation>
bound map_two(bound left, bound right, Operation operation) {
  return {type_of<Out>(),
          [left = std::move(left), right = std::move(right), operation](range r, cells& out) -> result<> {
            cells a, b;
            SQUALL_TRY(left.fill(r, a));
            SQUALL_TRY(right.fill(r, b));
            auto& to = out.of<Out>();
            const auto& x = a.of<In>();
            const auto& y = b.of<In>();
            to.resize(r.count);
            for (std::size_t i = 0; i < r.count; ++i) {
              if constexpr (std::is_convertible_v<decltype(operation(x[i], y[i])), Out>) {
                to[i] = static_cast<Out>(operation(x[i], y[i]));
              } else {
                const std::optional<Out> made = operation(x[i], y[i]);
                if (!made)
                  return at_row(r.begin + i, "the result does not fit into 64 bits, or a remainder is by 0");
                to[i] = *made;
              }
            }
            return {};
          }};
}

using maybe_integer = std::optional<std::int64_t>;

maybe_integer checked(std::string_view name, std::int64_t a, std::int64_t b) {
  std::int64_t out = 0;
  const bool over = name == "+"   ? __builtin_add_overflow(a, b, &out)
                    : name == "-" ? __builtin_sub_overflow(a, b, &out)
                                  : __builtin_mul_overflow(a, b, &out);
  return over ? maybe_integer{} : out;
}

maybe_integer remainder(std::int64_t a, std::int64_t b) {
  if (b == 0)
    return std::nullopt;
  return b == -1 ? 0 : a % b;
}

// -- operators and functions, by their number of arguments and their types

error does_not_fit(std::string_view name, const arguments& given) {
  std::string types;
  for (const auto& a : given)
    types += (types.empty() ? "" : ", ") + std::string{to_string(a.type)};
  return invalid(quoted(name) + " does not take (" + types + ")");
}

bound arithmetic(std::string_view name, bound a, bound b) {
  const bool integers = a.type == cell_type::integer && b.type == cell_type::integer;
  if (integers && name == "%")
    return map_two<std::int64_t, std::int64_t>(std::move(a), std::move(b), remainder);
  if (integers && name == "+")
    return map_two<std::int64_t, std::int64_t>(std::move(a), std::move(b),
                                               [](auto x, auto y) { return checked("+", x, y); });
  if (integers && name == "-")
    return map_two<std::int64_t, std::int64_t>(std::move(a), std::move(b),
                                               [](auto x, auto y) { return checked("-", x, y); });
  if (integers && name == "*")
    return map_two<std::int64_t, std::int64_t>(std::move(a), std::move(b),
                                               [](auto x, auto y) { return checked("*", x, y); });
  auto x = as_number(std::move(a));
  auto y = as_number(std::move(b));
  if (name == "+")
    return map_two<double, double>(std::move(x), std::move(y), std::plus<>{});
  if (name == "-")
    return map_two<double, double>(std::move(x), std::move(y), std::minus<>{});
  if (name == "*")
    return map_two<double, double>(std::move(x), std::move(y), std::multiplies<>{});
  if (name == "/")
    return map_two<double, double>(std::move(x), std::move(y), std::divides<>{});
  return map_two<double, double>(std::move(x), std::move(y), [](double p, double q) { return std::fmod(p, q); });
}

template <class T>
bound compare(std::string_view name, bound a, bound b) {
  const auto made = [&](auto operation) { return map_two<std::uint8_t, T>(std::move(a), std::move(b), operation); };
  if (name == "==")
    return made(std::equal_to<>{});
  if (name == "!=")
    return made(std::not_equal_to<>{});
  if (name == "<")
    return made(std::less<>{});
  if (name == "<=")
    return made(std::less_equal<>{});
  if (name == ">")
    return made(std::greater<>{});
  return made(std::greater_equal<>{});
}

result<bound> comparison(std::string_view name, arguments given) {
  auto& a = given[0];
  auto& b = given[1];
  if (a.type == cell_type::integer && b.type == cell_type::integer)
    return compare<std::int64_t>(name, std::move(a), std::move(b));
  if (numeric(a) && numeric(b))
    return compare<double>(name, as_number(std::move(a)), as_number(std::move(b)));
  if (a.type == cell_type::text && b.type == cell_type::text)
    return compare<std::string_view>(name, std::move(a), std::move(b));
  if (a.type == cell_type::boolean && b.type == cell_type::boolean && (name == "==" || name == "!="))
    return compare<std::uint8_t>(name, std::move(a), std::move(b));
  return does_not_fit(name, given);
}

result<bound> of_texts(std::string_view name, arguments given) {
  if (given[0].type != cell_type::text || given[1].type != cell_type::text)
    return does_not_fit(name, given);
  const auto made = [&](auto operation) {
    return map_two<std::uint8_t, std::string_view>(std::move(given[0]), std::move(given[1]), operation);
  };
  if (name == "contains")
    return made([](std::string_view in, std::string_view part) { return in.find(part) != std::string_view::npos; });
  if (name == "starts_with")
    return made([](std::string_view in, std::string_view part) { return in.starts_with(part); });
  return made([](std::string_view in, std::string_view part) { return in.ends_with(part); });
}

result<bound> of_two(std::string_view name, arguments given) {
  constexpr std::array<std::string_view, 6> comparisons{"==", "!=", "<", "<=", ">", ">="};
  if (std::find(comparisons.begin(), comparisons.end(), name) != comparisons.end())
    return comparison(name, std::move(given));
  if (name == "contains" || name == "starts_with" || name == "ends_with")
    return of_texts(name, std::move(given));
  auto& a = given[0];
  auto& b = given[1];
  if (name == "and" || name == "or") {
    if (a.type != cell_type::boolean || b.type != cell_type::boolean)
      return does_not_fit(name, given);
    const auto made = [&](auto operation) {
      return map_two<std::uint8_t, std::uint8_t>(std::move(a), std::move(b), operation);
    };
    return name == "and" ? made([](auto x, auto y) { return (x & y) != 0; })
                         : made([](auto x, auto y) { return (x | y) != 0; });
  }
  if (!numeric(a) || !numeric(b))
    return does_not_fit(name, given);
  if (name != "min" && name != "max")
    return arithmetic(name, std::move(a), std::move(b));
  const auto smaller = [](auto x, auto y) { return y < x ? y : x; };
  const auto larger = [](auto x, auto y) { return x < y ? y : x; };
  if (a.type == cell_type::integer && b.type == cell_type::integer)
    return name == "min" ? map_two<std::int64_t, std::int64_t>(std::move(a), std::move(b), smaller)
                         : map_two<std::int64_t, std::int64_t>(std::move(a), std::move(b), larger);
  auto x = as_number(std::move(a));
  auto y = as_number(std::move(b));
  return name == "min" ? map_two<double, double>(std::move(x), std::move(y), smaller)
                       : map_two<double, double>(std::move(x), std::move(y), larger);
}

result<bound> number_function(std::string_view name, bound of) {
  auto x = as_number(std::move(of));
  const auto made = [&](double (*function)(double)) { return map_one<double, double>(std::move(x), function); };
  if (name == "sqrt")
    return made([](double v) { return std::sqrt(v); });
  if (name == "exp")
    return made([](double v) { return std::exp(v); });
  if (name == "log")
    return made([](double v) { return std::log(v); });
  if (name == "floor")
    return made([](double v) { return std::floor(v); });
  if (name == "ceil")
    return made([](double v) { return std::ceil(v); });
  if (name == "round")
    return made([](double v) { return std::round(v); });
  return map_one<std::uint8_t, double>(std::move(x), [](double v) { return std::isnan(v); }); // is_nan
}

maybe_integer to_integer(double v) {
  constexpr double limit = 9223372036854775808.0; // 2^63
  return v >= -limit && v < limit ? maybe_integer{static_cast<std::int64_t>(v)} : std::nullopt;
}

result<bound> of_one(std::string_view name, arguments given) {
  auto& a = given[0];
  const bool integer = a.type == cell_type::integer;
  if (name == "not" && a.type == cell_type::boolean)
    return map_one<std::uint8_t, std::uint8_t>(std::move(a), [](auto x) { return x == 0; });
  if (name == "length" && a.type == cell_type::text)
    return map_one<std::int64_t, std::string_view>(std::move(a),
                                                   [](auto x) { return static_cast<std::int64_t>(x.size()); });
  if (name == "int" && a.type == cell_type::boolean)
    return map_one<std::int64_t, std::uint8_t>(std::move(a), [](auto x) { return std::int64_t{x}; });
  if (name == "not" || name == "length" || !numeric(a))
    return does_not_fit(name, given);
  if (name == "negate")
    return integer ? map_one<std::int64_t, std::int64_t>(std::move(a), [](auto x) { return checked("-", 0, x); })
                   : map_one<double, double>(std::move(a), std::negate<>{});
  if (name == "abs")
    return integer ? map_one<std::int64_t, std::int64_t>(
                         std::move(a), [](auto x) { return x < 0 ? checked("-", 0, x) : maybe_integer{x}; })
                   : map_one<double, double>(std::move(a), [](double x) { return std::abs(x); });
  if (name == "int")
    return integer ? std::move(a) : map_one<std::int64_t, double>(std::move(a), to_integer);
  if (name == "float")
    return as_number(std::move(a));
  return number_function(name, std::move(a));
}

template <class T>
bound choose(bound condition, bound yes, bound no) {
  return {type_of<T>(),
          [c = std::move(condition), yes = std::move(yes), no = std::move(no)](range r, cells& out) -> result<> {
            cells tests, other;
            SQUALL_TRY(c.fill(r, tests));
            SQUALL_TRY(yes.fill(r, out));
            SQUALL_TRY(no.fill(r, other));
            for (std::size_t i = 0; i < r.count; ++i)
              if (tests.booleans[i] == 0)
                out.of<T>()[i] = other.of<T>()[i];
            return {};
          }};
}

result<bound> conditional(arguments given) {
  auto& yes = given[1];
  auto& no = given[2];
  if (yes.type != no.type && numeric(yes) && numeric(no)) {
    yes = as_number(std::move(yes));
    no = as_number(std::move(no));
  }
  if (given[0].type != cell_type::boolean || yes.type != no.type)
    return does_not_fit("if", given);
  switch (yes.type) {
    case cell_type::integer:
      return choose<std::int64_t>(std::move(given[0]), std::move(yes), std::move(no));
    case cell_type::number:
      return choose<double>(std::move(given[0]), std::move(yes), std::move(no));
    case cell_type::boolean:
      return choose<std::uint8_t>(std::move(given[0]), std::move(yes), std::move(no));
    case cell_type::text:
      break;
  }
  return choose<std::string_view>(std::move(given[0]), std::move(yes), std::move(no));
}

/// What can be called, beside the operators.
constexpr std::array<std::pair<std::string_view, std::size_t>, 17> functions_known{{{"abs", 1},
                                                                                    {"ceil", 1},
                                                                                    {"contains", 2},
                                                                                    {"ends_with", 2},
                                                                                    {"exp", 1},
                                                                                    {"float", 1},
                                                                                    {"floor", 1},
                                                                                    {"if", 3},
                                                                                    {"int", 1},
                                                                                    {"is_nan", 1},
                                                                                    {"length", 1},
                                                                                    {"log", 1},
                                                                                    {"max", 2},
                                                                                    {"min", 2},
                                                                                    {"round", 1},
                                                                                    {"sqrt", 1},
                                                                                    {"starts_with", 2}}};

result<> check_call(const expression_node& node) {
  if (node.text == "negate" || node.text == "not" || std::isalpha(static_cast<unsigned char>(node.text[0])) == 0 ||
      node.text == "and" || node.text == "or")
    return {};
  const auto found =
      std::find_if(functions_known.begin(), functions_known.end(), [&](const auto& f) { return f.first == node.text; });
  if (found == functions_known.end()) {
    std::vector<std::string_view> names;
    for (const auto& f : functions_known)
      names.push_back(f.first);
    return {errc::invalid_argument, functions::detail::unknown_name("function", node.text, names)};
  }
  if (found->second != node.arguments.size())
    return invalid("function " + quoted(node.text) + " takes " + std::to_string(found->second) + " arguments, not " +
                   std::to_string(node.arguments.size()));
  return {};
}

// -- binding to a table

template <class Out, class T>
bound read_numbers(const column& c) {
  return {type_of<Out>(), [from = numbers_of<T>(c)](range r, cells& out) -> result<> {
            auto& to = out.of<Out>();
            to.resize(r.count);
            for (std::size_t i = 0; i < r.count; ++i) {
              if constexpr (std::is_same_v<T, std::uint64_t>)
                if (from[r.begin + i] > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
                  return at_row(r.begin + i, "an unsigned number is beyond 2^63");
              if constexpr (std::is_same_v<Out, std::uint8_t>)
                to[i] = from[r.begin + i] != 0;
              else
                to[i] = static_cast<Out>(from[r.begin + i]); // NOLINT(bugprone-signed-char-misuse): INT8 is a number
            }
            return {};
          }};
}

bound read_texts(const column& c) {
  return {cell_type::text, [from = text_cells{c}](range r, cells& out) -> result<> {
            out.texts.resize(r.count);
            for (std::size_t i = 0; i < r.count; ++i)
              out.texts[i] = from[r.begin + i];
            return {};
          }};
}

result<bound> bind_column(const table& t, const std::string& name) {
  SQUALL_ASSIGN(c, column_named(t, name));
  const auto type = cell_type_of(*c);
  if (!type)
    return invalid("column " + quoted(name) + " is " + describe(*c) +
                   "; expressions read single numbers, BOOL and BYTES, no 16-bit floats");
  if (*type == cell_type::text)
    return read_texts(*c);
  if (*type == cell_type::boolean)
    return read_numbers<std::uint8_t, std::uint8_t>(*c);
  bound out;
  with_element_type(c->type, [&]<class T>(T) {
    if constexpr (std::is_floating_point_v<T>)
      out = read_numbers<double, T>(*c);
    else
      out = read_numbers<std::int64_t, T>(*c);
  });
  return out;
}

template <class T>
bound constant(T v) {
  return {type_of<T>(), [v](range r, cells& out) -> result<> {
            out.of<T>().assign(r.count, v);
            return {};
          }};
}

result<bound> bind(const table& t, const expression_node& node) {
  switch (node.what) {
    case expression_node::kind::integer:
      return constant(node.integer);
    case expression_node::kind::number:
      return constant(node.number);
    case expression_node::kind::boolean:
      return constant(static_cast<std::uint8_t>(node.boolean));
    case expression_node::kind::text:
      return constant(std::string_view{node.text}); // lives as long as the expression
    case expression_node::kind::column:
      return bind_column(t, node.text);
    case expression_node::kind::call:
      break;
  }
  SQUALL_TRY(check_call(node));
  arguments given;
  for (const auto& argument : node.arguments) {
    SQUALL_ASSIGN(b, bind(t, *argument));
    given.push_back(std::move(b));
  }
  return given.size() == 1   ? of_one(node.text, std::move(given))
         : given.size() == 2 ? of_two(node.text, std::move(given))
                             : conditional(std::move(given));
}

template <class T>
result<std::vector<T>> collect(const bound& b, std::size_t rows, const stop_check& go_on) {
  std::vector<T> out;
  out.reserve(rows);
  cells block;
  for (std::size_t begin = 0; begin < rows; begin += block_rows) {
    SQUALL_TRY(go_on());
    SQUALL_TRY(b.fill({begin, std::min(block_rows, rows - begin)}, block));
    const auto& made = block.of<T>();
    out.insert(out.end(), made.begin(), made.end());
  }
  return out;
}

} // namespace

std::string_view to_string(cell_type type) {
  switch (type) {
    case cell_type::integer:
      return "an integer";
    case cell_type::number:
      return "a float";
    case cell_type::boolean:
      return "a boolean";
    case cell_type::text:
      break;
  }
  return "a text";
}

std::optional<cell_type> cell_type_of(const column& c) {
  if (c.width != 1 || c.type == datatype::fp16 || c.type == datatype::bf16)
    return std::nullopt;
  switch (c.type) {
    case datatype::boolean:
      return cell_type::boolean;
    case datatype::bytes:
      return cell_type::text;
    case datatype::fp32:
    case datatype::fp64:
      return cell_type::number;
    default:
      return cell_type::integer;
  }
}

result<column> expression::evaluate(const table& t, std::string name, const stop_check& go_on) const {
  if (const auto plain = plain_column()) {
    SQUALL_ASSIGN(c, column_named(t, *plain));
    column out = *c;
    out.name = std::move(name);
    return out;
  }
  SQUALL_ASSIGN(b, bind(t, *root_));
  if (b.type == cell_type::integer) {
    SQUALL_ASSIGN(numbers, collect<std::int64_t>(b, t.rows, go_on));
    return column_of(std::move(name), datatype::int64, std::move(numbers));
  }
  if (b.type == cell_type::number) {
    SQUALL_ASSIGN(numbers, collect<double>(b, t.rows, go_on));
    return column_of(std::move(name), datatype::fp64, std::move(numbers));
  }
  if (b.type == cell_type::boolean) {
    SQUALL_ASSIGN(flags, collect<std::uint8_t>(b, t.rows, go_on));
    return column_of(std::move(name), datatype::boolean, std::move(flags));
  }
  SQUALL_ASSIGN(texts, collect<std::string_view>(b, t.rows, go_on));
  text_builder out{t.rows};
  for (const auto text : texts)
    out.add(text);
  return std::move(out).done(std::move(name));
}

result<std::vector<std::uint32_t>> expression::rows_where(const table& t, const stop_check& go_on) const {
  SQUALL_ASSIGN(b, bind(t, *root_));
  if (b.type != cell_type::boolean)
    return invalid("the condition is " + std::string{to_string(b.type)} + "; compare it with something");
  SQUALL_ASSIGN(flags, collect<std::uint8_t>(b, t.rows, go_on));
  std::vector<std::uint32_t> rows;
  for (std::size_t i = 0; i < flags.size(); ++i)
    if (flags[i] != 0)
      rows.push_back(static_cast<std::uint32_t>(i));
  return rows;
}

} // namespace squall::functions::builtins::detail
