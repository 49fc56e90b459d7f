#include "wire/store_limits.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdio>

namespace squall::wire {

std::string quoted(std::string_view key) {
  constexpr std::size_t shown = 80;
  std::string out = "'";
  for (const char c : key.substr(0, shown)) {
    if (std::isprint(static_cast<unsigned char>(c)) != 0) {
      out.push_back(c);
      continue;
    }
    std::array<char, 5> hex{};
    std::snprintf(hex.data(), hex.size(), "\\x%02x", static_cast<unsigned>(static_cast<unsigned char>(c)));
    out.append(hex.data());
  }
  out.append(key.size() > shown ? "...'" : "'");
  return out;
}

result<> check_key(std::string_view key) {
  if (key.empty())
    return {errc::invalid_argument, "a key must not be empty"};
  if (key.size() > max_key_bytes)
    return {errc::invalid_argument, "key " + quoted(key) + " has " + std::to_string(key.size()) +
                                        " bytes; the limit is " + std::to_string(max_key_bytes)};
  return {};
}

result<> check_size(std::string_view key, std::uint64_t size_bytes) {
  if (size_bytes > max_value_bytes)
    return {errc::too_large, "the value of key " + quoted(key) + " has " + std::to_string(size_bytes) +
                                 " bytes; the limit is " + std::to_string(max_value_bytes) + " (256 MiB)"};
  return {};
}

result<> check_piece(std::string_view key, std::uint64_t arrived, std::uint64_t total, std::uint64_t offset,
                     std::uint64_t piece_size) {
  if (offset != arrived)
    return {errc::invalid_argument, "a piece of key " + quoted(key) + " begins at byte " + std::to_string(offset) +
                                        "; byte " + std::to_string(arrived) + " comes next"};
  const std::uint64_t expected = std::min<std::uint64_t>(max_piece_bytes, total - arrived);
  if (piece_size != expected || piece_size == 0)
    return {errc::invalid_argument, "a piece of key " + quoted(key) + " at byte " + std::to_string(offset) + " has " +
                                        std::to_string(piece_size) + " bytes; " + std::to_string(expected) +
                                        " are expected there (pieces have " + std::to_string(max_piece_bytes) +
                                        ", the last one the rest)"};
  return {};
}

result<> check_complete(std::string_view key, std::uint64_t arrived, std::uint64_t total) {
  if (arrived != total)
    return {errc::invalid_argument, "the value of key " + quoted(key) + " has " + std::to_string(arrived) + " of its " +
                                        std::to_string(total) + " bytes; send the rest before the end"};
  return {};
}

error no_such_key(std::string_view key) { return {errc::not_found, "there is no key " + quoted(key), {}}; }

error no_such_upload(std::uint64_t upload) {
  return {
      errc::not_found, "there is no upload " + std::to_string(upload) + "; it ended, timed out or was never begun", {}};
}

error replaced(std::string_view key, std::uint64_t wanted, std::uint64_t found) {
  return {errc::data_loss,
          "version " + std::to_string(wanted) + " of key " + quoted(key) + " was replaced by " + std::to_string(found) +
              " while it was read; read it again",
          {}};
}

} // namespace squall::wire
