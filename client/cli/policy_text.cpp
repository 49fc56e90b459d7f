#include "client/cli/render.hpp"
#include "client/units.hpp"

#include <fmt/format.h>

/// What `policy get` and `get policy` print for people.
namespace squall::client::cli {

namespace {

using calls::json_node;

std::int64_t number_of(const json_node& object, std::string_view key) {
  const auto found = object.find(key);
  return found ? found->as_int64().value_or(0) : 0;
}

std::string share_of(std::int64_t part, std::int64_t whole) {
  return whole == 0 ? "-" : fmt::format("{:.1f} %", 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

std::string mean(const json_node& shadow, std::string_view key) {
  const std::int64_t ended = number_of(shadow, "ended_by_both");
  return ended == 0 ? "-" : format_duration(duration{number_of(shadow, key) / ended});
}

std::string shadow_text(const json_node& s) {
  const std::int64_t all = number_of(s, "calls");
  const std::int64_t both = number_of(s, "admitted_by_both");
  const std::int64_t mine = number_of(s, "only_in_force"), its = number_of(s, "only_shadow");
  std::string out = fmt::format("shadow: {}, {} calls compared, {} open, {} left out\n", cell_of(s, {"", "policy"}),
                                all, number_of(s, "open"), number_of(s, "left_out"));
  table rows{{"", "IN FORCE", "SHADOW"}};
  rows.add({"admitted", share_of(both + mine, all), share_of(both + its, all)});
  rows.add({"in time", share_of(number_of(s, "met_in_force"), all), share_of(number_of(s, "met_shadow"), all)});
  rows.add({"mean latency", mean(s, "latency_in_force_ns"), mean(s, "latency_shadow_ns")});
  out += rows.text();
  out += fmt::format("the same decision on {}, the same variant for {} of the stages, the same node for {}\n",
                     share_of(both + number_of(s, "refused_by_both"), all),
                     share_of(number_of(s, "same_variant"), number_of(s, "stages")),
                     share_of(number_of(s, "same_node"), number_of(s, "stages")));
  return out;
}

std::string share_text(const json_node& s) {
  return fmt::format(
      "share: {} decides {:.4g} % of the calls and {}; {} so far, {} admitted, {} in flight; nodes: {}\n",
      cell_of(s, {"", "policy"}), static_cast<double>(number_of(s, "share_ppm")) / 1e4, cell_of(s, {"", "state"}),
      number_of(s, "decided"), number_of(s, "admitted"), number_of(s, "calls"), cell_of(s, {"", "nodes"}));
}

} // namespace

std::string policy_text(const json_node& policy) {
  std::string out = cell_of(policy, {"", "name"}) + "\n";
  if (const auto share = policy.find("share"); share && share->type() == json_node::kind::object)
    out += share_text(*share);
  if (const auto shadow = policy.find("shadow"); shadow && shadow->type() == json_node::kind::object)
    out += shadow_text(*shadow);
  return out;
}

} // namespace squall::client::cli
