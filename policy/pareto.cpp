#include "policy/pareto.hpp"

#include "base/check.hpp"
#include "policy/detail/pareto_state.hpp"

#include <algorithm>
#include <cmath>

namespace squall::policy {

namespace {

constexpr std::int64_t most_in_all = std::int64_t{1} << 60;

/// A path like "opts[2][0][1]".
template <class... Indices>
std::string options_path(Indices... indices) {
  std::string out = "opts";
  ((out += "[" + std::to_string(indices) + "]"), ...);
  return out;
}

/// The sums of the greatest values must not leave the range in which all is computed.
result<> check_options(const pareto_problem& p) {
  const std::size_t uses = p.options.empty() || p.options[0].empty() ? 0 : p.options[0][0].use.size();
  std::vector<std::int64_t> sums(2 + uses, 0);
  for (std::size_t s = 0; s < p.options.size(); ++s) {
    if (p.options[s].empty())
      return {errc::invalid_argument, options_path(s) + ": a stage needs one option at least"};
    std::vector<std::int64_t> most(sums.size(), 0);
    for (std::size_t o = 0; o < p.options[s].size(); ++o) {
      const plan_option& option = p.options[s][o];
      if (option.use.size() != uses)
        return {errc::invalid_argument, options_path(s) + ": all options must tell the same uses"};
      for (std::size_t c = 0; c < sums.size(); ++c) {
        const std::int64_t n = c == 0 ? option.latency : c == 1 ? option.cost : option.use[c - 2];
        if (n < 0)
          return {errc::invalid_argument, options_path(s, o, c) + ": " + std::to_string(n) + " is below 0"};
        if (n > most_in_all - sums[c])
          return {errc::invalid_argument, options_path(s, o, c) + ": the sum over the stages is more than 2^60"};
        most[c] = std::max(most[c], n);
      }
    }
    for (std::size_t c = 0; c < sums.size(); ++c)
      sums[c] += most[c];
  }
  return {};
}

result<> check(const pareto_problem& p) {
  if (p.deps.size() != p.options.size())
    return {errc::invalid_argument, "deps: there are " + std::to_string(p.deps.size()) + " stages, opts has " +
                                        std::to_string(p.options.size())};
  for (std::size_t s = 0; s < p.deps.size(); ++s)
    for (std::size_t i = 0; i < p.deps[s].size(); ++i)
      if (p.deps[s][i] >= s)
        return {errc::invalid_argument, "deps[" + std::to_string(s) + "][" + std::to_string(i) + "]: stage " +
                                            std::to_string(p.deps[s][i]) + " does not come before"};
  return check_options(p);
}

std::uint32_t to_ppm(double factor) { return static_cast<std::uint32_t>(std::ceil((factor - 1) * 1e6 - 1e-6)); }

/// Follows a module's point down to the options.
void fill(const pareto_front::recovery& r, std::uint32_t module, std::uint32_t point,
          std::vector<std::uint32_t>& plan) {
  std::vector<std::pair<std::uint32_t, std::uint32_t>> todo{{module, point}};
  while (!todo.empty()) {
    const auto [at, which] = todo.back();
    todo.pop_back();
    const auto& m = r.modules[at];
    if (m.stage != pareto_front::recovery::none) {
      plan[m.stage] = m.left[which];
      continue;
    }
    const auto [left, right] = r.parts_of(m, which);
    todo.emplace_back(m.first, left);
    todo.emplace_back(m.second, right);
  }
}

} // namespace

std::pair<std::uint32_t, std::uint32_t> pareto_front::recovery::parts_of(const module& m, std::uint32_t point) const {
  if (!m.left.empty())
    return {m.left[point], m.right[point]};
  const std::int64_t latency = m.points.row(point)[0];
  const std::int64_t cost = m.points.row(point)[1];
  const detail::rows& a = modules[m.first].points;
  const detail::rows& b = modules[m.second].points;
  std::size_t i = 0;
  std::size_t j = b.size() - 1;
  if (!m.series) { // the cheapest of each that is no later
    for (i = a.size() - 1; a.row(i)[0] > latency;)
      --i;
    for (; b.row(j)[0] > latency;)
      --j;
    return {static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(j)};
  }
  for (; i < a.size(); ++i) {
    while (j > 0 && a.row(i)[0] + b.row(j)[0] > latency)
      --j;
    if (a.row(i)[0] + b.row(j)[0] == latency && a.row(i)[1] + b.row(j)[1] == cost)
      break;
  }
  SQUALL_CHECK(i < a.size(), latency, cost);
  return {static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(j)};
}

std::vector<std::uint32_t> pareto_front::plan(std::size_t i) const {
  const recovery& r = *recovery_;
  std::vector<std::uint32_t> out(r.stages, 0);
  std::uint32_t at = origins_[i];
  if (r.last != recovery::none)
    fill(r, r.last, at, out);
  for (std::size_t k = r.rounds.size(); k-- > 0;) {
    fill(r, r.rounds[k].module, r.rounds[k].point[at], out);
    at = r.rounds[k].before[at];
  }
  return out;
}

result<pareto_front> find_pareto_front(const pareto_problem& problem, const pareto_config& config) {
  SQUALL_TRY(check(problem));
  auto recovery = std::make_shared<pareto_front::recovery>();
  pareto_front front;
  recovery->stages = problem.deps.size();
  detail::module_graph graph = detail::make_graph(problem, *recovery);
  detail::reduce(graph, config, *recovery);
  std::vector<detail::module_graph::node*> left;
  for (auto& node : graph.nodes)
    if (!node.gone)
      left.push_back(&node);
  detail::placed_labels placed;
  if (left.size() == 1) {
    recovery->last = left.front()->module;
    placed = {left.front()->points, left.front()->lost, 0};
  } else if (left.empty()) {
    placed.points = {2, {0, 0}}; // a DAG without stages has one plan
  } else {
    placed = detail::place(graph, config, *recovery);
  }
  for (auto* node : left)
    recovery->modules[node->module].points = std::move(node->points);
  for (const std::uint32_t i : detail::efficient(placed.points)) {
    const std::int64_t* row = placed.points.row(i);
    front.points_.push_back({row[0], row[1], {row + 2, row + placed.points.width}});
    front.origins_.push_back(i);
  }
  front.loss_ppm_ = to_ppm(placed.lost);
  front.most_labels_ = std::max(placed.most_labels, graph.most_points);
  front.recovery_ = std::move(recovery);
  return front;
}

} // namespace squall::policy
