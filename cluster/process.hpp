#pragma once

#include "base/fields.hpp"
#include "base/log.hpp"
#include "base/time.hpp"
#include "calls/promise.hpp"

#include <cstdint>
#include <string>

namespace squall::cluster {

/// What one process of a cluster is told: which roles it hosts and where the others are. Travels as JSON on the command
/// line of a process that runs another version of the program.
struct process_spec {
  std::string roles; ///< "all", "controller", "store" or "node"
  std::string cluster = "squall";
  std::string data_folder;
  std::string endpoint = "tcp://127.0.0.1:*";
  std::string keys_folder;
  std::string controller_endpoint; ///< for a node; several with commas between them
  std::string store_endpoint;      ///< for a controller of its own
  std::string http;                ///< beside the controller
  std::string policy = "fifo";
  bool event_log = true;
  bool unix_sockets = true;
  duration default_deadline = std::chrono::seconds{60};
  calls::micro_cost cpu_price = 1'000'000;
  calls::micro_cost gpu_price = 15'000'000;
  std::uint32_t assurance_ppm = calls::firm_ppm;
  std::string node_name = "node";
  std::uint32_t slots = 0;        ///< 0 = cores
  std::uint64_t memory_bytes = 0; ///< 0 = half of the host's
  duration lease{0};              ///< of a controller that is not the only one; zero: it leads without asking
  std::string controllers;        ///< for the HTTP face of such a one: where others are, with commas
  std::string etcd; ///< where the record of the leadership is kept, such as http://127.0.0.1:2379; empty: in the store

  template <class S, class V>
  static void fields(S& s, V& v) {
    v("roles", s.roles);
    v("cluster", s.cluster);
    v("data_folder", s.data_folder);
    v("endpoint", s.endpoint);
    v("keys_folder", s.keys_folder);
    v("controller_endpoint", s.controller_endpoint);
    v("store_endpoint", s.store_endpoint);
    v("http", s.http);
    v("policy", s.policy);
    v("event_log", s.event_log);
    v("unix_sockets", s.unix_sockets);
    v("default_deadline_ns", s.default_deadline);
    v("cpu_price_micro", s.cpu_price);
    v("gpu_price_micro", s.gpu_price);
    v("assurance_ppm", s.assurance_ppm);
    v("node_name", s.node_name);
    v("slots", s.slots);
    v("memory_bytes", s.memory_bytes);
    v("lease_ns", s.lease);
    v("controllers", s.controllers);
    v("etcd", s.etcd);
  }
};

/// Exit statuses that tell the launcher more: a node that an operator drained; a controller that was asked to end the
/// cluster.
inline constexpr int retired_status = 3;
inline constexpr int shutdown_status = 4;

/// A controller that led and was replaced begins anew by itself, at its address, and stands by. Hosts the roles until
/// SIGTERM, SIGINT or a client's shutdown. The first signal lets calls in flight end, for up to 8 s; the second ends
/// the process at once. Once it listens it writes "endpoint HTTP-ADDRESS\n" to `ready_fd` (-1 = nowhere) and closes it.
/// Returns the exit status: 0 in good order, one of those above, 1 with an error that was logged. Call it from main
/// before any thread is made.
[[nodiscard]] int run_process(const process_spec& spec, int ready_fd, logger& log);

/// The same for a process that does nothing else: it logs to stderr, and lists of processes (ps) show what it serves.
/// There setproctitle_init() was called first in main.
[[nodiscard]] int serve_roles(const process_spec& spec, int ready_fd);

} // namespace squall::cluster
