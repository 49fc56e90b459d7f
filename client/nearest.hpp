#pragma once

#include "base/nearest.hpp"

#include <span>
#include <string>
#include <string_view>

namespace squall::client {

/// "unknown NOUN 'name'; did you mean 'near'? NOUNs: a, b, c". The question is left out when nothing is near.
[[nodiscard]] std::string unknown_name(std::string_view noun, std::string_view name,
                                       std::span<const std::string_view> known);

} // namespace squall::client
