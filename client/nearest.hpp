#pragma once

#include <span>
#include <string>
#include <string_view>

namespace squall::client {

/// The candidate that was most likely meant: the fewest insertions, deletions, replacements and swaps of neighbours, at
/// most a third of the name's length (at least one); ties go to the first. Empty when nothing is near.
[[nodiscard]] std::string_view nearest(std::string_view name, std::span<const std::string_view> candidates);

/// "unknown NOUN 'name'; did you mean 'near'? NOUNs: a, b, c". The question is left out when nothing is near.
[[nodiscard]] std::string unknown_name(std::string_view noun, std::string_view name,
                                       std::span<const std::string_view> known);

} // namespace squall::client
