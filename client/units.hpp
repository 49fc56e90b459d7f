#pragma once

#include "base/result.hpp"
#include "base/time.hpp"
#include "calls/promise.hpp"

#include <cstdint>
#include <string>
#include <string_view>

/// Durations and sizes as people write them, in spec files and flags.
namespace squall::client {

/// "250us", "40ms", "1.5s", "2m", "1h"; units ns, us, ms, s, m, h. Not negative, at most 10 years. A bare "0" needs no
/// unit.
[[nodiscard]] result<duration> parse_duration(std::string_view text);

/// "4096", "64KiB", "512MiB", "1.5GiB"; units B, KiB, MiB, GiB, TiB and kB, MB, GB, TB.
[[nodiscard]] result<std::uint64_t> parse_size(std::string_view text);

/// "3", "0.25": money in the units of the cluster's prices. Not negative, at most a million million.
[[nodiscard]] result<calls::micro_cost> parse_cost(std::string_view text);

/// "firm", or a share such as "0.97" or "97%", above 0 and at most 1; in millionths.
[[nodiscard]] result<std::uint32_t> parse_assurance(std::string_view text);
/// A part of the calls, in millionths: "20%" or "0.2"; 0 is one, all of them are not.
[[nodiscard]] result<std::uint32_t> parse_share(std::string_view text);

/// "3", "0.25"; "-" for no limit.
[[nodiscard]] std::string format_cost(calls::micro_cost cost);

/// The three most significant digits with a unit that suits: "0", "740ns", "12.3us", "40ms", "2.5s", "93s".
[[nodiscard]] std::string format_duration(duration d);

/// "0", "512", "64KiB", "1.25GiB".
[[nodiscard]] std::string format_size(std::uint64_t bytes);

} // namespace squall::client
