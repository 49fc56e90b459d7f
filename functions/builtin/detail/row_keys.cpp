#include "functions/builtin/detail/row_keys.hpp"

#include "base/mix.hpp"
#include "functions/builtin/detail/expression.hpp"
#include "functions/detail/text.hpp"

#include <bit>
#include <cmath>

namespace squall::functions::builtins::detail {

namespace {

std::uint64_t canonical(double v) {
  if (std::isnan(v))
    return 0x7ff8000000000000ULL;
  return std::bit_cast<std::uint64_t>(v == 0 ? 0.0 : v);
}

constexpr std::size_t first_slots = 1024; ///< few keys are common: growing is cheaper than touching memory for many

} // namespace

id_map::id_map(std::size_t expected) : slots_(std::bit_ceil(std::min(2 * expected + 2, first_slots))) {}

std::size_t id_map::place_of(std::uint64_t key) const {
  const auto mask = slots_.size() - 1;
  auto place = mixed_bits(key) & mask;
  while (slots_[place].id != none && slots_[place].key != key)
    place = (place + 1) & mask;
  return place;
}

void id_map::grow() {
  std::vector<slot> old(slots_.size() * 2);
  old.swap(slots_);
  for (const auto& s : old)
    if (s.id != none)
      slots_[place_of(s.key)] = s;
}

std::uint32_t id_map::id_of(std::uint64_t key) {
  auto& slot = slots_[place_of(key)];
  if (slot.id != none)
    return slot.id;
  const auto id = count_++;
  slot = {key, id};
  if (2 * std::size_t{count_} > slots_.size())
    grow();
  return id;
}

std::uint32_t id_map::find(std::uint64_t key) const { return slots_[place_of(key)].id; }

result<std::vector<std::uint64_t>> key_encoder::encode_column(std::size_t index, const column& c) {
  const auto type = cell_type_of(c);
  if (!type)
    return invalid("column " + functions::detail::quoted(c.name) + " is " + describe(c) +
                   ", which cannot be a key; use single numbers, BOOL or BYTES");
  std::vector<std::uint64_t> codes(c.rows);
  if (*type == cell_type::text) {
    if (texts_.size() <= index)
      texts_.resize(index + 1);
    auto& known = texts_[index];
    const text_cells cells{c};
    for (std::size_t row = 0; row < c.rows; ++row)
      codes[row] = known.try_emplace(cells[row], known.size()).first->second;
    return codes;
  }
  with_element_type(c.type, [&]<class T>(T) {
    const auto from = numbers_of<T>(c);
    for (std::size_t row = 0; row < c.rows; ++row) {
      if constexpr (std::is_floating_point_v<T>)
        codes[row] = canonical(from[row]);
      else
        codes[row] = static_cast<std::uint64_t>(*type == cell_type::boolean ? from[row] != 0 : from[row]);
    }
  });
  return codes;
}

result<std::vector<std::uint64_t>> key_encoder::encode(const std::vector<const column*>& columns, std::size_t rows) {
  std::vector<std::uint64_t> codes(rows);
  for (std::size_t i = 0; i < columns.size(); ++i) {
    SQUALL_ASSIGN(own, encode_column(i, *columns[i]));
    if (i == 0) {
      codes = std::move(own);
      continue;
    }
    if (left_.size() < i) {
      left_.emplace_back(expected_);
      right_.emplace_back(expected_);
    }
    for (std::size_t row = 0; row < rows; ++row)
      codes[row] = std::uint64_t{left_[i - 1].id_of(codes[row])} << 32 | right_[i - 1].id_of(own[row]);
  }
  return codes;
}

} // namespace squall::functions::builtins::detail
