#include "sim/workload_kinds.hpp"

#include "base/random.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace squall::sim {

namespace placing = calls::placing;
using functions::resource_type;

namespace {

constexpr std::int64_t horizon_ms = 10'000;
constexpr std::uint64_t megabyte = 1'000'000;
constexpr placing::micro_cost unit = 1'000'000;

/// To the nearest whole number, halves to the even one.
std::int64_t whole(double n) { return static_cast<std::int64_t>(std::nearbyint(n)); }

/// Loads of 5 MB a ms on CPUs and 10 on GPUs; a ms costs 1 on CPUs and 15 on GPUs.
std::size_t add_function(workload& w, const std::string& name, std::int64_t cpu_ms, std::int64_t gpu_ms,
                         std::int64_t megabytes) {
  const auto bytes = static_cast<std::uint64_t>(megabytes) * megabyte;
  workload_function f{name, {}, {}};
  f.cpu = workload_variant{static_cast<double>(cpu_ms), megabytes / 5, bytes, cpu_ms * unit, 4, 0.85};
  f.gpu = workload_variant{static_cast<double>(gpu_ms), megabytes / 10, bytes, 15 * gpu_ms * unit, 16, 0.12};
  w.functions.push_back(std::move(f));
  return w.functions.size() - 1;
}

void add_ensemble(workload& w, double scale) {
  const std::string n = std::to_string(w.dags.size());
  const std::string e = "e" + n + ".";
  workload_dag dag{"ens" + n, {}};
  dag.stages.push_back({"prep", add_function(w, e + "prep", 4, 3, 100), {}, {}});
  struct member {
    const char* name;
    double cpu_ms;
    double gpu_ms;
    std::int64_t megabytes;
  };
  for (const member& m : {member{"m1", 40, 5, 300}, member{"m2", 60, 7, 450}, member{"m3", 90, 9, 600}})
    dag.stages.push_back(
        {m.name, add_function(w, e + m.name, whole(m.cpu_ms * scale), whole(m.gpu_ms * scale), m.megabytes), {0}, {}});
  dag.stages.push_back({"join", add_function(w, e + "join", 3, 2, 50), {1, 2, 3}, {}});
  w.dags.push_back(std::move(dag));
}

void add_cascade(workload& w, double scale) {
  const std::string n = std::to_string(w.dags.size());
  const std::string c = "c" + n + ".";
  workload_dag dag{"cas" + n, {}};
  dag.stages.push_back({"prep", add_function(w, c + "prep", 4, 3, 100), {}, {}});
  dag.stages.push_back({"small", add_function(w, c + "small", whole(25 * scale), whole(4 * scale), 250), {0}, {}});
  dag.stages.push_back({"big", add_function(w, c + "big", whole(140 * scale), whole(14 * scale), 900), {1}, 350'000});
  dag.stages.push_back({"pick", add_function(w, c + "pick", 3, 2, 50), {2}, {}});
  w.dags.push_back(std::move(dag));
}

/// What the calls of a DAG may ask for.
struct dag_figures {
  double cpu_latency = 0; ///< the longest path on CPUs
  double cheapest = 0;
  double dearest = 0;
};

dag_figures figures_of(const workload& w, const workload_dag& dag) {
  dag_figures out;
  std::vector<double> ends;
  for (const workload_stage& s : dag.stages) {
    const workload_function& f = w.functions[s.function];
    double begin = 0;
    for (const stage_index p : s.after)
      begin = std::max(begin, ends[p]);
    ends.push_back(begin + f.cpu->exec);
    out.cpu_latency = std::max(out.cpu_latency, ends.back());
    const auto [low, high] = std::minmax(f.cpu->cost, f.gpu->cost);
    out.cheapest += static_cast<double>(low) / unit;
    out.dearest += static_cast<double>(high) / unit;
  }
  return out;
}

/// The next arrival, in ms.
class arrival_process {
public:
  arrival_process(arrival_kind kind, double factor, random_source& random) : random_(random) {
    rates_ = {0.35, 0.35};
    if (kind == arrival_kind::bursty)
      rates_ = {0.15, 0.9};
    if (kind == arrival_kind::heavy)
      rates_ = {1.2, 1.2};
    for (double& r : rates_)
      r *= factor;
    change_ = random_.exponential(stays[0]);
  }
  double next() {
    // Within a phase arrivals have no memory, so what is left of a wait is drawn anew in the next phase.
    for (;;) {
      const double t = now_ + random_.exponential(1 / rates_[phase_]);
      if (t < change_)
        return now_ = t;
      now_ = change_;
      phase_ = 1 - phase_;
      change_ = now_ + random_.exponential(stays[phase_]);
    }
  }

private:
  static constexpr std::array<double, 2> stays{700, 300};
  random_source& random_;
  std::array<double, 2> rates_{};
  std::size_t phase_ = 0;
  double now_ = 0;
  double change_ = 0;
};

/// An index drawn by weights.
std::size_t drawn(const std::vector<double>& weights, random_source& random) {
  double sum = 0;
  for (const double w : weights)
    sum += w;
  double left = random.unit() * sum;
  for (std::size_t i = 0; i + 1 < weights.size(); ++i) {
    if (left < weights[i])
      return i;
    left -= weights[i];
  }
  return weights.size() - 1;
}

void add_requests(workload& w, arrival_kind arrivals, dag_kind dags, random_source& random) {
  struct slo_class {
    double latency;
    double cost;
  };
  constexpr std::array<slo_class, 3> classes{{{0.6, 1.0}, {1.3, 0.5}, {3.0, 0.1}}};
  std::vector<dag_figures> figures;
  std::vector<double> shares;
  for (const workload_dag& d : w.dags) {
    figures.push_back(figures_of(w, d));
    shares.push_back(arrivals == arrival_kind::heavy ? 1.0 / static_cast<double>(shares.size() + 1) : 1.0);
  }
  arrival_process process{arrivals, dags == dag_kind::cascade ? 2.0 : 1.0, random};
  for (double t = process.next(); t < static_cast<double>(horizon_ms); t = process.next()) {
    workload_request r;
    r.id = w.requests.size();
    r.arrival = static_cast<std::int64_t>(t);
    r.dag = drawn(shares, random);
    const slo_class& c = classes[drawn({0.3, 0.4, 0.3}, random)];
    const dag_figures& f = figures[r.dag];
    r.latency_slo = whole(c.latency * f.cpu_latency);
    r.cost_slo = whole(f.cheapest + c.cost * (f.dearest - f.cheapest)) * unit;
    for (stage_index s = 0; s < w.dags[r.dag].stages.size(); ++s)
      if (const auto chance = w.dags[r.dag].stages[s].chance_ppm; chance && random.below(1'000'000) >= *chance)
        r.truths.push_back({s, false, 1, 1});
    w.requests.push_back(std::move(r));
  }
}

} // namespace

std::optional<arrival_kind> arrival_kind_of(std::string_view name) {
  if (name == "steady")
    return arrival_kind::steady;
  if (name == "bursty")
    return arrival_kind::bursty;
  if (name == "heavy")
    return arrival_kind::heavy;
  return std::nullopt;
}

std::optional<dag_kind> dag_kind_of(std::string_view name) {
  if (name == "ensemble")
    return dag_kind::ensemble;
  if (name == "cascade")
    return dag_kind::cascade;
  return std::nullopt;
}

workload make_workload(arrival_kind arrivals, dag_kind dags, std::uint64_t seed) {
  workload w;
  w.horizon = horizon_ms;
  for (int i = 0; i < 4; ++i)
    w.nodes.push_back({"c" + std::to_string(i), resource_type::cpu, 8, 8000 * megabyte});
  for (int i = 4; i < 6; ++i)
    w.nodes.push_back({"g" + std::to_string(i), resource_type::gpu, 1, 2500 * megabyte});
  const std::vector<double> scales =
      arrivals == arrival_kind::heavy ? std::vector{0.4, 0.6, 0.8, 1.0, 1.6, 3.0} : std::vector{0.8, 1.0, 1.3};
  for (const double s : scales)
    dags == dag_kind::ensemble ? add_ensemble(w, s) : add_cascade(w, s);
  random_source random{seed};
  add_requests(w, arrivals, dags, random);
  return w;
}

workload make_table41(std::int64_t latency_slo) {
  workload w;
  w.horizon = 1200;
  for (int i = 0; i < 8; ++i)
    w.nodes.push_back({"c" + std::to_string(i), resource_type::cpu, 4, 8000 * megabyte});
  w.nodes.push_back({"g8", resource_type::gpu, 1, 12'000 * megabyte});
  workload_dag dag{"T", {}};
  struct member {
    double cpu_ms;
    double gpu_ms;
    std::uint64_t megabytes;
    std::int64_t cpu_cost;
  };
  const std::array<member, 5> members{
      {{2, 1, 1000, 2}, {9, 3, 3000, 7}, {10, 3, 3000, 8}, {11, 3, 3000, 9}, {3, 2, 1000, 2}}};
  for (std::size_t i = 0; i < members.size(); ++i) {
    const member& m = members[i];
    const std::string name = "t" + std::to_string(i);
    workload_function f{name, {}, {}};
    f.cpu = workload_variant{m.cpu_ms, 3, m.megabytes * megabyte, m.cpu_cost * unit, 4, 0.85};
    f.gpu = workload_variant{m.gpu_ms, 4, m.megabytes * megabyte, whole(5 * m.gpu_ms) * unit, 16, 0.12};
    w.functions.push_back(std::move(f));
    workload_stage stage{name, i, {}, {}};
    if (i == 4)
      stage.after = {1, 2, 3};
    else if (i > 0)
      stage.after = {0};
    dag.stages.push_back(std::move(stage));
  }
  w.dags.push_back(std::move(dag));
  for (std::int64_t t = 0; t < w.horizon; ++t) {
    workload_request r;
    r.id = static_cast<std::uint64_t>(t);
    r.arrival = t;
    r.latency_slo = latency_slo;
    r.cost_slo = 60 * unit;
    w.requests.push_back(r);
  }
  return w;
}

} // namespace squall::sim
