#pragma once

#include "base/result.hpp"
#include "policy/selection.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

/// The setting of the thesis, chapter 6: requests for models on a row of equal GPUs, in whole steps. A GPU that never
/// ran a model loads it first (a cold start) and keeps it for good; nothing is pre-empted. In one step: GPUs whose work
/// ended become free, requests arrive, work is dispatched while possible. Who is dispatched where is decided by
/// policy::selection, the same that the live policies use.
namespace squall::sim {

struct kaas_model {
  std::string name;
  std::int64_t cold = 0; ///< steps to load it
  std::int64_t exec = 0; ///< steps of one request on a GPU that has it
};

struct kaas_request {
  std::int64_t seq = 0; ///< order of submission, and its name
  std::int64_t arrival = 0;
  std::uint32_t model = 0; ///< index
};

struct kaas_problem {
  std::string policy = "balance"; ///< of policy::selection_names()
  /// srtf and mlfq only: the queue holds all requests of the run from step 0 on, and its head blocks it until it has
  /// arrived and a GPU is free. That is how the thesis's own simulator comes to its traces.
  bool faithful = false;
  std::uint32_t gpus = 1;
  std::vector<kaas_model> models; ///< in the order of registration
  std::vector<kaas_request> requests;
  policy::rebalance_rule rebalance = policy::rebalance_rule::pressure; ///< exclusive
  std::int64_t warmup = 100;                                           ///< exclusive: steps without rebalancing
  std::uint32_t aging_ppm = 0;                                         ///< srtf
  /// mlfq: each modulo the number of buckets that have a request; without them `seed` decides.
  std::optional<std::vector<std::uint64_t>> draws;
  std::uint64_t seed = 1;
};

struct kaas_dispatch {
  std::int64_t seq = 0;
  std::int64_t start = 0;
  std::uint32_t gpu = 0; ///< from 0
  bool cold = false;
  friend bool operator==(const kaas_dispatch&, const kaas_dispatch&) = default;
};

struct kaas_answer {
  std::vector<kaas_dispatch> log;      ///< in order of dispatch
  std::int64_t total = 0;              ///< the last end
  std::uint64_t cold = 0;              ///< cold starts
  std::vector<std::int64_t> waited;    ///< per model, summed
  std::vector<std::uint64_t> requests; ///< per model

  /// Mean wait of all requests, or of a model's; 0 where there are none.
  [[nodiscard]] double mean_wait() const;
  [[nodiscard]] double mean_wait(std::uint32_t model) const;
};

/// Errors name the field: a model that is none, a time below 0, a sequence number twice, too few draws.
[[nodiscard]] result<kaas_answer> run_kaas(const kaas_problem& problem);

} // namespace squall::sim
