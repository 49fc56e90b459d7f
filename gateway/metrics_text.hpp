#pragma once

#include "base/metrics.hpp"

#include <string>
#include <vector>

namespace squall::gateway {

/// Samples in Prometheus' text format, version 0.0.4: the samples of one name together under their HELP and TYPE, names
/// in order. Names and labels that the format does not allow lose the offending characters to '_'.
[[nodiscard]] std::string metrics_text(const std::vector<metric_sample>& samples);

} // namespace squall::gateway
