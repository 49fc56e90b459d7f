// squall-demo: serves the example pipelines from a running cluster and says how well and how fast they read. A client
// program as a user would write one: it registers what the YAML files of examples/ describe, calls it, and reads the
// traces of the calls.

#include "calls/json.hpp"
#include "client/cluster.hpp"
#include "examples/demo/experiments.hpp"
#include "examples/demo/function_time.hpp"
#include "examples/demo/passes.hpp"
#include "examples/demo/serving.hpp"

#include <CLI/CLI.hpp>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>

namespace {

using namespace squall;
using namespace squall::demo;

struct arguments {
  std::string endpoint;
  std::filesystem::path examples = "examples";
  std::filesystem::path pages;
  std::filesystem::path lines;
  std::filesystem::path files;
  std::size_t items = 0;
  std::size_t lanes = 2;
  std::size_t outstanding = 8;

  [[nodiscard]] const std::filesystem::path& folder_of(material m) const {
    return m == material::pages ? pages : m == material::lines ? lines : files;
  }
};

/// One line of the table; README.md says what the fields mean.
struct row {
  std::string pipeline;
  std::string row = "squall";
  std::string precision;
  std::uint64_t items = 0;
  double accuracy = 0;
  std::optional<double> cer;
  double p50_ms = 0;
  double p99_ms = 0;
  double per_s = 0;
  double model_ms = 0;
  double skipped = 0;
  double overhead_us = 0;

  template <class S, class V>
  static void fields(S& s, V& v) {
    v("pipeline", s.pipeline);
    v("row", s.row);
    v("precision", s.precision);
    v("items", s.items);
    v("accuracy", s.accuracy);
    v("cer", s.cer);
    v("p50_ms", s.p50_ms);
    v("p99_ms", s.p99_ms);
    v("per_s", s.per_s);
    v("model_ms", s.model_ms);
    v("skipped", s.skipped);
    v("overhead_us", s.overhead_us);
  }
};

double milliseconds(duration d) { return std::chrono::duration<double, std::milli>(d).count(); }

/// Means over calls of what their traces tell.
void add_traces(const pass& answers, const functions::dag_spec& dag, const catalogue& known, std::size_t lanes,
                row& out) {
  const double share = 1.0 / static_cast<double>(answers.answers.size());
  for (const auto& answer : answers.answers) {
    const auto& trace = answer.result.outcome.trace;
    for (const auto& stage : trace) {
      out.skipped += stage.skipped ? share : 0;
      if (known.models.contains(dag.stages.at(stage.stage).function))
        out.model_ms += milliseconds(stage.executed) * share;
    }
    out.overhead_us += 1e3 * milliseconds(answer.latency - function_time(dag, trace, lanes)) * share;
  }
}

/// Every width has been seen by every node, and every model is loaded, before time is taken.
result<> warm_up(client::cluster& cluster, const experiment& what, const std::vector<call_inputs>& inputs,
                 std::size_t lanes) {
  for (std::size_t round = 0; round < lanes; ++round)
    SQUALL_TRY(run_pass(cluster, what.dag, inputs, 4 * lanes));
  return {};
}

result<row> measure(client::cluster& cluster, const experiment& what, const arguments& given, catalogue& known) {
  SQUALL_TRY(apply(cluster, given.examples / what.spec_file, known));
  SQUALL_ASSIGN(samples, read_samples(given.folder_of(what.material), given.items));
  std::vector<call_inputs> inputs;
  for (const auto& sample : samples)
    inputs.push_back(sample.inputs);

  SQUALL_TRY(warm_up(cluster, what, inputs, given.lanes));
  SQUALL_ASSIGN(alone, run_pass(cluster, what.dag, inputs, 1));
  SQUALL_ASSIGN(together, run_pass(cluster, what.dag, inputs, given.outstanding));
  SQUALL_ASSIGN(score, judge(what, samples, alone));

  row out;
  out.pipeline = what.pipeline;
  out.precision = what.precision;
  out.items = samples.size();
  out.accuracy = score.accuracy();
  if (what.material != material::files)
    out.cer = score.cer();
  out.p50_ms = quantile_ms(alone.answers, 0.5);
  out.p99_ms = quantile_ms(alone.answers, 0.99);
  out.per_s = static_cast<double>(samples.size()) * 1e3 / milliseconds(together.wall);
  add_traces(alone, known.dags.at(what.dag), known, given.lanes, out);
  return out;
}

result<> run(const arguments& given) {
  client::options options;
  options.endpoint = given.endpoint;
  options.software = "squall demo";
  SQUALL_ASSIGN(cluster, client::cluster::connect(options));
  catalogue known;
  for (const auto& what : experiments()) {
    if (given.folder_of(what.material).empty())
      continue;
    std::fprintf(stderr, "  %s, %s\n", what.pipeline.c_str(), what.precision.c_str());
    SQUALL_ASSIGN(measured, measure(*cluster, what, given, known));
    std::printf("%s\n", calls::to_json(measured).c_str());
    std::fflush(stdout);
  }
  return {};
}

} // namespace

int main(int count, char** words) {
  CLI::App app{"Runs the example pipelines on a cluster; prints one JSON object a pipeline and precision.",
               "squall-demo"};
  arguments given;
  app.add_option("--cluster", given.endpoint, "where the cluster serves, such as tcp://127.0.0.1:7700")->required();
  app.add_option("--examples", given.examples, "folder of the pipelines' YAML files")->capture_default_str();
  app.add_option("--pages", given.pages, "folder with truth.json and pages; without it document-reader is left out");
  app.add_option("--lines", given.lines,
                 "folder with truth.json and lines; without it read-line and read-line-vote are left out");
  app.add_option("--files", given.files, "folder with a truth.json that names files; without it file-type is left out");
  app.add_option("--items", given.items, "at most this many of each; 0 = all")->capture_default_str();
  app.add_option("--lanes", given.lanes, "lanes of the cluster, all nodes together")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app.add_option("--outstanding", given.outstanding, "calls on their way while throughput is measured")
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
  CLI11_PARSE(app, count, words);
  if (const auto done = run(given); !done) {
    std::fprintf(stderr, "squall-demo: %s\n", done.error().message.c_str());
    return 1;
  }
  return 0;
}
