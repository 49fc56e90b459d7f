#pragma once

#include "wire/codec.hpp"

#include <vector>

namespace squall::bench {

/// The messages that Squall's processes exchange about one call of a no-op, in the order in which they travel, so that
/// plain ZeroMQ can be made to carry the same bytes over the same hops.

/// client -> controller -> node -> controller -> client.
[[nodiscard]] std::vector<wire::frames> call_hops();

/// client -> controller -> first node -> second -> third -> client: three stages that hand over directly. (Squall's own
/// answer takes one hop more, by way of the controller; the reference is not given that handicap.)
[[nodiscard]] std::vector<wire::frames> chain_hops();

/// The input of every call of these benches.
[[nodiscard]] functions::value no_op_input();

} // namespace squall::bench
