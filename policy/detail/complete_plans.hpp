#pragma once

#include "policy/detail/pareto_state.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

namespace squall::policy::detail {

/// Latencies and costs of complete plans that are known to be possible, none beaten by another.
class complete_plans {
public:
  [[nodiscard]] bool empty() const { return best_.empty(); }

  void add(std::int64_t latency, std::int64_t cost) {
    const auto at =
        std::upper_bound(best_.begin(), best_.end(), std::pair{latency, std::numeric_limits<std::int64_t>::max()});
    if (at != best_.begin() && std::prev(at)->second <= cost)
      return;
    auto from = at;
    if (from != best_.begin() && std::prev(from)->first == latency)
      --from;
    auto to = at;
    while (to != best_.end() && to->second >= cost)
      ++to;
    best_.insert(best_.erase(from, to), {latency, cost});
  }

  /// Whether a plan is known that is as good in both and better in one: then whatever is no better than this is not
  /// needed, as that plan, or one that beats it, is still to come out.
  [[nodiscard]] bool beats(std::int64_t latency, std::int64_t cost) const {
    const auto at =
        std::upper_bound(best_.begin(), best_.end(), std::pair{latency, std::numeric_limits<std::int64_t>::max()});
    return at != best_.begin() &&
           (std::prev(at)->second < cost || (std::prev(at)->second == cost && std::prev(at)->first < latency));
  }

private:
  std::vector<std::pair<std::int64_t, std::int64_t>> best_; ///< latency rising, cost falling
};

/// Ways to choose a point for every node at once: the fastest, the cheapest, and some between.
struct completion {
  std::vector<std::int64_t> latency; ///< per node
  std::vector<std::int64_t> cost;
  std::int64_t cost_left = 0; ///< of the nodes that are not placed
};

/// The first is the fastest, the last the cheapest.
[[nodiscard]] inline std::vector<completion> completions(const module_graph& graph) {
  // A unit of time is worth so much more from one to the next; the costs decide how much a unit of cost is.
  std::int64_t times = 1;
  std::int64_t costs = 1;
  for (const auto& node : graph.nodes)
    if (!node.gone)
      for (std::size_t p = 0; p < node.points.size(); ++p) {
        times = std::max(times, node.points.row(p)[0]);
        costs = std::max(costs, node.points.row(p)[1]);
      }
  const double unit = static_cast<double>(costs) / static_cast<double>(times);
  std::vector<completion> out;
  for (const double worth : {1e9, 8.0, 4.0, 2.0, 1.0, 0.5, 0.25, 0.0}) {
    completion c;
    c.latency.resize(graph.nodes.size());
    c.cost.resize(graph.nodes.size());
    for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
      const auto& node = graph.nodes[i];
      if (node.gone)
        continue;
      const auto price = [&](std::size_t p) {
        return worth * unit * static_cast<double>(node.points.row(p)[0]) + static_cast<double>(node.points.row(p)[1]);
      };
      std::size_t best = 0;
      for (std::size_t p = 1; p < node.points.size(); ++p)
        if (price(p) < price(best))
          best = p;
      c.latency[i] = node.points.row(best)[0];
      c.cost[i] = node.points.row(best)[1];
      c.cost_left += c.cost[i];
    }
    out.push_back(std::move(c));
  }
  return out;
}

} // namespace squall::policy::detail
