#pragma once

#include "base/time.hpp"
#include "calls/call.hpp"
#include "functions/spec.hpp"

#include <cstddef>
#include <span>

namespace squall::demo {

/// The least time that the functions of a call needed on `lanes` lanes, by its trace: the longest path of stages, or
/// all of their time divided by the lanes, whichever is more. The elements of a map count as spread evenly. What
/// remains of the call's latency is what serving it cost: messages, queues, and lanes that stood idle while others had
/// work.
///
/// The stages of `dag` must be listed so that none comes before a stage that it reads from (checked), as the trace
/// numbers them in that order.
[[nodiscard]] duration function_time(const functions::dag_spec& dag, std::span<const calls::stage_trace> trace,
                                     std::size_t lanes);

} // namespace squall::demo
