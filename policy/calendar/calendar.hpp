#pragma once

#include "policy/calendar/config.hpp"
#include "policy/dispatch_policy.hpp"

#include <memory>

namespace squall::policy {

/// Admits a call only if a complete schedule of everything admitted exists in which it meets its SLOs (calendar/graph.hpp),
/// and runs work as early as that schedule allows. docs/promises.md explains it.
[[nodiscard]] std::unique_ptr<dispatch_policy> make_calendar(const calendar::calendar_config& config = {},
                                                             std::uint64_t last_id = 0);

} // namespace squall::policy
