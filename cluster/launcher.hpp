#pragma once

#include "base/log.hpp"
#include "base/result.hpp"
#include "cluster/config.hpp"
#include "cluster/process.hpp"

#include <functional>
#include <string>

namespace squall::cluster {

/// What runs, as the launcher tells it.
struct launched {
  std::string endpoint; ///< of the controller; with those that stand by, and commas between them
  std::string http;     ///< empty without
};

/// What every process of a cluster is told; `folder` is its own, below the cluster's data.
[[nodiscard]] process_spec base_spec(const cluster_config& config, std::string roles, const std::string& folder);

/// Starts the processes of a cluster on this host (store, controller, stand-bys, nodes, in this order), calls `ready`
/// when all listen, and keeps them alive: one that dies is started again, with the same address, after a pause that
/// grows. Returns when the cluster was asked to stop (SIGTERM, SIGINT, or a client's shutdown) and every process has
/// ended. Fails, leaving nothing behind, when one cannot be started at first.
[[nodiscard]] result<> run_cluster(const cluster_config& config, const std::function<void(const launched&)>& ready,
                                   logger& log);

} // namespace squall::cluster
