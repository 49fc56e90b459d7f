#pragma once

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "kvs/core/limits.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace squall::kvs {

/// What is known of a value without reading it.
struct entry {
  std::string key;
  std::uint64_t size_bytes = 0;
  std::uint64_t version = 0; ///< of the last write: larger is later, never reused

  friend bool operator==(const entry&, const entry&) = default;
};

/// One write of a batch.
struct write {
  std::string key;
  shared_bytes value;
  bool erase = false;
};

/// The store's port. Thread-safe; calls may block on the disk. Writes are last-writer-wins in order of their return.
/// Keys are any 1 to max_key_bytes bytes. `durable`: on the disk when the call returns; otherwise after the next
/// sync(), and until then a power cut may undo the write, as a whole and only together with every later one. Every call
/// may fail as unavailable (disk full, I/O error) or corrupt (the disk gave back other bytes than were written).
class store {
public:
  virtual ~store() = default;

  /// Replaces a value at once and as a whole. Errors: invalid_argument (key), too_large.
  virtual result<entry> put(std::string_view key, shared_bytes value, bool durable) = 0;

  /// As put, of at most piece_bytes, if `expected_version` is the version of the key's value (0: it has none); else
  /// already_exists, and nothing is written. What all agree on is decided so: who reads and then writes with the
  /// version that it read is the only one to replace what it read.
  virtual result<entry> put_if(std::string_view key, std::uint64_t expected_version, shared_bytes value,
                               bool durable) = 0;

  /// All or nothing, in order: of two writes to one key the later wins. Erasing what is not there is fine.
  virtual result<> apply(const std::vector<write>& batch, bool durable) = 0;

  /// Begins a value that comes in pieces; nothing of it is visible before commit(). Uploads that are not committed are
  /// gone after a restart.
  virtual result<std::uint64_t> begin(std::string_view key, std::uint64_t total_bytes) = 0;
  /// The next piece: `offset` is what has come so far, and every piece but the last has piece_bytes. Else
  /// invalid_argument, and the upload stays as it was. not_found: no such upload.
  virtual result<> append(std::uint64_t upload, std::uint64_t offset, shared_bytes piece) = 0;
  /// The value becomes visible. invalid_argument while pieces are missing; the upload then stays.
  virtual result<entry> commit(std::uint64_t upload, bool durable) = 0;
  virtual void abort(std::uint64_t upload) = 0;

  /// not_found when there is none.
  virtual result<entry> stat(std::string_view key) = 0;
  /// At most piece_bytes from `offset`; shorter at the end, empty beyond it. `version` 0 = the current one, else
  /// data_loss if it has been replaced meanwhile. The bytes stay valid after the value is replaced and after the store
  /// is closed.
  virtual result<shared_bytes> read(std::string_view key, std::uint64_t offset, std::size_t length,
                                    std::uint64_t version) = 0;

  /// Erasing what is not there is fine, so that a caller who got no answer can ask again.
  virtual result<> erase(std::string_view key, bool durable) = 0;

  /// Keys with the prefix, ascending by bytes, after `after`, at most `limit`.
  virtual result<std::vector<entry>> list(std::string_view prefix, std::string_view after, std::size_t limit) = 0;

  /// Every write that has returned is on the disk when this returns. Callers that wait at the same time share one
  /// flush.
  virtual result<> sync() = 0;
};

/// Opens (or makes, mode 0700) a store in `folder`; docs/store.md describes what lies there. Errors: unavailable,
/// naming the holder's pid, when another process (or this one) holds it; corrupt when it is damaged, saying what to do;
/// unsupported when it has a newer format.
[[nodiscard]] result<std::unique_ptr<store>> open_rocksdb(const std::string& folder);

/// A store in memory, for tests and for clusters that are to forget.
[[nodiscard]] std::unique_ptr<store> open_memory();

/// Convenience: the whole value, of one version.
[[nodiscard]] result<shared_bytes> read_all(store& from, std::string_view key);

} // namespace squall::kvs
