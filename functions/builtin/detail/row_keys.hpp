#pragma once

#include "functions/builtin/detail/table.hpp"

#include <cstdint>
#include <unordered_map>
#include <vector>

/// Rows that agree in some columns.
namespace squall::functions::builtins::detail {

/// Numbers 64-bit keys in the order in which they come.
class id_map {
public:
  explicit id_map(std::size_t expected);
  /// The id of a key; a new one if it has none.
  [[nodiscard]] std::uint32_t id_of(std::uint64_t key);
  static constexpr std::uint32_t none = 0xffffffff;
  [[nodiscard]] std::uint32_t find(std::uint64_t key) const;
  [[nodiscard]] std::uint32_t size() const { return count_; }

private:
  struct slot {
    std::uint64_t key = 0;
    std::uint32_t id = none;
  };
  [[nodiscard]] std::size_t place_of(std::uint64_t key) const;
  void grow();

  std::vector<slot> slots_; ///< a power of two, at most half full
  std::uint32_t count_ = 0;
};

/// Gives every row a code, such that rows of all tables that were encoded with it have equal codes exactly if they are
/// equal in the columns. Integers of all widths compare as numbers, FP32 and FP64 likewise; all NaN are one value, and
/// so are 0 and -0.
class key_encoder {
public:
  explicit key_encoder(std::size_t expected_rows) : expected_(expected_rows) {}

  /// The columns are those of the tables' keys, in their order. Errors name columns that have no order of equality:
  /// cells of several elements, and 16-bit floats.
  [[nodiscard]] result<std::vector<std::uint64_t>> encode(const std::vector<const column*>& columns, std::size_t rows);

private:
  [[nodiscard]] result<std::vector<std::uint64_t>> encode_column(std::size_t index, const column& c);

  std::size_t expected_;
  std::vector<std::unordered_map<std::string_view, std::uint64_t>> texts_; ///< by column; only looked up in
  std::vector<id_map> left_;  ///< by column: numbers the codes of the columns before it
  std::vector<id_map> right_; ///< likewise, its own
};

} // namespace squall::functions::builtins::detail
