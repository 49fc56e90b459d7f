#include "cluster/process.hpp"

#include "actors/bridge.hpp"
#include "cluster/candidacy.hpp"
#include "cluster/http_face.hpp"
#include "cluster/key_files.hpp"
#include "cluster/log.hpp"
#include "cluster/python_environment.hpp"
#include "controller/controller_service.hpp"
#include "executors/node_service.hpp"
#include "kvs/store.hpp"
#include "kvs/store_service.hpp"
#include "wire/arena.hpp"

#include <bsd/unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <set>
#include <sstream>
#include <thread>

#include <pthread.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace squall::cluster {

namespace {

std::uint64_t random_number() {
  std::random_device source;
  return (static_cast<std::uint64_t>(source()) << 32 | source()) | 1;
}

/// Of one life of the process: it led and was replaced.
constexpr int deposed_status = -1;

/// What the launcher grants before it kills, less some.
constexpr auto drain_limit = std::chrono::seconds{8};

std::string program_folder() {
  std::error_code ignored;
  return std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path().string();
}

/// Lets calls in flight end on SIGTERM or SIGINT, for a while, and ends the bridge then; a second signal ends the
/// process at once. Looks at the list of keys now and then, too. Signals are blocked in all threads but this one.
class signal_watcher {
public:
  explicit signal_watcher(actors::bridge& bridge, key_watch keys, logger& log) {
    thread_ = std::thread{[&bridge, keys = std::move(keys), &log]() mutable { watch(bridge, keys, log); }};
  }
  ~signal_watcher() {
    pthread_kill(thread_.native_handle(), SIGUSR2);
    thread_.join();
  }

  static void block() {
    pthread_sigmask(SIG_BLOCK, &set(), nullptr);
    std::signal(SIGPIPE, SIG_IGN);
  }

private:
  static void watch(actors::bridge& bridge, key_watch& keys, logger& log) {
    using clock = std::chrono::steady_clock;
    bool draining = false;
    auto patience = clock::time_point::max();
    for (;;) {
      const timespec second{1, 0};
      const int signal = sigtimedwait(&set(), nullptr, &second);
      if (signal == SIGUSR2) // from the destructor
        return;
      if (signal > 0 && draining)
        ::_exit(1);
      if (signal > 0) {
        log.info("process", "stopping when what runs has ended", {{"signal", std::to_string(signal)}});
        draining = true;
        patience = clock::now() + drain_limit;
        bridge.drain();
      } else if (clock::now() >= patience) {
        log.warn("process", "stopping before all has ended");
        patience = clock::time_point::max();
        bridge.stop();
      }
      if (auto changed = keys.changed())
        bridge.allow(std::move(*changed));
    }
  }

  static const sigset_t& set() {
    static const sigset_t signals = [] {
      sigset_t s;
      sigemptyset(&s);
      for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR2})
        sigaddset(&s, signal);
      return s;
    }();
    return signals;
  }

  std::thread thread_;
};

struct process_parts {
  const process_spec& spec;
  const actors::curve_keys& keys;
  actors::bridge& bridge;
  logger& log;
  std::shared_ptr<wire::arena_map> arenas;
  kvs::store* store;        ///< null unless this process hosts the store
  std::atomic<int>& status; ///< of the process, when it has ended in good order
};

void host_store(process_parts& parts) {
  parts.bridge.host(wire::role::store, kvs::make_store_service(*parts.store, parts.arenas, parts.log),
                    actors::placing::detached);
}

