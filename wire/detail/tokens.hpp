#pragma once

#include <endian.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

namespace squall::wire::detail {

/// Arrays and maps inside each other, the header's own array among them.
inline constexpr std::uint32_t max_depth = 32;

/// One element of a msgpack document; an array or map is followed by its elements.
struct token {
  enum class kind : std::uint8_t { nil, boolean, natural, negative, real, text, binary, array, map, extension };
  kind what = kind::nil;
  std::uint32_t size = 0; ///< of text, binary, extension: bytes; of array: elements; of map: pairs
  union {
    std::uint64_t natural = 0; ///< also 0 or 1 of a boolean
    std::int64_t negative;
    double real;
    const char* data;
  };

  [[nodiscard]] std::string_view bytes() const { return {data, size}; }
};

/// What a person calls such an element.
[[nodiscard]] std::string_view to_string(token::kind kind);

/// Takes the elements of a msgpack document one by one, without a copy: what msgpack's own parser does for a quarter of
/// the time of a call (it allocates a stack, and calls back for each element, which must then be kept).
class token_reader {
public:
  explicit token_reader(std::span<const std::byte> document)
      : begin_(reinterpret_cast<const unsigned char*>(document.data())), at_(begin_), end_(begin_ + document.size()) {}

  /// The next element, which points into the document. False at the end, when the element is cut short, or is none;
  /// complaint() says which. An array or map with more elements than bytes follow is cut short, too.
  [[nodiscard]] bool next(token& out) {
    if (at_ != end_ && *at_ < 0x80) { // most are small numbers
      out.what = token::kind::natural;
      out.natural = *at_++;
      return true;
    }
    return next_long(out);
  }

  /// Short ways for what most elements are. False, with nothing taken, when it is another or written otherwise.
  [[nodiscard]] bool take_natural(std::uint64_t& out) {
    if (at_ == end_)
      return false;
    const unsigned char b = *at_;
    if (b < 0x80) {
      out = b;
      ++at_;
      return true;
    }
    if (b == 0xcf && left() > 8) { // ids, nanoseconds
      std::uint64_t n = 0;
      std::memcpy(&n, at_ + 1, sizeof n);
      out = be64toh(n);
      at_ += 9;
      return true;
    }
    if (b == 0xce && left() > 4) {
      std::uint32_t n = 0;
      std::memcpy(&n, at_ + 1, sizeof n);
      out = be32toh(n);
      at_ += 5;
      return true;
    }
    return false;
  }
  [[nodiscard]] bool take_boolean(bool& out) {
    if (at_ == end_ || (*at_ & 0xfe) != 0xc2)
      return false;
    out = *at_++ == 0xc3;
    return true;
  }
  [[nodiscard]] bool take_array(std::uint32_t& count) {
    if (at_ == end_ || (*at_ & 0xf0) != 0x90 || left() <= (*at_ & 0x0fU))
      return false;
    count = *at_++ & 0x0fU;
    return true;
  }
  [[nodiscard]] bool take_nil() {
    if (at_ == end_ || *at_ != 0xc0)
      return false;
    ++at_;
    return true;
  }

  /// Of the next element; nil at the end, or when it is none.
  [[nodiscard]] token::kind peek() const;

  [[nodiscard]] std::size_t left() const { return static_cast<std::size_t>(end_ - at_); }
  [[nodiscard]] std::string complaint() const;

private:
  bool next_long(token& out);
  bool number(std::size_t size, std::uint64_t& out);
  bool bytes(token::kind what, std::uint64_t size, token& out);
  bool nested(token::kind what, std::uint64_t count, token& out);

  const unsigned char* begin_;
  const unsigned char* at_;
  const unsigned char* end_;
};

} // namespace squall::wire::detail
