#include "kvs/store.hpp"

#include <algorithm>
#include <cstring>

namespace squall::kvs {

namespace {

result<shared_bytes> read_version(store& from, const entry& wanted) {
  if (wanted.size_bytes <= piece_bytes)
    return from.read(wanted.key, 0, piece_bytes, wanted.version);
  auto whole = std::make_shared_for_overwrite<std::byte[]>(wanted.size_bytes);
  for (std::uint64_t offset = 0; offset < wanted.size_bytes;) {
    SQUALL_ASSIGN(piece, from.read(wanted.key, offset, piece_bytes, wanted.version));
    SQUALL_CHECK(!piece.empty() && piece.size() <= wanted.size_bytes - offset, piece.size(), offset, wanted.size_bytes);
    std::memcpy(whole.get() + offset, piece.data(), piece.size());
    offset += piece.size();
  }
  const std::span<const std::byte> view{whole.get(), wanted.size_bytes};
  return shared_bytes{std::move(whole), view};
}

} // namespace

result<shared_bytes> read_all(store& from, std::string_view key) {
  // A writer that replaces the value faster than it is read must not hold the reader for ever.
  constexpr int tries = 5;
  for (int i = 1;; ++i) {
    SQUALL_ASSIGN(wanted, from.stat(key));
    auto value = read_version(from, wanted);
    if (value.ok() || value.error().code != errc::data_loss || i == tries)
      return value;
  }
}

} // namespace squall::kvs
