#pragma once

#include "base/result.hpp"
#include "base/time.hpp"
#include "client/cluster.hpp"

#include <cstddef>
#include <string>
#include <vector>

namespace squall::demo {

/// The inputs of one call.
using call_inputs = std::vector<functions::named_value>;

struct answer {
  client::call_result result;
  duration latency{0}; ///< as the client sees it
};

struct pass {
  std::vector<answer> answers; ///< in the order of the inputs
  duration wall{0};
};

/// Calls `dag` once with each of the inputs, `outstanding` at a time. The first call that fails ends the pass, with its
/// error.
[[nodiscard]] result<pass> run_pass(client::cluster& cluster, const std::string& dag,
                                    const std::vector<call_inputs>& inputs, std::size_t outstanding);

/// The value below which this share of the latencies lies (nearest rank), in milliseconds. `latencies` must not be
/// empty.
[[nodiscard]] double quantile_ms(const std::vector<answer>& answers, double share);

} // namespace squall::demo
