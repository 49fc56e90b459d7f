#include "calls/json.hpp"
#include "sim/verbs/parts.hpp"
#include "sim/verbs/verbs.hpp"
#include "sim/whatif.hpp"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <vector>

namespace squall::sim {

namespace {

namespace fs = std::filesystem;

struct whatif_flags {
  std::string log;
  std::vector<std::string> changes;
  std::uint64_t seed = 1;
  std::string plot;
  std::shared_ptr<std::string> output;
};

/// The segments of a log's folder, ascending; or the one file that was named.
result<std::vector<fs::path>> segments_of(const std::string& path) {
  std::error_code code;
  if (fs::is_regular_file(path, code))
    return std::vector<fs::path>{path};
  std::vector<fs::path> out;
  for (const auto& entry : fs::directory_iterator{path, code})
    if (entry.path().extension() == ".log")
      out.push_back(entry.path());
  if (out.empty())
    return error{errc::not_found,
                 path + ": no log there; name the folder of a scheduler's event log, such as DATA/events/scheduler",
                 {}};
  std::sort(out.begin(), out.end());
  return out;
}

result<recorded_run> read_log(const std::string& path) {
  SQUALL_ASSIGN(segments, segments_of(path));
  recording log;
  for (const fs::path& segment : segments) {
    std::ifstream in{segment, std::ios::binary};
    const std::string content{std::istreambuf_iterator<char>{in}, {}};
    if (!in)
      return error{errc::not_found, "cannot read " + segment.string(), {}};
    if (const auto fed = log.feed(std::as_bytes(std::span{content})); !fed.ok())
      return error{fed.error().code, segment.string() + ": " + fed.error().message, {}};
  }
  auto run = log.finish();
  if (!run.ok())
    return error{run.error().code, path + ": " + run.error().message, {}};
  return run;
}

/// One DAG, or all of them under the name "all".
struct difference {
  std::string dag;
  attainment live;
  attainment as_recorded; ///< what the model makes of the recorded configuration
  attainment changed;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("dag", s.dag);
    v("live", s.live);
    v("as_recorded", s.as_recorded);
    v("changed", s.changed);
  }
};

std::vector<difference> compare(const recorded_run& recorded, const whatif_outcome& same,
                                const whatif_outcome& changed) {
  std::vector<difference> out;
  difference all{"all", {}, {}, {}};
  for (const auto& [dag, live] : recorded.live) {
    const auto of = [dag = dag](const whatif_outcome& o) {
      const auto at = o.dags.find(dag);
      return at == o.dags.end() ? attainment{} : at->second;
    };
    out.push_back({std::to_string(dag), live, of(same), of(changed)});
    all.live.add(live);
    all.as_recorded.add(out.back().as_recorded);
    all.changed.add(out.back().changed);
  }
  out.push_back(all);
  return out;
}

double mean_ms(const attainment& a) {
  return a.ended == 0 ? 0 : static_cast<double>(a.latency_sum.count()) / static_cast<double>(a.ended) * 1e-6;
}

double mean_cost(const attainment& a) {
  return a.ended == 0 ? 0 : static_cast<double>(a.cost_sum) / static_cast<double>(a.ended) * 1e-6;
}

void print_table(const std::vector<difference>& rows, double seconds) {
  std::printf("%-8s %-12s %8s %9s %8s %8s %10s %9s %9s\n", "DAG", "RUN", "OFFERED", "ADMITTED", "MET", "BROKEN",
              "GOODPUT/S", "MEAN MS", "COST");
  for (const difference& row : rows) {
    const auto line = [&](const char* run, const attainment& a) {
      std::printf("%-8s %-12s %8llu %9llu %7.1f%% %8llu %10.1f %9.2f %9.3f\n", row.dag.c_str(), run,
                  static_cast<unsigned long long>(a.offered), static_cast<unsigned long long>(a.admitted),
                  100 * a.share(), static_cast<unsigned long long>(a.broken), static_cast<double>(a.met) / seconds,
                  mean_ms(a), mean_cost(a));
    };
    line("live", row.live);
    line("model", row.as_recorded);
    line("changed", row.changed);
  }
}

/// Shares of calls that met their SLOs, as bars.
std::string bars_svg(const std::vector<difference>& rows) {
  constexpr int row_height = 66;
  constexpr int left = 90;
  constexpr int width = 420;
  std::string out =
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"620\" height=\"" +
      std::to_string(40 + row_height * static_cast<int>(rows.size())) +
      "\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
      "<text x=\"10\" y=\"20\" font-size=\"14\">Share of calls that met their SLOs</text>\n";
  int y = 34;
  for (const difference& row : rows) {
    out += "<text x=\"10\" y=\"" + std::to_string(y + 32) + "\">DAG " + row.dag + "</text>\n";
    const auto bar = [&](const char* name, const attainment& a, const char* colour, int offset) {
      const int length = static_cast<int>(a.share() * width);
      out += "<rect x=\"" + std::to_string(left) + "\" y=\"" + std::to_string(y + offset) + "\" width=\"" +
             std::to_string(std::max(1, length)) + "\" height=\"16\" fill=\"" + colour + "\"/>\n<text x=\"" +
             std::to_string(left + length + 6) + "\" y=\"" + std::to_string(y + offset + 13) + "\">" + name + " " +
             std::to_string(static_cast<int>(a.share() * 1000) / 10.0).substr(0, 4) + " %</text>\n";
    };
    bar("live", row.live, "#888888", 0);
    bar("model", row.as_recorded, "#4477aa", 19);
    bar("changed", row.changed, "#cc6633", 38);
    y += row_height;
  }
  return out + "</svg>\n";
}

result<> whatif(const whatif_flags& flags, bool json) {
  SQUALL_ASSIGN(recorded, read_log(flags.log));
  SQUALL_ASSIGN(same, run_whatif(recorded, flags.seed));
  recorded_run other = recorded;
  for (const std::string& change : flags.changes)
    SQUALL_TRY(apply_change(other, change));
  SQUALL_ASSIGN(changed, run_whatif(other, flags.seed));
  const auto rows = compare(recorded, same, changed);
  const double seconds = static_cast<double>(recorded.input.horizon * recorded.input.tick.count()) * 1e-9;
  if (json)
    std::printf("%s\n", calls::to_json(rows).c_str());
  else
    print_table(rows, seconds);
  if (flags.plot.empty())
    return {};
  std::ofstream out{flags.plot};
  out << bars_svg(rows);
  if (!out.flush())
    return {errc::unavailable, "cannot write " + flags.plot};
  return {};
}

} // namespace

void add_whatif_verb(CLI::App& app, int& status) {
  const auto flags = std::make_shared<whatif_flags>();
  auto* verb =
      app.add_subcommand("whatif", "the arrivals of a recorded run in the simulator, under another configuration");
  verb->add_option("log", flags->log, "folder of a scheduler's event log, such as DATA/events/scheduler")->required();
  verb->add_option(
          "--set", flags->changes,
          "policy=NAME, nodes.cpu+=1, nodes.gpu-=1, nodes.lanes=4, slo.scale=0.8, cost.scale=2, rate.scale=1.5")
      ->allow_extra_args(false);
  verb->add_option("--seed", flags->seed, "of the model")->envname("SQUALL_SEED")->capture_default_str();
  verb->add_option("--plot", flags->plot, "draw the difference into this SVG file");
  flags->output = add_output_option(*verb);
  verb->callback([flags, verb, &status] {
    if (const auto done = whatif(*flags, output_of(*verb, *flags->output) == sim_output::json); !done.ok())
      status = print_error(done.error());
  });
}

} // namespace squall::sim
