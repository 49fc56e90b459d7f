#pragma once

#include "base/log.hpp"
#include "client/cluster.hpp"
#include "gateway/serving_port.hpp"

#include <memory>

namespace squall::gateway {

/// A cluster as a serving_port, over a connection of its own. Connects in the background and goes on trying until it
/// succeeds; until then everything is unavailable. What models there are may be a second old, but a model that is not
/// known is asked for at once.
[[nodiscard]] std::unique_ptr<serving_port> make_cluster_port(const client::options& options, logger& log);

} // namespace squall::gateway
