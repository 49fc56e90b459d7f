#pragma once

#include "base/result.hpp"
#include "calls/promise.hpp"
#include "functions/spec.hpp"
#include "functions/value.hpp"

#include <cstdint>

namespace squall::wire::detail {

/// The numbers of an enum that may come over the wire. An enum without an entry does not compile, so that no codec lets
/// a number through that no `switch` expects.
struct enum_range {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
};

template <class Enum>
inline constexpr enum_range range_of = Enum::add_this_enum_to_wire_detail_enums_hpp;

template <>
inline constexpr enum_range range_of<errc>{0, static_cast<std::uint64_t>(errc::internal)};
template <>
inline constexpr enum_range range_of<calls::preference>{0, static_cast<std::uint64_t>(calls::preference::least_loaded)};
template <>
inline constexpr enum_range range_of<functions::datatype>{1, static_cast<std::uint64_t>(functions::datatype::bytes)};
template <>
inline constexpr enum_range range_of<functions::variant_kind>{
    1, static_cast<std::uint64_t>(functions::variant_kind::kernels)};
template <>
inline constexpr enum_range range_of<functions::resource_type>{
    1, static_cast<std::uint64_t>(functions::resource_type::gpu)};
template <>
inline constexpr enum_range range_of<functions::binding::source>{
    1, static_cast<std::uint64_t>(functions::binding::source::constant)};
template <>
inline constexpr enum_range range_of<functions::predicate::op>{
    1, static_cast<std::uint64_t>(functions::predicate::op::negate)};
template <>
inline constexpr enum_range range_of<functions::join_rule::kind>{
    1, static_cast<std::uint64_t>(functions::join_rule::kind::count)};

} // namespace squall::wire::detail
