#include "policy/front.hpp"

#include "policy/pareto.hpp"

#include <algorithm>
#include <set>

namespace squall::policy {

namespace placing = calls::placing;

namespace {

/// More than this many at a time are thinned, by at most a twentieth of the latency.
constexpr pareto_config config{.label_limit = 20'000, .epsilon_ppm = 50'000};

std::int64_t us(duration d) { return (d.count() + 999) / 1000; }

plan_option option_of(const placing::front_stage::option& o) {
  return {us(o.latency), o.cost, {us(o.cpu), us(o.gpu), static_cast<std::int64_t>(o.gpu_bytes >> 20)}};
}

/// Indices of the points to keep, ascending.
std::set<std::size_t> spread(const std::vector<pareto_front::point>& points) {
  std::set<std::size_t> out;
  if (points.empty())
    return out;
  const auto least = [&](auto of) {
    std::size_t best = 0;
    for (std::size_t i = 1; i < points.size(); ++i)
      if (of(points[i]) < of(points[best]))
        best = i;
    out.insert(best);
  };
  least([](const auto& p) { return p.latency; });
  least([](const auto& p) { return p.cost; });
  for (std::size_t u = 0; u < points.front().use.size(); ++u)
    least([u](const auto& p) { return p.use[u]; });
  for (std::size_t k = 0; out.size() < std::min(front_plans, points.size()) && k < front_plans; ++k)
    out.insert(k * (points.size() - 1) / (front_plans - 1));
  for (std::size_t i = 0; i < points.size() && out.size() < std::min(front_plans, points.size()); ++i)
    out.insert(i);
  return out;
}

} // namespace

placing::front_ready find_front(const placing::compute& wanted) {
  placing::front_ready out{wanted.dag, {}, 0};
  pareto_problem problem;
  for (const placing::front_stage& stage : wanted.stages) {
    problem.deps.emplace_back(stage.producers.begin(), stage.producers.end());
    auto& options = problem.options.emplace_back();
    for (const placing::front_stage::option& o : stage.options)
      options.push_back(option_of(o));
  }
  const auto front = find_pareto_front(problem, config);
  if (!front.ok())
    return out;
  out.loss_ppm = front->loss_ppm();
  for (const std::size_t i : spread(front->points()))
    out.plans.push_back(front->plan(i));
  return out;
}

} // namespace squall::policy
