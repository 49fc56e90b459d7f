#pragma once

#include "base/result.hpp"
#include "base/time.hpp"
#include "functions/value.hpp"
#include "wire/message_types.hpp"

#include <optional>
#include <string>
#include <vector>

/// What the store is asked and answers. The order of fields is the format (docs/wire.md); new fields go to the end.
namespace squall::wire {

// -- store
// ---------------------------------------------------------------------------------------------------------------

/// A whole value, or one piece of a large one. Pieces of one write share `upload` and arrive in order; the value
/// becomes visible, all of it at once, with the last piece.
struct store_put {
  SQUALL_MESSAGE(store_put, store);
  std::string key;
  std::uint64_t total_bytes = 0;
  std::uint64_t offset = 0;
  std::uint64_t upload = 0; ///< chosen by the writer; 0 when the value comes in one piece
  bool durable = true;      ///< acknowledged when it is on the disk
  functions::value piece;   ///< a UINT8 tensor
  /// Only if this is the version of the key's value (0: it has none); else already_exists. Of a value in one piece.
  std::optional<std::uint64_t> expected_version;
  std::uint64_t fence = 0; ///< the writer's term of leadership: permission_denied if a later one has begun; 0: none
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("key", s.key);
    v("total_bytes", s.total_bytes);
    v("offset", s.offset);
    v("upload", s.upload);
    v("durable", s.durable);
    v("piece", s.piece);
    v("expected_version", s.expected_version);
    v("fence", s.fence);
  }
};

/// length 0: only the metadata.
struct store_get {
  SQUALL_MESSAGE(store_get, store);
  std::string key;
  std::uint64_t offset = 0;
  std::uint64_t length = 0; ///< at most max_piece_bytes
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("key", s.key);
    v("offset", s.offset);
    v("length", s.length);
  }
};

struct store_delete {
  SQUALL_MESSAGE(store_delete, store);
  std::string key;
  std::uint64_t fence = 0; ///< as in store_put
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("key", s.key);
    v("fence", s.fence);
  }
};

/// Keys with a prefix, ascending, after `after`.
struct store_list {
  SQUALL_MESSAGE(store_list, store);
  std::string prefix;
  std::string after;
  std::uint32_t limit = 1000;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("prefix", s.prefix);
    v("after", s.after);
    v("limit", s.limit);
  }
};

inline constexpr std::size_t max_piece_bytes = 1 << 20;

struct store_entry {
  std::string key;
  std::uint64_t size_bytes = 0;
  std::uint64_t version = 0; ///< of the last write: larger is later
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("key", s.key);
    v("size_bytes", s.size_bytes);
    v("version", s.version);
  }
};

struct store_reply {
  SQUALL_MESSAGE(store_reply, any);
  errc code = errc::ok;
  std::string message;
  duration retry_after{0};
  std::vector<store_entry> entries; ///< of get: one; of list: many
  functions::value piece;           ///< of get: a UINT8 tensor
  bool more = false;                ///< of list: there are further keys
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("code", s.code);
    v("message", s.message);
    v("retry_after_ns", s.retry_after);
    v("entries", s.entries);
    v("piece", s.piece);
    v("more", s.more);
  }
};

} // namespace squall::wire
