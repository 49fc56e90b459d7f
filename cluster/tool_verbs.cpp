#include "cluster/detail/verbs.hpp"
#include "cluster/doctor.hpp"
#include "cluster/replay.hpp"
#include "cluster/runtime_file.hpp"
#include "cluster/verbs.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

namespace squall::cluster {

namespace fs = std::filesystem;

int print_error(const error& e) {
  std::fprintf(stderr, "squall: %s (%s)\n", e.message.c_str(), std::string{to_string(e.code)}.c_str());
  return 1;
}

namespace {

struct logs_flags {
  std::string cluster = "squall";
  std::string process;
  std::string call;
  bool follow = false;
  std::size_t lines = 100;
};

/// The last `lines` lines of a file; `end` is set to where they end.
std::string tail(const fs::path& path, std::size_t lines, std::uintmax_t& end) {
  std::ifstream in{path, std::ios::binary};
  std::string text{std::istreambuf_iterator<char>{in}, {}};
  end = text.size();
  std::size_t at = text.size();
  for (std::size_t seen = 0; at > 0 && seen <= lines; --at)
    if (text[at - 1] == '\n' && ++seen > lines)
      break;
  return text.substr(at);
}

/// The lines that name the call; all of them when none is asked for.
std::string about(const std::string& call, const std::string& text) {
  if (call.empty())
    return text;
  std::string out;
  std::istringstream lines{text};
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  for (std::string line; std::getline(lines, line);)
    for (auto at = line.find(call); at != std::string::npos; at = line.find(call, at + 1)) {
      const auto end = at + call.size();
      if ((at > 0 && digit(line[at - 1])) || (end < line.size() && digit(line[end])))
        continue;
      out += line + '\n';
      break;
    }
  return out;
}

int logs(const logs_flags& flags) {
  const auto running = read_runtime_file(flags.cluster);
  if (!running)
    return print_error(running.error());
  std::map<fs::path, std::uintmax_t> files;
  std::error_code code;
  std::string known;
  for (const auto& file : fs::directory_iterator(fs::path{running->data} / "logs", code)) {
    known += (known.empty() ? "" : ", ") + file.path().stem().string();
    if (flags.process.empty() || file.path().stem() == flags.process)
      files[file.path()] = 0;
  }
  if (files.empty())
    return print_error({errc::not_found,
                        "there is no log '" + flags.process + "'; there are: " + (known.empty() ? "none" : known),
                        {}});
  for (auto& [path, end] : files)
    // Of one call, lines are rare: all of the log is searched for them.
    std::fputs(about(flags.call, tail(path, flags.call.empty() ? flags.lines : SIZE_MAX - 1, end)).c_str(), stdout);
  while (flags.follow) {
    std::fflush(stdout);
    std::this_thread::sleep_for(std::chrono::milliseconds{200});
    for (auto& [path, end] : files) {
      std::ifstream in{path, std::ios::binary};
      in.seekg(static_cast<std::streamoff>(end));
      const std::string text{std::istreambuf_iterator<char>{in}, {}};
      end += text.size();
      std::fputs(about(flags.call, text).c_str(), stdout);
    }
  }
  return 0;
}

} // namespace

void add_tool_verbs(CLI::App& app, int& status) {
  auto flags = std::make_shared<logs_flags>();
  auto* logs_verb = app.add_subcommand("logs", "show the logs of the processes of a cluster on this host");
  logs_verb->add_option("process", flags->process, "only this one, such as controller or node-n1");
  logs_verb->add_option("--name", flags->cluster, "name of the cluster")->envname("SQUALL_NAME");
  logs_verb->add_option("-n,--lines", flags->lines, "lines of each log")->envname("SQUALL_LINES");
  logs_verb->add_option("--call", flags->call, "only lines about the call of this id")->envname("SQUALL_CALL");
  logs_verb->add_flag("-f,--follow", flags->follow, "go on showing new lines")->envname("SQUALL_FOLLOW");
  logs_verb->callback([&status, flags] { status = logs(*flags); });

  auto path = std::make_shared<std::string>();
  auto* replay_verb =
      app.add_subcommand("replay", "feed an event log to the core that made it, and compare what it decides");
  replay_verb->add_option("log", *path, "a log's folder, such as DATA/events/scheduler, or one segment")->required();
  auto print = std::make_shared<bool>(false);
  replay_verb->add_flag("--print", *print, "print every fact and what was decided on it, as JSON lines");
  replay_verb->callback([&status, path, print] { status = replay_log(*path, *print); });

  auto http = std::make_shared<std::string>();
  auto* doctor_verb = app.add_subcommand("doctor", "say what is missing or mis-set on this host");
  doctor_verb->add_option("--http", *http, "also check that this address is free")->envname("SQUALL_HTTP");
  auto name = std::make_shared<std::string>();
  doctor_verb->add_option("--cluster", *name, "look at this running cluster instead")
      ->expected(0, 1)
      ->default_str("squall");
  doctor_verb->callback([&status, http, name, doctor_verb] {
    const bool cluster = doctor_verb->count("--cluster") > 0;
    status = cluster ? examine_cluster(name->empty() ? "squall" : *name) : examine_host(*http);
  });
}

void add_cluster_verbs(CLI::App& app, const std::vector<std::string>& arguments, int& status) {
  add_up_verbs(app, arguments, status);
  add_tool_verbs(app, status);
}

} // namespace squall::cluster
