#pragma once

#include "sim/kaas.hpp"

#include <cstdint>
#include <string>
#include <vector>

/// Many random runs of sim/kaas.hpp: the thesis's sections 6.2 and 6.3.
namespace squall::sim {

/// How the load is shared among the models.
enum class kaas_rates : std::uint8_t {
  equal_work, ///< rate times execution time is the same for all
  equal_rate, ///< as many requests for each
};

struct kaas_poisson {
  double rho = 0.8; ///< load over capacity, cold starts not counted
  std::uint32_t gpus = 4;
  std::int64_t steps = 1000; ///< in which requests arrive; they are served to the end
  kaas_rates rates = kaas_rates::equal_work;
  std::uint32_t seeds = 200;
  std::uint64_t first_seed = 1;
  std::vector<kaas_model> models{{"RESNET", 4, 2}, {"BERT", 10, 8}};
  policy::rebalance_rule rebalance = policy::rebalance_rule::pressure;
  std::uint32_t aging_ppm = 0; ///< of srtf
};

/// The requests of one seed: a Poisson process for each model.
[[nodiscard]] std::vector<kaas_request> poisson_requests(const kaas_poisson& settings, std::uint64_t seed);

struct kaas_policy_result {
  std::string policy;
  std::vector<kaas_answer> runs; ///< one a seed; the logs are left out

  [[nodiscard]] double mean_wait() const; ///< mean over the seeds of the mean over the requests
  [[nodiscard]] double mean_wait(std::uint32_t model) const;
};

/// The same requests under each policy, in the order of `policies`.
[[nodiscard]] std::vector<kaas_policy_result> run_poisson(const kaas_poisson& settings,
                                                          const std::vector<std::string>& policies);

/// One thing varied, all else as in `kaas_poisson`.
struct kaas_curve {
  std::string policy;
  std::vector<double> mean_waits; ///< one a point
};
struct kaas_sweep {
  std::string name;  ///< as a file's name
  std::string title; ///< what is held
  std::string axis;  ///< what is varied
  std::vector<double> points;
  std::vector<kaas_curve> curves;
};

/// What section 6.3 varies: the rate of arrivals (3 GPUs), GPUs, the time of a cold start, execution times, and models.
[[nodiscard]] std::vector<std::string> kaas_sweep_names();
[[nodiscard]] kaas_sweep run_sweep(const std::string& name, std::uint32_t seeds);

/// The policies in the order of the thesis.
[[nodiscard]] const std::vector<std::string>& kaas_policies();

} // namespace squall::sim
