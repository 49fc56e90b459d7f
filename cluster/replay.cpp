#include "cluster/replay.hpp"

#include "actors/event_log_file.hpp"
#include "cluster/detail/verbs.hpp"
#include "sim/replay.hpp"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <vector>

#include <unistd.h>

namespace squall::cluster {

namespace fs = std::filesystem;

namespace {

result<std::vector<std::byte>> read_file(const std::string& path) {
  std::error_code code;
  const auto size = fs::file_size(path, code);
  std::ifstream in{path, std::ios::binary};
  if (code || !in)
    return error{errc::not_found, "cannot read " + path, {}};
  std::vector<std::byte> bytes(size);
  in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size));
  bytes.resize(static_cast<std::size_t>(in.gcount())); // a log that is being written may have grown or not
  return bytes;
}

void print_difference(const sim::replay_difference& d, const std::string& segment) {
  std::printf("differs: %s at byte %zu, time %lld ns\n  fact:     %s\n", segment.c_str(), d.offset,
              static_cast<long long>(to_ns(d.at)), d.fact.c_str());
  for (const std::string& command : d.commands)
    std::printf("  now says: %s\n", command.c_str());
  if (d.commands.empty())
    std::printf("  now says: nothing\n");
}

} // namespace

int replay_log(const std::string& path, bool print) {
  std::vector<std::string> segments{path};
  if (fs::is_directory(path)) {
    auto found = actors::event_log_segments(path);
    if (!found)
      return print_error(found.error());
    segments = std::move(found).value();
  }
  sim::replayer replayer;
  if (print)
    replayer.observe([](time_point at, const std::string& fact, const std::vector<std::string>& commands) {
      std::string list;
      for (const std::string& c : commands)
        list += (list.empty() ? "" : ", ") + c;
      std::printf("{\"at_ns\": %lld, \"fact\": %s, \"commands\": [%s]}\n", static_cast<long long>(to_ns(at)),
                  fact.c_str(), list.c_str());
    });
  const bool progress = ::isatty(STDERR_FILENO) != 0 && segments.size() > 1;
  for (std::size_t i = 0; i < segments.size() && !replayer.done(); ++i) {
    if (progress)
      std::fprintf(stderr, "\rsegment %zu of %zu ", i + 1, segments.size());
    auto bytes = read_file(segments[i]);
    if (!bytes)
      return print_error(bytes.error());
    if (auto fed = replayer.feed(*bytes); !fed)
      return print_error({fed.error().code, segments[i] + ": " + fed.error().message, {}});
  }
  if (progress)
    std::fprintf(stderr, "\r\033[K");
  const sim::replay_report& report = replayer.report();
  const std::string core = std::string{to_string(report.header.core)};
  if (report.difference) {
    print_difference(*report.difference, segments[report.difference->segment]);
    return 1;
  }
  std::fprintf(print ? stderr : stdout, "same: %llu facts of %s in %llu segments, every command as recorded%s%s\n",
               static_cast<unsigned long long>(report.facts), core.c_str(),
               static_cast<unsigned long long>(report.segments), report.gaps ? "; facts were left out in between" : "",
               report.truncated ? "; the log ends in the middle of a record" : "");
  return 0;
}

} // namespace squall::cluster
