#pragma once

#include "base/result.hpp"
#include "policy/scheduler.hpp"
#include "sim/dag_model.hpp"
#include "sim/workload.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace squall::sim {

/// What became of the calls of one DAG, live or in a model.
struct attainment {
  std::uint64_t offered = 0;
  std::uint64_t admitted = 0;
  std::uint64_t met = 0; ///< ended well, within the latency and the cost SLO
  std::uint64_t broken = 0;
  duration latency_sum{0}; ///< of those that ended well
  std::uint64_t ended = 0;
  calls::micro_cost cost_sum = 0;

  void add(const attainment& other);
  [[nodiscard]] double share() const {
    return offered == 0 ? 0 : static_cast<double>(met) / static_cast<double>(offered);
  }
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("offered", s.offered);
    v("admitted", s.admitted);
    v("met", s.met);
    v("broken", s.broken);
    v("ended", s.ended);
    v("latency_sum_ns", s.latency_sum);
    v("cost_sum_micro", s.cost_sum);
  }
};

/// A recorded run as a workload for the model: its arrivals, the profiles as they were learned, and what was true of
/// each stage of each call.
struct recorded_run {
  workload input;
  std::string policy;
  std::int64_t delay = 0;                   ///< ticks: a message between the controller and a node
  std::map<std::uint64_t, attainment> live; ///< by number of the DAG
  std::vector<std::uint64_t> dag_numbers;   ///< of input.dags
};

/// Reads the scheduler's event log (docs/event-log.md), one segment at a time, and steps a scheduler with it, as facts
/// alone do not say what was decided. Pure: the caller reads the files.
class recording {
public:
  recording();
  ~recording();
  recording(const recording&) = delete;
  recording& operator=(const recording&) = delete;

  [[nodiscard]] result<> feed(std::span<const std::byte> segment);
  /// An error when no call with a deadline was recorded.
  [[nodiscard]] result<recorded_run> finish();

private:
  struct state;
  std::unique_ptr<state> state_;
};

/// A change that `--set` asks for: `policy=NAME`, `nodes.cpu+=1`, `nodes.gpu-=1`, `nodes.lanes=4`, `slo.scale=0.8`,
/// `cost.scale=2`, `rate.scale=1.5`. Errors name what is wrong and what there is.
[[nodiscard]] result<> apply_change(recorded_run& run, std::string_view change);

/// What the model makes of it, by number of the DAG.
struct whatif_outcome {
  std::map<std::uint64_t, attainment> dags;
  dag_run_summary summary;
};
[[nodiscard]] result<whatif_outcome> run_whatif(const recorded_run& run, std::uint64_t seed);

} // namespace squall::sim
