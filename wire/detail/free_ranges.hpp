#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>

namespace squall::wire::detail {

/// Which parts of an arena are free. Takes the lowest place that fits, so that pages that were touched before are used
/// again, and joins neighbours when they are given back.
class free_ranges {
public:
  free_ranges(std::uint64_t offset, std::size_t size) { ranges_.emplace(offset, size); }

  [[nodiscard]] std::optional<std::uint64_t> take(std::size_t size) {
    for (auto range = ranges_.begin(); range != ranges_.end(); ++range) {
      if (range->second < size)
        continue;
      const std::uint64_t offset = range->first;
      const std::size_t left = range->second - size;
      const auto next = ranges_.erase(range);
      if (left > 0)
        ranges_.emplace_hint(next, offset + size, left);
      return offset;
    }
    return {};
  }

  void give(std::uint64_t offset, std::size_t size) {
    auto next = ranges_.lower_bound(offset);
    if (next != ranges_.end() && offset + size == next->first) {
      size += next->second;
      next = ranges_.erase(next);
    }
    if (next != ranges_.begin()) {
      const auto before = std::prev(next);
      if (before->first + before->second == offset) {
        before->second += size;
        return;
      }
    }
    ranges_.emplace_hint(next, offset, size);
  }

  [[nodiscard]] std::size_t count() const { return ranges_.size(); }

private:
  std::map<std::uint64_t, std::size_t> ranges_; ///< offset to size; no two touch
};

} // namespace squall::wire::detail
