#include "client/cli/inputs.hpp"
#include "client/cli/parts.hpp"
#include "client/cli/promise_flags.hpp"
#include "client/cli/render.hpp"
#include "client/units.hpp"
#include "client/values.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace squall::client::cli {

namespace {

using namespace std::chrono_literals;

struct call_flags {
  std::string target;
  std::vector<std::string> inputs;
  promise_flags promise;
  std::string accept;
  std::uint32_t priority = 0;
  std::vector<std::string> then;
  std::uint64_t sequence = 0;
  bool sequence_start = false;
  bool sequence_end = false;
  bool durable = false;
};

result<calls::call_options> options_of(const call_flags& flags) {
  calls::call_options options;
  SQUALL_TRY(flags.promise.apply_to(options));
  options.priority = flags.priority;
  options.then = flags.then;
  options.durable = flags.durable;
  options.sequence = {sequence_id{flags.sequence}, flags.sequence_start, flags.sequence_end};
  return options;
}

/// {"call", "state", "message", "elapsed_ns", "promise", "receipt", "offers", "outputs", "trace"}. The cluster's record
/// of the call names stages and nodes; without it the trace has their numbers.
std::string call_json(const call_result& ended, const result<std::string>& record) {
  calls::json_writer out;
  out.begin_object();
  out("call", ended.id);
  out("state", ended.outcome.code);
  out("message", ended.outcome.message);
  out("elapsed_ns", ended.outcome.elapsed);
  if (ended.outcome.promise.assurance_ppm > 0)
    out("promise", ended.outcome.promise);
  out("receipt", ended.outcome.receipt);
  if (!ended.outcome.offers.empty())
    out("offers", ended.outcome.offers);
  out.key("outputs");
  out.begin_object();
  for (const functions::named_value& output : ended.outputs)
    out(output.name.c_str(), output.value);
  out.end_object();
  out.key("trace");
  const auto document = calls::json_document::parse(record.ok() ? *record : "{}");
  const auto trace = document.ok() ? document->root().find("trace") : std::nullopt;
  if (trace)
    copy_json(*trace, out);
  else
    out.write(ended.outcome.trace);
  out.end_object();
  return out.take();
}

/// A text is shown whole, everything else in a line.
std::string shown(const functions::value& value) {
  const auto* tensor = value.as_tensor();
  if (tensor && tensor->type == functions::datatype::bytes && tensor->shape == functions::shape{1})
    if (const auto text = functions::first_text(value); text.ok() && text->size() <= 4096)
      return std::string{*text};
  return summary(value);
}

call_result await(session& session, cluster& to, const std::string& target,
                  const std::vector<functions::named_value>& inputs, const calls::call_options& options) {
  const auto begin = std::chrono::steady_clock::now();
  const auto handle = to.call(target, inputs, options);
  while (!handle.wait_for(200ms))
    session.progress(fmt::format("calling {} ({})", target, format_duration(std::chrono::steady_clock::now() - begin)));
  session.progress_done();
  return handle.get();
}

/// Null when none is wanted or there is none.
const calls::offer* wanted_offer(const std::vector<calls::offer>& offers, const std::string& which) {
  if (offers.empty() || which.empty())
    return nullptr;
  if (which == "earliest")
    return &*std::ranges::min_element(offers, {}, &calls::offer::finish);
  return &*std::ranges::min_element(offers, {}, &calls::offer::cost);
}

/// What was promised and used, and what could be promised instead. Empty when there is nothing to say.
std::string promise_lines(const calls::outcome& outcome) {
  std::string out;
  const auto line = [&out](const std::string& text) { out += (out.empty() ? "" : "\n") + text; };
  if (outcome.promise.assurance_ppm > 0) {
    line(fmt::format("promise {}: within {} for at most {}; took {}, cost {}", kept(outcome) ? "kept" : "broken",
                     format_duration(outcome.promise.finish), format_cost(outcome.promise.cost),
                     format_duration(outcome.elapsed), format_cost(outcome.receipt.cost)));
  }
  if (outcome.receipt.missing > 0)
    line(fmt::format("answered without {} stage{} whose results were not there in time", outcome.receipt.missing,
                     outcome.receipt.missing == 1 ? "" : "s"));
  for (const calls::offer& o : outcome.offers)
    line(fmt::format("offer: within {} for {}{}", format_duration(o.finish), format_cost(o.cost),
                     o.how.empty() ? "" : " (" + o.how + ")"));
  return out;
}

/// Of the call's target, and of what continues it: those that no output feeds are inputs of the call, too.
result<std::vector<functions::port>> all_ports(cluster& to, const call_flags& flags) {
  SQUALL_ASSIGN(ports, ports_of(to, flags.target));
  for (const std::string& next : flags.then) {
    SQUALL_ASSIGN(more, ports_of(to, next));
    for (functions::port& port : more) {
      port.optional = true; // whether it is missing is for the cluster to say
      if (std::ranges::find(ports, port.name, &functions::port::name) == ports.end())
        ports.push_back(std::move(port));
    }
  }
  return ports;
}

result<> call(session& session, cluster& to, const call_flags& flags) {
  SQUALL_ASSIGN(format, session.format());
  SQUALL_ASSIGN(options, options_of(flags));
  SQUALL_ASSIGN(ports, all_ports(to, flags));
  SQUALL_ASSIGN(inputs, read_inputs(ports, flags.inputs, session.context().in));
  call_result ended = await(session, to, flags.target, inputs, options);
  if (const auto* offer = wanted_offer(ended.outcome.offers, flags.accept)) {
    options.ticket = offer->ticket;
    options.redeems = ended.id;
    options.deadline = offer->finish; // a promise of its own
    ended = await(session, to, flags.target, inputs, options);
  }
  if (format == output_format::table) {
    for (const functions::named_value& output : ended.outputs)
      session.print(fmt::format("{}: {}\n", output.name, shown(output.value)));
    session.say(promise_lines(ended.outcome));
    if (ended.ok())
      session.say(fmt::format("call {} took {}; its trace: squall describe call {}", to_string(ended.id),
                              format_duration(ended.outcome.elapsed), to_string(ended.id)));
  } else {
    SQUALL_ASSIGN(text, rendered(format, call_json(ended, to.query("calls", to_string(ended.id))), yaml_of));
    session.print(text);
  }
  return ended.status();
}

} // namespace

