#pragma once

#include "base/random.hpp"
#include "calls/event_log.hpp"
#include "policy/node_queue.hpp"
#include "policy/scheduler.hpp"
#include "sim/agenda.hpp"
#include "sim/checks.hpp"
#include "sim/network.hpp"

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace squall::sim {

/// How a variant behaves: a batch of b takes execution * (1 + (b - 1) * beta), a load takes `load` and fails now and
/// then.
struct modelled_variant {
  calls::queueing::variant_known info;
  duration execution = std::chrono::milliseconds{1};
  std::uint32_t beta_permille = 1000; ///< of a second item's time beside the first
  duration load{0};
  std::uint32_t load_fails_permille = 0;
};

struct modelled_node {
  std::uint32_t cpu_lanes = 1;
  std::uint32_t gpu_lanes = 0;
  policy::node_queue_config queue;
};

/// What a stage of one call will do; the cores do not know it beforehand.
struct stage_physics {
  std::uint32_t width = 1; ///< of a map
  bool runs = true;        ///< of a conditional stage
};

struct modelled_call {
  time_point at;
  calls::placing::call_arrived fact; ///< `deadline` counts from `at` (as a time since the origin)
  std::vector<stage_physics> stages; ///< parallel to the DAG's; missing ones do nothing special
};

struct cluster_model_config {
  policy::scheduler_config scheduler;
  std::vector<modelled_variant> variants;
  std::vector<calls::placing::function_registered> functions;
  std::vector<calls::placing::dag_registered> dags;
  network_model net;
  duration detection = std::chrono::milliseconds{50}; ///< from a node's death until the scheduler hears of it
  bool record = false;                                ///< keep the event logs
};

/// What became of the calls.
struct cluster_report {
  std::uint64_t admitted = 0;
  std::uint64_t refused = 0;
  std::uint64_t ended_ok = 0;
  std::uint64_t failed = 0; ///< ended with an error of their nodes
  std::uint64_t abandoned = 0;
  std::uint64_t batches = 0;
  std::uint64_t items = 0;
  std::uint64_t loads = 0;
  std::map<call_id, duration> latency; ///< of calls that ended well, from arrival at the controller
};

/// A modelled cluster: one scheduler, a node_queue on each node, what a node does between them, and a network, under
/// virtual time. The unit workloads of the tests run on it; workload files and reports are a matter of whoever fills
/// it. Every step of either core is checked.
///
/// What nodes do: the home of a stage waits for its producers, sends its elements to the nodes that share them, and
/// tells its consumers; the exit reports the end of the call. A dropped item fails its call.
class cluster_model {
public:
  cluster_model(const cluster_model_config& config, std::uint64_t seed);
  ~cluster_model();
  cluster_model(const cluster_model&) = delete;
  cluster_model& operator=(const cluster_model&) = delete;

  /// Plans for the run. Nodes join with ids from 1 in the order of these calls' times.
  void join(time_point at, const modelled_node& node);
  void submit(const modelled_call& call);
  void withdraw(time_point at, call_id call);
  void set_policy(time_point at, const std::string& name);
  void kill_node(time_point at, node_id node);
  /// The lane's process dies and comes back after `down`; with `model_host` so do all residents of the resource.
  void kill_lane(time_point at, node_id node, lane_id lane, duration down, bool model_host);

  /// Called after each step of a core, for tests that look at it more closely. `nullptr` for the core that did not
  /// step.
  using observer = std::function<void(const policy::scheduler*, const policy::node_queue*, node_id)>;
  void observe(observer o);

  /// Until nothing is planned any more; then checks that nothing was forgotten.
  void run();

  [[nodiscard]] const cluster_report& report() const;
  [[nodiscard]] const violations& broken() const;
  [[nodiscard]] const policy::scheduler& scheduler() const;
  /// The event log of the scheduler, or of a node's queue, when recorded: one segment. The log is then empty.
  [[nodiscard]] std::vector<std::byte> take_log(std::optional<node_id> node = std::nullopt);
  [[nodiscard]] std::size_t nodes() const; ///< that ever joined

private:
  struct state;
  std::unique_ptr<state> state_;
};

} // namespace squall::sim
