#pragma once

#include "policy/detail/efficient.hpp"
#include "policy/pareto.hpp"

#include <utility>

namespace squall::policy {

/// What a point is made of, so that its plan can be found again.
struct pareto_front::recovery {
  static constexpr std::uint32_t none = ~std::uint32_t{0};

  /// A stage, or two modules that were made one. Which points of the two a point is made of is either told by `left`
  /// and `right`, or follows from the points (see parts_of).
  struct module {
    std::uint32_t stage = none; ///< of a single stage: `left` of a point is the option
    std::uint32_t first = none;
    std::uint32_t second = none;
    bool series = false;
    detail::rows points{}; ///< latency, cost, uses
    std::vector<std::uint32_t> left{};
    std::vector<std::uint32_t> right{};
  };
  /// One placed module: per label, the label before and the module's point.
  struct round {
    std::uint32_t module = none;
    std::vector<std::uint32_t> before;
    std::vector<std::uint32_t> point;
  };

  std::vector<module> modules;
  std::vector<round> rounds; ///< empty where one module is left
  std::uint32_t last = none; ///< the module that is left then
  std::size_t stages = 0;

  /// The points of `first` and `second` that a point of the module consists of.
  [[nodiscard]] std::pair<std::uint32_t, std::uint32_t> parts_of(const module& m, std::uint32_t point) const;
};

namespace detail {

/// How much of the allowed loss was spent. Losses of steps that build on each other multiply.
class loss_budget {
public:
  explicit loss_budget(std::uint32_t epsilon_ppm) : allowed_(1 + static_cast<double>(epsilon_ppm) * 1e-6) {}

  /// The factor that the next step may lose when `spent` was lost before: a fourth of what is left.
  [[nodiscard]] double next(double spent) const { return 1 + (allowed_ / spent - 1) / 4; }
  [[nodiscard]] bool none() const { return allowed_ <= 1; }

private:
  double allowed_;
};

/// A DAG of modules, as reduced.
struct module_graph {
  struct node {
    std::uint32_t module = 0;          ///< index in recovery
    rows points;                       ///< latency, cost, uses; efficient, ascending
    double lost = 1;                   ///< factor that its latencies may be too high
    std::vector<std::uint32_t> before; ///< indices of nodes, ascending
    std::vector<std::uint32_t> after;
    bool gone = false;
  };
  std::vector<node> nodes;
  std::size_t most_points = 0;
};

/// Thins rows by their first `times` columns: of those whose times lie between the same two steps of a ladder with the
/// factor `factor`, only what the others do not beat stays. What goes has a row left that is at most `factor` times as
/// late and in no other column worse. Gives the indices that stay, in ascending order of the rows.
[[nodiscard]] std::vector<std::uint32_t> thinned(const rows& all, std::size_t times, double factor);

[[nodiscard]] module_graph make_graph(const pareto_problem& problem, pareto_front::recovery& recovery);
/// Makes one of what is in series and of what is side by side, until nothing is.
void reduce(module_graph& graph, const pareto_config& config, pareto_front::recovery& recovery);

struct placed_labels {
  rows points; ///< latency, cost, uses of complete plans
  double lost = 1;
  std::size_t most_labels = 0;
};
/// Places the nodes that are left, one after the other.
[[nodiscard]] placed_labels place(const module_graph& graph, const pareto_config& config,
                                  pareto_front::recovery& recovery);

} // namespace detail

} // namespace squall::policy
