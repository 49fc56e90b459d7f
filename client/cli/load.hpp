#pragma once

#include "base/random.hpp"
#include "client/cluster.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

/// The load generator behind `squall bench`.
namespace squall::client::cli {

enum class arrivals : std::uint8_t {
  poisson,  ///< at random, at a rate
  constant, ///< evenly, at a rate
  closed,   ///< the next call when one ends, so many at once
};

struct load_plan {
  std::string target;
  std::vector<functions::named_value> inputs;
  calls::call_options options;
  cli::arrivals arrivals = cli::arrivals::poisson;
  double rate = 100;             ///< calls a second; of poisson and constant
  std::size_t concurrency = 1;   ///< of closed
  squall::duration duration{0};  ///< of sending; the calls that are then on their way are waited for
  squall::duration warmup{0};    ///< before that, not counted
  std::uint64_t seed = 1;
};

/// What came of it. With arrivals at a rate, latencies count from the moment at which a call was meant to be sent, so that a system that stalls the
/// generator does not hide its stall; sends that came late are reported, too.
struct load_report {
  std::vector<std::int64_t> latencies_ns; ///< of the calls that succeeded, ascending; every one is kept
  std::map<std::string, std::uint64_t> errors; ///< by code
  std::map<std::string, std::string> examples; ///< a message of each
  std::uint64_t sent = 0;
  std::int64_t latest_send_ns = 0; ///< by how much the generator itself was late at most
  double sending_s = 0;
  double total_s = 0; ///< until the last result

  /// The smallest latency that a share of the calls does not exceed (nearest rank); 0 without any.
  [[nodiscard]] std::int64_t percentile_ns(double share) const;
};

/// Runs the plan in the calling thread. `tick` is called about five times a second.
[[nodiscard]] load_report run_load(cluster& target, const load_plan& plan, const std::function<void(const load_report&)>& tick);

} // namespace squall::client::cli
