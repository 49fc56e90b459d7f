#include "policy/detail/snapshot.hpp"

#include "policy/calendar/plans.hpp"
#include "policy/calendar/state.hpp"

namespace squall::policy::calendar {

using policy::detail::read_map;
using policy::detail::write_map;

void graph::save(calls::binary_writer& out) const {
  out.write(variants);
  out.write(lanes);
  out.write(replicas);
  out.write(nodes);
  out.write(batches);
  out.write(calls);
  out.write(dags);
  out.write(booked[0]);
  out.write(booked[1]);
  out.write(lane_count[0]);
  out.write(lane_count[1]);
  out.write(now_);
  out.write(free_batches_);
  out.write(free_replicas_);
  out.write(free_calls_);
}

void graph::restore(calls::binary_reader& in) {
  in.read(variants);
  in.read(lanes);
  in.read(replicas);
  in.read(nodes);
  in.read(batches);
  in.read(calls);
  in.read(dags);
  in.read(booked[0]);
  in.read(booked[1]);
  in.read(lane_count[0]);
  in.read(lane_count[1]);
  in.read(now_);
  in.read(free_batches_);
  in.read(free_replicas_);
  in.read(free_calls_);
  if (!in.ok())
    return;
  if (const std::string wrong = sound(); !wrong.empty())
    return in.fail("holds a calendar that does not fit together: " + wrong);
  for (dag_entry& dag : dags)
    if (!derive(dag, variants))
      return in.fail("holds a DAG whose stages do not fit together");
}

void state::save(calls::binary_writer& out) const {
  out.write(config);
  out.write(now);
  g.save(out);
  out.write(price);
  out.write(odds);
  write_map(out, variant_slots);
  write_map(out, node_slots);
  write_map(out, dag_slots);
  write_map(out, call_slots);
  write_map(out, replica_slots);
  write_map(out, batch_slots);
  out.write(tickets);
  out.write(arrivals);
  out.write(last_id);
  out.write(dirty);
  out.write(times_changed);
  out.write(manage_at);
  out.write(to_load);
}

void state::restore(calls::binary_reader& in) {
  in.read(config);
  in.read(now);
  g.restore(in);
  in.read(price);
  in.read(odds);
  read_map(in, variant_slots);
  read_map(in, node_slots);
  read_map(in, dag_slots);
  read_map(in, call_slots);
  read_map(in, replica_slots);
  read_map(in, batch_slots);
  in.read(tickets);
  in.read(arrivals);
  in.read(last_id);
  in.read(dirty);
  in.read(times_changed);
  in.read(manage_at);
  in.read(to_load);
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
