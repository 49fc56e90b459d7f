#pragma once

#include "base/ids.hpp"
#include "base/time.hpp"
#include "calls/binary.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace squall::policy {

/// A node that could run a stage, as a policy sees it.
struct node_candidate {
  node_id node;
  duration load{0};      ///< expected work outstanding there for the stage's resource, per lane
  bool resident = false; ///< the stage's variant is resident
  std::uint64_t freed =
      0;            ///< grows with each time that a node's last work ended; 0: it never had any. Least = free longest
  bool idle = true; ///< it has no outstanding work for the resource
};

/// A stage that needs a node.
struct placement_request {
  call_id call;
  stage_index stage = 0;
  std::optional<std::size_t> near; ///< the candidate that holds the values of its last producer, if it has one
  duration move_cost{0};           ///< what moving values to another node is taken to cost
};

/// The named rule that decides which node runs a stage. Its state is part of the scheduler's snapshot. A policy sees
/// candidates in ascending order of their ids, never none, and ends every comparison in the id. `docs/policies.md` says
/// what each one does.
class placement_policy {
public:
  virtual ~placement_policy() = default;
  [[nodiscard]] virtual std::string_view name() const = 0;
  /// The index of the chosen candidate.
  [[nodiscard]] virtual std::size_t choose(const placement_request& request,
                                           std::span<const node_candidate> candidates) = 0;
  virtual void save(calls::binary_writer& out) const = 0;
  virtual void restore(calls::binary_reader& in) = 0;
};

/// A policy in its first state; null for a name that is not one. `seed` is for policies that draw.
[[nodiscard]] std::unique_ptr<placement_policy> make_placement_policy(std::string_view name, std::uint64_t seed);

/// The known names, ascending.
[[nodiscard]] std::vector<std::string> placement_policy_names();

} // namespace squall::policy
