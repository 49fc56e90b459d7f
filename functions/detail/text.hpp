#pragma once

#include <string>
#include <string_view>
#include <vector>

/// The words of error messages: names in quotes, lists of what exists, and the nearest name when one is mistyped.
namespace squall::functions::detail {

/// 'name', shortened and with control characters replaced, because names come from users.
[[nodiscard]] std::string quoted(std::string_view name);

/// "a, b, c"; shortened after 16 names; "none" when empty.
[[nodiscard]] std::string join_names(const std::vector<std::string_view>& names);

/// "there is no NOUN 'name'; did you mean 'nearest'? NOUNs: a, b, c". The question is left out when nothing is near.
[[nodiscard]] std::string unknown_name(std::string_view noun, std::string_view name,
                                       const std::vector<std::string_view>& existing);

/// The names of ports, stages and variants.
template <class Container>
[[nodiscard]] std::vector<std::string_view> names_of(const Container& things) {
  std::vector<std::string_view> names;
  for (const auto& thing : things)
    names.push_back(thing.name);
  return names;
}

} // namespace squall::functions::detail
