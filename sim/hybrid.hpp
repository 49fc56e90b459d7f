#pragma once

#include "base/result.hpp"

#include <cstdint>
#include <string>
#include <vector>

/// A virtual machine that is helped out by cloud functions ("SLA-aware Workload Scheduling Using Hybrid Cloud
/// Services", Chahal et al. 2021). Times are in milliseconds.
///
/// n requests at once on a machine of c cores would each take R(n, c) = 21.5 n + 36 / min(4, c / n): a part that does
/// not scale with cores, and 36 core-ms on at most 4 cores each. While n changes, a request progresses at the rate 1 /
/// R of the moment. Constants fit all figures of the paper: 5 at once meet 200 ms on 2 cores and 150 ms on 8, a lone
/// request gains from 4 cores and not from more.
namespace squall::sim {

[[nodiscard]] double hybrid_response(std::uint64_t at_once, double cores);
/// How many may be in service at once so that all of them meet `sla`, if nothing else comes.
[[nodiscard]] std::uint64_t hybrid_threshold(double cores, double sla);

enum class hybrid_rule : std::uint8_t {
  vm,        ///< all to the machine
  threshold, ///< to the machine if fewer than the threshold are in service there, else to a function
  /// To the machine if it and all in service there would end within the SLA as things stand, else to a function.
  projected,
};

struct hybrid_problem {
  double cores = 1;
  double sla = 0;
  std::vector<double> arrivals; ///< in any order
  hybrid_rule rule = hybrid_rule::threshold;
  std::uint64_t prewarmed = 0; ///< function instances that are warm at the start, and stay so
};

struct hybrid_answer {
  std::vector<double> vm_responses;       ///< ascending
  std::vector<double> function_responses; ///< ascending
  std::uint64_t cold_starts = 0;
};

/// A function takes R(1, 4) + 60; 2500 more where no instance is warm. An instance serves one request at a time and
/// stays warm for ten minutes after it; of several warm ones the one that was used last is taken.
[[nodiscard]] hybrid_answer run_hybrid(const hybrid_problem& problem);

} // namespace squall::sim
