#include "cluster/config.hpp"

#include "client/strict_yaml.hpp"
#include "client/units.hpp"
#include "policy/scheduler.hpp"

#include <cstdlib>
#include <set>

#include <unistd.h>

namespace squall::cluster {

namespace {

constexpr duration default_lease = std::chrono::seconds{3};
constexpr duration shortest_lease = std::chrono::milliseconds{500};
constexpr duration shortest_lease_of_etcd = std::chrono::seconds{2}; // an answer may take the time of a disk or two
constexpr duration longest_lease = std::chrono::minutes{5};

using client::yaml_mapping;
using client::yaml_view;

/// Sets `out` from a key when it is there.
result<> read(const yaml_mapping& from, std::string_view key, std::string& out) {
  if (const auto found = from.find(key)) {
    SQUALL_ASSIGN(text, found->text());
    out = std::move(text);
  }
  return {};
}

result<> read(const yaml_mapping& from, std::string_view key, bool& out) {
  if (const auto found = from.find(key)) {
    SQUALL_ASSIGN(flag, found->boolean());
    out = flag;
  }
  return {};
}

result<> read(const yaml_mapping& from, std::string_view key, std::uint64_t& out) {
  if (const auto found = from.find(key)) {
    SQUALL_ASSIGN(size, found->size_bytes());
    out = size;
  }
  return {};
}

result<node_config> read_node(const yaml_view& view) {
  SQUALL_ASSIGN(keys, view.mapping({"name", "slots", "memory", "listen"}));
  node_config node;
  SQUALL_ASSIGN(name, keys.require("name"));
  SQUALL_ASSIGN(text, name.text());
  node.name = std::move(text);
  if (const auto slots = keys.find("slots")) {
    SQUALL_ASSIGN(n, slots->integer(1, 1024));
    node.slots = static_cast<std::uint32_t>(n);
  }
  SQUALL_TRY(read(keys, "memory", node.memory_bytes));
  SQUALL_TRY(read(keys, "listen", node.listen));
  return node;
}

/// A text that `parse` understands; what it says of a wrong one is said with file and line.
template <class Parse, class T>
result<> read_with(const yaml_mapping& view, const char* key, Parse parse, T& out) {
  const auto node = view.find(key);
  if (!node)
    return {};
  SQUALL_ASSIGN(text, node->text());
  const auto parsed = parse(text);
  if (!parsed.ok())
    return node->fail(parsed.error().message);
  out = *parsed;
  return {};
}

result<> read_nodes(const yaml_view& view, cluster_config& config) {
  SQUALL_ASSIGN(items, view.items());
  std::set<std::string> names;
  for (const yaml_view& item : items) {
    SQUALL_ASSIGN(node, read_node(item));
    if (!names.insert(node.name).second)
      return item.fail("two nodes are named '" + node.name + "'; names must differ");
    config.nodes.push_back(std::move(node));
  }
  return {};
}

/// Who takes over from the controller, and when.
result<> read_leadership(const yaml_mapping& spec, cluster_config& config) {
  if (const auto standby = spec.find("standby")) {
    SQUALL_ASSIGN(items, standby->items());
    for (const yaml_view& item : items) {
      SQUALL_ASSIGN(keys, item.mapping({"listen", "http"}));
      standby_config one;
      SQUALL_TRY(read(keys, "listen", one.listen));
      SQUALL_TRY(read(keys, "http", one.http));
      config.standby.push_back(std::move(one));
    }
    if (config.nodes.empty())
      return standby->fail("a cluster in one process cannot have stand-bys; list its nodes, too");
    config.lease = default_lease;
  }
  if (const auto lease = spec.find("lease")) {
    SQUALL_ASSIGN(value, lease->duration());
    if (value < shortest_lease || value > longest_lease)
      return lease->fail("a lease lasts from 500ms to 5m; 3s is usual");
    config.lease = value;
  }
  SQUALL_TRY(read(spec, "etcd", config.etcd));
  if (const auto etcd = spec.find("etcd"); etcd && !config.etcd.starts_with("http://"))
    return etcd->fail("etcd's address looks like http://127.0.0.1:2379");
  if (!config.etcd.empty() && config.lease < shortest_lease_of_etcd)
    return spec.find("etcd")->fail("who leads can be kept in etcd only with a lease of 2s or more, such as lease: 3s");
  return {};
}

result<> read_spec(const yaml_view& view, cluster_config& config) {
  SQUALL_ASSIGN(spec, view.mapping({"data", "listen", "store", "http", "keys", "policy", "event-log", "unix-sockets",
                                    "default-deadline", "prices", "assurance", "nodes", "standby", "lease", "etcd"}));
  SQUALL_TRY(read(spec, "data", config.data_folder));
  SQUALL_TRY(read(spec, "listen", config.listen));
  SQUALL_TRY(read(spec, "http", config.http));
  SQUALL_TRY(read(spec, "keys", config.keys_folder));
  SQUALL_TRY(read(spec, "policy", config.policy));
  if (const auto known = policy::check_policy(config.policy); !known.ok())
    return spec.find("policy")->fail(known.error().message);
  SQUALL_TRY(read(spec, "event-log", config.event_log));
  SQUALL_TRY(read(spec, "unix-sockets", config.unix_sockets));
  if (const auto store = spec.find("store")) {
    SQUALL_ASSIGN(keys, store->mapping({"listen"}));
    SQUALL_TRY(read(keys, "listen", config.store_listen));
  }
  if (const auto deadline = spec.find("default-deadline")) {
    SQUALL_ASSIGN(value, deadline->duration());
    if (value <= duration{0})
      return deadline->fail("a deadline must be positive, such as 60s");
    config.default_deadline = value;
  }
  if (const auto prices = spec.find("prices")) {
    SQUALL_ASSIGN(keys, prices->mapping({"cpu", "gpu"}));
    SQUALL_TRY(read_with(keys, "cpu", client::parse_cost, config.cpu_price));
    SQUALL_TRY(read_with(keys, "gpu", client::parse_cost, config.gpu_price));
  }
  SQUALL_TRY(read_with(spec, "assurance", client::parse_assurance, config.assurance_ppm));
  if (const auto nodes = spec.find("nodes"))
    SQUALL_TRY(read_nodes(*nodes, config));
  return read_leadership(spec, config);
}

} // namespace

result<cluster_config> load_cluster_config(const std::string& path) {
  SQUALL_ASSIGN(documents, yaml_view::load(path));
  if (documents.size() != 1)
    return error{
        errc::invalid_argument, path + ": a cluster is one document, not " + std::to_string(documents.size()), {}};
  SQUALL_ASSIGN(top, documents.front().mapping({"apiVersion", "kind", "metadata", "spec"}));
  SQUALL_ASSIGN(version, top.require("apiVersion"));
  SQUALL_TRY(version.word("version", {"squall/v1"}));
  SQUALL_ASSIGN(kind, top.require("kind"));
  SQUALL_TRY(kind.word("kind", {"Cluster"}));
  cluster_config config;
  if (const auto metadata = top.find("metadata")) {
    SQUALL_ASSIGN(keys, metadata->mapping({"name"}));
    SQUALL_TRY(read(keys, "name", config.name));
  }
  if (const auto spec = top.find("spec"))
    SQUALL_TRY(read_spec(*spec, config));
  return config;
}

std::string default_data_folder(const std::string& name) {
  const char* data = std::getenv("XDG_DATA_HOME");
  if (data && *data)
    return std::string{data} + "/squall/" + name;
  const char* home = std::getenv("HOME");
  return (home && *home ? std::string{home} + "/.local/share/squall/"
                        : "/var/tmp/squall-" + std::to_string(::getuid()) + "/") +
         name;
}

} // namespace squall::cluster
