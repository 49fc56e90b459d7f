#include "policy/pareto.hpp"

#include "base/random.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

namespace squall::policy {
namespace {

using point = pareto_front::point;

point evaluate(const pareto_problem& p, const std::vector<std::uint32_t>& plan) {
  point out;
  out.use.resize(p.options.empty() ? 0 : p.options[0][0].use.size());
  std::vector<std::int64_t> ends(plan.size());
  for (std::size_t s = 0; s < plan.size(); ++s) {
    const plan_option& o = p.options[s][plan[s]];
    std::int64_t start = 0;
    for (const std::uint32_t d : p.deps[s])
      start = std::max(start, ends[d]);
    ends[s] = start + o.latency;
    out.latency = std::max(out.latency, ends[s]);
    out.cost += o.cost;
    for (std::size_t u = 0; u < out.use.size(); ++u)
      out.use[u] += o.use[u];
  }
  return out;
}

bool as_good(const point& a, const point& b) {
  bool uses = true;
  for (std::size_t u = 0; u < a.use.size(); ++u)
    uses = uses && a.use[u] <= b.use[u];
  return a.latency <= b.latency && a.cost <= b.cost && uses;
}

/// The front by listing every plan.
std::vector<point> brute(const pareto_problem& p) {
  std::vector<point> all;
  std::vector<std::uint32_t> plan(p.deps.size(), 0);
  for (bool more = true; more;) {
    all.push_back(evaluate(p, plan));
    more = false;
    for (std::size_t s = 0; s < plan.size() && !more; ++s) {
      more = ++plan[s] < p.options[s].size();
      if (!more)
        plan[s] = 0;
    }
  }
  std::sort(all.begin(), all.end(), [](const point& a, const point& b) {
    return std::tie(a.latency, a.cost, a.use) < std::tie(b.latency, b.cost, b.use);
  });
  std::vector<point> out;
  for (const point& candidate : all) // what dominates a point stands before it
    if (std::none_of(out.begin(), out.end(), [&](const point& kept) { return as_good(kept, candidate); }))
      out.push_back(candidate);
  return out;
}

pareto_problem random_problem(random_source& r, std::uint64_t stages, std::uint64_t variants, std::uint64_t uses) {
  pareto_problem p;
  const std::uint64_t most = std::array<std::uint64_t, 3>{3, 20, 1000}[r.below(3)];
  const double density = r.unit();
  for (std::uint32_t s = 0; s < stages; ++s) {
    auto& deps = p.deps.emplace_back();
    for (std::uint32_t d = 0; d < s; ++d)
      if (r.unit() < density)
        deps.push_back(d);
    auto& options = p.options.emplace_back();
    const std::uint64_t count = 1 + r.below(variants);
    for (std::uint64_t o = 0; o < count; ++o) {
      const auto number = [&] { return static_cast<std::int64_t>(r.below(most + 1)); };
      plan_option& option = options.emplace_back(plan_option{number(), number(), {}});
      for (std::uint64_t u = 0; u < uses; ++u)
        option.use.push_back(number());
    }
  }
  return p;
}

pareto_front front_of(const pareto_problem& p, const pareto_config& config = {}) {
  auto front = find_pareto_front(p, config);
  EXPECT_TRUE(front.ok()) << front.error().message;
  return front.ok() ? *front : pareto_front{};
}

void expect_plans_give_their_points(const pareto_problem& p, const pareto_front& front) {
  for (std::size_t i = 0; i < front.points().size(); ++i)
    EXPECT_EQ(evaluate(p, front.plan(i)), front.points()[i]);
}

TEST(Pareto, EqualsListingAllPlansOfRandomDags) {
  random_source r{7};
  for (int i = 0; i < 800; ++i) {
    const pareto_problem p = random_problem(r, r.below(i < 780 ? 10 : 13), 3, 0);
    const pareto_front front = front_of(p);
    ASSERT_EQ(front.points(), brute(p)) << "problem " << i;
    EXPECT_EQ(front.loss_ppm(), 0U);
    expect_plans_give_their_points(p, front);
  }
}

TEST(Pareto, KeepsWhatIsEfficientInTheUseOfResources) {
  random_source r{8};
  for (int i = 0; i < 300; ++i) {
    const pareto_problem p = random_problem(r, 1 + r.below(7), 3, 1 + r.below(2));
    const pareto_front front = front_of(p);
    ASSERT_EQ(front.points(), brute(p)) << "problem " << i;
    expect_plans_give_their_points(p, front);
  }
}

TEST(Pareto, APlanWithoutGpuSurvivesBeingDearerByOneWhenGpuTimeCounts) {
  pareto_problem p;
  p.deps = {{}, {0}};
  p.options = {{{40, 41, {0}}, {5, 40, {5}}}, {{40, 41, {0}}, {5, 40, {5}}}};
  std::vector<std::int64_t> gpu_times;
  const pareto_front with_use = front_of(p);
  for (const point& x : with_use.points())
    gpu_times.push_back(x.use[0]);
  EXPECT_EQ(gpu_times, (std::vector<std::int64_t>{10, 5, 0}));
  for (auto& options : p.options)
    for (plan_option& o : options)
      o.use.clear();
  EXPECT_EQ(front_of(p).points(), (std::vector<point>{{10, 80, {}}}));
}

TEST(Pareto, EpsilonKeepsItsBoundWhereverItThins) {
  random_source r{9};
  std::size_t thinned = 0;
  for (int i = 0; i < 300; ++i) {
    const pareto_problem p = random_problem(r, 4 + r.below(7), 3, r.below(2));
    for (const std::uint32_t epsilon : {50'000U, 200'000U, 1'000'000U}) {
      const pareto_front front = front_of(p, {.label_limit = 3, .epsilon_ppm = epsilon});
      EXPECT_LE(front.loss_ppm(), epsilon);
      thinned += front.loss_ppm() > 0 ? 1 : 0;
      expect_plans_give_their_points(p, front);
      for (point wanted : brute(p)) {
        wanted.latency += wanted.latency * front.loss_ppm() / 1'000'000;
        EXPECT_TRUE(std::any_of(front.points().begin(), front.points().end(),
                                [&](const point& got) { return as_good(got, wanted); }))
            << "problem " << i << ": " << wanted.latency << ", " << wanted.cost;
      }
    }
  }
  EXPECT_GT(thinned, 100U);
}

TEST(Pareto, ALimitOfLabelsIsKeptByThinningAndSaid) {
  // Two chains of 60 stages with a crossing here and there; latencies so fine that hardly two plans are equal.
  random_source r{10};
  pareto_problem p;
  for (std::uint32_t s = 0; s < 60; ++s) {
    auto& deps = p.deps.emplace_back();
    if (s >= 2)
      deps.push_back(s - 2);
    if (s >= 2 && r.unit() < 0.2)
      deps.push_back(s - 2 + (s % 2 == 0 ? 1 : -1));
    const auto fast = static_cast<std::int64_t>(r.below(1'000'000'000));
    p.options.push_back({{fast, 2'000'000'000 - fast, {}},
                         {fast + static_cast<std::int64_t>(r.below(1'000'000'000)),
                          static_cast<std::int64_t>(r.below(1'000'000'000)),
                          {}}});
  }
  const pareto_front front = front_of(p, {.label_limit = 100, .epsilon_ppm = 50'000});
  EXPECT_GT(front.loss_ppm(), 0U);
  EXPECT_LE(front.loss_ppm(), 50'000U);
  expect_plans_give_their_points(p, front);
}

TEST(Pareto, LongSeriesParallelDagsAreExact) {
  // A chain of 200 forks of two: the least cost for each latency, by another way.
  random_source r{11};
  pareto_problem p;
  std::vector<std::int64_t> least{0}; // by latency
  std::uint32_t last = 0;
  for (std::uint32_t link = 0; link < 200; ++link) {
    const bool first = link == 0;
    const auto at = static_cast<std::uint32_t>(p.deps.size());
    for (int k = 0; k < 3; ++k) {
      p.deps.push_back(k == 2  ? std::vector<std::uint32_t>{at, at + 1}
                       : first ? std::vector<std::uint32_t>{}
                               : std::vector<std::uint32_t>{last});
      auto& options = p.options.emplace_back();
      for (int o = 0; o < 2; ++o)
        options.push_back({static_cast<std::int64_t>(r.below(10)), static_cast<std::int64_t>(r.below(10)), {}});
    }
    last = at + 2;
    std::vector<std::int64_t> next(least.size() + 20, std::numeric_limits<std::int64_t>::max());
    for (std::size_t from = 0; from < least.size(); ++from)
      for (int choice = 0; choice < 8 && least[from] < std::numeric_limits<std::int64_t>::max(); ++choice) {
        const plan_option& a = p.options[at][choice & 1];
        const plan_option& b = p.options[at + 1][choice >> 1 & 1];
        const plan_option& c = p.options[at + 2][choice >> 2];
        const auto to = from + static_cast<std::size_t>(std::max(a.latency, b.latency) + c.latency);
        next[to] = std::min(next[to], least[from] + a.cost + b.cost + c.cost);
      }
    least = std::move(next);
  }
  std::vector<point> expected;
  for (std::size_t l = 0; l < least.size(); ++l)
    if (least[l] < (expected.empty() ? std::numeric_limits<std::int64_t>::max() : expected.back().cost))
      expected.push_back({static_cast<std::int64_t>(l), least[l], {}});
  const pareto_front front = front_of(p);
  EXPECT_EQ(front.points(), expected);
  expect_plans_give_their_points(p, front);
}

TEST(Pareto, ADagWithoutStagesHasOnePlan) { EXPECT_EQ(front_of({}).points(), (std::vector<point>{{0, 0, {}}})); }

TEST(Pareto, BadProblemsAreRefusedWithTheirPlace) {
  const auto message = [](const pareto_problem& p) {
    const auto front = find_pareto_front(p);
    return front.ok() ? std::string{"no error"} : front.error().message;
  };
  EXPECT_EQ(message({{{}}, {}}), "deps: there are 1 stages, opts has 0");
  EXPECT_EQ(message({{{}, {1}}, {{{1, 1, {}}}, {{1, 1, {}}}}}), "deps[1][0]: stage 1 does not come before");
  EXPECT_EQ(message({{{}}, {{}}}), "opts[0]: a stage needs one option at least");
  EXPECT_EQ(message({{{}}, {{{1, -2, {}}}}}), "opts[0][0][1]: -2 is below 0");
  const std::int64_t big = std::int64_t{1} << 60;
  EXPECT_EQ(message({{{}, {}}, {{{big, 0, {}}}, {{1, 0, {}}}}}),
            "opts[1][0][0]: the sum over the stages is more than 2^60");
}

} // namespace
} // namespace squall::policy
