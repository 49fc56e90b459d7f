#pragma once

#include "base/mix.hpp"

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace squall {

/// A number that names one kind of thing and cannot be passed for another. Zero names nothing.
template <class Tag>
struct strong_id {
  std::uint64_t value = 0;

  constexpr strong_id() = default;
  constexpr explicit strong_id(std::uint64_t v) : value(v) {}
  [[nodiscard]] constexpr explicit operator bool() const { return value != 0; }
  friend constexpr auto operator<=>(strong_id, strong_id) = default;
};

template <class Tag>
[[nodiscard]] std::string to_string(strong_id<Tag> id) {
  return std::to_string(id.value);
}

using call_id = strong_id<struct call_tag>;         ///< chosen by the client at random; unique in a cluster
using client_id = strong_id<struct client_tag>;     ///< chosen by the client at random when it connects
using node_id = strong_id<struct node_tag>;         ///< given by the controller when a node joins
using lane_id = strong_id<struct lane_tag>;         ///< a lane (executor) of one node, from 1
using function_id = strong_id<struct function_tag>; ///< one version of one function, given by the controller
using variant_id = strong_id<struct variant_tag>;   ///< one variant of one version of one function
using dag_id = strong_id<struct dag_tag>;           ///< one version of one DAG
using item_id = strong_id<struct item_tag>;         ///< one element of work in a node's queue
using batch_id = strong_id<struct batch_tag>;       ///< items that run together
using replica_id = strong_id<struct replica_tag>;   ///< one instance of a variant on one node, given by the scheduler
using sequence_id = strong_id<struct sequence_tag>; ///< a stream of calls that share state
using request_id = strong_id<struct request_tag>;   ///< matches a reply with its request on one connection

/// A stage's place in its DAG, in topological order. The DAG's outputs are gathered by the pseudo-stage
/// whose index is the number of stages.
using stage_index = std::uint32_t;

} // namespace squall

template <class Tag>
struct std::hash<squall::strong_id<Tag>> {
  std::size_t operator()(squall::strong_id<Tag> id) const noexcept {
    // Ids may be small and consecutive; spread them.
    return static_cast<std::size_t>(squall::mixed_bits(id.value + 0x9e3779b97f4a7c15ULL));
  }
};
