// squall sim run
#include "policy/dispatch_policies.hpp"
#include "sim/dag_model.hpp"
#include "sim/verbs/parts.hpp"
#include "sim/verbs/run_log.hpp"
#include "sim/verbs/run_plot.hpp"
#include "sim/verbs/workload_file.hpp"

#include <chrono>
#include <cmath>
#include <cstdio>
#include <memory>
#include <string>

#include <unistd.h>

namespace squall::sim {

namespace {

struct run_flags {
  std::string workload;
  std::string policy = "fifo";
  std::string assurance = "firm";
  std::uint64_t seed = 1;
  std::string log;
  std::string plot;
  std::int64_t plot_from = 0;
  std::int64_t plot_to = 0;
  bool no_cost_slo = false;
  std::int64_t delay = 0;
  std::int64_t skew = 0;
  std::shared_ptr<std::string> output;
};

struct file_closer {
  void operator()(std::FILE* f) const { std::fclose(f); }
};
using file = std::unique_ptr<std::FILE, file_closer>;

std::int64_t clock_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

/// `firm`, or a share such as 0.97, in millionths.
result<std::uint32_t> assurance_of(const std::string& text) {
  if (text == "firm")
    return calls::placing::firm_ppm;
  char* end = nullptr;
  const double share = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0' || !(share > 0) || share > 1)
    return {errc::invalid_argument, "--assurance is 'firm' or a share of calls such as 0.97, not '" + text + "'"};
  return static_cast<std::uint32_t>(std::lround(share * 1e6));
}

/// A line on standard error, if that is a terminal and the run has taken more than a second.
class progress_line {
public:
  explicit progress_line(std::size_t calls) : calls_(calls), begin_(clock_ns()) {}
  ~progress_line() {
    if (shown_)
      std::fputs("\r\033[K", stderr);
  }
  progress_line(const progress_line&) = delete;
  progress_line& operator=(const progress_line&) = delete;
  void show(std::uint64_t over) {
    const std::int64_t now = clock_ns();
    if (::isatty(STDERR_FILENO) == 0 || now - begin_ < 1'000'000'000 || now - last_ < 200'000'000)
      return;
    last_ = now;
    shown_ = true;
    std::fprintf(stderr, "\r\033[K%llu of %zu calls are over", static_cast<unsigned long long>(over), calls_);
  }

private:
  std::size_t calls_;
  std::int64_t begin_;
  std::int64_t last_ = 0;
  bool shown_ = false;
};

/// Hands what happens to several.
class all_observers final : public run_observer {
public:
  void add(run_observer* o) { all_.push_back(o); }
  void admitted(std::int64_t t, std::size_t r, std::optional<std::int64_t> e, calls::placing::micro_cost c) override {
    each([&](run_observer& o) { o.admitted(t, r, e, c); });
  }
  void refused(std::int64_t t, std::size_t r, std::span<const offered> offers) override {
    each([&](run_observer& o) { o.refused(t, r, offers); });
  }
  void redeemed(std::int64_t t, std::size_t r, const offered& offer) override {
    each([&](run_observer& o) { o.redeemed(t, r, offer); });
  }
  void loading(std::int64_t t, replica_id replica, node_id node, variant_id variant) override {
    each([&](run_observer& o) { o.loading(t, replica, node, variant); });
  }
  void evicted(std::int64_t t, replica_id replica) override {
    each([&](run_observer& o) { o.evicted(t, replica); });
  }
  void running(std::int64_t t, replica_id replica, std::span<const calls::placing::task> tasks,
               std::int64_t until) override {
    each([&](run_observer& o) { o.running(t, replica, tasks, until); });
  }
  void skipped(std::int64_t t, std::size_t r, stage_index s) override {
    each([&](run_observer& o) { o.skipped(t, r, s); });
  }
  void dropped(std::int64_t t, std::size_t r, const std::string& why) override {
    each([&](run_observer& o) { o.dropped(t, r, why); });
  }
  void finished(std::int64_t t, std::size_t r, calls::placing::micro_cost c, bool kept) override {
    each([&](run_observer& o) { o.finished(t, r, c, kept); });
  }
  void lost(std::int64_t t, node_id n) override {
    each([&](run_observer& o) { o.lost(t, n); });
  }

private:
  template <class What>
  void each(What what) {
    for (run_observer* o : all_)
      what(*o);
  }
  std::vector<run_observer*> all_;
};

result<> write_file(const std::string& path, const std::string& text) {
  const file out{std::fopen(path.c_str(), "w")};
  if (!out || std::fwrite(text.data(), 1, text.size(), out.get()) != text.size() || std::fflush(out.get()) != 0)
    return {errc::failed, path + ": cannot be written"};
  return {};
}

result<> run(const run_flags& flags, sim_output output) {
  SQUALL_ASSIGN(assurance, assurance_of(flags.assurance));
  if (const auto known = policy::make_dispatch_policy(flags.policy, flags.seed, 0); !known.ok())
    return known.error();
  SQUALL_ASSIGN(input, read_workload(flags.workload));
  file log_file;
  if (!flags.log.empty()) {
    log_file.reset(std::fopen(flags.log.c_str(), "w"));
    if (!log_file)
      return {errc::failed, flags.log + ": cannot be written"};
  }
  run_log log{input, log_file.get()};
  run_plot plot{input, flags.plot_from, flags.plot_to > 0 ? flags.plot_to : input.horizon};
  all_observers observers;
  if (log_file)
    observers.add(&log);
  if (!flags.plot.empty())
    observers.add(&plot);
  progress_line progress{input.requests.size()};
  dag_run_config config;
  config.scheduler.policy = flags.policy;
  config.seed = flags.seed;
  config.assurance_ppm = assurance;
  config.cost_slos = !flags.no_cost_slo;
  config.delay = flags.delay;
  config.skew = flags.skew;
  config.clock = clock_ns;
  config.progress = [&](std::uint64_t over) { progress.show(over); };
  dag_model model{input, config, observers};
  const std::int64_t begin = clock_ns();
  const auto ran = model.run();
  const double wall_s = static_cast<double>(clock_ns() - begin) / 1e9;
  if (log_file && !log.flush())
    return {errc::failed, flags.log + ": could not be written to its end"};
  SQUALL_TRY(ran);
  if (!flags.plot.empty())
    SQUALL_TRY(write_file(flags.plot,
                          plot.svg(flags.workload.substr(flags.workload.rfind('/') + 1) + ", policy " + flags.policy)));
  const std::string text = output == sim_output::json ? summary_json(model.summary(), input.horizon, wall_s)
                                                      : summary_table(model.summary(), input.horizon, wall_s);
  std::fputs(text.c_str(), stdout);
  return {};
}

std::string policy_list() {
  std::string out;
  for (const std::string& n : policy::dispatch_policy_names())
    out += (out.empty() ? "" : ", ") + n;
  return out;
}

} // namespace

void add_run_verb(CLI::App& sim, int& status) {
  auto flags = std::make_shared<run_flags>();
  auto* verb = sim.add_subcommand("run", "run a workload of DAG calls on modelled CPU and GPU nodes");
  verb->add_option("workload", flags->workload, "a workload file")->required();
  verb->add_option("--policy", flags->policy, "name, or name:option=value,...: " + policy_list())
      ->envname("SQUALL_SIM_POLICY")
      ->capture_default_str();
  verb->add_option("--assurance", flags->assurance, "of every call: firm, or a share such as 0.97")
      ->envname("SQUALL_SIM_ASSURANCE")
      ->capture_default_str();
  verb->add_option("--seed", flags->seed, "of policies that draw")->envname("SQUALL_SIM_SEED")->capture_default_str();
  verb->add_option("--log", flags->log, "write what happens as JSON lines")->envname("SQUALL_SIM_LOG");
  verb->add_option("--plot", flags->plot, "draw lanes and goodput over time as SVG")->envname("SQUALL_SIM_PLOT");
  verb->add_option("--plot-from", flags->plot_from, "ms; what is drawn begins there")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1'000'000'000}))
      ->envname("SQUALL_SIM_PLOT_FROM");
  verb->add_option("--plot-to", flags->plot_to, "ms; and ends there; 0: at the workload's horizon")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1'000'000'000}))
      ->envname("SQUALL_SIM_PLOT_TO");
  verb->add_flag("--no-cost-slo", flags->no_cost_slo, "take no call's cost SLO")->envname("SQUALL_SIM_NO_COST_SLO");
  verb->add_option("--delay", flags->delay, "ms that each message between scheduler and node takes")
      ->check(CLI::Range(0, 10'000))
      ->envname("SQUALL_SIM_DELAY");
  verb->add_option("--skew", flags->skew, "ms by which clocks of nodes are ahead at most")
      ->check(CLI::Range(0, 1'000'000))
      ->envname("SQUALL_SIM_SKEW");
  flags->output = add_output_option(*verb);
  verb->callback([&status, flags, verb] {
    const auto done = run(*flags, output_of(*verb, *flags->output));
    status = done.ok() ? 0 : print_error(done.error());
  });
}

} // namespace squall::sim
