#pragma once

#include "calls/placing.hpp"

namespace squall::policy {

/// Answers the scheduler's `compute`: the efficient plans of a DAG in latency, cost, lane time of each type and memory
/// of GPUs (pareto.hpp). Pure, and slow where a DAG is wide: drivers run it beside the loop that steps the scheduler.
/// Of more than `front_plans` those are kept that are best in one thing each, and an even choice along the latency. No
/// plans: the DAG is none.
inline constexpr std::size_t front_plans = 48;
[[nodiscard]] calls::placing::front_ready find_front(const calls::placing::compute& wanted);

} // namespace squall::policy
