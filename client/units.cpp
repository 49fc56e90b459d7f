#include "client/units.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <span>

namespace squall::client {

namespace {

struct unit_of {
  std::string_view name;
  double factor;
};

constexpr std::array duration_units{unit_of{"ns", 1},  unit_of{"us", 1e3}, unit_of{"ms", 1e6},
                                    unit_of{"s", 1e9}, unit_of{"m", 60e9}, unit_of{"h", 3600e9}};
constexpr std::array size_units{unit_of{"", 1},
                                unit_of{"B", 1},
                                unit_of{"KiB", 1024.0},
                                unit_of{"MiB", 1024.0 * 1024},
                                unit_of{"GiB", 1024.0 * 1024 * 1024},
                                unit_of{"TiB", 1024.0 * 1024 * 1024 * 1024},
                                unit_of{"kB", 1e3},
                                unit_of{"MB", 1e6},
                                unit_of{"GB", 1e9},
                                unit_of{"TB", 1e12}};
constexpr double longest_ns = 10.0 * 365 * 24 * 3600e9;
constexpr double largest_bytes = 1ull << 60;

/// The number times its unit; nothing if there is no such number or unit.
std::optional<double> scaled(std::string_view text, std::span<const unit_of> units) {
  double number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (failure != std::errc{} || !std::isfinite(number) || number < 0)
    return {};
  const std::string_view suffix{end, static_cast<std::size_t>(text.data() + text.size() - end)};
  for (const unit_of& unit : units)
    if (unit.name == suffix)
      return number * unit.factor;
  return {};
}

/// Three significant digits without a tail of zeros, for numbers from 1 to 9999.
std::string short_number(double number) {
  std::string text = fmt::format("{:.{}f}", number, number < 9.995 ? 2 : number < 99.95 ? 1 : 0);
  if (text.find('.') != std::string::npos) {
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.')
      text.pop_back();
  }
  return text;
}

} // namespace

result<duration> parse_duration(std::string_view text) {
  if (text == "0")
    return duration{0};
  const auto ns = scaled(text, duration_units);
  if (!ns)
    return {errc::invalid_argument,
            fmt::format("expected a duration such as 250us, 40ms or 2s, not '{}'", text.substr(0, 40))};
  if (*ns > longest_ns)
    return {errc::invalid_argument, fmt::format("a duration is at most 10 years, not {}", text.substr(0, 40))};
  return duration{std::llround(*ns)};
}

result<calls::micro_cost> parse_cost(std::string_view text) {
  constexpr std::array plain{unit_of{"", 1e6}};
  const auto micro = scaled(text, plain);
  if (!micro || *micro > 1e18)
    return {errc::invalid_argument, fmt::format("expected a cost such as 3 or 0.25, not '{}'", text.substr(0, 40))};
  return static_cast<calls::micro_cost>(std::llround(*micro));
}

result<std::uint32_t> parse_assurance(std::string_view text) {
  if (text == "firm")
    return calls::firm_ppm;
  constexpr std::array shares{unit_of{"", 1e6}, unit_of{"%", 1e4}};
  const auto ppm = scaled(text, shares);
  if (!ppm || *ppm < 1 || *ppm > 1e6)
    return {errc::invalid_argument,
            fmt::format("expected firm, or a share above 0 and at most 1 such as 0.97 or 97%, not '{}'",
                        text.substr(0, 40))};
  return static_cast<std::uint32_t>(std::llround(*ppm));
}

result<std::uint32_t> parse_share(std::string_view text) {
  constexpr std::array shares{unit_of{"", 1e6}, unit_of{"%", 1e4}};
  const auto ppm = scaled(text, shares);
  if (!ppm || *ppm < 0 || *ppm >= 999'999.5)
    return {errc::invalid_argument,
            fmt::format("expected a share of the calls from 0 and below 1 such as 0.2 or 20%, not '{}'",
                        text.substr(0, 40))};
  return static_cast<std::uint32_t>(std::llround(*ppm));
}

std::string format_cost(calls::micro_cost cost) {
  if (cost == calls::no_cost_limit)
    return "-";
  std::string text = fmt::format("{}.{:06}", cost / 1'000'000, cost % 1'000'000);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.')
    text.pop_back();
  return text;
}

result<std::uint64_t> parse_size(std::string_view text) {
  const auto bytes = scaled(text, size_units);
  if (!bytes || *bytes > largest_bytes)
    return {errc::invalid_argument,
            fmt::format("expected a size such as 65536, 64KiB or 512MiB, not '{}'", text.substr(0, 40))};
  return static_cast<std::uint64_t>(std::llround(*bytes));
}

std::string format_duration(duration d) {
  const auto ns = static_cast<double>(d.count());
  if (d.count() == 0)
    return "0";
  if (ns < 0)
    return "-" + format_duration(-d);
  if (ns < 999.5)
    return fmt::format("{}ns", d.count());
  if (ns < 999.5e3)
    return short_number(ns / 1e3) + "us";
  if (ns < 999.5e6)
    return short_number(ns / 1e6) + "ms";
  return short_number(ns / 1e9) + "s";
}

std::string format_size(std::uint64_t bytes) {
  if (bytes < 1024)
    return std::to_string(bytes);
  auto number = static_cast<double>(bytes);
  for (const char* unit : {"KiB", "MiB", "GiB"}) {
    number /= 1024;
    if (number < 1023.5)
      return short_number(number) + unit;
  }
  return short_number(number / 1024) + "TiB";
}

} // namespace squall::client
