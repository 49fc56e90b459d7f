#include "policy/detail/snapshot.hpp"

#include "policy/calendar/plans.hpp"
#include "policy/calendar/state.hpp"

namespace squall::policy::calendar {

using policy::detail::read_map;
using policy::detail::write_map;

namespace {
/// All that is written, in order, once for both directions.
template <class Graph, class Each>
void each_of_graph(Graph& g, const Each& each) {
  each(g.variants);
  each(g.lanes);
  each(g.replicas);
  each(g.nodes);
  each(g.batches);
  each(g.calls);
  each(g.dags);
  for (std::size_t r = 0; r < resources; ++r)
    each(g.booked[r]);
  for (std::size_t r = 0; r < resources; ++r)
    each(g.lane_count[r]);
}

template <class State, class Each, class EachMap>
void each_of_state(State& s, const Each& each, const EachMap& each_map) {
  each(s.price);
  each(s.odds);
  each_map(s.variant_slots);
  each_map(s.node_slots);
  each_map(s.dag_slots);
  each_map(s.call_slots);
  each_map(s.replica_slots);
  each_map(s.batch_slots);
  each(s.tickets);
  each(s.arrivals);
  each(s.last_id);
  each(s.dirty);
  each(s.times_changed);
  each(s.manage_at);
  each(s.tidy_next);
  each(s.to_load);
  each(s.suggest_after);
}
} // namespace

void graph::save(calls::binary_writer& out) const {
  each_of_graph(*this, [&](const auto& value) { out.write(value); });
  out.write(now_);
  out.write(free_batches_);
  out.write(free_replicas_);
  out.write(free_calls_);
}

void graph::restore(calls::binary_reader& in) {
  each_of_graph(*this, [&](auto& value) { in.read(value); });
  in.read(now_);
  in.read(free_batches_);
  in.read(free_replicas_);
  in.read(free_calls_);
  if (!in.ok())
    return;
  if (const std::string wrong = sound(); !wrong.empty())
    return in.fail("holds a calendar that does not fit together: " + wrong);
  for (lane_entry& lane : lanes)
    for (const slot b : lane.order)
      lane.keys.push_back(batches[b].key);
  for (dag_entry& dag : dags)
    if (dag.id && (!std::ranges::all_of(dag.front, [&](const auto& plan) { return is_plan_of(dag, plan); }) ||
                   !derive(dag, variants)))
      return in.fail("holds a DAG whose stages do not fit together");
}

void state::save(calls::binary_writer& out) const {
  out.write(config);
  out.write(now);
  g.save(out);
  each_of_state(
      *this, [&](const auto& value) { out.write(value); }, [&](const auto& map) { write_map(out, map); });
}

void state::restore(calls::binary_reader& in) {
  in.read(config);
  in.read(now);
  g.restore(in);
  each_of_state(
      *this, [&](auto& value) { in.read(value); }, [&](auto& map) { read_map(in, map); });
  if (!in.ok())
    return;
  for (slot s = 0; s < g.batches.size(); ++s)
    if (g.batches[s].variant != none && g.batches[s].running)
      batch_ends.set(s, from_ns(g.batches[s].end()), g.batches[s].id.value);
  for (slot s = 0; s < g.replicas.size(); ++s)
    if (g.replicas[s].variant != none && g.replicas[s].ordered && !g.replicas[s].ready)
      load_ends.set(s, from_ns(g.replicas[s].ready_at), g.replicas[s].id.value);
}

} // namespace squall::policy::calendar
