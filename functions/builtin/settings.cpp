#include "functions/builtin/settings.hpp"

#include "functions/detail/text.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace squall::functions::builtins {

using functions::detail::join_names;
using functions::detail::names_of;
using functions::detail::quoted;
using functions::detail::unknown_name;

namespace {

error invalid(const parameter& p, const std::string& problem) {
  return {errc::invalid_argument, "parameter " + quoted(p.name) + ": " + problem};
}

/// "256", not "256.000000".
std::string plain(double number) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, number).ptr;
  return {text, end};
}

template <class T>
std::optional<T> number_in(std::string_view text) {
  T number{};
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (problem != std::errc{} || end != text.data() + text.size())
    return std::nullopt;
  return number;
}

template <class T>
result<T> bounded(const parameter& p, std::string_view text, std::string_view noun) {
  const auto number = number_in<T>(text);
  if (!number || !std::isfinite(static_cast<double>(*number)))
    return invalid(p, quoted(text) + " is not " + std::string{noun});
  if (static_cast<double>(*number) < p.least || static_cast<double>(*number) > p.most)
    return invalid(p, std::string{text} + " is out of bounds; use " + plain(p.least) + " to " + plain(p.most));
  return *number;
}

result<std::vector<double>> three_numbers(const parameter& p, std::string_view text) {
  std::vector<double> numbers;
  for (std::size_t begin = 0; begin <= text.size() && numbers.size() <= 3;) {
    const auto end = std::min(text.find(',', begin), text.size());
    auto part = text.substr(begin, end - begin);
    part.remove_prefix(std::min(part.find_first_not_of(' '), part.size()));
    SQUALL_ASSIGN(number, bounded<double>(p, part, "a number"));
    numbers.push_back(number);
    begin = end + 1;
  }
  if (numbers.size() != 3)
    return invalid(p, quoted(text) + " is not three numbers with commas, one per channel");
  return numbers;
}

} // namespace

result<settings::setting> settings::parse(const parameter& p, const std::string& given, const resource_map* resources) {
  switch (p.kind) {
    case parameter_kind::integer: {
      SQUALL_ASSIGN(number, bounded<std::int64_t>(p, given, "an integer"));
      return setting{number};
    }
    case parameter_kind::number: {
      SQUALL_ASSIGN(number, bounded<double>(p, given, "a number"));
      return setting{number};
    }
    case parameter_kind::numbers: {
      SQUALL_ASSIGN(numbers, three_numbers(p, given));
      return setting{std::move(numbers)};
    }
    case parameter_kind::choice:
      if (std::find(p.choices.begin(), p.choices.end(), given) == p.choices.end())
        return invalid(p, quoted(given) + " is not one of: " + join_names(p.choices));
      return setting{given};
    case parameter_kind::text:
      return setting{given};
    case parameter_kind::resource:
      break;
  }
  if (given.starts_with(inline_prefix))
    return setting{shared_bytes::copy_of(std::string_view{given}.substr(inline_prefix.size()))};
  if (given.empty())
    return invalid(p, "is empty; give the key of an object in the store, or \"inline:\" and the content");
  if (!resources)
    return setting{shared_bytes{}};
  const auto content = resources->find(std::string{p.name});
  if (content == resources->end())
    return {errc::not_found,
            "parameter " + quoted(p.name) + ": the content of key " + quoted(given) + " was not loaded"};
  return setting{content->second};
}

result<settings> settings::read(const std::vector<parameter>& declared, const parameter_map& given,
                                const resource_map* resources) {
  for (const auto& [name, text] : given)
    if (std::none_of(declared.begin(), declared.end(),
                     [&, &wanted = name](const parameter& p) { return p.name == wanted; }))
      return {errc::invalid_argument, unknown_name("parameter", name, names_of(declared))};
  settings out;
  for (const auto& p : declared) {
    const auto found = given.find(std::string{p.name});
    if (found == given.end() && !p.fallback)
      return invalid(p, "is missing; it is " + std::string{p.summary});
    SQUALL_ASSIGN(parsed, parse(p, found == given.end() ? std::string{*p.fallback} : found->second, resources));
    out.settings_.emplace(p.name, std::move(parsed));
  }
  return out;
}

template <class T>
const T& settings::get(std::string_view name) const {
  const auto found = settings_.find(name);
  SQUALL_CHECK(found != settings_.end() && std::holds_alternative<T>(found->second), name);
  return std::get<T>(found->second);
}

std::int64_t settings::integer(std::string_view name) const { return get<std::int64_t>(name); }
double settings::number(std::string_view name) const { return get<double>(name); }
const std::vector<double>& settings::numbers(std::string_view name) const { return get<std::vector<double>>(name); }
const std::string& settings::text(std::string_view name) const { return get<std::string>(name); }
const shared_bytes& settings::resource(std::string_view name) const { return get<shared_bytes>(name); }

} // namespace squall::functions::builtins
