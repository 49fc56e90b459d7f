#pragma once

#include "policy/dispatch_policies.hpp"

namespace squall::policy {

/// The policies of the thesis, chapter 6, for DAGs on CPU and GPU nodes: every ready task waits in one place, and a
/// selection (selection.hpp) says which one runs next and on which free lane. docs/policies.md has each one's rule.
///
/// Every call is admitted whose stages can all run somewhere; SLOs are not looked at. Tasks of one function (with the
/// same allowed variants) are a group. On the lane that was chosen the variant is one of the lane's resource: resident
/// there before one that is not, then the least expected, then the order in which the function lists them. Where no
/// loaded instance of it is idle one is loaded, and the lane stays taken from then on; memory that is short is taken
/// from idle instances, the least recently used first (ties: the oldest). A lane that became free earlier is free
/// longer; of several in one moment the one that was chosen first.
///
/// Options: `batch=N` (up to N waiting tasks of a variant run together; 1), of srtf `aging=N` (so many percent of the
/// wait are taken off the execution time; none), of exclusive `rebalance=on|off` (on), `group-size=on|off` (off: by
/// pressure) and `warmup=MS` (without rebalancing; 100).
///
/// When a node is lost, calls with a batch running there are abandoned; what only waited for a load there waits again.
[[nodiscard]] result<std::unique_ptr<dispatch_policy>> make_rr(const dispatch_policy_setup& setup);
[[nodiscard]] result<std::unique_ptr<dispatch_policy>> make_balance(const dispatch_policy_setup& setup);
[[nodiscard]] result<std::unique_ptr<dispatch_policy>> make_srtf(const dispatch_policy_setup& setup);
[[nodiscard]] result<std::unique_ptr<dispatch_policy>> make_mlfq(const dispatch_policy_setup& setup);
[[nodiscard]] result<std::unique_ptr<dispatch_policy>> make_exclusive(const dispatch_policy_setup& setup);

} // namespace squall::policy
