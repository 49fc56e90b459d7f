#pragma once

#include "actors/bridge.hpp"
#include "base/log.hpp"
#include "base/metrics.hpp"
#include "executors/user_workers.hpp"
#include "executors/worker_host.hpp"
#include "policy/node_queue.hpp"
#include "wire/arena.hpp"

#include <functional>
#include <memory>
#include <set>
#include <string>

namespace squall::executors {

struct node_options {
  std::string name;                ///< for people; unique in the cluster
  std::string controller_endpoint; ///< empty: the controller is a role of this process; or several, with commas
  std::string controller_key;      ///< its CURVE key
  std::string own_endpoint;        ///< where other nodes reach this process
  std::uint32_t lanes = 1;
  std::uint64_t memory_bytes = 0;         ///< for resident variants; 0 = half of the host's
  std::string data_folder;                ///< cache of models and event log
  std::uint64_t cache_bytes = 4ull << 30; ///< of models on the disk
  bool event_log = true;
  policy::node_queue_config queue;
  worker_host_options worker; ///< program and arguments; lanes are taken from above
  user_worker_options user;   ///< lanes likewise; without a program folder there is no user code
  std::set<std::string>
      trusted_functions; ///< native ones that the operator lets into the model host, without a sandbox
  /// The controller let the node go; `stay_away`: an operator drained it, it is not to come back.
  std::function<void(bool stay_away)> on_leave;
  std::function<actors::bridge_stats()> traffic; ///< of this process, for metrics; may be empty
};

/// Starts worker processes; a fake in tests.
using worker_starter = std::function<result<std::unique_ptr<worker_host>>(const worker_host_options&, actors::post&,
                                                                          wire::arena_map&, worker_listener&, logger&)>;

/// The node role: joins the controller (and again when that restarted), keeps the flows of the calls that run here,
/// drives node_queue and the worker, hands values to other nodes, answers for faults. Runs inline in the bridge.
[[nodiscard]] result<std::unique_ptr<actors::role_service>> make_node_service(const node_options& options,
                                                                              std::shared_ptr<wire::arena> arena,
                                                                              std::shared_ptr<wire::arena_map> arenas,
                                                                              worker_starter starter, logger& log);

} // namespace squall::executors
