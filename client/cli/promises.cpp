#include "client/cli/parts.hpp"
#include "client/cli/promise_flags.hpp"
#include "client/cli/render.hpp"
#include "client/units.hpp"

#include <fmt/format.h>

/// promises and explain, and the flags that ask for a promise.
namespace squall::client::cli {

void promise_flags::add_to(CLI::App& verb) {
  add_option(&verb, "--deadline", deadline, "DEADLINE", "such as 80ms; default: the cluster's")->check(is_duration());
  add_option(&verb, "--max-cost", max_cost, "MAX_COST", "at most so much, in the units of the cluster's prices");
  add_option(&verb, "--assurance", assurance, "ASSURANCE",
             "firm, or the share of such calls that is kept, such as 97%");
  add_option(&verb, "--prefer", prefer, "PREFER", "among plans that meet both limits")
      ->check(is_one_of("preference", {"cheapest", "fastest", "least-loaded"}));
}

result<> promise_flags::apply_to(calls::call_options& options) const {
  if (!deadline.empty()) {
    SQUALL_ASSIGN(parsed, parse_duration(deadline));
    if (parsed == duration{0})
      return {errc::invalid_argument, "a deadline of 0 cannot be kept; leave --deadline out for the cluster's default"};
    options.deadline = parsed;
  }
  if (!max_cost.empty()) {
    SQUALL_ASSIGN(parsed, parse_cost(max_cost));
    options.max_cost = parsed;
  }
  if (!assurance.empty()) {
    SQUALL_ASSIGN(parsed, parse_assurance(assurance));
    options.assurance_ppm = parsed;
  }
  if (!prefer.empty())
    options.prefer = *calls::enum_from_string(prefer, std::type_identity<calls::preference>{});
  return {};
}

std::vector<column> promise_columns() {
  return {{"CALL", "call"},
          {"DAG", "dag"},
          {"KEPT", "kept"},
          {"FINISH", "finish_ns", shown_as::duration_ns},
          {"COST", "cost_micro", shown_as::cost},
          {"STATE", "code"},
          {"WHY", "why"}};
}

namespace {

using calls::json_node;

std::string text_of(const json_node& object, std::string_view key) {
  const auto found = object.find(key);
  return found ? std::string{found->as_string().value_or("")} : std::string{};
}

std::int64_t number_of(const json_node& object, std::string_view key) {
  const auto found = object.find(key);
  return found ? found->as_int64().value_or(0) : 0;
}

std::string when(const json_node& object, std::string_view key) {
  return format_duration(duration{number_of(object, key)});
}

std::string totals_line(const json_node& ledger) {
  return fmt::format("{} kept, {} broken, {} refused ({} with offers, {} redeemed)\n", number_of(ledger, "kept"),
                     number_of(ledger, "broken"), number_of(ledger, "refused"),
                     number_of(ledger, "refused_with_offers"), number_of(ledger, "redeemed"));
}

result<> print_promises(session& session, cluster& from) {
  SQUALL_ASSIGN(format, session.format());
  SQUALL_ASSIGN(totals, from.query("ledger"));
  if (format != output_format::table) {
    SQUALL_ASSIGN(text, rendered(format, totals, yaml_of));
    session.print(text);
    return {};
  }
  SQUALL_ASSIGN(records, from.query("promises"));
  SQUALL_ASSIGN(head, rendered(format, totals, totals_line));
  SQUALL_ASSIGN(text,
                rendered(format, records, [](const json_node& node) { return table_of(node, promise_columns()); }));
  session.print(head + "\n" + text);
  return {};
}

/// The stages that the answer went without.
std::string missing_text(const json_node& call, const json_node& receipt) {
  if (number_of(receipt, "missing") == 0)
    return {};
  std::string names;
  const auto trace = call.find("trace");
  for (std::size_t i = 0; trace && i < trace->size(); ++i)
    if (const auto late = trace->element(i).find("late"); late && late->as_boolean().value_or(false))
      names += (names.empty() ? "" : ", ") + text_of(trace->element(i), "stage");
  return "; answered without " + (names.empty() ? std::to_string(number_of(receipt, "missing")) + " stages" : names);
}

std::string offer_lines(const json_node& offers) {
  std::string out;
  for (std::size_t i = 0; i < offers.size(); ++i) {
    const json_node o = offers.element(i);
    const std::string how = text_of(o, "how");
    out += fmt::format("  it would have been admitted with --deadline {} --max-cost {}{}\n", when(o, "finish_ns"),
                       format_cost(number_of(o, "cost_micro")), how.empty() ? "" : " (" + how + ")");
  }
  return out;
}

/// How it was decided: what binds, the plans that were looked at, what would have been enough.
std::string decision_lines(const json_node& decision) {
  std::string out;
  if (const std::string binding = text_of(decision, "binding"); !binding.empty())
    out += "  binding: " + binding + "\n";
  if (const std::string margin = text_of(decision, "margin"); !margin.empty())
    out += "  margin: " + margin + "\n";
  const auto plans = decision.find("looked_at");
  for (std::size_t i = 0; plans && i < plans->size(); ++i) {
    const json_node p = plans->element(i);
    out += fmt::format("  plan {} of {}: {}: at least {}, cost {}{}: {}\n", i + 1, number_of(decision, "plans"),
                       cell_of(p, {"", "variants"}), when(p, "latency_ns"), format_cost(number_of(p, "cost_micro")),
                       number_of(p, "finish_ns") > 0 ? ", booked to end after " + when(p, "finish_ns") : "",
                       text_of(p, "came_of_it"));
  }
  if (number_of(decision, "enough_deadline_ns") > 0)
    out += fmt::format("  enough would have been: --deadline {}{}\n",
                       format_duration(duration{number_of(decision, "enough_deadline_ns")}),
                       number_of(decision, "enough_cost_micro") == calls::no_cost_limit
                           ? ""
                           : " --max-cost " + format_cost(number_of(decision, "enough_cost_micro")));
  return out;
}

/// For people: what was decided, and where the time went.
std::string explanation(const json_node& call) {
  std::string out =
      fmt::format("call {} of {}: {}\n", text_of(call, "id"), text_of(call, "dag"), text_of(call, "state"));
  if (const std::string message = text_of(call, "message"); !message.empty())
    out += "  " + message + "\n";
  if (const auto offers = call.find("offers"))
    out += offer_lines(*offers);
  const auto promise = call.find("promise");
  const auto receipt = call.find("receipt");
  if (promise && number_of(*promise, "assurance_ppm") > 0) {
    out += fmt::format("  promised: done within {} for at most {}; planned: {}\n", when(*promise, "finish_ns"),
                       format_cost(number_of(*promise, "cost_micro")), when(*promise, "expected_ns"));
    if (const std::string why = text_of(*promise, "why"); !why.empty())
      out += "  " + why + "\n";
    if (const std::string blame = text_of(call, "blame"); !blame.empty())
      out += "  broken by: " + blame + "\n";
  }
  if (const auto decision = call.find("decision"))
    out += decision_lines(*decision);
  if (receipt)
    out += fmt::format("  took {} and cost {}{}\n", when(call, "elapsed_ns"),
                       format_cost(number_of(*receipt, "cost_micro")), missing_text(call, *receipt));
  if (const auto split = call.find("split"))
    out += fmt::format("  of that: executed {}, queued {}, loading {}, elsewhere {}\n", when(*split, "executed_ns"),
                       when(*split, "queued_ns"), when(*split, "loading_ns"), when(*split, "elsewhere_ns"));
  return out;
}

result<> explain(session& session, cluster& from, const std::string& id) {
  SQUALL_ASSIGN(format, session.format());
  SQUALL_ASSIGN(body, from.query("calls", id));
  SQUALL_ASSIGN(text, rendered(format, body, explanation));
  session.print(text);
  return {};
}

} // namespace

void add_promise_verbs(CLI::App& app, const shared_session& session) {
  auto* promises = app.add_subcommand("promises", "the ledger: promises kept and broken, and why");
  promises->callback(session->run_connected([session](cluster& c) { return print_promises(*session, c); }));
  const auto id = std::make_shared<std::string>();
  auto* verb = app.add_subcommand("explain", "why a call was admitted or refused, and where its time went");
  verb->add_option("call", *id, "its id")->required();
  verb->callback(session->run_connected([session, id](cluster& c) { return explain(*session, c, *id); }));
}

} // namespace squall::client::cli