controller::controller_options controller_options_of(const process_parts& parts) {
  controller::controller_options options;
  options.cluster = parts.spec.cluster;
  options.epoch = random_number();
  options.seed = options.epoch;
  options.store_endpoint = parts.spec.roles == "all" ? "" : parts.spec.store_endpoint;
  options.store_key = parts.keys.server_public;
  options.data_folder = parts.spec.data_folder;
  options.event_log = parts.spec.event_log;
  // What it names is told apart from what others before it named.
  options.scheduler.life = options.epoch >> 8 & 0xffff;
  options.first_node = ((options.epoch >> 24 & 0xfffff) << 20) + 1;
  std::error_code ignored;
  options.follows = std::filesystem::exists(parts.spec.data_folder + "/events/scheduler", ignored);
  options.default_deadline = parts.spec.default_deadline;
  options.scheduler.policy = parts.spec.policy;
  options.prices = {parts.spec.cpu_price, parts.spec.gpu_price};
  options.traffic = [&bridge = parts.bridge] { return bridge.stats(); };
  options.default_assurance_ppm = parts.spec.assurance_ppm;
  options.on_shutdown = [&bridge = parts.bridge, &status = parts.status, alone = parts.spec.roles == "controller"] {
    if (alone)
      status = shutdown_status;
    bridge.stop();
  };
  return options;
}

/// A controller beside which others stand by, or that stands by itself.
std::unique_ptr<actors::role_service> one_of_several(process_parts& parts) {
  candidacy_options options;
  options.leadership.self = random_number();
  options.leadership.endpoint = parts.bridge.endpoint();
  options.leadership.lease = parts.spec.lease;
  options.store_endpoint = parts.spec.store_endpoint;
  options.store_key = parts.keys.server_public;
  options.make_controller = [own = controller_options_of(parts), arenas = parts.arenas, &log = parts.log](
                                std::uint64_t term, std::function<std::vector<std::string>()> controllers) {
    controller::controller_options leading = own;
    leading.term = term;
    leading.follows = leading.follows || term > 1;
    leading.controllers = std::move(controllers);
    return controller::make_controller_service(leading, arenas, log);
  };
  if (!parts.spec.etcd.empty())
    options.make_arbiter = [etcd = parts.spec.etcd, cluster = parts.spec.cluster](actors::post& post) {
      return make_etcd_arbiter(etcd, cluster, post);
    };
  options.on_deposed = [&bridge = parts.bridge, &status = parts.status] {
    status = deposed_status;
    bridge.stop();
  };
  return make_candidacy(options, parts.log);
}

void host_controller(process_parts& parts) {
  const bool alone = parts.spec.lease == duration{0};
  parts.bridge.host(wire::role::controller,
                    alone ? controller::make_controller_service(controller_options_of(parts), parts.arenas, parts.log)
                          : one_of_several(parts),
                    actors::placing::inline_in_bridge);
}

std::string environment_variable(const char* name) {
  const char* const given = std::getenv(name);
  return given == nullptr ? "" : given;
}

/// Separated by commas.
std::set<std::string> words_of(const std::string& list) {
  std::set<std::string> words;
  std::istringstream in{list};
  for (std::string word; std::getline(in, word, ',');)
    if (!word.empty())
      words.insert(word);
  return words;
}

result<> host_node(process_parts& parts) {
  SQUALL_ASSIGN(arena, wire::arena::create());
  parts.arenas->add(arena);
  const std::uint32_t cores = std::max(1u, std::thread::hardware_concurrency());
  executors::node_options options;
  options.name = parts.spec.node_name;
  options.controller_endpoint = parts.spec.roles == "all" ? "" : parts.spec.controller_endpoint;
  options.controller_key = parts.keys.server_public;
  options.own_endpoint = parts.bridge.endpoint();
  options.lanes = parts.spec.slots ? parts.spec.slots : cores;
  options.memory_bytes = parts.spec.memory_bytes;
  options.data_folder = parts.spec.data_folder;
  options.event_log = parts.spec.event_log;
  options.worker.program = program_folder() + "/squall-model-host";
  options.user.program_folder = program_folder();
  // Of the operator of this host: no message can say so.
  options.user.unsandboxed = environment_variable("SQUALL_UNSANDBOXED") == "1";
  options.trusted_functions = words_of(environment_variable("SQUALL_TRUSTED_FUNCTIONS"));
  options.traffic = [&bridge = parts.bridge] { return bridge.stats(); };
  options.on_leave = [&bridge = parts.bridge, &status = parts.status](bool stay_away) {
    if (stay_away)
      status = retired_status;
    bridge.stop();
  };
  python_environment python = find_python(program_folder());
  options.user.python = std::move(python.interpreter);
  options.user.python_worker = std::move(python.worker);
  options.user.python_paths = std::move(python.paths);
  options.user.python_installer = std::move(python.installer);
  options.user.python_packages = std::filesystem::absolute(options.data_folder).string() + "/python";
  SQUALL_ASSIGN(service,
                executors::make_node_service(options, arena, parts.arenas, executors::worker_host::start, parts.log));
  parts.bridge.host(wire::role::node, std::move(service), actors::placing::inline_in_bridge);
  return {};
}

