#include "calls/detail/base64.hpp"

#include <array>
#include <cstdint>

namespace squall::calls::detail {

namespace {

constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr std::array<std::int8_t, 256> digits = [] {
  std::array<std::int8_t, 256> out{};
  out.fill(-1);
  for (std::size_t i = 0; i < alphabet.size(); ++i)
    out[static_cast<unsigned char>(alphabet[i])] = static_cast<std::int8_t>(i);
  return out;
}();

/// Bytes of the UTF-8 sequence that begins with `lead`, and the range of its second byte; 0 when none begins so.
struct utf8_form {
  int size;
  std::uint8_t low;
  std::uint8_t high;
};

utf8_form form_of(std::uint8_t lead) {
  if (lead < 0x80)
    return {1, 0, 0};
  if (lead < 0xc2 || lead > 0xf4)
    return {0, 0, 0};
  if (lead < 0xe0)
    return {2, 0x80, 0xbf};
  if (lead < 0xf0)
    return {3, static_cast<std::uint8_t>(lead == 0xe0 ? 0xa0 : 0x80),
            static_cast<std::uint8_t>(lead == 0xed ? 0x9f : 0xbf)};
  return {4, static_cast<std::uint8_t>(lead == 0xf0 ? 0x90 : 0x80),
          static_cast<std::uint8_t>(lead == 0xf4 ? 0x8f : 0xbf)};
}

} // namespace

std::string to_base64(std::string_view bytes) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k)
      group = group << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0U);
    for (std::size_t k = 0; k < 4; ++k)
      out += i + k <= bytes.size() ? alphabet[group >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

std::optional<std::string> from_base64(std::string_view text) {
  if (text.size() % 4 != 0)
    return std::nullopt;
  std::size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=')
    ++padding;
  std::string out;
  out.reserve(text.size() / 4 * 3);
  for (std::size_t i = 0; i < text.size(); i += 4) {
    const std::size_t pad = i + 4 == text.size() ? padding : 0;
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 4; ++k) {
      const int digit = k >= 4 - pad ? 0 : digits[static_cast<unsigned char>(text[i + k])];
      if (digit < 0)
        return std::nullopt;
      group = group << 6 | static_cast<std::uint32_t>(digit);
    }
    for (std::size_t k = 0; k < 3 - pad; ++k)
      out += static_cast<char>(group >> (16 - 8 * k));
    if ((group & ((1U << (8 * pad)) - 1)) != 0)
      return std::nullopt;
  }
  return out;
}

bool is_utf8(std::string_view bytes) {
  for (std::size_t i = 0; i < bytes.size();) {
    const utf8_form form = form_of(static_cast<std::uint8_t>(bytes[i]));
    if (form.size == 0 || bytes.size() - i < static_cast<std::size_t>(form.size))
      return false;
    for (int k = 1; k < form.size; ++k) {
      const auto b = static_cast<std::uint8_t>(bytes[i + static_cast<std::size_t>(k)]);
      if (b < (k == 1 ? form.low : 0x80) || b > (k == 1 ? form.high : 0xbf))
        return false;
    }
    i += static_cast<std::size_t>(form.size);
  }
  return true;
}

} // namespace squall::calls::detail
