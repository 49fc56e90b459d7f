#pragma once

#include "base/result.hpp"
#include "sim/workload.hpp"

#include <string>
#include <string_view>

namespace squall::sim {

/// Reads a workload (docs/simulation.md). The error names `file` and the line and column where the text is not JSON, or
/// the field, such as `requests[17][3]`, and what it should be. Requests and events need not be sorted.
[[nodiscard]] result<workload> parse_workload(std::string_view text, std::string_view file);
[[nodiscard]] result<workload> read_workload(const std::string& path);

/// The file of a workload; reading it gives the same workload.
[[nodiscard]] std::string workload_json(const workload& w);

} // namespace squall::sim
