#include "calls/json.hpp"
#include "cluster/config.hpp"
#include "cluster/detail/verbs.hpp"
#include "cluster/key_files.hpp"
#include "cluster/launcher.hpp"
#include "cluster/log.hpp"
#include "cluster/process.hpp"
#include "cluster/readiness.hpp"
#include "cluster/runtime_file.hpp"
#include "cluster/verbs.hpp"
#include "policy/scheduler.hpp"
#include "wire/arena.hpp"

#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

namespace squall::cluster {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

struct up_flags {
  std::string file;
  std::string name;
  std::string data;
  std::string listen;
  std::string http;
  std::string keys;
  std::string policy;
  bool detach = false;
  bool log_json = false;
};

result<cluster_config> configuration(const up_flags& flags) {
  cluster_config config;
  if (!flags.file.empty()) {
    SQUALL_ASSIGN(loaded, load_cluster_config(flags.file));
    config = std::move(loaded);
  }
  const auto override_with = [](std::string& value, const std::string& flag) {
    if (!flag.empty())
      value = flag;
  };
  override_with(config.name, flags.name);
  override_with(config.data_folder, flags.data);
  override_with(config.listen, flags.listen);
  override_with(config.http, flags.http);
  override_with(config.keys_folder, flags.keys);
  override_with(config.policy, flags.policy);
  SQUALL_TRY(policy::check_policy(config.policy));
  if (config.data_folder.empty())
    config.data_folder = default_data_folder(config.name);
  config.data_folder = std::filesystem::absolute(config.data_folder).string();
  if (!config.keys_folder.empty())
    config.keys_folder = std::filesystem::absolute(config.keys_folder).string();
  return config;
}

void announce(const cluster_config& config, const std::string& endpoint, const std::string& http) {
  if (auto written = write_runtime_file(config.name, {endpoint, static_cast<std::uint64_t>(::getpid()),
                                                      config.keys_folder, http, config.data_folder});
      !written)
    print_error(written.error());
}

/// Everything in this process.
int run_embedded(const cluster_config& config, logger& log) {
  process_spec spec;
  spec.roles = "all";
  spec.cluster = config.name;
  spec.data_folder = config.data_folder;
  spec.endpoint = config.listen;
  spec.keys_folder = config.keys_folder;
  spec.http = config.http;
  spec.policy = config.policy;
  spec.event_log = config.event_log;
  spec.unix_sockets = config.unix_sockets;
  spec.default_deadline = config.default_deadline;
  spec.cpu_price = config.cpu_price;
  spec.gpu_price = config.gpu_price;
  spec.assurance_ppm = config.assurance_ppm;
  spec.node_name = "local";
  int ready[2];
  if (::pipe2(ready, O_CLOEXEC) != 0)
    return print_error({errc::unavailable, "no pipe", {}});
  std::thread announcer{[&config, fd = ready[0]] {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    std::string line;
    char buffer[512];
    for (ssize_t n = 0; line.find('\n') == std::string::npos && (n = ::read(fd, buffer, sizeof buffer)) > 0;)
      line.append(buffer, static_cast<std::size_t>(n));
    ::close(fd);
    const auto space = line.find(' ');
    if (space != std::string::npos)
      announce(config, line.substr(0, space), line.substr(space + 1, line.size() - space - 2));
  }};
  const int status = run_process(spec, ready[1], log);
  ::close(ready[1]); // already closed when it was ready; else this ends the announcer
  announcer.join();
  return status;
}

int run_foreground(const cluster_config& config, bool log_json) {
  const auto log = make_logger({log_level::info, log_json, "up"});
  int status = 0;
  if (config.nodes.empty()) {
    status = run_embedded(config, *log);
  } else if (auto ran = run_cluster(
                 config, [&](const launched& at) { announce(config, at.endpoint, at.http); }, *log);
             !ran) {
    status = print_error(ran.error());
  }
  remove_runtime_file(config.name);
  return status;
}

/// Starts this program again in a session of its own, and waits until the cluster serves.
int run_detached(const cluster_config& config, std::vector<std::string> command_line) {
  const std::string folder = config.data_folder + "/logs";
  std::error_code code;
  std::filesystem::create_directories(folder, code);
  const std::string log = folder + "/up.log";
  const int file = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (file < 0)
    return print_error({errc::unavailable, "cannot write " + log, {}});
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::setsid();
    const int nothing = ::open("/dev/null", O_RDWR);
    ::dup2(nothing, STDIN_FILENO);
    ::dup2(file, STDOUT_FILENO);
    ::dup2(file, STDERR_FILENO);
    command_line.emplace_back("--foreground");
    std::vector<char*> arguments;
    for (std::string& argument : command_line)
      arguments.push_back(argument.data());
    arguments.push_back(nullptr);
    ::execv("/proc/self/exe", arguments.data());
    ::_exit(127);
  }
  ::close(file);
  const std::size_t nodes = std::max<std::size_t>(1, config.nodes.size());
  const auto served =
      await_serving(config.name, nodes, seconds{60}, [pid] { return ::waitpid(pid, nullptr, WNOHANG) == 0; });
  if (!served) {
    ::kill(pid, SIGTERM);
    return print_error({served.error().code, served.error().message + "; its log is " + log, {}});
  }
  std::printf("cluster '%s' serves at %s (%zu %s)%s%s\n", config.name.c_str(), served->endpoint.c_str(), nodes,
              nodes == 1 ? "node" : "nodes", served->http.empty() ? "" : ", HTTP at ", served->http.c_str());
  return 0;
}