void add_call_verb(CLI::App& app, const shared_session& session) {
  const auto flags = std::make_shared<call_flags>();
  auto* verb = app.add_subcommand("call", "call a DAG or a function");
  verb->add_option("name", flags->target, "its name, or name@version")->required();
  verb->add_option("-i,--input", flags->inputs,
                   "NAME=VALUE: @FILE, - (standard input), a number, JSON, or text; repeat it for each input, and for "
                   "each element of a list")
      ->allow_extra_args(false);
  flags->promise.add_to(*verb);
  add_option(verb, "--accept", flags->accept, "ACCEPT", "if it is refused, take this offer at once")
      ->check(is_one_of("offer", {"earliest", "cheapest"}));
  add_option(verb, "--priority", flags->priority, "PRIORITY", "higher first");
  verb->add_option("--then", flags->then,
                   "a DAG or function that continues with the outputs: its name, or name@version; repeat it for more")
      ->allow_extra_args(false);
  add_option(verb, "--sequence", flags->sequence, "SEQUENCE", "number of the stream of calls that it belongs to");
  verb->add_flag("--sequence-start", flags->sequence_start, "the first of its stream")
      ->envname("SQUALL_SEQUENCE_START");
  verb->add_flag("--sequence-end", flags->sequence_end, "the last of its stream")->envname("SQUALL_SEQUENCE_END");
  verb->add_flag("--durable", flags->durable, "neither the call nor its result is lost when the controller is")
      ->envname("SQUALL_DURABLE");
  verb->callback(session->run_connected([session, flags](cluster& c) { return call(*session, c, *flags); }));
}

} // namespace squall::client::cli
