#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace squall::calls::detail {

/// RFC 4648 with padding.
[[nodiscard]] std::string to_base64(std::string_view bytes);
/// No value if the text is not exactly that.
[[nodiscard]] std::optional<std::string> from_base64(std::string_view text);
/// Whether the bytes are well-formed UTF-8 (no overlong forms, no surrogates).
[[nodiscard]] bool is_utf8(std::string_view bytes);

} // namespace squall::calls::detail
