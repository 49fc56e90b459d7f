#include "base/result.hpp"

#include <array>

namespace squall {

namespace {

constexpr std::array<std::string_view, 15> names{
    "ok",        "invalid_argument", "not_found", "already_exists", "overloaded",        "deadline_exceeded",
    "cancelled", "unavailable",      "data_loss", "too_large",      "permission_denied", "unsupported",
    "corrupt",   "failed",           "internal"};

} // namespace

std::string_view to_string(errc code) {
  const auto index = static_cast<std::size_t>(code);
  return index < names.size() ? names[index] : names.back();
}

errc errc_from_string(std::string_view name) {
  for (std::size_t i = 0; i < names.size(); ++i)
    if (names[i] == name)
      return static_cast<errc>(i);
  return errc::internal;
}

} // namespace squall
