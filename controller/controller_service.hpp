#pragma once

#include "actors/role.hpp"
#include "base/log.hpp"
#include "policy/scheduler.hpp"
#include "wire/arena.hpp"

#include <functional>
#include <memory>
#include <string>

namespace squall::controller {

struct controller_options {
  std::string cluster = "squall";          ///< its name
  std::uint64_t epoch = 0;                 ///< random, one a process: clients and nodes notice a restart by it
  std::uint64_t seed = 0;                  ///< of the scheduler
  std::string store_endpoint;              ///< empty: the store is a role of this process
  std::string store_key;                   ///< its CURVE key
  std::string data_folder;                 ///< of the event log
  bool event_log = true;
  duration default_deadline = std::chrono::seconds{60};
  duration node_lease = std::chrono::milliseconds{3500};  ///< a node that is silent for longer is lost
  duration client_lease = std::chrono::seconds{10};       ///< a client likewise: its calls are cancelled
  std::size_t records_kept = 10'000;       ///< ended calls that can be described
  policy::scheduler_config scheduler;
  std::function<void()> on_shutdown;       ///< a client asked the cluster to stop
};

/// The controller role: admits and places calls by `policy::scheduler`, keeps the catalogue, nodes and records, and answers queries. Runs inline in the bridge.
[[nodiscard]] std::unique_ptr<actors::role_service> make_controller_service(const controller_options& options,
                                                                            std::shared_ptr<wire::arena_map> arenas, logger& log);

} // namespace squall::controller
