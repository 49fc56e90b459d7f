#include "client/nearest.hpp"

#include <cstddef>

namespace squall::client {

namespace {

constexpr std::size_t most_listed = 24;

} // namespace

std::string unknown_name(std::string_view noun, std::string_view name, std::span<const std::string_view> known) {
  std::string text = "unknown " + std::string{noun} + " '" + std::string{name.substr(0, 128)} + "'";
  if (const std::string_view near = nearest(name, known); !near.empty())
    text += "; did you mean '" + std::string{near} + "'?";
  else
    text += ";";
  text += " " + std::string{noun} + "s: ";
  for (std::size_t i = 0; i < known.size(); ++i) {
    if (i == most_listed)
      return text + ", and " + std::to_string(known.size() - i) + " more";
    text += (i == 0 ? "" : ", ") + std::string{known[i]};
  }
  return text + (known.empty() ? "none" : "");
}

} // namespace squall::client
