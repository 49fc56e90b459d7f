#pragma once

#include "base/bytes.hpp"
#include "base/ids.hpp"
#include "base/time.hpp"

#include <map>
#include <optional>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

/// Tells the kinds of field apart that the codec treats differently.
namespace squall::wire::detail {

template <class T>
inline constexpr bool is_strong_id = false;
template <class Tag>
inline constexpr bool is_strong_id<strong_id<Tag>> = true;

template <class T>
inline constexpr bool is_vector = false;
template <class T>
inline constexpr bool is_vector<std::vector<T>> = true;

template <class T>
inline constexpr bool is_text_map = false;
template <class T>
inline constexpr bool is_text_map<std::map<std::string, T>> = true;

template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;

template <class T>
inline constexpr bool is_variant = false;
template <class... Ts>
inline constexpr bool is_variant<std::variant<Ts...>> = true;

/// Points in time mean nothing to another host; the wire carries durations.
template <class T>
inline constexpr bool is_time_point = std::is_same_v<T, time_point>;

template <class>
inline constexpr bool no_codec_for = false;

} // namespace squall::wire::detail
