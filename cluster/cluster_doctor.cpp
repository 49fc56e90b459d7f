#include "calls/json.hpp"
#include "client/cluster.hpp"
#include "cluster/detail/verbs.hpp"
#include "cluster/doctor.hpp"
#include "cluster/key_files.hpp"
#include "cluster/runtime_file.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <optional>

#include <sys/statvfs.h>

namespace squall::cluster {

namespace {

namespace fs = std::filesystem;
using grade = finding::grade;

std::int64_t number_of(const calls::json_node& from, std::string_view name) {
  const auto found = from.find(name);
  return found ? found->as_int64().value_or(0) : 0;
}

std::string text_of(const calls::json_node& from, std::string_view name) {
  const auto found = from.find(name);
  return found ? std::string{found->as_string().value_or("")} : std::string{};
}

finding look_at_controller(client::cluster& cluster) {
  const auto round_trip = cluster.ping();
  if (!round_trip)
    return {grade::bad, "controller", round_trip.error().message, "look at `squall logs controller`"};
  const double ms = static_cast<double>(round_trip->count()) / 1e6;
  const std::string found = fmt::format("answers in {:.1f} ms", ms);
  if (ms > 100)
    return {grade::poor, "controller", found, "its host is too busy, or the network slow"};
  return {grade::good, "controller", found, ""};
}

std::string seconds_text(duration time) { return fmt::format("{:.1f} s", std::chrono::duration<double>{time}.count()); }

/// A wall clock that differs by so much more than can be told for sure is worth a word.
constexpr duration clock_tolerance = std::chrono::milliseconds{500};

/// None when the clocks agree. `ahead` may be off by `uncertainty` either way.
std::optional<finding> look_at_clock(std::string what, duration ahead, duration uncertainty, const std::string& whose) {
  if (std::chrono::abs(ahead) <= uncertainty + clock_tolerance)
    return std::nullopt;
  return finding{grade::poor, std::move(what),
                 "its clock is " + seconds_text(std::chrono::abs(ahead)) +
                     (ahead > duration{0} ? " ahead of" : " behind") + " " + whose,
                 "calls do not mind, but its logs and event logs bear another time: let NTP set the clocks"};
}

void look_at_status(client::cluster& cluster, std::vector<finding>& out) {
  const auto asked = std::chrono::steady_clock::now();
  const auto body = cluster.query("status");
  const duration took = std::chrono::steady_clock::now() - asked;
  const auto status = body ? calls::json_document::parse(*body) : body.error();
  if (!status) {
    out.push_back({grade::bad, "status", status.error().message, "look at `squall logs controller`"});
    return;
  }
  const auto ready = status->root().find("ready");
  if (!ready || !ready->as_boolean().value_or(false))
    out.push_back(
        {grade::bad, "catalogue", "the controller has not read it", "is the store there? `squall logs store`"});
  if (const auto left_out = number_of(status->root(), "facts_left_out"); left_out > 0)
    out.push_back({grade::poor, "event log", fmt::format("{} facts were left out", left_out),
                   "the disk was full or too slow; replays of that time are not exact"});
  const duration clock{number_of(status->root(), "wall_clock_ns")};
  const duration ahead = clock - std::chrono::system_clock::now().time_since_epoch() + took / 2;
  if (const auto skewed = look_at_clock("controller's clock", ahead, took / 2, "this host's");
      skewed && clock > duration{0})
    out.push_back(*skewed);
  const auto lost = status->root().find("store_lost");
  const double silent = static_cast<double>(number_of(status->root(), "store_silent_ns")) / 1e9;
  if (lost && lost->as_boolean().value_or(false))
    out.push_back({grade::bad, "store", fmt::format("has not answered for {:.1f} s: its lease is over", silent),
                   "is its process there, and its disk? `squall logs store`"});
  if (number_of(status->root(), "nodes") == 0)
    out.push_back({grade::bad, "nodes", "there is none",
                   "start one: squall node --join ..., or look at the logs of those that should be here"});
}

finding look_at_node(const calls::json_node& node) {
  const std::string what = "node " + text_of(node, "name");
  const double silent = static_cast<double>(number_of(node, "silent_ns")) / 1e9;
  const auto queued = number_of(node, "queued");
  const auto lanes = number_of(node, "lanes");
  if (silent > 2)
    return {grade::bad, what, fmt::format("has been silent for {:.1f} s; it beats each second", silent),
            "its host is too busy or hangs, or the network loses packets; at 3.5 s it is lost"};
  if (const auto pace = number_of(node, "pace_permille"); pace > 2000)
    return {grade::poor, what,
            fmt::format("takes {:.1f} times as long as others for the same work", static_cast<double>(pace) / 1000),
            "its host is too busy, throttled or ill: look there, or `squall drain` it"};
  if (const duration slowest{number_of(node, "slowest_beat_ns")}; slowest > std::chrono::seconds{2})
    return {grade::poor, what, "beats each second, but once was silent for " + seconds_text(slowest),
            "its host is too busy or hangs now and then, or the network loses packets"};
  if (queued > 100 * std::max<std::int64_t>(lanes, 1))
    return {grade::poor, what, fmt::format("{} items wait for {} lanes", queued, lanes),
            "more nodes, or fewer calls: `squall get metrics` says of what"};
  return {grade::good, what, fmt::format("beats; {} items wait, {} batches run", queued, number_of(node, "running")),
          ""};
}

void look_at_nodes(client::cluster& cluster, std::vector<finding>& out) {
  const auto body = cluster.query("nodes");
  const auto nodes = body ? calls::json_document::parse(*body) : body.error();
  if (!nodes)
    return;
  for (std::size_t i = 0; i < nodes->root().size(); ++i) {
    const calls::json_node node = nodes->root().element(i);
    out.push_back(look_at_node(node));
    if (const auto skewed = look_at_clock("node " + text_of(node, "name"), duration{number_of(node, "clock_ahead_ns")},
                                          duration{number_of(node, "clock_uncertainty_ns")}, "the controller's"))
      out.push_back(*skewed);
  }
}

/// Functions that no longer take what their profiles said.
void look_at_profiles(client::cluster& cluster, std::vector<finding>& out) {
  const auto body = cluster.query("functions");
  const auto functions = body ? calls::json_document::parse(*body) : body.error();
  for (std::size_t i = 0; functions && i < functions->root().size(); ++i) {
    const calls::json_node function = functions->root().element(i);
    if (const std::string drift = text_of(function, "drift"); !drift.empty())
      out.push_back({grade::poor, "function " + text_of(function, "name"), "drifts from its profile: " + drift,
                     "promises follow the new times; is its node busy with other things, or are its inputs others?"});
  }
}

finding look_at_disk(const std::string& folder) {
  struct statvfs info {};
  if (::statvfs(folder.c_str(), &info) != 0)
    return {grade::bad, "disk", folder + ": " + std::strerror(errno), "the data folder must be there"};
  const double free = static_cast<double>(info.f_bavail) / static_cast<double>(std::max<fsblkcnt_t>(info.f_blocks, 1));
  const std::string found = fmt::format("{} has {:.0f} % free", folder, 100 * free);
  if (free < 0.02)
    return {grade::bad, "disk", found, "free some: writes fail when it is full"};
  return {free < 0.1 ? grade::poor : grade::good, "disk", found, free < 0.1 ? "free some soon" : ""};
}

/// How often the process of a log began to serve in the last ten minutes.
std::size_t starts_in(const fs::path& log) {
  const std::time_t since = std::time(nullptr) - 600;
  std::tm parts{};
  ::gmtime_r(&since, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  std::ifstream in{log};
  std::size_t starts = 0;
  for (std::string line; std::getline(in, line);) {
    const auto stamp = line.starts_with("{\"ts\":\"") ? line.substr(7, 19) : line.substr(0, 19);
    const bool serving =
        line.find("process: serving") != std::string::npos || line.find("\"msg\":\"serving\"") != std::string::npos;
    starts += serving && stamp >= text ? 1 : 0;
  }
  return starts;
}

void look_at_starts(const std::string& data, std::vector<finding>& out) {
  constexpr std::size_t loop = 4;
  std::error_code ignored;
  for (const auto& file : fs::directory_iterator(fs::path{data} / "logs", ignored))
    if (const auto starts = starts_in(file.path()); starts >= loop)
      out.push_back({grade::bad, file.path().stem().string(),
                     fmt::format("was started {} times in ten minutes", starts),
                     "squall logs " + file.path().stem().string() + " says what ends it"});
}

result<std::vector<finding>> look_at_cluster(const std::string& name) {
  SQUALL_ASSIGN(running, read_runtime_file(name));
  SQUALL_ASSIGN(keys, load_key_folder(running.keys));
  std::vector<finding> out;
  client::options options;
  options.endpoint = running.endpoint;
  options.timeout = std::chrono::seconds{3};
  options.keys = {keys.server_public, keys.client_public, keys.client_secret};
  if (auto connected = client::cluster::connect(options)) {
    out.push_back(look_at_controller(**connected));
    look_at_status(**connected, out);
    look_at_nodes(**connected, out);
    look_at_profiles(**connected, out);
  } else {
    out.push_back({grade::bad, "controller", connected.error().message, "look at `squall logs controller`"});
  }
  out.push_back(look_at_disk(running.data));
  look_at_starts(running.data, out);
  return out;
}

} // namespace

int examine_cluster(const std::string& name) {
  const auto findings = look_at_cluster(name);
  return findings ? print_findings(*findings) : print_error(findings.error());
}

} // namespace squall::cluster
