#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace squall {

/// One sample of a metric in Prometheus' model, in base units (seconds, bytes).
struct metric_sample {
  std::string name; ///< for example "squall_calls_total"
  std::string help;
  enum class kind : std::uint8_t { counter, gauge } type = kind::gauge;
  std::map<std::string, std::string> labels;
  double value = 0;
};

/// A thing that can be asked for its current figures. Called from the thread that owns it.
class metric_source {
public:
  virtual ~metric_source() = default;
  virtual void collect(std::vector<metric_sample>& out) const = 0;
};

} // namespace squall
