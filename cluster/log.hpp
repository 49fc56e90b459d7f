#pragma once

#include "base/log.hpp"

#include <memory>
#include <string>

namespace squall::cluster {

struct log_options {
  log_level level = log_level::info;
  bool json = false;
  std::string process; ///< written on every line
};

/// Lines on stderr: text, or one JSON object each with `ts`, `level`, `msg`, `component`, `process` and the fields. A
/// line that repeats more than ten times in a second is held back; the next like it says how many there were.
[[nodiscard]] std::unique_ptr<logger> make_logger(const log_options& options);

} // namespace squall::cluster
