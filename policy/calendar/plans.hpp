#pragma once

#include "policy/calendar/model.hpp"

#include <algorithm>
#include <vector>

namespace squall::policy::calendar {

/// More plans than these are not kept of one DAG.
inline constexpr std::size_t max_plans = 64;

/// Fills what follows from the stages and their variants: consumers, tails, shares, and the plans. All plans where
/// there are few; else those of the front that was computed, if it is there, and those that a sweep over the weights of
/// time, cost and each resource's lane time finds best, so that the cheapest, the fastest and the ones that spare a
/// resource are always among them. By rising cost, then latency. False if the stages are no DAG, or a stage has no
/// variant that is known.
[[nodiscard]] bool derive(dag_entry& dag, const std::vector<variant_entry>& variants);

/// Whether `choice`, an option of each stage, is a plan of the DAG.
template <class Choice>
[[nodiscard]] bool is_plan_of(const dag_entry& dag, const Choice& choice) {
  return std::equal(choice.begin(), choice.end(), dag.stages.begin(), dag.stages.end(),
                    [](auto option, const dag_stage& stage) { return option < stage.variants.size(); });
}

/// What to look for the front in, as the stages' variants are believed to be now.
[[nodiscard]] placing::compute front_problem(const dag_entry& dag, const std::vector<variant_entry>& variants);

} // namespace squall::policy::calendar
