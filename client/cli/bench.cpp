#include "client/cli/inputs.hpp"
#include "client/cli/load.hpp"
#include "client/cli/parts.hpp"
#include "client/cli/promise_flags.hpp"
#include "client/cli/render.hpp"
#include "client/units.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <numeric>

namespace squall::client::cli {

namespace {

struct bench_flags {
  std::string target;
  std::vector<std::string> inputs;
  std::string arrivals = "poisson";
  std::string duration = "10s";
  std::string warmup = "0";
  promise_flags promise;
  bool durable = false;
  double rate = 100;
  std::size_t concurrency = 1;
  std::uint64_t seed = 1;
};

constexpr std::array<std::string_view, 3> arrival_names{"poisson", "constant", "closed"};

/// A bare number is seconds.
result<duration> seconds_or_duration(const std::string& text) {
  const bool bare = !text.empty() && text.find_first_not_of("0123456789.") == std::string::npos;
  return parse_duration(bare ? text + "s" : text);
}

result<load_plan> plan_of(const bench_flags& flags) {
  load_plan plan;
  plan.target = flags.target;
  plan.arrivals = static_cast<arrivals>(std::ranges::find(arrival_names, flags.arrivals) - arrival_names.begin());
  if (flags.rate <= 0 || flags.rate > 1e7)
    return {errc::invalid_argument,
            fmt::format("--rate {}: expected calls a second, from above 0 to 10000000", flags.rate)};
  if (flags.concurrency == 0)
    return {errc::invalid_argument, "--concurrency 0: expected how many calls are on their way at once, at least 1"};
  SQUALL_ASSIGN(duration, seconds_or_duration(flags.duration));
  SQUALL_ASSIGN(warmup, seconds_or_duration(flags.warmup));
  plan.rate = flags.rate;
  plan.concurrency = flags.concurrency;
  plan.duration = duration;
  plan.warmup = warmup;
  plan.seed = flags.seed;
  SQUALL_TRY(flags.promise.apply_to(plan.options));
  plan.options.durable = flags.durable;
  return plan;
}

double mean_us(const std::vector<std::int64_t>& latencies) {
  const double sum = std::accumulate(latencies.begin(), latencies.end(), 0.0);
  return latencies.empty() ? 0 : sum / static_cast<double>(latencies.size()) / 1e3;
}

std::string report_json(const load_plan& plan, const bench_flags& flags, const load_report& report) {
  calls::json_writer out;
  const auto us = [](std::int64_t ns) { return static_cast<double>(ns) / 1e3; };
  out.begin_object();
  out("name", plan.target);
  out("arrivals", flags.arrivals);
  if (plan.arrivals == arrivals::closed)
    out("concurrency", static_cast<std::uint64_t>(plan.concurrency));
  else
    out("rate", plan.rate);
  out("seconds", report.total_s);
  out("sent", report.sent);
  out("completed", static_cast<std::uint64_t>(report.latencies_ns.size()));
  out("offered_per_s", static_cast<double>(report.sent) / std::max(report.sending_s, 1e-9));
  out("achieved_per_s", static_cast<double>(report.latencies_ns.size()) / std::max(report.total_s, 1e-9));
  out("errors", report.errors);
  out("examples", report.examples);
  out.key("latency_us");
  out.begin_object();
  out("mean", mean_us(report.latencies_ns));
  out("min", us(report.percentile_ns(0)));
  out("p50", us(report.percentile_ns(0.5)));
  out("p90", us(report.percentile_ns(0.9)));
  out("p99", us(report.percentile_ns(0.99)));
  out("p999", us(report.percentile_ns(0.999)));
  out("max", us(report.percentile_ns(1)));
  out.end_object();
  out("generator_late_us", us(report.latest_send_ns));
  out.end_object();
  return out.take();
}

std::string report_text(const load_report& report) {
  std::string out = fmt::format("offered   {:.1f}/s ({} calls)\nachieved  {:.1f}/s ({} calls)\n",
                                static_cast<double>(report.sent) / std::max(report.sending_s, 1e-9), report.sent,
                                static_cast<double>(report.latencies_ns.size()) / std::max(report.total_s, 1e-9),
                                report.latencies_ns.size());
  table latency{{"p50", "p90", "p99", "p999", "max"}};
  std::vector<std::string> row;
  for (const double share : {0.5, 0.9, 0.99, 0.999, 1.0})
    row.push_back(format_duration(duration{report.percentile_ns(share)}));
  latency.add(std::move(row));
  out += latency.text();
  for (const auto& [code, count] : report.errors)
    out += fmt::format("{} x {}: {}\n", count, code, report.examples.at(code));
  return out;
}

result<> bench(session& session, cluster& to, const bench_flags& flags) {
  SQUALL_ASSIGN(format, session.format());
  SQUALL_ASSIGN(plan, plan_of(flags));
  SQUALL_ASSIGN(ports, ports_of(to, flags.target));
  SQUALL_ASSIGN(inputs, read_inputs(ports, flags.inputs, session.context().in));
  plan.inputs = std::move(inputs);
  const load_report report = run_load(to, plan, [&](const load_report& so_far) {
    session.progress(
        fmt::format("{} calls ended, {} kinds of errors", so_far.latencies_ns.size(), so_far.errors.size()));
  });
  session.progress_done();
  SQUALL_ASSIGN(text, rendered(format == output_format::table ? output_format::json : format,
                               report_json(plan, flags, report), yaml_of));
  session.print(format == output_format::table ? report_text(report) : text);
  if (report.latencies_ns.empty() && !report.errors.empty())
    return {errc::failed, "no call succeeded: " + report.examples.begin()->second};
  return {};
}

} // namespace

void add_bench_verb(CLI::App& app, const shared_session& session) {
  const auto flags = std::make_shared<bench_flags>();
  auto* verb = app.add_subcommand("bench", "put load on a DAG or a function and measure it");
  verb->add_option("name", flags->target, "its name, or name@version")->required();
  verb->add_option("-i,--input", flags->inputs, "as of `squall call`; every call gets the same")
      ->allow_extra_args(false);
  add_option(verb, "--arrivals", flags->arrivals, "ARRIVALS",
             "poisson, constant, or closed (the next call when one ends)")
      ->check(is_one_of("kind", {arrival_names.begin(), arrival_names.end()}));
  verb->add_flag("--durable", flags->durable, "as of `squall call`")->envname("SQUALL_DURABLE");
  add_option(verb, "--rate", flags->rate, "RATE", "calls a second; of poisson and constant");
  add_option(verb, "--concurrency", flags->concurrency, "CONCURRENCY", "calls at once; of closed");
  add_option(verb, "--duration", flags->duration, "DURATION", "such as 30s; a bare number is seconds");
  add_option(verb, "--warmup", flags->warmup, "WARMUP", "before that, not counted");
  flags->promise.add_to(*verb);
  add_option(verb, "--seed", flags->seed, "SEED", "of poisson");
  verb->callback(session->run_connected([session, flags](cluster& c) { return bench(*session, c, *flags); }));
}

} // namespace squall::client::cli
