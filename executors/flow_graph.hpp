#pragma once

#include "functions/dag.hpp"

#include <functional>
#include <memory>
#include <vector>

namespace squall::executors {

/// What the flow of a call needs to know about a stage beyond functions::stage.
struct stage_facts {
  std::shared_ptr<const functions::registered_function> function;
  std::uint32_t first_output = 0; ///< of its outputs in the row of all outputs of the DAG's stages
  bool waits_for_start = false;   ///< reads an input of the DAG, or has no producers
  bool when_by_element = false;   ///< a map whose condition reads a list
  bool stateful = false;
  std::vector<stage_index> join_producers; ///< those whose outputs its inputs take; ascending
  std::vector<stage_index> when_producers; ///< those that its condition reads; ascending
  /// Inputs whose edge leaves a dimension open that the port fixes: validation could not decide, so values are checked.
  std::vector<std::uint32_t> inputs_to_check;
  std::vector<std::vector<stage_index>> readers; ///< per output: the stages (and the exit) that read it; ascending
};

/// A DAG with what was worked out about it once, when it was defined, for all of its calls. Immutable.
struct flow_graph {
  std::shared_ptr<const functions::dag> dag;
  std::vector<stage_facts> stages; ///< parallel to dag->stages
  std::uint32_t output_count = 0;  ///< of all stages together
  bool exit_waits_for_start = false;
};

using find_function = std::function<std::shared_ptr<const functions::registered_function>(function_id)>;

/// Fails as not_found when a function of the DAG is not known.
[[nodiscard]] result<std::shared_ptr<const flow_graph>> make_flow_graph(std::shared_ptr<const functions::dag> dag,
                                                                        const find_function& find);

} // namespace squall::executors
