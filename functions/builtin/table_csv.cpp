#include "functions/builtin/detail/expression.hpp"
#include "functions/builtin/detail/support.hpp"
#include "functions/builtin/detail/table.hpp"
#include "functions/detail/text.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>

/// Tables as text, RFC 4180: lines of cells, the first with the names of the columns.
namespace squall::functions::builtins::detail {

using functions::detail::quoted;

namespace {

/// Splits the text into cells; a cell without quotes is a view into it, one with doubled quotes is stored aside.
class csv_reader {
public:
  csv_reader(std::string_view text, char separator) : text_(text), separator_(separator) {}

  /// The next line; false at the end.
  result<bool> next(std::vector<std::string>& cells) {
    cells.clear();
    if (at_ >= text_.size())
      return false;
    ++line_;
    for (bool more = true; more;) {
      SQUALL_ASSIGN(goes_on, cell(cells));
      more = goes_on;
    }
    return true;
  }
  [[nodiscard]] std::size_t line() const { return line_; }

private:
  /// Whether another cell of the line follows.
  result<bool> cell(std::vector<std::string>& cells) {
    std::string out;
    if (at_ < text_.size() && text_[at_] == '"') {
      SQUALL_TRY(quoted_cell(out));
    } else {
      const auto end = std::min(text_.find_first_of(std::string{separator_, '\n'}, at_), text_.size());
      out = text_.substr(at_, end - at_);
      at_ = end;
    }
    if (!out.empty() && out.back() == '\r' && (at_ >= text_.size() || text_[at_] == '\n'))
      out.pop_back();
    cells.push_back(std::move(out));
    if (at_ < text_.size() && text_[at_] == '\r')
      ++at_;
    if (at_ >= text_.size())
      return false;
    const char c = text_[at_++];
    if (c != separator_ && c != '\n')
      return error{errc::corrupt, "line " + std::to_string(line_) + ": text after a closing quote", {}};
    return c == separator_;
  }

  result<> quoted_cell(std::string& out) {
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] != '"') {
        out += text_[at_];
      } else if (at_ + 1 < text_.size() && text_[at_ + 1] == '"') {
        out += text_[at_++];
      } else {
        ++at_;
        return {};
      }
    }
    return {errc::corrupt, "line " + std::to_string(line_) + ": a quote is not closed"};
  }

  std::string_view text_;
  char separator_;
  std::size_t at_ = 0;
  std::size_t line_ = 0;
};

template <class T>
bool parse_number(std::string_view text, T& out) {
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), out);
  return problem == std::errc{} && end == text.data() + text.size();
}

/// INT64 if every cell is an integer, FP64 if every cell is a number or empty (NaN), else BYTES.
column typed_column(std::string name, const std::vector<std::string>& cells) {
  std::vector<std::int64_t> integers(cells.size());
  std::vector<double> numbers(cells.size());
  bool all_integers = !cells.empty();
  bool all_numbers = all_integers;
  for (std::size_t row = 0; row < cells.size() && all_numbers; ++row) {
    all_integers = all_integers && parse_number(cells[row], integers[row]);
    if (cells[row].empty())
      numbers[row] = std::numeric_limits<double>::quiet_NaN();
    else
      all_numbers = parse_number(cells[row], numbers[row]);
  }
  if (all_integers)
    return column_of(std::move(name), datatype::int64, std::move(integers));
  const bool any_number = std::any_of(cells.begin(), cells.end(), [](const auto& cell) { return !cell.empty(); });
  if (all_numbers && any_number)
    return column_of(std::move(name), datatype::fp64, std::move(numbers));
  text_builder out{cells.size()};
  for (const auto& cell : cells)
    out.add(cell);
  return std::move(out).done(std::move(name));
}

outputs from_csv(std::string_view text, char separator, const run_context& context) {
  const stop_check go_on{context};
  csv_reader reader{text, separator};
  std::vector<std::string> names, line;
  SQUALL_ASSIGN(any, reader.next(names));
  if (!any)
    return error{errc::corrupt, "there is no line with the names of the columns", {}};
  std::vector<std::vector<std::string>> cells(names.size());
  for (std::size_t rows = 0;; ++rows) {
    if (rows % 4096 == 0)
      SQUALL_TRY(go_on());
    SQUALL_ASSIGN(more, reader.next(line));
    if (!more)
      break;
    if (line.size() != names.size())
      return error{errc::corrupt,
                   "line " + std::to_string(reader.line()) + " has " + std::to_string(line.size()) +
                       " cells, the first line " + std::to_string(names.size()),
                   {}};
    for (std::size_t i = 0; i < line.size(); ++i)
      cells[i].push_back(std::move(line[i]));
  }
  table out{cells.front().size(), {}};
  for (std::size_t i = 0; i < names.size(); ++i)
    out.columns.push_back(typed_column(std::move(names[i]), cells[i]));
  SQUALL_ASSIGN(v, write_table(out));
  return std::vector{std::move(v)};
}

