#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace squall {

/// A running 64-bit FNV-1a hash, for comparing states and naming content. Not for hostile input.
class fnv1a {
public:
  void add(std::span<const std::byte> data) {
    for (const std::byte b : data)
      value_ = (value_ ^ static_cast<std::uint64_t>(b)) * 0x100000001b3ULL;
  }
  void add(std::string_view text) { add(std::as_bytes(std::span{text.data(), text.size()})); }
  void add(std::uint64_t number) {
    for (int i = 0; i < 8; ++i)
      value_ = (value_ ^ ((number >> (8 * i)) & 0xff)) * 0x100000001b3ULL;
  }
  [[nodiscard]] std::uint64_t value() const { return value_; }

private:
  std::uint64_t value_ = 0xcbf29ce484222325ULL;
};

} // namespace squall
