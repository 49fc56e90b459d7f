#pragma once

#include "base/time.hpp"
#include "calls/placing.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

/// A workload of DAG calls on a modelled cluster: what a file of docs/simulation.md says, checked, with indices in the
/// place of names.
namespace squall::sim {

struct workload_node {
  std::string name;
  functions::resource_type resource = functions::resource_type::cpu;
  std::uint32_t lanes = 1;
  std::uint64_t memory_bytes = 0;
};

/// How a function behaves on one resource. Times in milliseconds.
struct workload_variant {
  double exec = 0; ///< of one item
  std::int64_t load = 0;
  std::uint64_t memory_bytes = 0;
  calls::placing::micro_cost cost = 0; ///< of one item
  std::uint32_t batch_max = 1;
  double beta = 1; ///< of a further item's time beside the first
};

struct workload_function {
  std::string name;
  std::optional<workload_variant> cpu;
  std::optional<workload_variant> gpu;
};

struct workload_stage {
  std::string name;
  std::size_t function = 0;
  std::vector<stage_index> after;          ///< ascending
  std::optional<std::uint32_t> chance_ppm; ///< of a conditional stage, that it runs
  bool map = false;
  std::uint32_t width_max = 1;
  std::uint32_t best_effort = 0;    ///< a join that goes on with so many when its call has to be answered; 0: with all
  std::vector<stage_index> needs{}; ///< ascending; without one of these it is skipped
};

struct workload_dag {
  std::string name;
  std::vector<workload_stage> stages; ///< in topological order
};

/// What a client does when it is refused with offers.
struct redemption {
  bool cheapest = false; ///< else the earliest
  std::int64_t delay = 0;
};

/// What is true of a stage of one request and unknown to the policy.
struct stage_truth {
  stage_index stage = 0;
  bool runs = true;
  double stretch = 1;
  std::uint32_t width = 1;
  double charged = 1; ///< what a task of it costs, in units of its variant's cost
};

struct workload_request {
  std::uint64_t id = 0;
  std::int64_t arrival = 0; ///< ms
  std::size_t dag = 0;
  std::int64_t latency_slo = 0; ///< ms from the arrival
  std::optional<calls::placing::micro_cost> cost_slo;
  std::vector<stage_truth> truths; ///< ascending; stages that are not named do nothing special
  std::uint32_t priority = 0;
  calls::placing::preference prefer = calls::placing::preference::least_loaded;
  std::optional<redemption> redeem;
  std::optional<std::uint32_t> assurance_ppm; ///< none: as the run says
};

/// A node leaves or comes back.
struct workload_change {
  std::int64_t at = 0; ///< ms
  bool lose = false;
  std::size_t node = 0;
};

/// From then on the policy believes a function to be like this.
struct workload_profile {
  std::int64_t at = 0; ///< ms
  std::size_t function = 0;
  workload_function believed;
};

struct workload {
  duration tick =
      std::chrono::milliseconds{1}; ///< what is a millisecond in the comments here: the finest time there is
  std::vector<workload_node> nodes;
  std::vector<workload_function> functions;
  std::vector<workload_dag> dags;
  std::vector<workload_request> requests; ///< by arrival, then as in the file
  std::vector<workload_change> changes;   ///< by time, then as in the file
  std::vector<workload_profile> profiles; ///< by time
  std::int64_t horizon = 0;               ///< ms
};

// Ids of the cores, from 1.
[[nodiscard]] inline node_id id_of_node(std::size_t index) { return node_id{index + 1}; }
[[nodiscard]] inline function_id id_of_function(std::size_t index) { return function_id{index + 1}; }
[[nodiscard]] inline dag_id id_of_dag(std::size_t index) { return dag_id{index + 1}; }
[[nodiscard]] inline call_id id_of_request(std::size_t index) { return call_id{index + 1}; }
[[nodiscard]] inline variant_id id_of_variant(std::size_t function, functions::resource_type r) {
  return variant_id{2 * function + (r == functions::resource_type::gpu ? 2 : 1)};
}
[[nodiscard]] inline std::size_t index_of(node_id id) { return id.value - 1; }
[[nodiscard]] inline std::size_t index_of(dag_id id) { return id.value - 1; }
[[nodiscard]] inline std::size_t index_of(call_id id) { return id.value - 1; }
[[nodiscard]] inline std::size_t function_of(variant_id id) { return (id.value - 1) / 2; }
[[nodiscard]] inline functions::resource_type resource_of(variant_id id) {
  return id.value % 2 == 0 ? functions::resource_type::gpu : functions::resource_type::cpu;
}

/// How long a batch takes, in milliseconds, and as much longer as the slowest of its items.
[[nodiscard]] std::int64_t batch_ms(const workload_variant& variant, std::size_t items, double stretch = 1);

/// The catalogue and the nodes as facts of the scheduler.
[[nodiscard]] calls::placing::function_registered function_fact(const workload& w, std::size_t function);
[[nodiscard]] calls::placing::function_registered profile_fact(const workload& w, const workload_profile& profile);
[[nodiscard]] calls::placing::dag_registered dag_fact(const workload& w, std::size_t dag);
[[nodiscard]] calls::placing::node_joined node_fact(const workload& w, std::size_t node);
[[nodiscard]] const workload_variant& variant_of(const workload& w, variant_id id);

} // namespace squall::sim
