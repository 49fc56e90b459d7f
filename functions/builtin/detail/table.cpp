#include "functions/builtin/detail/table.hpp"

#include "functions/detail/text.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <set>

namespace squall::functions::builtins::detail {

using functions::detail::names_of;
using functions::detail::quoted;
using functions::detail::unknown_name;

static_assert(std::endian::native == std::endian::little, "tables are read in place");

namespace {

constexpr std::string_view magic{"SQTABLE\1", 8};
constexpr std::size_t alignment = 64;

struct header {
  std::array<char, 8> magic{};
  std::uint64_t rows = 0;
  std::uint32_t columns = 0;
  std::uint32_t zero = 0;
};
struct descriptor {
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  std::uint64_t name_offset = 0;
  std::uint32_t width = 1;
  std::uint16_t name_bytes = 0;
  std::uint8_t type = 0;
  std::uint8_t zero = 0;
};
static_assert(sizeof(header) == 24 && sizeof(descriptor) == 32);

std::size_t rounded_up(std::size_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

bool inside(std::uint64_t offset, std::uint64_t bytes, std::size_t end) {
  return offset <= end && bytes <= end - offset;
}

/// Bytes of the data of a column of numbers.
std::uint64_t bytes_of(datatype type, std::uint32_t width, std::size_t rows) {
  return std::uint64_t{element_size(type)} * width * rows;
}

result<> check_texts(const column& c, std::size_t rows) {
  const auto head = (rows + 1) * sizeof(std::int64_t);
  if (c.data.size() < head)
    return {errc::corrupt, "its column " + quoted(c.name) + " is shorter than its offsets"};
  const std::span offsets{reinterpret_cast<const std::int64_t*>(c.data.data()), rows + 1};
  const auto end = static_cast<std::int64_t>(c.data.size() - head);
  if (offsets.front() != 0 || offsets.back() != end || !std::is_sorted(offsets.begin(), offsets.end()))
    return {errc::corrupt,
            "the offsets of its column " + quoted(c.name) + " do not rise from 0 to the length of its bytes"};
  return {};
}

result<column> read_column(const shared_bytes& bytes, const descriptor& d, std::size_t rows) {
  if (!inside(d.name_offset, d.name_bytes, bytes.size()) || d.name_bytes == 0)
    return {errc::corrupt, "a column has no name"};
  column c;
  c.name = bytes.slice(d.name_offset, d.name_bytes).text();
  c.type = static_cast<datatype>(d.type);
  c.width = d.width;
  c.rows = rows;
  if (d.type < static_cast<std::uint8_t>(datatype::boolean) || d.type > static_cast<std::uint8_t>(datatype::bytes))
    return {errc::corrupt, "its column " + quoted(c.name) + " has the unknown datatype " + std::to_string(d.type)};
  if (d.width == 0 || (c.type == datatype::bytes && d.width != 1))
    return {errc::corrupt, "its column " + quoted(c.name) + " has cells of " + std::to_string(d.width) + " elements"};
  if (d.offset % 8 != 0 || !inside(d.offset, d.bytes, bytes.size()))
    return {errc::corrupt, "its column " + quoted(c.name) + " lies outside of it, or not at a multiple of 8"};
  c.data = bytes.slice(d.offset, d.bytes);
  if (c.type == datatype::bytes)
    SQUALL_TRY(check_texts(c, rows));
  else if (d.bytes != bytes_of(c.type, c.width, rows))
    return {errc::corrupt, "its column " + quoted(c.name) + " has " + std::to_string(d.bytes) + " bytes, but " +
                               std::to_string(rows) + " rows of " + describe(c) + " take " +
                               std::to_string(bytes_of(c.type, c.width, rows))};
  return c;
}

result<table> read(shared_bytes bytes) {
  if (reinterpret_cast<std::uintptr_t>(bytes.data()) % 8 != 0)
    bytes = shared_bytes::copy_of(bytes.data(), bytes.size());
  header h;
  if (bytes.size() < sizeof h || bytes.text().substr(0, magic.size()) != magic)
    return {errc::corrupt,
            "its " + std::to_string(bytes.size()) +
                " bytes are no table; make one with table-from-csv, table-of, or as docs/tables.md says"};
  std::memcpy(&h, bytes.data(), sizeof h);
  if (h.rows > max_table_rows || h.columns > max_table_columns)
    return {errc::too_large, std::to_string(h.rows) + " rows and " + std::to_string(h.columns) +
                                 " columns; a table has at most " + std::to_string(max_table_rows) + " and " +
                                 std::to_string(max_table_columns)};
  if (!inside(sizeof h, h.columns * sizeof(descriptor), bytes.size()))
    return {errc::corrupt, "it ends within the list of its columns"};
  table t;
  t.rows = h.rows;
  std::set<std::string_view> names;
  t.columns.reserve(h.columns);
  for (std::uint32_t i = 0; i < h.columns; ++i) {
    descriptor d;
    std::memcpy(&d, bytes.data() + sizeof h + i * sizeof d, sizeof d);
    SQUALL_ASSIGN(c, read_column(bytes, d, t.rows));
    t.columns.push_back(std::move(c));
    if (!names.insert(t.columns.back().name).second)
      return {errc::corrupt, "it has two columns " + quoted(t.columns.back().name)};
  }
  return t;
}

template <class T>
T nothing() {
  return std::numeric_limits<T>::has_quiet_NaN ? std::numeric_limits<T>::quiet_NaN() : T{};
}

/// `missing` fills a cell of no row.
template <class T>
column gather_cells(const column& from, std::span<const std::uint32_t> rows, T missing) {
  const auto given = numbers_of<T>(from);
  const std::size_t width = from.width;
  auto out = std::make_shared_for_overwrite<T[]>(rows.size() * width);
  T* to = out.get();
  for (const auto row : rows) {
    if (row == no_row) {
      to = std::fill_n(to, width, missing);
    } else if (width == 1) { // nearly always
      *to++ = given[row];
    } else {
      to = std::copy_n(given.data() + row * width, width, to);
    }
  }
  const auto bytes = std::as_bytes(std::span{out.get(), rows.size() * width});
  return {from.name, from.type, from.width, rows.size(), shared_bytes{std::move(out), bytes}};
}

column gather_texts(const column& from, std::span<const std::uint32_t> rows) {
  const text_cells cells{from};
  text_builder out{rows.size()};
  for (const auto row : rows)
    out.add(row == no_row ? std::string_view{} : cells[row]);
  return std::move(out).done(from.name);
}

} // namespace

result<table> read_table(std::string_view name, const value& v) {
  auto t = read(as_tensor(v).data);
  if (!t.ok())
    return {t.error().code, "input " + quoted(name) + ": " + t.error().message};
  return t;
}

result<value> write_table(const table& t) {
  if (t.rows > max_table_rows || t.columns.size() > max_table_columns)
    return {errc::too_large, "a table of " + std::to_string(t.rows) + " rows and " + std::to_string(t.columns.size()) +
                                 " columns; it has at most " + std::to_string(max_table_rows) + " and " +
                                 std::to_string(max_table_columns)};
  std::set<std::string_view> names;
  std::vector<descriptor> descriptors(t.columns.size());
  std::size_t end = sizeof(header) + descriptors.size() * sizeof(descriptor);
  for (std::size_t i = 0; i < t.columns.size(); ++i) {
    const auto& c = t.columns[i];
    if (c.name.empty() || c.name.size() > max_name_length || !names.insert(c.name).second)
      return invalid("two columns, or one of an unfit name, would be called " + quoted(c.name) +
                     "; give each its own name of 1 to " + std::to_string(max_name_length) + " bytes");
    descriptors[i] = {
        0, c.data.size(), end, c.width, static_cast<std::uint16_t>(c.name.size()), static_cast<std::uint8_t>(c.type),
        0};
    end += c.name.size();
  }
  for (auto& d : descriptors) {
    d.offset = rounded_up(end);
    end = d.offset + d.bytes;
  }
  if (end > max_table_bytes)
    return {errc::too_large, "a table of " + std::to_string(end) + " bytes; it has at most " +
                                 std::to_string(max_table_bytes) + ": filter or drop columns earlier"};
  buffer<std::uint8_t> out{end};
  header h;
  std::memcpy(h.magic.data(), magic.data(), magic.size());
  h.rows = t.rows;
  h.columns = static_cast<std::uint32_t>(t.columns.size());
  std::memcpy(out.data(), &h, sizeof h);
  std::size_t written = sizeof h + descriptors.size() * sizeof(descriptor);
  if (!descriptors.empty())
    std::memcpy(out.data() + sizeof h, descriptors.data(), written - sizeof h);
  for (const auto& c : t.columns) {
    std::memcpy(out.data() + written, c.name.data(), c.name.size());
    written += c.name.size();
  }
  for (std::size_t i = 0; i < t.columns.size(); ++i) {
    std::memset(out.data() + written, 0, descriptors[i].offset - written);
    if (descriptors[i].bytes > 0)
      std::memcpy(out.data() + descriptors[i].offset, t.columns[i].data.data(), descriptors[i].bytes);
    written = descriptors[i].offset + descriptors[i].bytes;
  }
  return std::move(out).done(datatype::uint8, {static_cast<std::int64_t>(end)});
}

const column* find_column(const table& t, std::string_view name) {
  const auto found = std::find_if(t.columns.begin(), t.columns.end(), [&](const column& c) { return c.name == name; });
  return found == t.columns.end() ? nullptr : &*found;
}

result<const column*> column_named(const table& t, std::string_view name) {
  if (const auto* found = find_column(t, name))
    return found;
  return {errc::invalid_argument, unknown_name("column", name, names_of(t.columns))};
}

std::string describe(const column& c) {
  return std::string{to_string(c.type)} + (c.width == 1 ? "" : " x " + std::to_string(c.width));
}

column gather(const column& from, std::span<const std::uint32_t> rows) {
  constexpr std::uint16_t not_a_number = 0x7fff; // of both 16-bit types
  if (from.type == datatype::bytes)
    return gather_texts(from, rows);
  if (from.type == datatype::fp16 || from.type == datatype::bf16)
    return gather_cells<std::uint16_t>(from, rows, not_a_number);
  column out;
  with_element_type(from.type, [&]<class T>(T) { out = gather_cells<T>(from, rows, nothing<T>()); });
  return out;
}

table gather(const table& from, std::span<const std::uint32_t> rows) {
  table out{rows.size(), {}};
  for (const auto& c : from.columns)
    out.columns.push_back(gather(c, rows));
  return out;
}

column text_builder::done(std::string name) && {
  const auto rows = offsets_.size() - 1;
  const auto head = offsets_.size() * sizeof(std::int64_t);
  std::vector<std::byte> data(head + bytes_.size());
  std::memcpy(data.data(), offsets_.data(), head);
  if (!bytes_.empty())
    std::memcpy(data.data() + head, bytes_.data(), bytes_.size());
  return {std::move(name), datatype::bytes, 1, rows, shared_bytes::take(std::move(data))};
}

tensor tensor_of_column(const column& c) {
  const auto rows = static_cast<std::int64_t>(c.rows);
  if (c.type != datatype::bytes)
    return {c.type, c.width == 1 ? shape{rows} : shape{rows, c.width}, c.data};
  const text_cells cells{c};
  std::vector<std::string_view> elements;
  elements.reserve(c.rows);
  for (std::size_t row = 0; row < c.rows; ++row)
    elements.push_back(cells[row]);
  return bytes_tensor(elements);
}

result<column> column_of_tensor(std::string_view what, std::string name, const tensor& t, std::size_t rows) {
  const bool cells_fit = t.shape.size() == 1 || (t.shape.size() == 2 && t.type != datatype::bytes && t.shape[1] > 0 &&
                                                 t.shape[1] <= std::numeric_limits<std::uint32_t>::max());
  if (!cells_fit || t.shape[0] != static_cast<std::int64_t>(rows))
    return invalid(std::string{what} + " is " + std::string{to_string(t.type)} + " " + to_string(t.shape) +
                   "; a column of this table needs [" + std::to_string(rows) + "]" +
                   (t.type == datatype::bytes ? "" : " or [" + std::to_string(rows) + ", n]"));
  if (t.type != datatype::bytes)
    return column{std::move(name), t.type, t.shape.size() == 1 ? 1 : static_cast<std::uint32_t>(t.shape[1]), rows,
                  t.data};
  SQUALL_ASSIGN(elements, bytes_elements(t));
  text_builder out{rows};
  for (const auto element : elements)
    out.add(element);
  return std::move(out).done(std::move(name));
}

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos)
    return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

std::vector<std::string_view> split_list(std::string_view text) {
  std::vector<std::string_view> out;
  int depth = 0;
  char quote = 0;
  std::size_t begin = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quote != 0)
      quote = c == quote ? 0 : quote;
    else if (c == '\'' || c == '`')
      quote = c;
    else if (c == '(' || c == ')')
      depth += c == '(' ? 1 : -1;
    else if (c == ',' && depth == 0) {
      out.push_back(trimmed(text.substr(begin, i - begin)));
      begin = i + 1;
    }
  }
  if (!trimmed(text).empty())
    out.push_back(trimmed(text.substr(begin)));
  return out;
}

} // namespace squall::functions::builtins::detail
