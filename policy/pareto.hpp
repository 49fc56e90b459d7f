#pragma once

#include "base/result.hpp"

#include <cstdint>
#include <memory>
#include <vector>

namespace squall::policy {

/// One way to run a stage. All numbers are whole, not negative, and so small that their sums over the DAG stay below
/// 2^60. `use` holds further things that add up over the stages and that a plan should have little of (lane-time on
/// each type of resource, memory); of the same length in all options of a problem, often 0.
struct plan_option {
  std::int64_t latency = 0;
  std::int64_t cost = 0;
  std::vector<std::int64_t> use{};
};

struct pareto_problem {
  std::vector<std::vector<std::uint32_t>> deps;  ///< per stage the stages that it waits for, all before it
  std::vector<std::vector<plan_option>> options; ///< per stage, one or more
};

struct pareto_config {
  /// More labels than this in one round are thinned, with the loss that `epsilon_ppm` allows in all.
  std::size_t label_limit = 100'000;
  std::uint32_t epsilon_ppm = 50'000;
};

/// The efficient plans of a DAG (thesis, 4.2, phase 1): for each, no plan is at least as good in latency, cost and
/// every `use`, and better in one. Of plans that are equal in all of these one is kept.
class pareto_front {
public:
  struct point {
    std::int64_t latency = 0; ///< of the critical path, everything loaded and idle
    std::int64_t cost = 0;    ///< sum over the stages
    std::vector<std::int64_t> use{};
    friend bool operator==(const point&, const point&) = default;
  };

  /// By rising latency, then cost, then `use`. Without `use`, cost falls along it.
  [[nodiscard]] const std::vector<point>& points() const { return points_; }
  /// For each stage, the index of the option that the i-th point's plan takes.
  [[nodiscard]] std::vector<std::uint32_t> plan(std::size_t i) const;
  /// 0: exact. Else every efficient (L, C, U) has a point with latency at most (1 + loss / 1,000,000) L, cost at most C
  /// and use at most U.
  [[nodiscard]] std::uint32_t loss_ppm() const { return loss_ppm_; }
  /// The most labels that a round held, for those who watch what it costs.
  [[nodiscard]] std::size_t most_labels() const { return most_labels_; }

  struct recovery; ///< how points came about

private:
  friend result<pareto_front> find_pareto_front(const pareto_problem& problem, const pareto_config& config);

  std::vector<point> points_;
  std::vector<std::uint32_t> origins_; ///< of each point, what recovery knows it by
  std::uint32_t loss_ppm_ = 0;
  std::size_t most_labels_ = 0;
  std::shared_ptr<const recovery> recovery_;
};

/// Finds the front without listing all plans:
///
/// - stages in series, and stages side by side between the same neighbours, become one stage whose options are the
/// front
///   of both: a series-parallel DAG ends as one stage, in time polynomial in the range of latencies;
/// - what remains is placed stage by stage, in the order that keeps few stages alive (ended, with a successor yet to be
///   placed). A label is a cost and the times at which live stages end; stages with the same successors left count as
///   one, a time is raised to what the successors wait for anyhow, and dominated labels are dropped.
///
/// An error names the stage that is wrong: no option, a dependency that is not before it, a number that is negative or
/// too large.
[[nodiscard]] result<pareto_front> find_pareto_front(const pareto_problem& problem, const pareto_config& config = {});

} // namespace squall::policy
