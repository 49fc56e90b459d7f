// How long the front of a DAG's plans takes: the median over some DAGs of each kind. The reference is the same
// everywhere, listing all plans of DAGs with 16 stages.
#include "policy/pareto.hpp"

#include "base/check.hpp"
#include "base/random.hpp"
#include "bench/support.hpp"

#include <algorithm>
#include <functional>
#include <map>

namespace squall::bench {
namespace {

using policy::pareto_problem;

/// Two variants a stage, the faster one dearer.
void add_options(pareto_problem& p, random_source& r) {
  for (std::size_t s = 0; s < p.deps.size(); ++s) {
    const auto slow = static_cast<std::int64_t>(10 + r.below(91));
    const auto cheap = static_cast<std::int64_t>(10 + r.below(91));
    p.options.push_back({{slow, cheap, {}},
                         {std::max<std::int64_t>(1, slow * static_cast<std::int64_t>(10 + r.below(50)) / 100),
                          cheap * static_cast<std::int64_t>(150 + r.below(450)) / 100,
                          {}}});
  }
}

pareto_problem any_dag(random_source& r, std::uint32_t stages) {
  pareto_problem p;
  for (std::uint32_t s = 0; s < stages; ++s) {
    auto& deps = p.deps.emplace_back();
    for (std::uint32_t d = 0; d < s; ++d)
      if (r.unit() < 0.3)
        deps.push_back(d);
  }
  add_options(p, r);
  return p;
}

/// Chains side by side with a crossing here and there.
pareto_problem chains(random_source& r, std::uint32_t stages, std::uint32_t width) {
  pareto_problem p;
  for (std::uint32_t s = 0; s < stages; ++s) {
    auto& deps = p.deps.emplace_back();
    for (std::uint32_t d = s < width ? 0 : s / width * width - width; s >= width && d < s / width * width; ++d)
      if (d % width == s % width || r.unit() < 0.2)
        deps.push_back(d);
  }
  add_options(p, r);
  return p;
}

/// Halves in series or side by side, down to single stages.
pareto_problem series_parallel(random_source& r, std::uint32_t stages) {
  pareto_problem p;
  using ends = std::pair<std::vector<std::uint32_t>, std::vector<std::uint32_t>>; // sources, sinks
  const std::function<ends(std::uint32_t)> build = [&](std::uint32_t n) -> ends {
    if (n == 1) {
      p.deps.emplace_back();
      const auto s = static_cast<std::uint32_t>(p.deps.size() - 1);
      return {{s}, {s}};
    }
    const auto first = 1 + static_cast<std::uint32_t>(r.below(n - 1));
    const bool series = r.below(2) == 0;
    ends a = build(first);
    const ends b = build(n - first);
    if (series) {
      for (const std::uint32_t s : b.first)
        p.deps[s].insert(p.deps[s].end(), a.second.begin(), a.second.end());
      return {a.first, b.second};
    }
    a.first.insert(a.first.end(), b.first.begin(), b.first.end());
    a.second.insert(a.second.end(), b.second.begin(), b.second.end());
    return a;
  };
  build(stages);
  add_options(p, r);
  return p;
}

void add_front(const std::map<std::int64_t, std::int64_t>& best, fnv1a& hash) {
  std::int64_t least = -1;
  for (const auto& [latency, cost] : best)
    if (least < 0 || cost < least) {
      hash.add(static_cast<std::uint64_t>(latency));
      hash.add(static_cast<std::uint64_t>(cost));
      least = cost;
    }
}

/// As the thesis does it: every plan is made and evaluated, then those that others beat are deleted (by sorting and one
/// sweep).
void list_all(const pareto_problem& p, fnv1a& hash) {
  const std::size_t stages = p.deps.size();
  std::vector<std::pair<std::int64_t, std::int64_t>> all;
  std::vector<std::int64_t> finish(stages);
  for (std::uint64_t plan = 0; plan < std::uint64_t{1} << stages; ++plan) {
    std::int64_t latest = 0;
    std::int64_t cost = 0;
    for (std::size_t s = 0; s < stages; ++s) {
      const auto& option = p.options[s][plan >> s & 1];
      std::int64_t start = 0;
      for (const std::uint32_t d : p.deps[s])
        start = std::max(start, finish[d]);
      finish[s] = start + option.latency;
      latest = std::max(latest, finish[s]);
      cost += option.cost;
    }
    all.emplace_back(latest, cost);
  }
  std::sort(all.begin(), all.end());
  std::map<std::int64_t, std::int64_t> best;
  for (const auto& [latency, cost] : all)
    best.try_emplace(latency, cost);
  add_front(best, hash);
}

void find_front(const pareto_problem& p, fnv1a& hash) {
  const auto front = policy::find_pareto_front(p);
  std::map<std::int64_t, std::int64_t> points;
  for (const auto& point : front->points())
    points[point.latency] = point.cost;
  add_front(points, hash);
}

/// The median over the problems, each solved some times, in microseconds.
double p50(const std::vector<pareto_problem>& problems, std::size_t times_each,
           const std::function<void(const pareto_problem&)>& solve) {
  std::vector<double> times;
  for (std::size_t i = 0; i < problems.size() * times_each; ++i) {
    const pareto_problem& p = problems[i / times_each];
    const std::int64_t begun = now_ns();
    solve(p);
    times.push_back(static_cast<double>(now_ns() - begun) / 1e3);
  }
  return median(std::move(times));
}

} // namespace
} // namespace squall::bench

int main(int argc, char** argv) {
  using namespace squall;
  using namespace squall::bench;
  const settings s = parse(argc, argv);
  pin_to_one_core();
  const std::size_t count = s.size(15, 3);
  const std::size_t rounds = s.size(7, 1);
  const auto several = [&](const std::function<pareto_problem(random_source&)>& make) {
    std::vector<pareto_problem> out;
    for (std::size_t i = 0; i < count; ++i) {
      random_source r{i + 1};
      out.push_back(make(r));
    }
    return out;
  };
  const auto listed = several([](random_source& r) { return any_dag(r, 16); });
  const std::vector<std::pair<std::string, std::vector<pareto_problem>>> kinds{
      {"pareto-n16", listed},
      {"pareto-n20", several([](random_source& r) { return any_dag(r, 20); })},
      {"pareto-w2-n40", several([](random_source& r) { return chains(r, 40, 2); })},
      {"pareto-w3-n30", several([](random_source& r) { return chains(r, 30, 3); })},
      {"pareto-sp-n1000", several([](random_source& r) { return series_parallel(r, 1000); })},
  };
  fnv1a of_listing;
  for (const pareto_problem& p : listed)
    list_all(p, of_listing);
  for (const auto& [name, problems] : kinds) {
    fnv1a work;
    for (const pareto_problem& p : problems)
      find_front(p, work);
    SQUALL_CHECK(name != "pareto-n16" || work.value() == of_listing.value());
    fnv1a ignored;
    const comparison c = compare(
        rounds, [&] { return p50(problems, 5, [&](const pareto_problem& p) { find_front(p, ignored); }); },
        [&] { return p50(listed, 1, [&](const pareto_problem& p) { list_all(p, ignored); }); });
    report(s, name, c, "us", work);
  }
  return 0;
}
