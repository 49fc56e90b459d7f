#include "wire/detail/tokens.hpp"

#include <bit>

namespace squall::wire::detail {

namespace {

using kind = token::kind;

// The first bytes of msgpack's elements (https://github.com/msgpack/msgpack/blob/master/spec.md).
enum first_byte : unsigned char {
  small_map = 0x80,
  small_array = 0x90,
  small_text = 0xa0,
  nil = 0xc0,
  unused = 0xc1,
  no = 0xc2,
  yes = 0xc3,
  binary = 0xc4, // a size of 1, 2, 4 bytes
  extension = 0xc7,
  real32 = 0xca,
  real64 = 0xcb,
  natural = 0xcc,         // of 1, 2, 4, 8 bytes
  integer = 0xd0,         // of 1, 2, 4, 8 bytes
  fixed_extension = 0xd4, // of 1, 2, 4, 8, 16 bytes
  text = 0xd9,            // a size of 1, 2, 4 bytes
  array = 0xdc,           // a count of 2, 4 bytes
  map = 0xde,             // a count of 2, 4 bytes
  small_negative = 0xe0,
};

constexpr std::size_t power(unsigned exponent) { return std::size_t{1} << exponent; }

} // namespace

std::string_view to_string(token::kind kind) {
  switch (kind) {
    case kind::nil:
      return "nil";
    case kind::boolean:
      return "a boolean";
    case kind::natural:
      return "an unsigned number";
    case kind::negative:
      return "a negative number";
    case kind::real:
      return "a floating-point number";
    case kind::text:
      return "text";
    case kind::binary:
      return "bytes";
    case kind::array:
      return "an array";
    case kind::map:
      return "a map";
    case kind::extension:
      return "an extension";
  }
  return "?";
}

token::kind token_reader::peek() const {
  if (at_ == end_ || *at_ == nil || *at_ == unused)
    return kind::nil;
  const unsigned char b = *at_;
  if (b < small_map)
    return kind::natural;
  if (b < small_array)
    return kind::map;
  if (b < small_text)
    return kind::array;
  if (b < nil)
    return kind::text;
  if (b <= yes)
    return kind::boolean;
  if (b < extension)
    return kind::binary;
  if (b < real32)
    return kind::extension;
  if (b < natural)
    return kind::real;
  if (b < integer)
    return kind::natural;
  if (b < fixed_extension) { // a positive one may be written so
    token t;
    token_reader copy = *this;
    return copy.next(t) ? t.what : kind::nil;
  }
  if (b < text)
    return kind::extension;
  if (b < array)
    return kind::text;
  if (b < map)
    return kind::array;
  return b < small_negative ? kind::map : kind::negative;
}

bool token_reader::number(std::size_t size, std::uint64_t& out) {
  if (left() < size)
    return false;
  std::uint64_t bytes = 0; // its first ones are the number's
  std::memcpy(&bytes, at_, size);
  out = be64toh(bytes) >> (64 - 8 * size);
  at_ += size;
  return true;
}

bool token_reader::bytes(token::kind what, std::uint64_t size, token& out) {
  if (left() < size)
    return false;
  out.what = what;
  out.size = static_cast<std::uint32_t>(size);
  out.data = reinterpret_cast<const char*>(at_);
  at_ += size;
  return true;
}

bool token_reader::nested(token::kind what, std::uint64_t count, token& out) {
  if (left() < (what == kind::map ? 2 * count : count))
    return false;
  out.what = what;
  out.size = static_cast<std::uint32_t>(count);
  return true;
}

bool token_reader::next_long(token& out) {
  if (at_ == end_)
    return false;
  const unsigned char* const start = at_;
  const unsigned char b = *at_++;
  std::uint64_t n = 0;
  const auto taken = [&]() -> bool {
    if (b >= small_negative) {
      out.what = kind::negative;
      out.negative = std::int64_t{b} - 256;
      return true;
    }
    if (b < small_array)
      return nested(kind::map, b & 0x0f, out);
    if (b < small_text)
      return nested(kind::array, b & 0x0f, out);
    if (b < nil)
      return bytes(kind::text, b & 0x1f, out);
    if (b == nil) {
      out.what = kind::nil;
      return true;
    }
    if (b == unused)
      return false;
    if (b <= yes) {
      out.what = kind::boolean;
      out.natural = b - no;
      return true;
    }
    if (b < extension)
      return number(power(b - binary), n) && bytes(kind::binary, n, out);
    if (b < real32)
      return number(power(b - extension), n) && bytes(kind::extension, n + 1, out);
    if (b < natural) {
      if (!number(b == real32 ? 4 : 8, n))
        return false;
      out.what = kind::real;
      out.real = b == real32 ? std::bit_cast<float>(static_cast<std::uint32_t>(n)) : std::bit_cast<double>(n);
      return true;
    }
    if (b < integer) {
      out.what = kind::natural;
      return number(power(b - natural), out.natural);
    }
    if (b < fixed_extension) {
      const std::size_t size = power(b - integer);
      if (!number(size, n))
        return false;
      const unsigned unused_bits = 64 - 8 * static_cast<unsigned>(size);
      out.negative = static_cast<std::int64_t>(n << unused_bits) >> unused_bits;
      out.what = out.negative < 0 ? kind::negative : kind::natural;
      return true;
    }
    if (b < text)
      return bytes(kind::extension, power(b - fixed_extension) + 1, out);
    if (b < array)
      return number(power(b - text), n) && bytes(kind::text, n, out);
    if (b < map)
      return number(power(b - array + 1), n) && nested(kind::array, n, out);
    return number(power(b - map + 1), n) && nested(kind::map, n, out);
  }();
  if (!taken)
    at_ = start;
  return taken;
}

std::string token_reader::complaint() const {
  const std::string where = " at byte " + std::to_string(at_ - begin_);
  if (at_ != end_ && *at_ == unused)
    return "no valid msgpack" + where;
  return "the header ends too early," + where;
}

} // namespace squall::wire::detail
