#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace squall {

enum class log_level { debug, info, warn, error };

/// One named value of a log line, for example {"call", "17"}.
struct log_field {
  std::string_view key;
  std::string value;
};

/// Where log lines go. Implementations are thread-safe and never throw; `write` may drop lines when a line repeats
/// too fast, and then says how many.
class logger {
public:
  virtual ~logger() = default;
  virtual void write(log_level level, std::string_view component, std::string_view message,
                     const std::vector<log_field>& fields) = 0;

  void debug(std::string_view component, std::string_view message, std::vector<log_field> fields = {}) {
    write(log_level::debug, component, message, fields);
  }
  void info(std::string_view component, std::string_view message, std::vector<log_field> fields = {}) {
    write(log_level::info, component, message, fields);
  }
  void warn(std::string_view component, std::string_view message, std::vector<log_field> fields = {}) {
    write(log_level::warn, component, message, fields);
  }
  void error(std::string_view component, std::string_view message, std::vector<log_field> fields = {}) {
    write(log_level::error, component, message, fields);
  }
};

/// Drops everything.
class null_logger final : public logger {
public:
  void write(log_level, std::string_view, std::string_view, const std::vector<log_field>&) override {}
};

} // namespace squall
