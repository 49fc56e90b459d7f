#include "cluster/log.hpp"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <ctime>
#include <map>
#include <mutex>
#include <utility>

namespace squall::cluster {

namespace {

constexpr int repeats_per_second = 10;
constexpr std::size_t remembered_lines = 1000;

const char* name(log_level level) {
  switch (level) {
    case log_level::debug:
      return "debug";
    case log_level::info:
      return "info";
    case log_level::warn:
      return "warn";
    case log_level::error:
      return "error";
  }
  return "?";
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\')
      out += '\\', out += c;
    else if (c == '\n')
      out += "\\n";
    else if (static_cast<unsigned char>(c) < 0x20)
      out += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
    else
      out += c;
  }
  return out;
}

std::string timestamp() {
  const auto now = std::chrono::system_clock::now();
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  return fmt::format("{}.{:03}Z", text, ms);
}

class stderr_logger final : public logger {
public:
  explicit stderr_logger(const log_options& options) : options_(options) {}

  void write(log_level level, std::string_view component, std::string_view message,
             const std::vector<log_field>& fields) override {
    if (level < options_.level)
      return;
    const std::lock_guard lock{mutex_};
    if (const auto held = held_back(component, message); held != 0) {
      if (held < 0)
        return;
      put(level, component, fmt::format("(the next line came {} more times)", held), {});
    }
    put(level, component, message, fields);
  }

private:
  /// -1: do not write the line. Otherwise how many like it were held back since the last one that was written.
  int held_back(std::string_view component, std::string_view message) {
    const auto now = std::chrono::steady_clock::now();
    if (seen_.size() > remembered_lines)
      seen_.clear();
    auto& line = seen_[std::string{component} + '|' + std::string{message}];
    if (now - line.since > std::chrono::seconds{1}) {
      const int held = line.count - repeats_per_second;
      line = {now, 1};
      return held > 0 ? held : 0;
    }
    return ++line.count > repeats_per_second ? -1 : 0;
  }

  void put(log_level level, std::string_view component, std::string_view message,
           const std::vector<log_field>& fields) {
    std::string out;
    if (options_.json) {
      out = fmt::format(R"({{"ts":"{}","level":"{}","msg":"{}","component":"{}","process":"{}")", timestamp(),
                        name(level), escaped(message), component, escaped(options_.process));
      for (const log_field& f : fields)
        out += fmt::format(R"(,"{}":"{}")", f.key, escaped(f.value));
      out += "}\n";
    } else {
      out = fmt::format("{} {:5} {} {}: {}", timestamp(), name(level), options_.process, component, message);
      for (const log_field& f : fields)
        out += fmt::format(" {}={}", f.key, f.value);
      out += '\n';
    }
    std::fwrite(out.data(), 1, out.size(), stderr);
  }

  struct line {
    std::chrono::steady_clock::time_point since{};
    int count = 0;
  };

  log_options options_;
  std::mutex mutex_;
  std::map<std::string, line> seen_; // guarded by mutex_
};

} // namespace

std::unique_ptr<logger> make_logger(const log_options& options) { return std::make_unique<stderr_logger>(options); }

} // namespace squall::cluster
