#pragma once

#include "base/check.hpp"
#include "base/ids.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

namespace squall::policy::detail {

/// The index of an entry in a slot_map; stays the same while the entry lives, and is used again afterwards.
using slot_index = std::uint32_t;
inline constexpr slot_index no_slot = std::numeric_limits<slot_index>::max();

/// Things by id: found in constant time, kept in slots that are used again, so that a steady flow of things allocates
/// nothing. A slot keeps the memory of the T that lived in it before: T has `recycle()`, which makes it as new. There
/// is no iteration in the order of the hash: sorted_ids() is how all entries are visited.
template <class Id, class T>
class slot_map {
public:
  [[nodiscard]] std::size_t size() const { return slots_.size() - free_.size(); }
  [[nodiscard]] bool empty() const { return size() == 0; }

  [[nodiscard]] slot_index find_slot(Id id) const {
    if (table_.empty())
      return no_slot;
    for (std::size_t at = home(id);; at = next(at)) {
      if (table_[at] == no_slot || slots_[table_[at]].id == id)
        return table_[at];
    }
  }
  [[nodiscard]] T* find(Id id) {
    const slot_index slot = find_slot(id);
    return slot == no_slot ? nullptr : &slots_[slot].value;
  }
  [[nodiscard]] const T* find(Id id) const {
    const slot_index slot = find_slot(id);
    return slot == no_slot ? nullptr : &slots_[slot].value;
  }
  [[nodiscard]] T& at(slot_index slot) { return slots_[slot].value; }
  [[nodiscard]] const T& at(slot_index slot) const { return slots_[slot].value; }
  [[nodiscard]] Id id_of(slot_index slot) const { return slots_[slot].id; }

  /// Adds an entry that is as new; the id must not be there yet. References to other entries become invalid, slots do
  /// not.
  slot_index insert(Id id) {
    if (2 * (size() + 1) > table_.size())
      grow();
    slot_index slot = no_slot;
    if (free_.empty()) {
      slot = static_cast<slot_index>(slots_.size());
      slots_.emplace_back();
    } else {
      slot = free_.back();
      free_.pop_back();
    }
    slots_[slot].id = id;
    slots_[slot].used = true;
    place(slot);
    return slot;
  }

  void erase(slot_index slot) {
    std::size_t hole = home(slots_[slot].id);
    while (table_[hole] != slot)
      hole = next(hole);
    // Close the gap: an entry further along moves into the hole unless its home lies after the hole.
    for (std::size_t at = next(hole); table_[at] != no_slot; at = next(at)) {
      const std::size_t wanted = home(slots_[table_[at]].id);
      if (((at - wanted) & mask()) >= ((at - hole) & mask())) {
        table_[hole] = table_[at];
        hole = at;
      }
    }
    table_[hole] = no_slot;
    slots_[slot].value.recycle();
    slots_[slot].used = false;
    free_.push_back(slot);
  }

  [[nodiscard]] std::vector<Id> sorted_ids() const {
    std::vector<Id> out;
    out.reserve(size());
    for (const entry& e : slots_)
      if (e.used)
        out.push_back(e.id);
    std::sort(out.begin(), out.end());
    return out;
  }

private:
  struct entry {
    Id id;
    bool used = false;
    T value;
  };

  [[nodiscard]] std::size_t mask() const { return table_.size() - 1; }
  [[nodiscard]] std::size_t home(Id id) const { return std::hash<Id>{}(id)&mask(); }
  [[nodiscard]] std::size_t next(std::size_t at) const { return (at + 1) & mask(); }

  void place(slot_index slot) {
    std::size_t at = home(slots_[slot].id);
    while (table_[at] != no_slot)
      at = next(at);
    table_[at] = slot;
  }
  void grow() {
    table_.assign(std::max<std::size_t>(16, 2 * table_.size()), no_slot);
    for (slot_index slot = 0; slot < slots_.size(); ++slot)
      if (slots_[slot].used)
        place(slot);
  }

  std::vector<entry> slots_;
  std::vector<slot_index> free_;
  std::vector<slot_index> table_; ///< open addressing with linear probing; a power of two, at most half full
};

} // namespace squall::policy::detail
