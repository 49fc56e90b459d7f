#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace squall::policy::detail {

/// Rows of `width` numbers each, one after the other.
struct rows {
  std::size_t width = 0;
  std::vector<std::int64_t> data;

  [[nodiscard]] std::size_t size() const { return width == 0 ? 0 : data.size() / width; }
  [[nodiscard]] const std::int64_t* row(std::size_t i) const { return data.data() + i * width; }
  [[nodiscard]] std::int64_t* row(std::size_t i) { return data.data() + i * width; }
};

/// The indices of the rows that no other row is as good as in every column (less is better), in ascending order of the
/// rows, columns from the left. Of equal rows the first one stays. O(n log n) up to three columns, O(n log^(w-2) n) for
/// w of them.
[[nodiscard]] std::vector<std::uint32_t> efficient(const rows& all);

} // namespace squall::policy::detail
