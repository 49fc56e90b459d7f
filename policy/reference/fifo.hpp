#pragma once

#include "policy/dispatch_policies.hpp"

namespace squall::policy::reference {

/// Calls get instances strictly in the order of their arrival, and an instance serves one call at a time: a loaded
/// instance without requests (the one of least latency; ties: the least recently used, then the oldest), else a new one
/// of the first choice that fits into the memory, by (latency, cost, types), else the call waits, and all calls behind
/// it. Nothing is refused but what can never run.
[[nodiscard]] result<std::unique_ptr<dispatch_policy>> make_fifo(const dispatch_policy_setup& setup);

} // namespace squall::policy::reference
