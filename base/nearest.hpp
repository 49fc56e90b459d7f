#pragma once

#include <span>
#include <string_view>

namespace squall {

/// The candidate that was most likely meant: the fewest insertions, deletions, replacements and swaps of neighbours, at
/// most a third of the name's length (at least one); ties go to the first. Empty when nothing is near.
[[nodiscard]] std::string_view nearest(std::string_view name, std::span<const std::string_view> candidates);

} // namespace squall
