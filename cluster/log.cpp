#include "cluster/log.hpp"

#include "calls/json.hpp"

#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <chrono>
#include <map>
#include <mutex>

namespace squall::cluster {

namespace {

constexpr int repeats_per_second = 10;
constexpr std::size_t remembered_lines = 1000;

spdlog::level::level_enum level_of(log_level level) {
  switch (level) {
    case log_level::debug:
      return spdlog::level::debug;
    case log_level::info:
      return spdlog::level::info;
    case log_level::warn:
      return spdlog::level::warn;
    case log_level::error:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

/// %* of the patterns: the level as its users set it; spdlog says "warning".
class level_name final : public spdlog::custom_flag_formatter {
public:
  explicit level_name(bool padded) : padded_(padded) {}

  void format(const spdlog::details::log_msg& line, const std::tm&, spdlog::memory_buf_t& out) override {
    std::string_view name = "error";
    if (line.level == spdlog::level::debug)
      name = "debug";
    else if (line.level == spdlog::level::info)
      name = padded_ ? "info " : "info";
    else if (line.level == spdlog::level::warn)
      name = padded_ ? "warn " : "warn";
    out.append(name);
  }
  [[nodiscard]] std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<level_name>(padded_);
  }

private:
  bool padded_;
};

std::unique_ptr<spdlog::formatter> formatter_of(bool json) {
  auto made = std::make_unique<spdlog::pattern_formatter>(spdlog::pattern_time_type::utc, "\n");
  made->add_flag<level_name>('*', !json);
  made->set_pattern(json ? R"({"ts":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%*",%v)" : "%Y-%m-%dT%H:%M:%S.%eZ %* %n %v");
  return made;
}

class stderr_logger final : public logger {
public:
  explicit stderr_logger(const log_options& options)
      : json_(options.json), log_(options.process, std::make_shared<spdlog::sinks::stderr_sink_mt>()) {
    log_.set_formatter(formatter_of(options.json));
    log_.set_level(level_of(options.level));
  }

  void write(log_level level, std::string_view component, std::string_view message,
             const std::vector<log_field>& fields) override {
    if (!log_.should_log(level_of(level)))
      return;
    const int held = held_back(component, message);
    if (held < 0)
      return;
    if (held > 0)
      put(level, component, fmt::format("(the next line came {} more times)", held), {});
    put(level, component, message, fields);
  }

private:
  /// -1: do not write the line. Otherwise how many like it were held back since the last one that was written.
  int held_back(std::string_view component, std::string_view message) {
    const auto now = std::chrono::steady_clock::now();
    const std::lock_guard lock{mutex_};
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
    log_.log(level_of(level), json_ ? as_members(component, message, fields) : as_text(component, message, fields));
  }

  static std::string as_text(std::string_view component, std::string_view message,
                             const std::vector<log_field>& fields) {
    std::string out = fmt::format("{}: {}", component, message);
    for (const log_field& f : fields)
      out += fmt::format(" {}={}", f.key, f.value);
    return out;
  }

  /// The rest of the line's object.
  std::string as_members(std::string_view component, std::string_view message,
                         const std::vector<log_field>& fields) const {
    calls::json_writer w;
    const auto member = [&w](std::string_view key, std::string_view text) {
      w.key(key);
      w.string(text);
    };
    w.begin_object();
    member("msg", message);
    member("component", component);
    member("process", log_.name());
    for (const log_field& f : fields)
      member(f.key, f.value);
    w.end_object();
    return w.take().substr(1);
  }

  struct line {
    std::chrono::steady_clock::time_point since{};
    int count = 0;
  };

  const bool json_;
  spdlog::logger log_;
  std::mutex mutex_;
  std::map<std::string, line> seen_; // guarded by mutex_
};

} // namespace

std::unique_ptr<logger> make_logger(const log_options& options) { return std::make_unique<stderr_logger>(options); }

} // namespace squall::cluster
