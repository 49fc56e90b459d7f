#pragma once

#include "base/result.hpp"

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

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

/// The whole document as tokens that point into `document`. Fails as corrupt when it is not one complete msgpack
/// element of at most max_depth levels with nothing after it. So the counts of arrays and maps are true when this
/// succeeds.
[[nodiscard]] result<std::vector<token>> tokenize(std::span<const std::byte> document);

} // namespace squall::wire::detail
