#pragma once

#include "base/ids.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <vector>

namespace squall::calls {

/// Remembers the last calls that ended somewhere, so that late messages about them are known for what they are, and
/// their ids are not given to others. Ids share lines of the processor's cache, and the oldest of a line makes room:
/// every search costs one line, and nothing is allocated. Of `capacity` ids, a hundred-thousandth are forgotten after
/// an eighth as many others, a thousandth after a quarter, a twentieth after half of it.
class recent_calls {
public:
  explicit recent_calls(std::size_t capacity)
      : lines_(std::bit_ceil(std::max<std::size_t>(1, capacity / ids_per_line))) {}

  void add(call_id id) {
    line& at = lines_[line_of(id)];
    if (holds(at, id))
      return;
    empty_ = false;
    std::move_backward(at.ids.begin(), at.ids.end() - 1, at.ids.end());
    at.ids.front() = id;
  }

  [[nodiscard]] bool contains(call_id id) const { return !empty_ && holds(lines_[line_of(id)], id); }

  void clear() {
    std::fill(lines_.begin(), lines_.end(), line{});
    empty_ = true;
  }

private:
  static constexpr std::size_t ids_per_line = 8;
  struct alignas(64) line {
    std::array<call_id, ids_per_line> ids{}; ///< the youngest first
  };

  static bool holds(const line& at, call_id id) { return std::find(at.ids.begin(), at.ids.end(), id) != at.ids.end(); }
  [[nodiscard]] std::size_t line_of(call_id id) const { return std::hash<call_id>{}(id) & (lines_.size() - 1); }

  std::vector<line> lines_;
  bool empty_ = true; ///< then a search costs nothing
};

} // namespace squall::calls
