#pragma once

#include "policy/scheduler.hpp"
#include "sim/workload.hpp"

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace squall::sim {

/// What happens in a run, as it happens. Times in milliseconds, non-decreasing; requests by their index in the
/// workload. What a log, a picture or a test makes of it is its own business.
class run_observer {
public:
  struct offered {
    std::int64_t finish = 0; ///< a time
    calls::placing::micro_cost cost = 0;
  };
  virtual ~run_observer() = default;
  /// `expected` is a time; none = the policy does not say.
  virtual void admitted(std::int64_t, std::size_t /*request*/, std::optional<std::int64_t> /*expected*/,
                        calls::placing::micro_cost) {}
  virtual void refused(std::int64_t, std::size_t /*request*/, std::span<const offered>) {}
  virtual void redeemed(std::int64_t, std::size_t /*request*/, const offered&) {}
  virtual void loading(std::int64_t, replica_id, node_id, variant_id) {}
  virtual void evicted(std::int64_t, replica_id) {}
  virtual void running(std::int64_t, replica_id, std::span<const calls::placing::task>, std::int64_t /*until*/) {}
  virtual void skipped(std::int64_t, std::size_t /*request*/, stage_index) {}
  virtual void dropped(std::int64_t, std::size_t /*request*/, const std::string& /*why*/) {}
  virtual void finished(std::int64_t, std::size_t /*request*/, calls::placing::micro_cost, bool /*kept*/) {}
  virtual void lost(std::int64_t, node_id) {}
};

struct dag_run_config {
  policy::scheduler_config scheduler; ///< its policy is a dispatch policy; limits on calls are lifted
  std::uint64_t seed = 1;
  std::uint32_t assurance_ppm = calls::placing::firm_ppm; ///< of every call
  bool cost_slos = true;                                  ///< false: no call has one
  bool measured = false; ///< of a live run: a batch is as much longer as its items are on average, and each task costs
                         ///< what its truth says
  std::vector<std::pair<std::int64_t, std::string>> policies; ///< set later: when (ms), and which
  std::int64_t delay = 0;                                     ///< ms, of each message between the scheduler and a node
  std::int64_t skew = 0;                                      ///< ms, by which clocks of nodes are ahead at most
  std::function<std::int64_t()> clock; ///< nanoseconds, to time decisions with; empty: they are not timed
  std::function<void(std::uint64_t)>
      progress; ///< called now and then with the number of calls that are over; may be empty
  std::uint64_t restore_every =
      0; ///< for tests: so often, in facts, a core is replaced by one restored from its snapshot
};

struct dag_run_summary {
  std::uint64_t offered = 0;
  std::uint64_t admitted = 0; ///< redeemed ones too
  std::uint64_t refused = 0;  ///< and not redeemed later
  std::uint64_t finished = 0;
  std::uint64_t met_latency = 0;
  std::uint64_t met_cost = 0;
  std::uint64_t met_both = 0;
  std::uint64_t broken = 0; ///< admitted and not within both
  std::uint64_t redeemed = 0;
  std::uint64_t redeemed_broken = 0;
  std::uint64_t loads = 0;
  std::uint64_t batches_gpu = 0;
  std::uint64_t tasks_gpu = 0;
  std::uint64_t facts = 0;               ///< fed to the cores
  std::int64_t end = 0;                  ///< ms: when nothing was left to do
  std::vector<std::int64_t> decision_ns; ///< of each step of the scheduler for an arrival, a redeemed ticket or a tick
};

/// A run of a workload: the shipped scheduler with a dispatch policy, a shipped node_queue on each node, and between
/// and below them the physics of docs/simulation.md. It decides nothing itself. Pure: the same workload, configuration
/// and seed give the same run.
class dag_model {
public:
  /// The workload and the observer must outlive the model.
  dag_model(const workload& input, const dag_run_config& config, run_observer& observer);
  ~dag_model();
  dag_model(const dag_model&) = delete;
  dag_model& operator=(const dag_model&) = delete;

  /// Until nothing is left to do. An error: the policy is not known, or what it ordered cannot be done (the message
  /// says when and what).
  [[nodiscard]] result<> run();
  [[nodiscard]] const dag_run_summary& summary() const;

private:
  struct state;
  std::unique_ptr<state> state_;
};

} // namespace squall::sim
