#pragma once

#include "base/result.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

/// How keys and values lie in the engine (docs/store.md). Pure; the engine's file moves the bytes.
namespace squall::kvs::core {

/// Values of at most this many bytes lie in their record, larger ones in pieces beside it.
inline constexpr std::size_t inline_bytes = 4096;

/// What the `records` table holds for a key. Either `pieces` is set or the value is `inline_value`.
struct record {
  std::uint64_t version = 0;
  std::uint64_t size_bytes = 0;
  std::uint64_t pieces = 0;      ///< the number under which the pieces lie; 0 = none
  std::string_view inline_value; ///< points into the decoded bytes
};

[[nodiscard]] std::string encode(const record& r);
/// Corrupt when the bytes are not a record.
[[nodiscard]] result<record> decode_record(std::string_view bytes);

/// Keys of the `records` table. User keys have a first byte of their own, so that no user key can be one of ours.
[[nodiscard]] std::string record_key(std::string_view user_key);
[[nodiscard]] std::string_view user_key(std::string_view record_key);
inline constexpr std::string_view first_record_key = "k";
inline constexpr std::string_view past_record_keys = "l";
inline constexpr std::string_view format_key = "s.format";
inline constexpr std::string_view numbers_key = "s.numbers";
/// Marks an upload that was begun and not committed; its pieces go when the store is opened again. The value is the
/// total size.
[[nodiscard]] std::string upload_key(std::uint64_t pieces);
inline constexpr std::string_view first_upload_key = "u";
inline constexpr std::string_view past_upload_keys = "v";
[[nodiscard]] std::optional<std::uint64_t> pieces_of_upload_key(std::string_view key);

/// Key of the `pieces` table. Big-endian, so that later values lie behind earlier ones: the engine then moves whole
/// files down its levels instead of merging them.
[[nodiscard]] std::string piece_key(std::uint64_t pieces, std::uint64_t index);

/// How many pieces a value of this size has.
[[nodiscard]] std::uint64_t piece_count(std::uint64_t size_bytes);

[[nodiscard]] std::string encode_number(std::uint64_t number);
[[nodiscard]] std::optional<std::uint64_t> decode_number(std::string_view bytes);

} // namespace squall::kvs::core
