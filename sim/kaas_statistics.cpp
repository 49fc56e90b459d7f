#include "sim/kaas_statistics.hpp"

#include "base/check.hpp"
#include "base/random.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <numeric>

namespace squall::sim {

namespace {

double rate_of(const kaas_poisson& s, std::size_t model) {
  const double work = s.rho * s.gpus; // in steps of execution a step
  if (s.rates == kaas_rates::equal_work)
    return work / static_cast<double>(s.models.size()) / static_cast<double>(s.models[model].exec);
  double all = 0;
  for (const kaas_model& m : s.models)
    all += static_cast<double>(m.exec);
  return work / all;
}

template <class Value>
double mean_over(const std::vector<kaas_answer>& runs, Value&& value) {
  double sum = 0;
  for (const kaas_answer& run : runs)
    sum += value(run);
  return runs.empty() ? 0 : sum / static_cast<double>(runs.size());
}

struct sweep_rule {
  std::string_view name;
  std::string_view title;
  std::string_view axis;
  std::vector<double> points;
  std::function<void(kaas_poisson&, double)> set;
};

void set_models(kaas_poisson& s, double count) {
  // Half of them are like ResNet, half like BERT; one alone is like ResNet.
  const std::vector<kaas_model> two = s.models;
  s.models.clear();
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i)
    s.models.push_back({two[i % 2].name + std::to_string(i), two[i % 2].cold, two[i % 2].exec});
  s.gpus = 8;
}

std::vector<sweep_rule> sweep_rules() {
  return {
      {"arrival-rate",
       "3 GPUs",
       "load over capacity",
       {0.2, 0.4, 0.6, 0.8, 0.9, 1.0, 1.1, 1.2},
       [](kaas_poisson& s, double x) {
         s.gpus = 3;
         s.rho = x;
       }},
      {"gpus",
       "load 0.8 per GPU",
       "GPUs",
       {1, 2, 3, 4, 5, 6, 8, 10},
       [](kaas_poisson& s, double x) { s.gpus = static_cast<std::uint32_t>(x); }},
      {"cold-start",
       "load 0.8, 4 GPUs",
       "cold starts take x times as long",
       {0.5, 1, 2, 3, 4},
       [](kaas_poisson& s, double x) {
         for (kaas_model& m : s.models)
           m.cold = static_cast<std::int64_t>(static_cast<double>(m.cold) * x);
       }},
      {"execution",
       "load 0.8, 4 GPUs",
       "executions take x times as long",
       {0.5, 1, 2, 3, 4},
       [](kaas_poisson& s, double x) {
         for (kaas_model& m : s.models)
           m.exec = static_cast<std::int64_t>(static_cast<double>(m.exec) * x);
       }},
      {"models", "load 0.8, 8 GPUs", "models", {1, 2, 4, 8}, set_models},
  };
}

} // namespace

std::vector<kaas_request> poisson_requests(const kaas_poisson& settings, std::uint64_t seed) {
  std::vector<std::pair<double, std::uint32_t>> arrivals;
  random_source random{seed};
  for (std::uint32_t m = 0; m < settings.models.size(); ++m) {
    const double gap = 1 / rate_of(settings, m);
    for (double at = random.exponential(gap); at < static_cast<double>(settings.steps); at += random.exponential(gap))
      arrivals.emplace_back(at, m);
  }
  std::sort(arrivals.begin(), arrivals.end());
  std::vector<kaas_request> out;
  for (const auto& [at, model] : arrivals)
    out.push_back({static_cast<std::int64_t>(out.size()), static_cast<std::int64_t>(at), model});
  return out;
}

double kaas_policy_result::mean_wait() const {
  return mean_over(runs, [](const kaas_answer& a) { return a.mean_wait(); });
}
double kaas_policy_result::mean_wait(std::uint32_t model) const {
  return mean_over(runs, [&](const kaas_answer& a) { return a.mean_wait(model); });
}

std::vector<kaas_policy_result> run_poisson(const kaas_poisson& settings, const std::vector<std::string>& policies) {
  std::vector<kaas_policy_result> out;
  for (const std::string& policy : policies)
    out.push_back({policy, {}});
  for (std::uint32_t i = 0; i < settings.seeds; ++i) {
    kaas_problem problem;
    problem.gpus = settings.gpus;
    problem.models = settings.models;
    problem.seed = settings.first_seed + i;
    problem.requests = poisson_requests(settings, problem.seed);
    problem.rebalance = settings.rebalance;
    problem.aging_ppm = settings.aging_ppm;
    for (kaas_policy_result& of : out) {
      problem.policy = of.policy;
      auto answer = run_kaas(problem);
      SQUALL_CHECK(answer.ok(), answer.ok() ? "" : answer.error().message);
      answer->log.clear();
      answer->log.shrink_to_fit();
      of.runs.push_back(std::move(*answer));
    }
  }
  return out;
}

const std::vector<std::string>& kaas_policies() {
  static const std::vector<std::string> names{"rr", "balance", "srtf", "mlfq", "exclusive"};
  return names;
}

std::vector<std::string> kaas_sweep_names() {
  std::vector<std::string> out;
  for (const sweep_rule& rule : sweep_rules())
    out.emplace_back(rule.name);
  return out;
}

kaas_sweep run_sweep(const std::string& name, std::uint32_t seeds) {
  const auto rules = sweep_rules();
  const auto rule = std::find_if(rules.begin(), rules.end(), [&](const sweep_rule& r) { return r.name == name; });
  SQUALL_CHECK(rule != rules.end(), name);
  kaas_sweep out{name, std::string{rule->title}, std::string{rule->axis}, rule->points, {}};
  for (const std::string& policy : kaas_policies())
    out.curves.push_back({policy, {}});
  for (const double x : rule->points) {
    kaas_poisson settings;
    settings.seeds = seeds;
    rule->set(settings, x);
    const auto results = run_poisson(settings, kaas_policies());
    for (std::size_t i = 0; i < results.size(); ++i)
      out.curves[i].mean_waits.push_back(results[i].mean_wait());
  }
  return out;
}

} // namespace squall::sim
