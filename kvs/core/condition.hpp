#pragma once

#include "base/result.hpp"

#include <cstddef>
#include <cstdint>
#include <string_view>

/// When a write is not to be done. Pure.
namespace squall::kvs::core {

/// Holds the term of the latest leader, as a number of 8 bytes (docs/store.md).
inline constexpr std::string_view term_key = "cluster/term";

/// already_exists if the value has another version. `key` is for the message, quoted.
[[nodiscard]] result<> check_version(std::string_view key, std::uint64_t expected, std::uint64_t found);

/// Values that are replaced under a condition come in one piece.
[[nodiscard]] result<> check_one_piece(std::string_view key, std::size_t size_bytes);

/// permission_denied if a leader later than the writer's term has begun; `term_value` is what lies under term_key.
[[nodiscard]] result<> check_fence(std::uint64_t writers_term, std::string_view term_value);

} // namespace squall::kvs::core
