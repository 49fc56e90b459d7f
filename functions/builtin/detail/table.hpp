#pragma once

#include "functions/builtin/detail/support.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

/// Tables: named columns of one length in one UINT8 tensor. docs/tables.md is the format.
namespace squall::functions::builtins::detail {

inline constexpr std::size_t max_table_rows = std::size_t{1} << 26;
inline constexpr std::size_t max_table_columns = 1024;
inline constexpr std::size_t max_table_bytes = std::size_t{1} << 31;

/// One column. Numbers: rows * width elements, aligned to 8. BYTES: rows + 1 offsets (INT64, ascending from 0), then
/// the bytes.
struct column {
  std::string name;
  datatype type = datatype::fp64;
  std::uint32_t width = 1; ///< elements of a cell; 1 with BYTES
  std::size_t rows = 0;
  shared_bytes data;
};

struct table {
  std::size_t rows = 0; ///< of each column
  std::vector<column> columns;
};

/// A row that a gathered column fills with nothing: NaN, 0, false, or no bytes.
inline constexpr std::uint32_t no_row = 0xffffffff;

/// The table in the tensor of the input `name`; columns share its memory. Whatever the bytes are, what comes out can be
/// read: offsets, lengths and names are checked.
[[nodiscard]] result<table> read_table(std::string_view name, const value& v);

/// Fails as too_large beyond the limits, and as invalid_argument when two columns have one name.
[[nodiscard]] result<value> write_table(const table& t);

/// Null when there is none.
[[nodiscard]] const column* find_column(const table& t, std::string_view name);
/// An error that lists the columns when there is none.
[[nodiscard]] result<const column*> column_named(const table& t, std::string_view name);

/// "FP64", "FP32 x 128".
[[nodiscard]] std::string describe(const column& c);

/// The rows of a column in another order; `no_row` gives nothing.
[[nodiscard]] column gather(const column& from, std::span<const std::uint32_t> rows);
[[nodiscard]] table gather(const table& from, std::span<const std::uint32_t> rows);

/// The elements of a column as T, which must be its C++ type.
template <class T>
[[nodiscard]] std::span<const T> numbers_of(const column& c) {
  return {reinterpret_cast<const T*>(c.data.data()), c.data.size() / sizeof(T)};
}

/// The cells of a BYTES column.
class text_cells {
public:
  explicit text_cells(const column& c)
      : offsets_(reinterpret_cast<const std::int64_t*>(c.data.data())),
        bytes_(reinterpret_cast<const char*>(c.data.data() + (c.rows + 1) * sizeof(std::int64_t))) {}
  [[nodiscard]] std::string_view operator[](std::size_t row) const {
    return {bytes_ + offsets_[row], static_cast<std::size_t>(offsets_[row + 1] - offsets_[row])};
  }

private:
  const std::int64_t* offsets_;
  const char* bytes_;
};

/// Puts a BYTES column together cell by cell.
class text_builder {
public:
  explicit text_builder(std::size_t rows) { offsets_.reserve(rows + 1); }
  void add(std::string_view cell) {
    bytes_.append(cell);
    offsets_.push_back(static_cast<std::int64_t>(bytes_.size()));
  }
  [[nodiscard]] column done(std::string name) &&;

private:
  std::vector<std::int64_t> offsets_{0};
  std::string bytes_;
};

/// A column of numbers, one a row; T is the C++ type of the elements.
template <class T>
[[nodiscard]] column column_of(std::string name, datatype type, std::vector<T> numbers) {
  auto block = std::make_shared<const std::vector<T>>(std::move(numbers));
  const auto bytes = std::as_bytes(std::span{*block});
  return {std::move(name), type, 1, block->size(), shared_bytes{block, bytes}};
}

/// A column as a plain tensor [rows] or [rows, width], and back. A tensor needs rows as its first dimension; `what`
/// names it in the message.
[[nodiscard]] tensor tensor_of_column(const column& c);
[[nodiscard]] result<column> column_of_tensor(std::string_view what, std::string name, const tensor& t,
                                              std::size_t rows);

/// Calls `visit(T{})` with a value of the C++ type of the elements; BYTES, FP16 and BF16 have none: false.
template <class Visit>
bool with_element_type(datatype type, const Visit& visit) {
  switch (type) {
    case datatype::boolean:
    case datatype::uint8:
      visit(std::uint8_t{});
      return true;
    case datatype::uint16:
      visit(std::uint16_t{});
      return true;
    case datatype::uint32:
      visit(std::uint32_t{});
      return true;
    case datatype::uint64:
      visit(std::uint64_t{});
      return true;
    case datatype::int8:
      visit(std::int8_t{});
      return true;
    case datatype::int16:
      visit(std::int16_t{});
      return true;
    case datatype::int32:
      visit(std::int32_t{});
      return true;
    case datatype::int64:
      visit(std::int64_t{});
      return true;
    case datatype::fp32:
      visit(float{});
      return true;
    case datatype::fp64:
      visit(double{});
      return true;
    case datatype::fp16:
    case datatype::bf16:
    case datatype::bytes:
      break;
  }
  return false;
}

/// "a, b as c, d = e" of a parameter: at commas outside of quotes and brackets; spaces around are taken off. Empty
/// text: none.
[[nodiscard]] std::vector<std::string_view> split_list(std::string_view text);
[[nodiscard]] std::string_view trimmed(std::string_view text);

/// A port that takes or gives a table.
[[nodiscard]] inline port table_port(std::string name, bool optional = false) {
  return {std::move(name), datatype::uint8, {-1}, false, optional};
}

} // namespace squall::functions::builtins::detail
