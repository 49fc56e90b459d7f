#include "bench/direct/passes.hpp"
#include "bench/direct/pipelines.hpp"
#include "calls/json.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>

/// squall-direct: the demo's pipelines in one process, without Squall: the reference of its table.
namespace {

using namespace squall;
using namespace squall::bench;

struct arguments {
  std::string pipeline;
  std::filesystem::path data;
  std::filesystem::path models = "build/models";
  std::filesystem::path trusted;
  pipeline_options options;
  std::uint32_t threads = 2;
  std::size_t items = 0;
};

double milliseconds(duration d) { return std::chrono::duration<double, std::milli>(d).count(); }

/// The value below which this share lies (nearest rank).
double quantile(std::vector<double> numbers, double share) {
  std::ranges::sort(numbers);
  const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(numbers.size())));
  return numbers[std::clamp<std::size_t>(rank, 1, numbers.size()) - 1];
}

double mean(const std::vector<double>& numbers) {
  double sum = 0;
  for (const auto number : numbers)
    sum += number;
  return sum / static_cast<double>(numbers.size());
}

struct measured {
  std::string pipeline;
  std::string row;
  std::string precision;
  std::uint64_t items = 0;
  std::optional<double> accuracy;
  std::optional<double> cer;
  double p50_ms = 0;
  double p99_ms = 0;
  std::optional<double> per_s;
  double model_ms = 0;
  std::optional<double> skipped;
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
  }
};

void print(const measured& row) {
  std::printf("%s\n", calls::to_json(row).c_str());
  std::fflush(stdout);
}

/// One call at a time for latency and accuracy, all threads for throughput.
result<> measure(const arguments& given, row& what, const std::vector<work_item>& items) {
  toolbox tools(given.models, given.threads);
  SQUALL_TRY(what.pipeline->prepare(tools));
  SQUALL_TRY(warm_up(*what.pipeline, tools, items));
  SQUALL_ASSIGN(alone, run_pass(*what.pipeline, tools, items, 1));
  SQUALL_ASSIGN(together, run_pass(*what.pipeline, tools, items, given.threads));

  measured row;
  row.pipeline = given.pipeline;
  row.row = what.name;
  row.precision = what.precision;
  row.items = items.size();
  score total;
  double skipped = 0;
  std::map<std::string, std::vector<double>> by_model;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const auto& truth = items[i].truth;
    truth.lines.empty() ? total.add_text(truth.text, alone.readings[i].text)
                        : total.add_page(truth.lines, alone.readings[i].lines);
    skipped += alone.readings[i].skipped;
    for (const auto& [model, time] : alone.model_times[i]) {
      by_model[model].push_back(milliseconds(time));
      row.model_ms += milliseconds(time) / static_cast<double>(items.size());
    }
  }
  const bool is_label = given.pipeline == "file-type";
  row.accuracy = total.accuracy();
  if (!is_label)
    row.cer = total.cer();
  row.skipped = skipped / static_cast<double>(items.size());
  row.p50_ms = quantile(alone.latencies_ms, 0.5);
  row.p99_ms = quantile(alone.latencies_ms, 0.99);
  row.per_s = static_cast<double>(items.size()) / together.seconds;
  print(row);
  if (given.pipeline != "document-reader")
    return {};
  // No model reads a page alone, so what each of them takes of a page stands in its place.
  for (const auto& [model, times] : by_model) {
    measured part;
    part.pipeline = given.pipeline;
    part.row = model;
    part.precision = what.precision;
    part.items = times.size();
    part.p50_ms = quantile(times, 0.5);
    part.p99_ms = quantile(times, 0.99);
    part.model_ms = mean(times);
    print(part);
  }
  return {};
}

result<> run(arguments given) {
  if (!given.trusted.empty()) {
    std::ifstream file(given.trusted);
    given.options.trusted.assign((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    if (!file)
      return {errc::not_found, given.trusted.string() + " cannot be read"};
  }
  SQUALL_ASSIGN(rows, rows_of(given.pipeline, given.options));
  SQUALL_ASSIGN(items, read_items(given.data, given.items));
  for (auto& what : rows)
    SQUALL_TRY(measure(given, what, items));
  return {};
}

} // namespace

int main(int count, char** words) {
  CLI::App app(
      "Runs a pipeline of the examples, and each of its models alone, directly in this process; prints one JSON object "
      "a row.",
      "squall-direct");
  arguments given;
  app.add_option("pipeline", given.pipeline, "document-reader, read-line, read-line-vote or file-type")->required();
  app.add_option("--data", given.data, "folder with truth.json and the pictures, or the list of files")->required();
  app.add_option("--models", given.models, "folder with the models")->capture_default_str();
  app.add_option("--precision", given.options.precision, "what the models compute in")
      ->check(CLI::IsMember({"f32", "bf16"}))
      ->capture_default_str();
  app.add_option("--threads", given.threads, "each takes whole items")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app.add_option("--items", given.items, "at most this many; 0 = all")->capture_default_str();
  app.add_option("--trusted", given.trusted, "MIME types that file-type trusts, as file-magic's parameter has them");
  CLI11_PARSE(app, count, words);
  if (const auto done = run(given); !done.ok()) {
    std::fprintf(stderr, "squall-direct: %s\n", done.error().message.c_str());
    return 1;
  }
  return 0;
}
