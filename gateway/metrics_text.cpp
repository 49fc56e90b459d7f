#include "gateway/metrics_text.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <map>
#include <string_view>

namespace squall::gateway {

namespace {

/// Letters, digits and '_', and not a digit first; metric names may also hold ':'.
std::string allowed_name(std::string_view name, bool colon) {
  std::string out;
  for (const char c : name) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (colon && c == ':');
    const bool digit = c >= '0' && c <= '9' && !out.empty();
    out.push_back(letter || digit ? c : '_');
  }
  return out.empty() ? "_" : out;
}

std::string escaped(std::string_view text, bool quotes) {
  std::string out;
  for (const char c : text) {
    if (c == '\n')
      out += "\\n";
    else if (c == '\\' || (quotes && c == '"'))
      (out += '\\') += c;
    else
      out += c;
  }
  return out;
}

std::string number(double value) {
  if (std::isnan(value))
    return "NaN";
  if (std::isinf(value))
    return value > 0 ? "+Inf" : "-Inf";
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  return {text.data(), end};
}

std::string labels_of(const metric_sample& sample) {
  std::string out;
  for (const auto& [name, value] : sample.labels)
    out += (out.empty() ? "{" : ",") + allowed_name(name, false) + "=\"" + escaped(value, true) + "\"";
  return out.empty() ? out : out + "}";
}

} // namespace

std::string metrics_text(const std::vector<metric_sample>& samples) {
  std::map<std::string, std::vector<const metric_sample*>> by_name;
  for (const metric_sample& s : samples)
    by_name[allowed_name(s.name, true)].push_back(&s);
  std::string out;
  for (const auto& [name, family] : by_name) {
    out += "# HELP " + name + " " + escaped(family.front()->help, false) + "\n";
    out += "# TYPE " + name + (family.front()->type == metric_sample::kind::counter ? " counter\n" : " gauge\n");
    for (const metric_sample* s : family)
      out += name + labels_of(*s) + " " + number(s->value) + "\n";
  }
  return out;
}

} // namespace squall::gateway
