#pragma once

#include "policy/dispatch_policies.hpp"

namespace squall::policy::reference {

/// Clockwork (Gujarati et al. 2020) with a whole DAG as its model: all stages on one node, one after the other, on GPU
/// nodes where every stage has a variant for them, else on CPU nodes.
///
/// Actions. Calls wait per model in the order of their deadlines. A free lane takes, of the models that are loaded on
/// its node, the one whose action must start first: the greatest batch of calls that end in time in it, those with the
/// first deadlines. Its window is [now, deadline - execution]. A call that cannot end in time alone is dropped at once.
/// A call whose cost or deadline cannot be met on an idle cluster is refused when it arrives, and none else.
///
/// Loads. The demand for a model is the rate of its calls (of the last second or so), shared evenly by the nodes that
/// hold it; a node serves what its models could run in full batches. A model some of whose demand is not served is
/// loaded where that serves most of it more than it takes from others: into free memory, or in the place of models that
/// run nothing, those with the least demand first, if it wins a quarter more than they lose. A node loads one model at
/// a time, and keeps it for a quarter of a second.
[[nodiscard]] result<std::unique_ptr<dispatch_policy>> make_clockwork(const dispatch_policy_setup& setup);

} // namespace squall::policy::reference
