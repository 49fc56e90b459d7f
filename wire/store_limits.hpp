#pragma once

#include "base/result.hpp"
#include "wire/arena.hpp"
#include "wire/messages.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace squall::wire {

inline constexpr std::size_t max_key_bytes = 1024;

/// A key as messages name it: quoted, unprintable bytes as \xNN, at most about 80 characters of it.
[[nodiscard]] std::string quoted(std::string_view key);

[[nodiscard]] result<> check_key(std::string_view key);
[[nodiscard]] result<> check_size(std::string_view key, std::uint64_t size_bytes);

/// What an upload may take next. `arrived` and `total` are in bytes.
[[nodiscard]] result<> check_piece(std::string_view key, std::uint64_t arrived, std::uint64_t total,
                                   std::uint64_t offset, std::uint64_t piece_size);
[[nodiscard]] result<> check_complete(std::string_view key, std::uint64_t arrived, std::uint64_t total);

[[nodiscard]] error no_such_key(std::string_view key);
[[nodiscard]] error no_such_upload(std::uint64_t upload);
[[nodiscard]] error replaced(std::string_view key, std::uint64_t wanted, std::uint64_t found);

} // namespace squall::wire
