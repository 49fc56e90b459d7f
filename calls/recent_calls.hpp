#pragma once

#include "base/ids.hpp"

#include <vector>

namespace squall::calls {

/// Remembers the last calls that ended somewhere, at least `capacity` and at most twice as many, so that late messages
/// about them are known for what they are, and their ids are not given to others. Flat tables in two generations:
/// adding costs no allocation, and the older generation is forgotten as a whole.
class recent_calls {
public:
  explicit recent_calls(std::size_t capacity) : capacity_(capacity), slots_(table_size(capacity)) {
    for (auto& g : generations_)
      g.resize(slots_);
  }

  void add(call_id id) {
    if (contains(id))
      return;
    if (used_ == capacity_) {
      std::swap(generations_[0], generations_[1]);
      generations_[0].assign(slots_, call_id{});
      used_ = 0;
    }
    slot(generations_[0], id) = id;
    ++used_;
  }

  [[nodiscard]] bool contains(call_id id) { return slot(generations_[0], id) == id || slot(generations_[1], id) == id; }

  void clear() {
    for (auto& g : generations_)
      g.assign(slots_, call_id{});
    used_ = 0;
  }

private:
  using table = std::vector<call_id>;

  /// A power of two with room to spare, so that searches stay short.
  static std::size_t table_size(std::size_t capacity) {
    std::size_t size = 2;
    while (size < 2 * capacity)
      size *= 2;
    return size;
  }

  /// Where `id` is, or would be.
  call_id& slot(table& in, call_id id) const {
    std::size_t at = std::hash<call_id>{}(id) & (slots_ - 1);
    while (in[at] && in[at] != id)
      at = (at + 1) & (slots_ - 1);
    return in[at];
  }

  std::size_t capacity_;
  std::size_t slots_;
  std::size_t used_ = 0;
  table generations_[2];
};

} // namespace squall::calls
