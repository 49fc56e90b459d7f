#include "client/discovery.hpp"

#include "calls/json.hpp"
#include "client/nearest.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

namespace squall::client {

namespace {

namespace fs = std::filesystem;

fs::path runtime_folder() {
  const char* base = std::getenv("XDG_RUNTIME_DIR");
  return fs::path{base && *base ? base : "/tmp"} / fmt::format("squall-{}", ::getuid());
}

result<std::string> read_text(const fs::path& path) {
  std::ifstream in{path, std::ios::binary};
  if (!in)
    return {errc::not_found, fmt::format("cannot open {}", path.string())};
  return std::string{std::istreambuf_iterator<char>{in}, {}};
}

std::string text_of(const calls::json_node& object, std::string_view key) {
  const auto found = object.find(key);
  return std::string{found ? found->as_string().value_or("") : ""};
}

error no_cluster(std::string_view name) {
  const auto names = known_clusters();
  if (names.empty())
    return {errc::not_found, "no cluster of yours runs on this host; start one with `squall up`, or name an endpoint with --cluster tcp://...", {}};
  const std::vector<std::string_view> views{names.begin(), names.end()};
  if (name.empty())
    return {errc::not_found, fmt::format("several clusters run here: {}; choose one with --cluster", fmt::join(views, ", ")), {}};
  return {errc::not_found, unknown_name("cluster", name, views), {}};
}

result<options> read_runtime_file(const std::string& name, const std::string& keys) {
  SQUALL_ASSIGN(text, read_text(runtime_folder() / (name + ".json")));
  SQUALL_ASSIGN(document, calls::json_document::parse(text));
  const auto pid = document.root().find("pid");
  const auto number = pid ? pid->as_uint64() : std::nullopt;
  if (number && ::kill(static_cast<pid_t>(*number), 0) != 0 && errno == ESRCH)
    return {errc::not_found, fmt::format("cluster '{}' has died (its process {} is gone); start it again with `squall up`", name, *number)};
  options found;
  found.endpoint = text_of(document.root(), "endpoint");
  const std::string folder = keys.empty() ? text_of(document.root(), "keys") : keys;
  if (!folder.empty()) {
    SQUALL_ASSIGN(loaded, load_keys(folder));
    found.keys = std::move(loaded);
  }
  return found;
}

result<std::string> read_key(const fs::path& path, bool secret) {
  struct stat info {};
  if (secret && ::stat(path.c_str(), &info) == 0 && (info.st_mode & 077) != 0)
    return {errc::permission_denied, fmt::format("others may read {}; run: chmod 600 {}", path.string(), path.string())};
  SQUALL_ASSIGN(text, read_text(path));
  text.erase(std::min(text.find_first_of(" \r\n\t"), text.size()));
  return text;
}

} // namespace

std::vector<std::string> known_clusters() {
  std::vector<std::string> names;
  std::error_code failure;
  for (const auto& file : fs::directory_iterator(runtime_folder(), failure))
    if (file.path().extension() == ".json")
      names.push_back(file.path().stem().string());
  std::ranges::sort(names);
  return names;
}

result<options> find_cluster(std::string_view where, const std::string& keys) {
  if (where.find("://") != std::string_view::npos) {
    options found;
    found.endpoint = where;
    if (!keys.empty()) {
      SQUALL_ASSIGN(loaded, load_keys(keys));
      found.keys = std::move(loaded);
    }
    return found;
  }
  const auto names = known_clusters();
  const auto known = [&](std::string_view name) { return std::ranges::find(names, name) != names.end(); };
  if (!where.empty())
    return known(where) ? read_runtime_file(std::string{where}, keys) : no_cluster(where);
  if (known(default_cluster_name))
    return read_runtime_file(std::string{default_cluster_name}, keys);
  return names.size() == 1 ? read_runtime_file(names[0], keys) : no_cluster({});
}

result<client::keys> load_keys(const std::string& folder) {
  const fs::path base{folder};
  SQUALL_ASSIGN(server, read_key(base / "server.public", false));
  SQUALL_ASSIGN(ours, read_key(base / "client.public", false));
  SQUALL_ASSIGN(secret, read_key(base / "client.secret", true));
  return client::keys{std::move(server), std::move(ours), std::move(secret)};
}

} // namespace squall::client
