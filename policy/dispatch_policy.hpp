#pragma once

#include "base/time.hpp"
#include "calls/binary.hpp"
#include "calls/placing.hpp"

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

namespace squall::policy {

/// A policy that holds work back: it admits or refuses each call, and says when, where and in which company each task
/// runs and what is resident for that. A part of the scheduler with the scheduler's own face: it hears every fact of
/// the cluster and the catalogue, and of the calls that arrived while it was in force.
///
/// A call that it admits has an empty plan (`admit::dispatched`). From then on it hears `stage_ready` for each stage,
/// in the moment in which the last producer ended or was skipped (sources: in the moment of the arrival), and answers
/// in its own time with `dispatch`.
///
/// One moment. Facts of one time come in the order: ends of batches and loads, nodes, arrivals, then one `tick`. What
/// runs and what is loaded is decided in that tick (next_deadline() is `now` after a fact that could change it), so
/// that all facts of the moment are known. Whether a call is admitted may be decided at once.
///
/// What it may rely on: a replica runs one batch at a time; a running batch holds a lane of the replica's node of its
/// variant's resource; a replica holds its memory from load_replica on. It must not order anything else.
class dispatch_policy {
public:
  virtual ~dispatch_policy() = default;
  [[nodiscard]] virtual std::string_view name() const = 0;

  /// One fact; appends what is decided to `out`, in the order to carry it out.
  virtual void step(time_point now, const calls::placing::event& fact, std::vector<calls::placing::command>& out) = 0;

  /// Whether it takes calls over that another scheduler dispatched (`plans_adopted`).
  [[nodiscard]] virtual bool adopts() const { return false; }

  /// When it wants a `tick` if nothing comes first.
  [[nodiscard]] virtual std::optional<time_point> next_deadline() const = 0;

  virtual void save(calls::binary_writer& out) const = 0;
  virtual void restore(calls::binary_reader& in) = 0;
};

} // namespace squall::policy
