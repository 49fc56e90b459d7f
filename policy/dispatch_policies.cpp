#include "policy/dispatch_policies.hpp"

#include "policy/held_policy.hpp"
#include "policy/reference/admission.hpp"
#include "policy/reference/clockwork.hpp"
#include "policy/reference/fifo.hpp"

#include <algorithm>
#include <array>
#include <charconv>

namespace squall::policy {

namespace {

using made_policy = result<std::unique_ptr<dispatch_policy>>;

struct named_policy {
  std::string_view name;
  made_policy (*make)(const dispatch_policy_setup&);
};

/// Ascending.
constexpr std::array policies{
    named_policy{"balance", make_balance},
    named_policy{"clockwork", reference::make_clockwork},
    named_policy{"clockwork-naive", reference::make_clockwork_naive},
    named_policy{"exclusive", make_exclusive},
    named_policy{"fifo", reference::make_fifo},
    named_policy{"mlfq", make_mlfq},
    named_policy{"rr", make_rr},
    named_policy{"srtf", make_srtf},
    named_policy{"thesis", reference::make_thesis},
};

result<dispatch_policy_setup> parse(std::string_view name) {
  dispatch_policy_setup out;
  out.name = name;
  const std::size_t colon = name.find(':');
  std::string_view rest = colon == std::string_view::npos ? std::string_view{} : name.substr(colon + 1);
  while (!rest.empty()) {
    const std::string_view one = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), one.size() + 1));
    const std::size_t equals = one.find('=');
    if (equals == 0 || equals == std::string_view::npos)
      return {errc::invalid_argument, "policy '" + std::string{name} + "': '" + std::string{one} +
                                          "' is not an option; options look like name:option=value,option=value"};
    out.options.push_back({std::string{one.substr(0, equals)}, std::string{one.substr(equals + 1)}});
  }
  return out;
}

} // namespace

const std::string* option_reader::take(std::string_view name) {
  known_.emplace_back(name);
  const auto at = std::find_if(setup_.options.begin(), setup_.options.end(),
                               [&](const policy_option& o) { return o.name == name; });
  return at == setup_.options.end() ? nullptr : &at->value;
}

bool option_reader::flag(std::string_view name, bool otherwise) {
  const std::string* value = take(name);
  if (value != nullptr && *value != "on" && *value != "off")
    wrong_ = "its option '" + std::string{name} + "' is on or off";
  return value == nullptr ? otherwise : *value == "on";
}

std::uint64_t option_reader::number(std::string_view name, std::uint64_t otherwise, std::uint64_t max) {
  const std::string* value = take(name);
  if (value == nullptr)
    return otherwise;
  std::uint64_t out = 0;
  const auto [end, code] = std::from_chars(value->data(), value->data() + value->size(), out);
  if (code != std::errc{} || end != value->data() + value->size() || out == 0 || out > max)
    wrong_ = "its option '" + std::string{name} + "' is a whole number from 1 to " + std::to_string(max);
  return out;
}

result<> option_reader::finish() const {
  const std::string policy = "policy '" + setup_.name + "': ";
  if (!wrong_.empty())
    return {errc::invalid_argument, policy + wrong_};
  for (const policy_option& o : setup_.options)
    if (std::find(known_.begin(), known_.end(), o.name) == known_.end()) {
      std::string known;
      for (const std::string& k : known_)
        known += (known.empty() ? "" : ", ") + k;
      return {errc::invalid_argument,
              policy + "it has no option '" + o.name + "'" + (known.empty() ? "; it has none" : "; it has: " + known)};
    }
  return {};
}

made_policy make_dispatch_policy(std::string_view name, std::uint64_t seed, std::uint64_t last_id) {
  const std::string_view plain = name.substr(0, name.find(':'));
  for (const named_policy& p : policies) {
    if (p.name != plain)
      continue;
    auto setup = parse(name);
    if (!setup.ok())
      return setup.error();
    setup->seed = seed;
    setup->last_id = last_id;
    return p.make(*setup);
  }
  std::string known;
  for (const std::string& n : dispatch_policy_names())
    known += (known.empty() ? "" : ", ") + n;
  return {errc::not_found, "no policy is called '" + std::string{plain} + "'; known: " + known};
}

std::vector<std::string> dispatch_policy_names() {
  std::vector<std::string> out;
  for (const named_policy& p : policies)
    out.emplace_back(p.name);
  return out;
}

} // namespace squall::policy
