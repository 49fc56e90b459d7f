#include "functions/detail/text.hpp"

#include "base/nearest.hpp"

#include <algorithm>

namespace squall::functions::detail {

namespace {

constexpr std::size_t longest_shown = 64;
constexpr std::size_t most_listed = 16;

} // namespace

std::string quoted(std::string_view name) {
  std::string out = "'";
  for (const char c : name.substr(0, longest_shown))
    out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  return out + (name.size() > longest_shown ? "...'" : "'");
}

std::string join_names(const std::vector<std::string_view>& names) {
  if (names.empty())
    return "none";
  std::string out;
  for (std::size_t i = 0; i < std::min(names.size(), most_listed); ++i)
    out += (i ? ", " : "") + std::string{names[i].substr(0, longest_shown)};
  if (names.size() > most_listed)
    out += " and " + std::to_string(names.size() - most_listed) + " more";
  return out;
}

std::string unknown_name(std::string_view noun, std::string_view name, const std::vector<std::string_view>& existing) {
  std::string out = "there is no " + std::string{noun} + " " + quoted(name) + "; ";
  if (const auto near = nearest(name, existing); !near.empty())
    out += "did you mean " + quoted(near) + "? ";
  return out + std::string{noun} + "s: " + join_names(existing);
}

} // namespace squall::functions::detail
