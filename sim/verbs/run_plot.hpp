#pragma once

#include "sim/dag_model.hpp"

#include <map>
#include <string>
#include <vector>

namespace squall::sim {

/// Draws a run as SVG: a Gantt chart with a row for each lane (batches in the colour of their function, red where they
/// end after a member's deadline) and one for each node's loads (hatched), a strip of missed deadlines, and below it
/// what was offered and kept over time.
class run_plot final : public run_observer {
public:
  /// The workload must outlive the plot. Times in ms: what lies outside of them is left out.
  run_plot(const workload& input, std::int64_t from, std::int64_t to);

  void redeemed(std::int64_t t, std::size_t request, const offered& offer) override;
  void loading(std::int64_t t, replica_id replica, node_id node, variant_id variant) override;
  void running(std::int64_t t, replica_id replica, std::span<const calls::placing::task> tasks,
               std::int64_t until) override;
  void dropped(std::int64_t t, std::size_t request, const std::string& why) override;
  void finished(std::int64_t t, std::size_t request, calls::placing::micro_cost cost, bool kept) override;
  void lost(std::int64_t t, node_id node) override;

  [[nodiscard]] std::string svg(const std::string& title) const;

private:
  struct bar {
    std::int64_t begin = 0;
    std::int64_t end = 0;
    std::size_t node = 0;
    std::size_t row = 0; ///< of the node: a lane, or a place among loads that overlap
    std::size_t function = 0;
    std::size_t tasks = 0;
    bool late = false;
  };
  /// The first row that is free at `begin`.
  static std::size_t row_of(std::vector<std::int64_t>& busy_until, std::int64_t begin, std::int64_t end);
  [[nodiscard]] double x_of(std::int64_t t) const;
  void draw_bars(std::string& out, const std::vector<double>& top, double lane_px) const;
  void draw_axis(std::string& out, double top, double bottom) const;
  [[nodiscard]] double draw_legend(std::string& out, double top) const;
  void draw_goodput(std::string& out, double top, double height) const;

  const workload& input_;
  std::int64_t from_;
  std::int64_t to_;
  std::vector<bar> runs_;
  std::vector<bar> loads_;
  std::vector<std::pair<std::int64_t, std::int64_t>> losses_; ///< when, node
  std::vector<std::vector<std::int64_t>> lanes_busy_;         ///< per node and row
  std::vector<std::vector<std::int64_t>> loads_busy_;
  std::map<replica_id, std::pair<std::size_t, std::size_t>> replicas_; ///< node and function
  std::vector<std::int64_t> deadlines_;                                ///< per request
  std::vector<std::int64_t> missed_;                                   ///< deadlines
  std::vector<std::int64_t> kept_;                                     ///< when they finished
};

} // namespace squall::sim
