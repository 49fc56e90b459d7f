#pragma once

#include "base/bytes.hpp"
#include "base/result.hpp"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace squall::kvs {

inline constexpr std::size_t max_key_bytes = 1024;
inline constexpr std::size_t max_value_bytes = 256ull << 20;
inline constexpr std::size_t piece_bytes = 1 << 20; ///< values are kept, read and sent in pieces of at most this

/// What is known of a value without reading it.
struct entry {
  std::string key;
  std::uint64_t size_bytes = 0;
  std::uint64_t version = 0; ///< of the last write: larger is later, never reused
};

/// One write of a batch.
struct write {
  std::string key;
  shared_bytes value;
  bool erase = false;
};

/// The store's port. Thread-safe; calls may block on the disk. Writes are last-writer-wins in order of their return.
class store {
public:
  virtual ~store() = default;

  /// Replaces a value at once and as a whole. `durable`: on the disk when it returns. Errors: invalid_argument (key), too_large, unavailable (disk full), corrupt.
  virtual result<entry> put(std::string_view key, shared_bytes value, bool durable) = 0;

  /// All or nothing, in order.
  virtual result<> apply(const std::vector<write>& batch, bool durable) = 0;

  /// Begins a value that comes in pieces; nothing of it is visible before commit(). Uploads that are not committed are gone after a restart.
  virtual result<std::uint64_t> begin(std::string_view key, std::uint64_t total_bytes) = 0;
  virtual result<> append(std::uint64_t upload, std::uint64_t offset, shared_bytes piece) = 0;
  virtual result<entry> commit(std::uint64_t upload, bool durable) = 0;
  virtual void abort(std::uint64_t upload) = 0;

  /// not_found when there is none.
  virtual result<entry> stat(std::string_view key) = 0;
  /// At most piece_bytes from `offset`; shorter at the end. `version` 0 = the current one, else data_loss if it has been replaced meanwhile.
  virtual result<shared_bytes> read(std::string_view key, std::uint64_t offset, std::size_t length, std::uint64_t version) = 0;

  virtual result<> erase(std::string_view key, bool durable) = 0;

  /// Keys with the prefix, ascending, after `after`, at most `limit`.
  virtual result<std::vector<entry>> list(std::string_view prefix, std::string_view after, std::size_t limit) = 0;
};

/// Opens (or makes, mode 0700) a store in `folder`. Fails as unavailable, naming the holder's pid, when another process holds it.
[[nodiscard]] result<std::unique_ptr<store>> open_rocksdb(const std::string& folder);

/// A store in memory, for tests and for clusters that are to forget.
[[nodiscard]] std::unique_ptr<store> open_memory();

/// Convenience: the whole value.
[[nodiscard]] result<shared_bytes> read_all(store& from, std::string_view key);

} // namespace squall::kvs