/// The exit status. `spec` learns the address.
result<int> serve(process_spec& spec, int ready_fd, logger& log) {
  key_watch watch{spec.keys_folder};
  SQUALL_ASSIGN(keys, load_key_folder(spec.keys_folder));
  std::error_code code;
  std::filesystem::create_directories(spec.data_folder, code);
  if (code)
    return error{errc::unavailable, "cannot make the data folder " + spec.data_folder + ": " + code.message(), {}};
  ::chmod(spec.data_folder.c_str(), 0700);
  wire::sweep_dead_arenas();

  const bool all = spec.roles == "all";
  std::unique_ptr<kvs::store> store; // outlives the bridge and with it the role that serves it
  if (all || spec.roles == "store") {
    SQUALL_ASSIGN(opened, kvs::open_rocksdb(spec.data_folder + "/store"));
    store = std::move(opened);
  }
  actors::bridge_options options;
  options.endpoint = spec.endpoint;
  options.unix_sockets = spec.unix_sockets;
  options.keys = keys;
  SQUALL_ASSIGN(bridge, actors::bridge::create(options, log));
  spec.endpoint = bridge->endpoint();
  std::atomic<int> status{0};
  process_parts parts{spec, keys, *bridge, log, wire::arena_map::create(), store.get(), status};
  if (store)
    host_store(parts);
  if (all || spec.roles == "controller")
    host_controller(parts);
  if (all || spec.roles == "node")
    SQUALL_TRY(host_node(parts));

  std::unique_ptr<http_face> http;
  if (!spec.http.empty() && (all || spec.roles == "controller")) {
    const std::string others = spec.controllers.empty() ? "" : "," + spec.controllers;
    SQUALL_ASSIGN(opened, http_face::open(spec.http, bridge->endpoint() + others, keys, log));
    http = std::move(opened);
    spec.http = http->address();
  }
  if (ready_fd >= 0) {
    const std::string line = bridge->endpoint() + " " + (http ? http->address() : "") + "\n";
    const bool told = ::write(ready_fd, line.data(), line.size()) == static_cast<ssize_t>(line.size());
    ::close(ready_fd);
    if (!told)
      log.warn("process", "nobody waits for this process to be ready");
  }
  log.info("process", "serving", {{"roles", spec.roles}, {"endpoint", bridge->endpoint()}});
  {
    const signal_watcher watcher{*bridge, std::move(watch), log};
    bridge->run();
  }
  log.info("process", "stopped");
  return status.load();
}

} // namespace

int run_process(const process_spec& spec, int ready_fd, logger& log) {
  signal_watcher::block();
  process_spec own = spec;
  auto served = serve(own, ready_fd, log);
  while (served && *served == deposed_status)
    served = serve(own, -1, log);
  if (!served)
    log.error("process", served.error().message, {{"code", std::string{to_string(served.error().code)}}});
  return served ? *served : 1;
}

int serve_roles(const process_spec& spec, int ready_fd) {
  const std::string name = spec.roles == "node" ? spec.node_name : spec.roles;
  const std::string what = spec.roles == "node" ? "node " + name : name;
  const std::string where = spec.endpoint.ends_with(":*") ? "" : " at " + spec.endpoint;
  ::prctl(PR_SET_NAME, "squall");
  ::setproctitle("-squall: %s of %s%s, data in %s", what.c_str(), spec.cluster.c_str(), where.c_str(),
                 spec.data_folder.c_str());
  const auto log = make_logger({log_level::info, false, name});
  return run_process(spec, ready_fd, *log);
}

} // namespace squall::cluster