char separator_of(const settings& s) {
  return s.text("separator") == "tab" ? '\t' : s.text("separator") == "semicolon" ? ';' : ',';
}

result<std::unique_ptr<instance>> make_from_csv(const settings& s) {
  return instance_of(
      [separator = separator_of(s)](std::span<const value> inputs, const run_context& context) -> outputs {
        SQUALL_ASSIGN(text, only_bytes(inputs[0]));
        return from_csv(text, separator, context);
      });
}

// -- writing

void write_text(std::string& out, std::string_view cell, char separator) {
  if (cell.find_first_of(std::string{separator, '"', '\n', '\r'}) == std::string_view::npos) {
    out += cell;
    return;
  }
  out += '"';
  for (const char c : cell)
    out.append(c == '"' ? 2 : 1, c);
  out += '"';
}

template <class T>
void write_number(std::string& out, T number) {
  if constexpr (std::is_floating_point_v<T>)
    if (std::isnan(number))
      return; // an empty cell is read as NaN
  std::array<char, 32> text{};
  out.append(text.data(), std::to_chars(text.data(), text.data() + text.size(), number).ptr);
}

using cell_writer = std::function<void(std::string&, std::size_t row)>;

result<cell_writer> writer_of(const column& c, char separator) {
  const auto type = cell_type_of(c);
  if (!type)
    return invalid("column " + quoted(c.name) + " is " + describe(c) + ", which has no text; drop it with table-map");
  if (*type == cell_type::text)
    return cell_writer{[cells = text_cells{c}, separator](std::string& out, std::size_t row) {
      write_text(out, cells[row], separator);
    }};
  if (*type == cell_type::boolean)
    return cell_writer{[from = numbers_of<std::uint8_t>(c)](std::string& out, std::size_t row) {
      out += from[row] ? "true" : "false";
    }};
  cell_writer out;
  with_element_type(c.type, [&]<class T>(T) {
    out = [from = numbers_of<T>(c)](std::string& to, std::size_t row) { write_number(to, from[row]); };
  });
  return out;
}

result<std::unique_ptr<instance>> make_to_csv(const settings& s) {
  return instance_of(
      [separator = separator_of(s)](std::span<const value> inputs, const run_context& context) -> outputs {
        const stop_check go_on{context};
        SQUALL_ASSIGN(t, read_table("table", inputs[0]));
        std::vector<cell_writer> writers;
        std::string out;
        for (const auto& c : t.columns) {
          SQUALL_ASSIGN(w, writer_of(c, separator));
          out += writers.empty() ? "" : std::string(1, separator);
          write_text(out, c.name, separator);
          writers.push_back(std::move(w));
        }
        out += '\n';
        for (std::size_t row = 0; row < t.rows; ++row) {
          if (row % 4096 == 0)
            SQUALL_TRY(go_on());
          for (std::size_t i = 0; i < writers.size(); ++i) {
            if (i > 0)
              out += separator;
            writers[i](out, row);
          }
          out += '\n';
        }
        return std::vector{scalar_value(std::string_view{out})};
      });
}

} // namespace

std::vector<builtin> table_csv_builtins() {
  const parameter separator{.name = "separator",
                            .kind = parameter_kind::choice,
                            .fallback = "comma",
                            .summary = "between cells",
                            .choices = {"comma", "semicolon", "tab"}};
  return {
      {.name = "table-from-csv",
       .summary = "a table from CSV whose first line names the columns: INT64 where every cell is an integer, FP64 "
                  "where every "
                  "cell is a number or empty, else BYTES",
       .inputs = {{"data", datatype::bytes, {1}}},
       .outputs = {table_port("table")},
       .parameters = {separator},
       .foreign_bytes = true,
       .make = make_from_csv},
      {.name = "table-to-csv",
       .summary = "CSV of a table; not-a-number is an empty cell",
       .inputs = {table_port("table")},
       .outputs = {{"data", datatype::bytes, {1}}},
       .parameters = {separator},
       .light = true,
       .make = make_to_csv},
  };
}

} // namespace squall::functions::builtins::detail
