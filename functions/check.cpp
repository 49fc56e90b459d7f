#include "functions/dag.hpp"
#include "functions/detail/text.hpp"

#include <algorithm>

namespace squall::functions {

using detail::names_of;
using detail::quoted;
using detail::unknown_name;

namespace {

error invalid(std::string message) { return {errc::invalid_argument, std::move(message)}; }

bool fits(const shape& wanted, const shape& given) {
  return std::equal(wanted.begin(), wanted.end(), given.begin(), given.end(),
                    [](auto w, auto g) { return w == -1 || w == g; });
}

result<> check_tensor(std::string_view what, const port& p, const tensor& t) {
  if (t.type != p.type || !fits(p.shape, t.shape))
    return invalid(std::string{what} + ": expected " + std::string{to_string(p.type)} + " " + to_string(p.shape) +
                   ", got " + std::string{to_string(t.type)} + " " + to_string(t.shape));
  if (auto valid = validate(t); !valid.ok())
    return {valid.error().code, std::string{what} + ": " + valid.error().message};
  return {};
}

} // namespace

result<> check_value(std::string_view what, const port& p, const value& v) {
  if (v.absent()) {
    if (p.optional)
      return {};
    return invalid(std::string{what} + " is missing; it is " + describe(p));
  }
  const auto* list = v.as_list();
  if (!p.list)
    return list ? invalid(std::string{what} + ": expected " + describe(p) + ", got a list of " +
                          std::to_string(list->size()) + " values")
                : check_tensor(what, p, *v.as_tensor());
  if (!list)
    return invalid(std::string{what} + ": expected " + describe(p) + ", got a single tensor; put it into a list");
  if (list->size() > max_map_width)
    return {errc::too_large, std::string{what} + ": a list of " + std::to_string(list->size()) +
                                 " elements; the limit is " + std::to_string(max_map_width)};
  for (std::size_t i = 0; i < list->size(); ++i) {
    const auto& element = (*list)[i];
    const auto where = [&] { return std::string{what} + ", element " + std::to_string(i); };
    if (!element.as_tensor())
      return invalid(where() + ": expected a tensor, got " + (element.absent() ? "nothing" : "a list"));
    if (!check_tensor({}, p, *element.as_tensor()).ok()) // its name is only for the message
      return check_tensor(where(), p, *element.as_tensor());
  }
  return {};
}

result<std::vector<value>> bind_inputs(std::string_view what, const std::vector<port>& ports,
                                       std::vector<named_value> inputs) {
  std::vector<value> bound(ports.size());
  std::vector<bool> given(ports.size());
  for (auto& input : inputs) {
    const auto p =
        std::find_if(ports.begin(), ports.end(), [&](const port& candidate) { return candidate.name == input.name; });
    if (p == ports.end())
      return invalid(std::string{what} + ": " + unknown_name("input", input.name, names_of(ports)));
    const auto index = static_cast<std::size_t>(p - ports.begin());
    if (given[index])
      return invalid(std::string{what} + ": input " + quoted(input.name) + " is given twice");
    given[index] = true;
    bound[index] = std::move(input.value);
  }
  for (std::size_t i = 0; i < ports.size(); ++i)
    SQUALL_TRY(check_value([&] { return std::string{what} + ": input " + quoted(ports[i].name); }, ports[i], bound[i]));
  return bound;
}

} // namespace squall::functions
