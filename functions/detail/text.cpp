#include "functions/detail/text.hpp"

#include <algorithm>
#include <numeric>

namespace squall::functions::detail {

namespace {

constexpr std::size_t longest_shown = 64;
constexpr std::size_t most_listed = 16;

/// Levenshtein's distance.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row[b.size()];
}

/// The first of the nearest names, or an empty one when none is near enough to be what was meant.
std::string_view nearest(std::string_view name, const std::vector<std::string_view>& existing) {
  if (name.size() > longest_shown)
    return {};
  std::string_view best;
  std::size_t best_distance = std::max<std::size_t>(2, name.size() / 3) + 1;
  for (const auto candidate : existing) {
    if (candidate.size() > longest_shown)
      continue;
    const auto distance = edit_distance(name, candidate);
    if (distance < best_distance && distance < std::max(name.size(), candidate.size())) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

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
