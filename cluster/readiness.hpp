#pragma once

#include "base/result.hpp"
#include "base/time.hpp"
#include "cluster/runtime_file.hpp"

#include <functional>
#include <string>

namespace squall::cluster {

/// Waits until the cluster answers, has read its catalogue and has `nodes` nodes; shows progress on a terminal when it
/// takes longer than a second. Fails as unavailable when `alive` says that its process is gone, as deadline_exceeded
/// after `timeout`.
[[nodiscard]] result<runtime_file> await_serving(const std::string& cluster, std::size_t nodes, duration timeout,
                                                 const std::function<bool()>& alive);

} // namespace squall::cluster