int up(const up_flags& flags, bool foreground, const std::vector<std::string>& command_line) {
  auto config = configuration(flags);
  if (!config)
    return print_error(config.error());
  if (const auto running = read_runtime_file(config->name))
    return print_error({errc::already_exists,
                        "cluster '" + config->name + "' runs already (process " + std::to_string(running->pid) +
                            "); stop it with: squall down --name " + config->name + ", or choose another --name",
                        {}});
  wire::sweep_dead_arenas();
  if (flags.detach && !foreground)
    return run_detached(*config, command_line);
  return run_foreground(*config, flags.log_json);
}

int down(const std::string& name) {
  const auto running = read_runtime_file(name);
  if (!running) {
    const auto swept = wire::sweep_dead_arenas();
    if (swept)
      std::fprintf(stderr, "removed %zu arenas of dead processes\n", swept);
    return print_error(running.error());
  }
  const auto pid = static_cast<pid_t>(running->pid);
  ::kill(pid, SIGTERM);
  for (int waited_ms = 0; process_lives(running->pid); waited_ms += 20) {
    if (waited_ms == 15'000) {
      std::fprintf(stderr, "it does not stop: killing process %d\n", pid);
      ::kill(pid, SIGKILL);
    }
    if (waited_ms > 20'000)
      return print_error({errc::unavailable, "process " + std::to_string(pid) + " cannot be stopped", {}});
    std::this_thread::sleep_for(milliseconds{20});
  }
  remove_runtime_file(name);
  wire::sweep_dead_arenas();
  std::printf("cluster '%s' is down\n", name.c_str());
  return 0;
}

struct node_flags {
  std::string join;
  std::string listen = "tcp://127.0.0.1:*";
  std::string name;
  std::string keys;
  std::string data;
  std::uint32_t slots = 0;
  std::uint64_t memory = 0;
};

int node(const node_flags& flags) {
  process_spec spec;
  spec.roles = "node";
  spec.controller_endpoint = flags.join.starts_with("tcp://") ? flags.join : "tcp://" + flags.join;
  spec.endpoint = flags.listen;
  spec.keys_folder = flags.keys;
  char host[256] = "node";
  ::gethostname(host, sizeof host - 1);
  spec.node_name = flags.name.empty() ? std::string{host} + "-" + std::to_string(::getpid()) : flags.name;
  spec.data_folder = flags.data.empty() ? default_data_folder("node-" + spec.node_name) : flags.data;
  spec.slots = flags.slots;
  spec.memory_bytes = flags.memory;
  const auto log = make_logger({log_level::info, false, spec.node_name});
  return run_process(spec, -1, *log);
}

struct standby_flags {
  std::string file;
  std::string listen;
  std::string http;
  std::string keys;
  std::string data;
};

/// A controller for a cluster that another host's launcher runs: the same file says where that is.
int stand_by(const standby_flags& flags) {
  auto config = load_cluster_config(flags.file);
  if (!config)
    return print_error(config.error());
  const auto lacks = [&](const std::string& key, const std::string& value) {
    return print_error(
        {errc::invalid_argument,
         flags.file + ": " + key + " is " + (value.empty() ? "missing" : value) +
             "; for controllers on several hosts it must be an address that all of them reach, such as " +
             "tcp://10.0.0.1:7700",
         {}});
  };
  if (config->listen.ends_with(":*"))
    return lacks("listen", config->listen);
  if (config->store_listen.ends_with(":*"))
    return lacks("store.listen", config->store_listen);
  if (config->lease == duration{0})
    return print_error({errc::invalid_argument,
                        flags.file + ": the controller holds no lease; give the cluster one, such as lease: 3s",
                        {}});
  config->data_folder = flags.data.empty() ? default_data_folder("standby-" + config->name) : flags.data;
  if (!flags.keys.empty())
    config->keys_folder = flags.keys;
  process_spec spec = base_spec(*config, "controller", "standby");
  spec.endpoint = flags.listen;
  spec.http = flags.http;
  spec.store_endpoint = config->store_listen;
  spec.controllers = config->listen;
  const auto log = make_logger({log_level::info, false, "standby"});
  return run_process(spec, -1, *log);
}

void add_standby_verb(CLI::App& app, int& status) {
  auto flags = std::make_shared<standby_flags>();
  auto* verb = app.add_subcommand(
      "standby", "run a controller that takes over when a cluster's own is gone; runs until it is stopped");
  verb->add_option("-f,--file", flags->file, "file of kind Cluster, as of the cluster's `squall up`")
      ->required()
      ->envname("SQUALL_FILE");
  verb->add_option("--listen", flags->listen, "where clients and nodes reach it, such as tcp://10.0.0.2:7700")
      ->required()
      ->envname("SQUALL_LISTEN");
  verb->add_option("--http", flags->http, "address of its HTTP face (off)")->envname("SQUALL_HTTP");
  verb->add_option("--keys", flags->keys, "folder with the cluster's keys")->envname("SQUALL_KEYS");
  verb->add_option("--data", flags->data, "folder for its event log")->envname("SQUALL_DATA");
  verb->callback([&status, flags] { status = stand_by(*flags); });
}

int serve(const std::string& text, int ready_fd) {
  auto spec = calls::from_json<process_spec>(text);
  if (!spec)
    return print_error(spec.error());
  return serve_roles(*spec, ready_fd);
}

struct keys_flags {
  std::string folder;
  std::string name;
  std::string role = "user";
};

int new_keys(const keys_flags& flags) {
  const auto made = flags.name.empty() ? make_key_folder(flags.folder) : add_key(flags.folder, flags.role, flags.name);
  if (!made)
    return print_error(made.error());
  if (flags.name.empty())
    std::printf(
        "keys are in %s; the hosts of the cluster need this folder, clients get their own (squall keys new %s NAME)\n",
        flags.folder.c_str(), flags.folder.c_str());
  else
    std::printf("the keys of %s are in %s/%s; hand that folder over, and keep it secret\n", flags.name.c_str(),
                flags.folder.c_str(), flags.name.c_str());
  return 0;
}

int print_keys(const keys_flags& flags) {
  const auto entries = list_keys(flags.folder);
  if (!entries)
    return print_error(entries.error());
  std::printf("%-20s %-6s %s\n", "NAME", "ROLE", "KEY");
  for (const key_entry& e : *entries)
    std::printf("%-20s %-6s %s\n", e.name.empty() ? "-" : e.name.c_str(), e.role.c_str(), e.key.c_str());
  return 0;
}

void add_keys_verbs(CLI::App& app, int& status) {
  auto* keys_verb = app.add_subcommand("keys", "keys of a cluster that listens beyond loopback");
  keys_verb->require_subcommand(1);
  auto flags = std::make_shared<keys_flags>();
  auto* make = keys_verb->add_subcommand("new", "make the keys of a cluster, or of one more client of it");
  make->add_option("folder", flags->folder, "the cluster's folder")->required();
  make->add_option("name", flags->name, "of the client; its keys come into a folder of that name below");
  make->add_option("--role", flags->role, "what it may do: user, node or admin")->envname("SQUALL_ROLE");
  make->callback([&status, flags] { status = new_keys(*flags); });
  auto* list = keys_verb->add_subcommand("list", "show who may connect");
  list->add_option("folder", flags->folder)->required();
  list->callback([&status, flags] { status = print_keys(*flags); });
  auto* revoke = keys_verb->add_subcommand("revoke", "let a key in no more, also where it is connected");
  revoke->add_option("folder", flags->folder)->required();
  revoke->add_option("name", flags->name, "the name or the key")->required();
  revoke->callback([&status, flags] {
    const auto revoked = revoke_key(flags->folder, flags->name);
    status = revoked ? 0 : print_error(revoked.error());
  });
}

} // namespace

