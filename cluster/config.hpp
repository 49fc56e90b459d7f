#pragma once

#include "base/result.hpp"
#include "base/time.hpp"
#include "calls/promise.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace squall::cluster {

struct node_config {
  std::string name;
  std::uint32_t slots = 0;        ///< lanes; 0 = cores of the host
  std::uint64_t memory_bytes = 0; ///< for resident variants; 0 = half of the host's
  std::string listen = "tcp://127.0.0.1:*";
};

/// A controller that waits to take over.
struct standby_config {
  std::string listen = "tcp://127.0.0.1:*";
  std::string http; ///< empty = no HTTP there
};

/// What an operator says of a cluster, in a file of kind Cluster or by flags (docs/cluster.md).
struct cluster_config {
  std::string name = "squall";
  std::string data_folder;                  ///< empty: a folder of the user's
  std::string listen = "tcp://127.0.0.1:*"; ///< of the controller
  std::string store_listen = "tcp://127.0.0.1:*";
  std::string http;        ///< "127.0.0.1:8000"; empty = no HTTP
  std::string keys_folder; ///< made by `squall keys new`; empty = no encryption, loopback only
  std::string policy = "fifo";
  bool event_log = true;
  bool unix_sockets = true; ///< for peers on this host; else they take TCP as well
  duration default_deadline = std::chrono::seconds{60};
  calls::micro_cost cpu_price = 1'000'000;       ///< of a millisecond of a CPU lane
  calls::micro_cost gpu_price = 15'000'000;      ///< of a device lane
  std::uint32_t assurance_ppm = calls::firm_ppm; ///< of calls with an SLO that do not say
  std::vector<node_config> nodes;                ///< empty: everything in one process
  std::vector<standby_config> standby;
  duration lease{0}; ///< of the leading controller; 0: there are no others, so it holds none
  std::string etcd;  ///< "http://..."; empty: the store keeps who leads
};

/// Reads a file of kind Cluster; errors say file, line and key.
[[nodiscard]] result<cluster_config> load_cluster_config(const std::string& path);

/// Where a cluster of that name keeps its data unless it is told: under XDG_DATA_HOME.
[[nodiscard]] std::string default_data_folder(const std::string& name);

} // namespace squall::cluster
