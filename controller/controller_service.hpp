#pragma once

#include "actors/bridge.hpp"
#include "base/fields.hpp"
#include "base/log.hpp"
#include "controller/flow_control.hpp"
#include "policy/scheduler.hpp"
#include "wire/arena.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace squall::controller {

struct controller_options {
  std::string cluster = "squall"; ///< its name
  std::uint64_t epoch = 0;        ///< random, one a process: clients and nodes notice a restart by it
  std::uint64_t seed = 0;         ///< of the scheduler
  std::string store_endpoint;     ///< empty: the store is a role of this process
  std::string store_key;          ///< its CURVE key
  std::string data_folder;        ///< of the event log
  bool event_log = true;
  duration default_deadline = std::chrono::seconds{60};
  duration node_lease = std::chrono::milliseconds{3500}; ///< a node that is silent for longer is lost
  duration client_lease = std::chrono::seconds{10};      ///< a client likewise: its calls are cancelled
  std::size_t records_kept = 10'000;                     ///< ended calls that can be described
  policy::scheduler_config scheduler;
  calls::price_list prices;
  flow_limits flow;
  std::uint32_t default_assurance_ppm =
      calls::firm_ppm;                           ///< of calls with an SLO that do not say, under a policy that promises
  std::function<void()> on_shutdown;             ///< a client asked the cluster to stop
  std::function<actors::bridge_stats()> traffic; ///< of this process, for metrics; may be empty
  /// Of its leadership; grows from leader to leader. 0: there is only this controller. Nodes and the store obey nobody
  /// whose term is over.
  std::uint64_t term = 0;
  std::function<std::vector<std::string>()> controllers; ///< where others stand by, and this one; may be empty
  /// There was another before it, whose calls may still run: new ones wait until the nodes have said what they hold.
  bool follows = false;
  std::uint64_t first_node = 1; ///< number of its first node; others' nodes have other ones
};

/// The answer to the query "status", as JSON.
struct controller_status {
  std::string cluster;
  std::uint64_t epoch = 0;
  bool ready = false;
  std::string policy;
  std::uint64_t nodes = 0;
  std::uint64_t clients = 0;
  std::uint64_t calls_running = 0;
  std::uint64_t calls_ended = 0;
  std::uint64_t facts_left_out = 0;
  duration up{0};
  std::uint64_t term = 0;               ///< of its leadership; 0: it is the only one
  std::vector<std::string> controllers; ///< it and those that stand by, as clients and nodes know them
  std::int64_t wall_clock_ns = 0;       ///< of the controller, since 1970
  bool store_lost = false;              ///< it has not answered for longer than a lease
  duration store_silent{0};
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("cluster", s.cluster);
    v("epoch", s.epoch);
    v("ready", s.ready);
    v("policy", s.policy);
    v("nodes", s.nodes);
    v("clients", s.clients);
    v("calls_running", s.calls_running);
    v("calls_ended", s.calls_ended);
    v("facts_left_out", s.facts_left_out);
    v("up_ns", s.up);
    v("term", s.term);
    v("controllers", s.controllers);
    v("wall_clock_ns", s.wall_clock_ns);
    v("store_lost", s.store_lost);
    v("store_silent_ns", s.store_silent);
  }
};

/// The answer to the query "policy", as JSON.
struct policy_view {
  /// As policy::share_view, with nodes by name.
  struct second {
    std::string policy;
    std::uint32_t share_ppm = 0;
    std::string state;
    std::uint64_t calls = 0;
    std::uint64_t decided = 0;
    std::uint64_t admitted = 0;
    std::vector<std::string> nodes;
    template <class S, class V>
    static void fields(S& s, V& v) {
      v("policy", s.policy);
      v("share_ppm", s.share_ppm);
      v("state", s.state);
      v("calls", s.calls);
      v("decided", s.decided);
      v("admitted", s.admitted);
      v("nodes", s.nodes);
    }
  };
  std::string name; ///< in force
  std::optional<second> share;
  std::optional<policy::shadow_report> shadow;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("name", s.name);
    v("share", s.share);
    v("shadow", s.shadow);
  }
};

/// The controller role: admits and places calls by `policy::scheduler`, keeps the catalogue, nodes and records, and
/// answers queries. Runs inline in the bridge.
[[nodiscard]] std::unique_ptr<actors::role_service> make_controller_service(const controller_options& options,
                                                                            std::shared_ptr<wire::arena_map> arenas,
                                                                            logger& log);

} // namespace squall::controller
