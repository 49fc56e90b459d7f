#pragma once

#include "policy/calendar/graph.hpp"

#include <optional>

namespace squall::policy::calendar {

/// Looking for a place for one task is bounded by these, so that its cost does not grow with the cluster.
inline constexpr std::size_t max_replicas_tried = 8;
inline constexpr std::size_t max_lanes_tried = 8; ///< per replica
inline constexpr std::size_t max_joins_tried = 24;
inline constexpr std::size_t max_gaps_tried = 8; ///< per lane

/// A waiting batch of the variant that can take the task without breaking the certificate: the one that would end
/// first. `room` is the most that the batch may weigh then, in tasks.
[[nodiscard]] std::optional<slot> find_join(const graph& g, task_ref task, slot variant);

/// A place for a new batch of the task that keeps the certificate: near the order of the keys (proportional deadlines),
/// and of those the one that ends first. `turn` says which replicas are tried where there are many.
[[nodiscard]] std::optional<graph::place> find_place(const graph& g, task_ref task, slot variant, ns key,
                                                     std::uint64_t turn);

/// A place on the lane in front of the batch that is `at` there, for tasks that are booked nowhere and shall run
/// together.
[[nodiscard]] std::optional<graph::place> find_place_at(const graph& g, const std::vector<task_ref>& tasks, slot lane,
                                                        slot replica, std::size_t at);

} // namespace squall::policy::calendar
