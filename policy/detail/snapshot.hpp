#pragma once

#include "calls/binary.hpp"
#include "policy/detail/slot_map.hpp"

namespace squall::policy::detail {

/// A slot_map in a snapshot: the count, then id and value in ascending order of the ids.
template <class Id, class T>
void write_map(calls::binary_writer& out, const slot_map<Id, T>& map) {
  out.varint(map.size());
  for (const Id id : map.sorted_ids()) {
    out.write(id);
    out.write(*map.find(id));
  }
}

template <class Id, class T>
void read_map(calls::binary_reader& in, slot_map<Id, T>& map) {
  Id last;
  const std::uint64_t count = in.varint();
  for (std::uint64_t i = 0; i < count && in.ok(); ++i) {
    Id id;
    in.read(id);
    if (in.ok() && i > 0 && !(last < id))
      in.fail("holds ids that do not ascend");
    if (!in.ok())
      return;
    in.read(map.at(map.insert(id)));
    last = id;
  }
}

} // namespace squall::policy::detail
