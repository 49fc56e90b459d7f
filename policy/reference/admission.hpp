#pragma once

#include "policy/dispatch_policies.hpp"

namespace squall::policy::reference {

/// Clockwork as the thesis simulates it: an arriving call goes to the instance of its DAG with the least predicted end.
/// If that breaks an SLO, to a new one: all on the GPU node with most room, else all on the CPU node with most room. If
/// that breaks an SLO or finds no room, the call is refused.
///
/// `queueing=on`: nothing is refused for its SLOs: it queues on the instance of least predicted end all the same.
/// `batching=on`: tasks of several calls join in a batch while no SLO of theirs is predicted to break.
[[nodiscard]] result<std::unique_ptr<dispatch_policy>> make_clockwork_naive(const dispatch_policy_setup& setup);

/// The thesis' chapter 4, corrected: as above, but a new instance is one of `samples` (4) drawn from the Pareto front
/// of (latency, cost) within both SLOs, of those that fit and are predicted to end in time, drawn again. `queueing`
/// (off) and `batching` (on) as above.
[[nodiscard]] result<std::unique_ptr<dispatch_policy>> make_thesis(const dispatch_policy_setup& setup);

} // namespace squall::policy::reference
