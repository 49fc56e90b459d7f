#pragma once

#include <array>
#include <cstddef>
#include <limits>
#include <span>
#include <utility>

namespace squall::functions::builtins::detail {

struct peak {
  std::size_t index = 0;
  float value = -std::numeric_limits<float>::infinity();
};

/// The first of the largest numbers; not-a-number never is one. Rows of a recogniser are thousands of classes wide and
/// most of the cost of decoding is here, so the maximum is taken in lanes that the compiler turns into vectors, and its
/// place is looked up afterwards.
[[nodiscard]] inline peak peak_of(std::span<const float> row) {
  constexpr std::size_t lanes = 16;
  std::array<float, lanes> highest;
  highest.fill(-std::numeric_limits<float>::infinity());
  std::size_t i = 0;
  for (; i + lanes <= row.size(); i += lanes)
    for (std::size_t lane = 0; lane < lanes; ++lane)
      highest[lane] = row[i + lane] > highest[lane] ? row[i + lane] : highest[lane];
  peak out;
  for (; i < row.size(); ++i)
    out.value = row[i] > out.value ? row[i] : out.value;
  for (const float lane : highest)
    out.value = lane > out.value ? lane : out.value;
  while (out.index < row.size() && row[out.index] != out.value)
    ++out.index;
  return out.index < row.size() ? out : peak{0, out.value};
}

} // namespace squall::functions::builtins::detail