void add_up_verbs(CLI::App& app, const std::vector<std::string>& arguments, int& status) {
  auto flags = std::make_shared<up_flags>();
  auto foreground = std::make_shared<bool>(false);
  auto* up_verb =
      app.add_subcommand("up", "start a cluster: everything in one process, or the processes that -f lists");
  up_verb->add_option("-f,--file", flags->file, "file of kind Cluster")->envname("SQUALL_FILE");
  up_verb->add_option("--name", flags->name, "name of the cluster (squall)")->envname("SQUALL_NAME");
  up_verb->add_option("--data", flags->data, "folder for the store, logs and caches")->envname("SQUALL_DATA");
  up_verb->add_option("--listen", flags->listen, "where clients connect (tcp://127.0.0.1:*)")->envname("SQUALL_LISTEN");
  up_verb->add_option("--http", flags->http, "address of the HTTP face, such as 127.0.0.1:8000 (off)")
      ->envname("SQUALL_HTTP");
  up_verb->add_option("--keys", flags->keys, "folder made by `squall keys new`; needed beyond loopback")
      ->envname("SQUALL_KEYS");
  up_verb->add_option("--policy", flags->policy, "such as fifo, balance or calendar; docs/policies.md has them all")
      ->envname("SQUALL_POLICY");
  up_verb->add_flag("-d,--detach", flags->detach, "return when the cluster serves")->envname("SQUALL_DETACH");
  up_verb->add_flag("--log-json", flags->log_json, "log lines as JSON")->envname("SQUALL_LOG_JSON");
  up_verb->add_flag("--foreground", *foreground)->group("");
  up_verb->callback([&status, flags, foreground, arguments] { status = up(*flags, *foreground, arguments); });

  auto name = std::make_shared<std::string>("squall");
  auto* down_verb = app.add_subcommand("down", "stop a cluster of this host and leave nothing behind (but its data)");
  down_verb->add_option("--name", *name, "name of the cluster")->envname("SQUALL_NAME");
  down_verb->callback([&status, name] { status = down(*name); });

  auto node_options = std::make_shared<node_flags>();
  auto* node_verb =
      app.add_subcommand("node", "add a node of this host to a cluster elsewhere; runs until it is stopped");
  node_verb->add_option("--join", node_options->join, "address of the controller, such as tcp://10.0.0.1:7700")
      ->required()
      ->envname("SQUALL_JOIN");
  node_verb->add_option("--listen", node_options->listen, "where other nodes reach this one")->envname("SQUALL_LISTEN");
  node_verb->add_option("--name", node_options->name, "name of the node, unique in the cluster")
      ->envname("SQUALL_NODE_NAME");
  node_verb->add_option("--keys", node_options->keys, "folder with the cluster's keys")->envname("SQUALL_KEYS");
  node_verb->add_option("--data", node_options->data, "folder for the cache and logs")->envname("SQUALL_DATA");
  node_verb->add_option("--slots", node_options->slots, "lanes (cores)")->envname("SQUALL_SLOTS");
  node_verb->add_option("--memory", node_options->memory, "bytes for models")
      ->transform(CLI::AsSizeValue(false))
      ->envname("SQUALL_MEMORY");
  node_verb->callback([&status, node_options] { status = node(*node_options); });

  add_standby_verb(app, status);
  add_keys_verbs(app, status);
  auto spec = std::make_shared<std::string>();
  auto ready_fd = std::make_shared<int>(-1);
  auto* serve_verb =
      app.add_subcommand("serve", "host roles of a cluster (for the launcher of an older version)")->group("");
  serve_verb->add_option("--spec", *spec)->required();
  serve_verb->add_option("--ready-fd", *ready_fd);
  serve_verb->callback([&status, spec, ready_fd] { status = serve(*spec, *ready_fd); });
}

} // namespace squall::cluster
