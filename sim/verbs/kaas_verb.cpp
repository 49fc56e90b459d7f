#include "sim/kaas_statistics.hpp"
#include "sim/verbs/line_chart.hpp"
#include "sim/verbs/parts.hpp"
#include "sim/verbs/vector_verbs.hpp"
#include "sim/verbs/vectors.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <fstream>
#include <map>
#include <memory>

namespace squall::sim {

namespace {

using calls::json_node;

struct policy_name {
  std::string_view outside; ///< as the thesis has it
  std::string_view inside;
};
constexpr std::array<policy_name, 5> names{
    {{"RR", "rr"}, {"Balance", "balance"}, {"SRTF", "srtf"}, {"MLFQS", "mlfq"}, {"Exclusive", "exclusive"}}};
constexpr std::int64_t most_steps = 1'000'000'000'000'000;

// -- one line
// ---------------------------------------------------------------------------------------------------------------------

result<> read_policy(json_node root, kaas_problem& p) {
  SQUALL_ASSIGN(node, need(root, "policy"));
  SQUALL_ASSIGN(name, text(node, "policy"));
  const auto* const found = std::find_if(names.begin(), names.end(),
                                         [&](const policy_name& n) { return n.outside == name || n.inside == name; });
  if (found == names.end())
    return {errc::invalid_argument, "policy: '" + name + "' is not one of RR, Balance, SRTF, MLFQS, Exclusive"};
  p.policy = found->inside;
  if (const auto mode = maybe(root, "mode")) {
    SQUALL_ASSIGN(of, text(*mode, "mode"));
    if (of != "wc" && of != "faithful")
      return {errc::invalid_argument, "mode: '" + of + "' is neither wc nor faithful"};
    // The others are the same in both modes.
    p.faithful = of == "faithful" && (p.policy == "srtf" || p.policy == "mlfq");
  }
  return {};
}

result<> read_models(json_node root, kaas_problem& p) {
  SQUALL_ASSIGN(models, need(root, "models"));
  if (models.type() != json_node::kind::object)
    return {errc::invalid_argument, "models: expected an object of name: [cold, exec]"};
  for (std::size_t i = 0; i < models.size(); ++i) {
    const auto [name, times] = models.member(i);
    const std::string path = "models." + std::string{name};
    SQUALL_TRY(need_array(times, path, 2));
    SQUALL_ASSIGN(cold, whole(times.element(0), at(path, 0), 0, most_steps));
    SQUALL_ASSIGN(exec, whole(times.element(1), at(path, 1), 0, most_steps));
    p.models.push_back({std::string{name}, cold, exec});
  }
  return {};
}

result<> read_requests(json_node root, kaas_problem& p) {
  std::map<std::string, std::uint32_t> index;
  for (const kaas_model& m : p.models)
    index.emplace(m.name, static_cast<std::uint32_t>(index.size()));
  SQUALL_ASSIGN(requests, need(root, "requests"));
  SQUALL_TRY(need_array(requests, "requests"));
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const std::string path = at("requests", i);
    const json_node request = requests.element(i);
    SQUALL_TRY(need_array(request, path, 3));
    SQUALL_ASSIGN(seq, whole(request.element(0), at(path, 0)));
    SQUALL_ASSIGN(arrival, whole(request.element(1), at(path, 1), 0, most_steps));
    SQUALL_ASSIGN(model, text(request.element(2), at(path, 2)));
    const auto found = index.find(model);
    if (found == index.end())
      return {errc::invalid_argument, at(path, 2) + ": there is no model '" + model + "'"};
    p.requests.push_back({seq, arrival, found->second});
  }
  return {};
}

result<> read_rebalance(json_node root, kaas_problem& p) {
  if (const auto node = maybe(root, "rebalance")) {
    const auto name = node->as_string();
    const auto rule =
        name ? policy::enum_from_string(*name, std::type_identity<policy::rebalance_rule>{}) : std::nullopt;
    if (rule)
      p.rebalance = *rule;
    else if (const auto on = node->as_boolean())
      p.rebalance = *on ? policy::rebalance_rule::pressure : policy::rebalance_rule::none;
    else
      return {errc::invalid_argument, "rebalance: expected true, false, null, none, pressure or group-size"};
  }
  if (const auto node = maybe(root, "warmup")) {
    SQUALL_ASSIGN(warmup, whole(*node, "warmup", 0, most_steps));
    p.warmup = warmup;
  }
  return {};
}

result<> read_draws(json_node root, kaas_problem& p) {
  const auto node = maybe(root, "draws");
  if (!node || p.policy != "mlfq")
    return {};
  SQUALL_TRY(need_array(*node, "draws"));
  p.draws.emplace();
  for (std::size_t i = 0; i < node->size(); ++i) {
    SQUALL_ASSIGN(draw, whole(node->element(i), at("draws", i), 0));
    p.draws->push_back(static_cast<std::uint64_t>(draw));
  }
  return {};
}

result<kaas_problem> read_problem(json_node root) {
  kaas_problem p;
  SQUALL_TRY(read_policy(root, p));
  SQUALL_ASSIGN(gpus, need(root, "gpus"));
  SQUALL_ASSIGN(count, whole(gpus, "gpus", 1, 100'000));
  p.gpus = static_cast<std::uint32_t>(count);
  SQUALL_TRY(read_models(root, p));
  SQUALL_TRY(read_requests(root, p));
  SQUALL_TRY(read_rebalance(root, p));
  SQUALL_TRY(read_draws(root, p));
  if (const auto node = maybe(root, "aging_ppm")) {
    SQUALL_ASSIGN(aging, whole(*node, "aging_ppm", 0, 1'000'000'000));
    p.aging_ppm = static_cast<std::uint32_t>(aging);
  }
  return p;
}

result<std::string> answer(json_node root) {
  SQUALL_ASSIGN(problem, read_problem(root));
  SQUALL_ASSIGN(said, run_kaas(problem));
  calls::json_writer out;
  out.begin_object();
  out.key("log");
  out.begin_array();
  for (const kaas_dispatch& d : said.log) {
    out.begin_array();
    out.number(d.seq);
    out.number(d.start);
    out.number(std::uint64_t{d.gpu});
    out.boolean(d.cold);
    out.end_array();
  }
  out.end_array();
  out("total", said.total);
  out("cold", said.cold);
  out("wait", said.mean_wait());
  out.end_object();
  return out.take();
}

// -- statistics
// -----------------------------------------------------------------------------------------------------------------

template <class T>
result<> parse_number(const std::string& key, const std::string& value, T& out, T least, T most) {
  const char* const end = value.data() + value.size();
  const auto [stop, code] = std::from_chars(value.data(), end, out);
  if (code != std::errc{} || stop != end || !(out >= least) || !(out <= most))
    return {errc::invalid_argument, key + ": '" + value + "' is no number that it can be"};
  return {};
}

result<> set_option(kaas_poisson& s, const std::string& given) {
  if (given.empty()) // --poisson alone
    return {};
  const auto equals = given.find('=');
  const std::string key = given.substr(0, equals);
  const std::string value = equals == std::string::npos ? "" : given.substr(equals + 1);
  if (key == "rho")
    return parse_number(key, value, s.rho, 0.001, 100.0);
  if (key == "gpus")
    return parse_number(key, value, s.gpus, 1U, 1000U);
  if (key == "steps")
    return parse_number(key, value, s.steps, std::int64_t{1}, std::int64_t{10'000'000});
  if (key == "seeds")
    return parse_number(key, value, s.seeds, 1U, 1'000'000U);
  if (key == "first-seed")
    return parse_number(key, value, s.first_seed, std::uint64_t{0}, ~std::uint64_t{0});
  if (key == "aging-ppm")
    return parse_number(key, value, s.aging_ppm, 0U, 1'000'000'000U);
  if (key == "rates" && (value == "equal-work" || value == "equal-rate")) {
    s.rates = value == "equal-work" ? kaas_rates::equal_work : kaas_rates::equal_rate;
    return {};
  }
  if (key == "rebalance")
    if (const auto rule = policy::enum_from_string(value, std::type_identity<policy::rebalance_rule>{})) {
      s.rebalance = *rule;
      return {};
    }
  return {errc::invalid_argument,
          "'" + given + "' is none of rho=NUMBER gpus=N steps=N rates=equal-work|equal-rate seeds=N first-seed=N " +
              "aging-ppm=N rebalance=pressure|none|group-size"};
}

/// How many runs had how many cold starts.
std::map<std::uint64_t, std::size_t> cold_starts(const kaas_policy_result& r) {
  std::map<std::uint64_t, std::size_t> out;
  for (const kaas_answer& a : r.runs)
    ++out[a.cold];
  return out;
}

std::string outside_name(const std::string& inside) {
  return std::string{
      std::find_if(names.begin(), names.end(), [&](const policy_name& n) { return n.inside == inside; })->outside};
}

void print_json(const kaas_poisson& s, const std::vector<kaas_policy_result>& results) {
  calls::json_writer out{calls::json_style::pretty};
  out.begin_object();
  out("rho", s.rho);
  out("gpus", s.gpus);
  out("steps", s.steps);
  out("rates", std::string{s.rates == kaas_rates::equal_work ? "equal-work" : "equal-rate"});
  out("seeds", s.seeds);
  out.key("policies");
  out.begin_object();
  for (const kaas_policy_result& r : results) {
    out.key(outside_name(r.policy));
    out.begin_object();
    out("mean_wait", r.mean_wait());
    for (std::uint32_t m = 0; m < s.models.size(); ++m)
      out(("mean_wait_" + s.models[m].name).c_str(), r.mean_wait(m));
    out.key("cold_starts");
    out.begin_object();
    for (const auto& [cold, runs] : cold_starts(r))
      out(std::to_string(cold).c_str(), runs);
    out.end_object();
    out.end_object();
  }
  out.end_object();
  out.end_object();
  std::printf("%s\n", out.take().c_str());
}

void print_table(const kaas_poisson& s, const std::vector<kaas_policy_result>& results) {
  std::printf("%-10s %10s", "policy", "mean wait");
  for (const kaas_model& m : s.models)
    std::printf(" %10s", m.name.c_str());
  std::printf("   cold starts\n");
  for (const kaas_policy_result& r : results) {
    std::printf("%-10s %10.2f", outside_name(r.policy).c_str(), r.mean_wait());
    for (std::uint32_t m = 0; m < s.models.size(); ++m)
      std::printf(" %10.2f", r.mean_wait(m));
    const auto starts = cold_starts(r);
    const char* before = "   ";
    for (const auto& [cold, runs] : starts) {
      std::printf("%s%llu in %zu/%zu", before, static_cast<unsigned long long>(cold), runs, r.runs.size());
      before = ", ";
    }
    std::printf("\n");
  }
}

int print_poisson(const std::vector<std::string>& given, bool json) {
  kaas_poisson settings;
  for (const std::string& option : given)
    if (auto set = set_option(settings, option); !set) {
      std::fprintf(stderr, "squall: --poisson: %s\n", set.error().message.c_str());
      return 1;
    }
  const auto results = run_poisson(settings, kaas_policies());
  json ? print_json(settings, results) : print_table(settings, results);
  return 0;
}

int draw_curves(const std::string& folder, std::uint32_t seeds) {
  for (const std::string& name : kaas_sweep_names()) {
    std::fprintf(stderr, "kaas: %s, %u seeds\n", name.c_str(), seeds);
    const kaas_sweep sweep = run_sweep(name, seeds);
    line_chart chart{.title = "Mean wait in steps; " + sweep.title + ", " + std::to_string(seeds) + " seeds",
                     .x_axis = sweep.axis,
                     .y_axis = "mean wait, steps",
                     .x = sweep.points,
                     .series = {}};
    for (const kaas_curve& c : sweep.curves)
      chart.series.push_back({outside_name(c.policy), c.mean_waits});
    const std::string path = folder + "/kaas-" + name + ".svg";
    std::ofstream out{path, std::ios::binary};
    out << to_svg(chart);
    if (!out.flush()) {
      std::fprintf(stderr, "squall: cannot write %s\n", path.c_str());
      return 1;
    }
    std::printf("%s\n", path.c_str());
  }
  return 0;
}

struct kaas_flags {
  std::vector<std::string> poisson;
  std::string curves;
  std::uint32_t seeds = 200;
  std::shared_ptr<std::string> output;
};

} // namespace

void add_kaas_verb(CLI::App& sim, int& status) {
  auto flags = std::make_shared<kaas_flags>();
  auto* verb = sim.add_subcommand("kaas",
                                  "the thesis's chapter 6: problems on standard input, answers on standard output, "
                                  "one a line");
  auto* poisson = verb->add_option("--poisson", flags->poisson,
                                   "random arrivals instead: rho=0.8 gpus=4 steps=1000 rates=equal-work seeds=200")
                      ->expected(0, -1)
                      ->envname("SQUALL_POISSON");
  verb->add_option("--curves", flags->curves, "draw what section 6.3 varies, as kaas-*.svg into this folder")
      ->envname("SQUALL_CURVES");
  verb->add_option("--seeds", flags->seeds, "runs of each point of a curve")
      ->check(CLI::Range(1, 100'000))
      ->envname("SQUALL_SEEDS")
      ->capture_default_str();
  flags->output = add_output_option(*verb);
  verb->callback([&status, flags, poisson, verb] {
    if (!flags->curves.empty())
      status = draw_curves(flags->curves, flags->seeds);
    else if (poisson->count() > 0)
      status = print_poisson(flags->poisson, output_of(*verb, *flags->output) == sim_output::json);
    else
      status = answer_lines(answer);
  });
}

} // namespace squall::sim
