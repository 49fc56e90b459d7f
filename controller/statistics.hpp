#pragma once

#include "base/metrics.hpp"
#include "base/result.hpp"
#include "base/time.hpp"

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace squall::controller {

/// Counts of ended calls and their latencies per DAG, as Prometheus wants them.
class statistics {
public:
  void ended(const std::string& dag, errc code, duration elapsed, std::uint32_t skipped_stages);
  void refused(errc code) { ++refused_[code]; }

  void collect(std::vector<metric_sample>& out) const;
  [[nodiscard]] std::uint64_t ended_total() const { return ended_total_; }

private:
  /// Upper bounds of the buckets in microseconds; the last bucket is open.
  static constexpr std::array<std::int64_t, 16> bounds_us{100,       250,       500,        1'000,     2'500,   5'000,
                                                          10'000,    25'000,    50'000,     100'000,   250'000, 500'000,
                                                          1'000'000, 2'500'000, 10'000'000, 60'000'000};
  struct per_dag {
    std::array<std::uint64_t, bounds_us.size() + 1> buckets{};
    std::uint64_t count = 0;
    double sum_seconds = 0;
    std::map<errc, std::uint64_t> by_code;
    std::uint64_t skipped_stages = 0;
  };

  std::map<std::string, per_dag> dags_;
  std::map<errc, std::uint64_t> refused_;
  std::uint64_t ended_total_ = 0;
};

} // namespace squall::controller
