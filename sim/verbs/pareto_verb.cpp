#include "policy/pareto.hpp"
#include "sim/verbs/vector_verbs.hpp"
#include "sim/verbs/vectors.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <memory>

namespace squall::sim {

namespace {

using calls::json_node;

/// A number as written: digits and how many of them stand behind the point.
struct decimal {
  std::int64_t digits = 0;
  int places = 0;
};

constexpr int most_places = 15;

/// The shortest decimal that reads as this number, which is the one that stood there if it had up to 15 digits.
result<decimal> read_decimal(json_node node, const std::string& path) {
  if (const auto n = node.as_int64())
    return decimal{*n, 0};
  SQUALL_ASSIGN(number, real(node, path));
  std::array<char, 64> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed).ptr;
  if (end == text.data())
    return {errc::invalid_argument, path + ": too large"};
  decimal out;
  std::string digits;
  bool behind = false;
  for (const char* c = text.data(); c != end; ++c) {
    if (*c == '.') {
      behind = true;
      continue;
    }
    digits += *c;
    out.places += behind ? 1 : 0;
  }
  const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), out.digits);
  if (read.ec != std::errc{} || out.places > most_places)
    return {errc::invalid_argument, path + ": more digits than can be kept exactly"};
  return out;
}

std::int64_t power_of_ten(int n) {
  std::int64_t out = 1;
  for (; n > 0; --n)
    out *= 10;
  return out;
}

struct parsed {
  policy::pareto_problem problem;
  std::array<int, 2> places{0, 0}; ///< of latencies, of costs: all are scaled to whole numbers by it
};

using options_as_written = std::vector<std::vector<std::array<decimal, 2>>>;

result<options_as_written> read_options(json_node root, std::array<int, 2>& places) {
  SQUALL_ASSIGN(stages, need(root, "opts"));
  SQUALL_TRY(need_array(stages, "opts"));
  options_as_written out(stages.size());
  for (std::size_t s = 0; s < stages.size(); ++s) {
    const std::string path = at("opts", s);
    SQUALL_TRY(need_array(stages.element(s), path));
    for (std::size_t o = 0; o < stages.element(s).size(); ++o) {
      const json_node option = stages.element(s).element(o);
      SQUALL_TRY(need_array(option, at(path, o), 2));
      std::array<decimal, 2> both;
      for (std::size_t c = 0; c < 2; ++c) {
        SQUALL_ASSIGN(number, read_decimal(option.element(c), at(at(path, o), c)));
        both[c] = number;
        places[c] = std::max(places[c], number.places);
      }
      out[s].push_back(both);
    }
  }
  return out;
}

result<parsed> read_problem(json_node root) {
  parsed out;
  SQUALL_ASSIGN(deps, need(root, "deps"));
  SQUALL_TRY(need_array(deps, "deps"));
  for (std::size_t s = 0; s < deps.size(); ++s) {
    SQUALL_TRY(need_array(deps.element(s), at("deps", s)));
    auto& waits_for = out.problem.deps.emplace_back();
    for (std::size_t i = 0; i < deps.element(s).size(); ++i) {
      SQUALL_ASSIGN(d, whole(deps.element(s).element(i), at(at("deps", s), i), 0, 1'000'000));
      waits_for.push_back(static_cast<std::uint32_t>(d));
    }
  }
  SQUALL_ASSIGN(options, read_options(root, out.places));
  for (std::size_t s = 0; s < options.size(); ++s) {
    auto& of = out.problem.options.emplace_back();
    for (std::size_t o = 0; o < options[s].size(); ++o) {
      std::array<std::int64_t, 2> scaled{};
      for (std::size_t c = 0; c < 2; ++c)
        if (__builtin_mul_overflow(options[s][o][c].digits, power_of_ten(out.places[c] - options[s][o][c].places),
                                   &scaled[c]))
          return {errc::invalid_argument,
                  at(at(at("opts", s), o), c) + ": too large beside the decimals of the others"};
      of.push_back({scaled[0], scaled[1], {}});
    }
  }
  return out;
}

void write_scaled(calls::json_writer& out, std::int64_t value, int places) {
  if (places == 0)
    out.number(value);
  else
    out.number(static_cast<double>(value) / static_cast<double>(power_of_ten(places)));
}

struct pareto_flags {
  double epsilon = 0;
  bool time = false;
};

result<std::string> answer(json_node root, const pareto_flags& flags) {
  SQUALL_ASSIGN(input, read_problem(root));
  policy::pareto_config config{.label_limit = 4'000'000, .epsilon_ppm = 50'000};
  if (flags.epsilon > 0)
    config = {.label_limit = 1'000, .epsilon_ppm = static_cast<std::uint32_t>(flags.epsilon * 1e6)};
  const auto begun = std::chrono::steady_clock::now();
  SQUALL_ASSIGN(front, policy::find_pareto_front(input.problem, config));
  const auto took = std::chrono::steady_clock::now() - begun;
  calls::json_writer out;
  out.begin_object();
  out.key("front");
  out.begin_array();
  for (const auto& point : front.points()) {
    out.begin_array();
    write_scaled(out, point.latency, input.places[0]);
    write_scaled(out, point.cost, input.places[1]);
    out.end_array();
  }
  out.end_array();
  if (front.loss_ppm() > 0)
    out("loss", static_cast<double>(front.loss_ppm()) * 1e-6);
  if (flags.time)
    out("us", std::chrono::duration<double, std::micro>(took).count());
  out.end_object();
  return out.take();
}

} // namespace

void add_pareto_verb(CLI::App& sim, int& status) {
  auto flags = std::make_shared<pareto_flags>();
  auto* verb = sim.add_subcommand("pareto",
                                  "the efficient plans of DAGs: problems on standard input, fronts on standard "
                                  "output, one a line");
  verb->add_option("--epsilon", flags->epsilon, "latencies may be so much higher, as a share, where that saves work")
      ->check(CLI::Range(0.0, 1000.0))
      ->envname("SQUALL_EPSILON");
  verb->add_flag("--time", flags->time, "add how long each took, in microseconds")->envname("SQUALL_TIME");
  verb->callback([&status, flags] { status = answer_lines([&](json_node root) { return answer(root, *flags); }); });
}

} // namespace squall::sim
