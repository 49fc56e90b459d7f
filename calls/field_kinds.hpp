#pragma once

#include "base/ids.hpp"

#include <map>
#include <optional>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

/// What kind of field a visitor of `fields()` is looking at. Shared by every codec, so that they agree on what a field
/// can be.
namespace squall::calls {

namespace detail {
template <class T>
inline constexpr bool strong_id_v = false;
template <class Tag>
inline constexpr bool strong_id_v<strong_id<Tag>> = true;

template <class T>
inline constexpr bool vector_v = false;
template <class T, class A>
inline constexpr bool vector_v<std::vector<T, A>> = true;

template <class T>
inline constexpr bool map_v = false;
template <class K, class V, class C, class A>
inline constexpr bool map_v<std::map<K, V, C, A>> = true;

template <class T>
inline constexpr bool optional_v = false;
template <class T>
inline constexpr bool optional_v<std::optional<T>> = true;

template <class T>
inline constexpr bool pair_v = false;
template <class A, class B>
inline constexpr bool pair_v<std::pair<A, B>> = true;

template <class T>
inline constexpr bool variant_v = false;
template <class... Ts>
inline constexpr bool variant_v<std::variant<Ts...>> = true;

/// Makes the alternative `index` of a variant, default constructed; false when there is none.
template <class Variant, std::size_t I = 0>
bool emplace_alternative(Variant& v, std::size_t index) {
  if constexpr (I < std::variant_size_v<Variant>) {
    if (index != I)
      return emplace_alternative<Variant, I + 1>(v, index);
    v.template emplace<I>();
    return true;
  } else {
    return false;
  }
}
} // namespace detail

template <class T>
concept strong_id_type = detail::strong_id_v<T>;
template <class T>
concept vector_type = detail::vector_v<T>;
template <class T>
concept map_type = detail::map_v<T>;
template <class T>
concept optional_type = detail::optional_v<T>;
template <class T>
concept pair_type = detail::pair_v<T>;
template <class T>
concept variant_type = detail::variant_v<T>;

/// The name of a type without its namespaces, for example "call_arrived". Facts and commands print under it.
template <class T>
[[nodiscard]] constexpr std::string_view type_name() {
  // GCC and Clang write "... [with T = squall::calls::placing::tick; ...]" and "... [T = squall::...]".
  std::string_view name = __PRETTY_FUNCTION__;
  name.remove_prefix(name.find("T = ") + 4);
  name = name.substr(0, name.find_first_of(";]"));
  const auto colon = name.rfind(':');
  return colon == std::string_view::npos ? name : name.substr(colon + 1);
}

} // namespace squall::calls
