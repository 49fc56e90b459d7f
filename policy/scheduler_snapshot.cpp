#include "policy/detail/scheduler_state.hpp"
#include "policy/detail/snapshot.hpp"

namespace squall::policy {

using namespace detail;

namespace {
constexpr std::uint32_t snapshot_version = 9;
} // namespace

void scheduler::state::save(calls::binary_writer& out) const {
  out.write(snapshot_version);
  out.write(config);
  out.write(seed);
  out.write(now);
  out.write(policy_name);
  out.write(placing_name);
  if (policy)
    policy->save(out);
  save_late(out);
  out.write(nodes);
  write_map(out, functions);
  write_map(out, variants);
  write_map(out, dags);
  write_map(out, in_flight);
  write_map(out, clients);
  write_map(out, sequences);
  out.write(arrivals);
  out.write(releases);
  out.write(end_gap_ns);
  out.write(last_end);
  out.write(commands);
}

result<> scheduler::state::load(std::span<const std::byte> snapshot) {
  calls::binary_reader in{snapshot};
  std::uint32_t version = 0;
  in.read(version);
  SQUALL_TRY(in.status("scheduler snapshot"));
  if (version != snapshot_version)
    return {errc::unsupported, "scheduler snapshot: is of version " + std::to_string(version) +
                                   ", this program reads version " + std::to_string(snapshot_version)};
  in.read(config);
  in.read(seed);
  in.read(now);
  in.read(policy_name);
  in.read(placing_name);
  SQUALL_TRY(in.status("scheduler snapshot"));
  if (!config.late_placement) {
    policy = make_placement_policy(placing_name, seed);
    if (!policy)
      return {errc::corrupt, "scheduler snapshot: names a policy '" + placing_name + "' that does not exist"};
    policy->restore(in);
  }
  SQUALL_TRY(load_late(in));
  if (!policy && !late.in_force)
    return {errc::corrupt, "scheduler snapshot: no policy of it is in force"};
  in.read(nodes);
  read_map(in, functions);
  read_map(in, variants);
  read_map(in, dags);
  read_map(in, in_flight);
  read_map(in, clients);
  read_map(in, sequences);
  in.read(arrivals);
  in.read(releases);
  in.read(end_gap_ns);
  in.read(last_end);
  in.read(commands);
  SQUALL_TRY(in.finish("scheduler snapshot"));
  return rebuild();
}

/// What the snapshot leaves out because it follows from the rest.
result<> scheduler::state::rebuild() {
  for (std::size_t i = 1; i < nodes.size(); ++i)
    if (!(nodes[i - 1].id < nodes[i].id))
      return {errc::corrupt, "scheduler snapshot: its nodes do not ascend"};
  for (const dag_id id : dags.sorted_ids())
    if (!dags.find(id)->derive())
      return {errc::corrupt, "scheduler snapshot: the stages of DAG " + to_string(id) + " do not fit together"};
  for (const call_id id : in_flight.sorted_ids()) {
    const slot_index slot = in_flight.find_slot(id);
    const call_state& call = in_flight.at(slot);
    if (call.deadline != never && !call.late)
      call_timers.set(slot, later(call.deadline, config.deadline_grace), call.order);
  }
  for (const sequence_id id : sequences.sorted_ids()) {
    const slot_index slot = sequences.find_slot(id);
    const sequence_state& sequence = sequences.at(slot);
    if (sequence.calls == 0 || sequence.lost)
      sequence_timers.set(slot, later(sequence.idle_since, config.sequence_timeout), id.value);
  }
  return {};
}

std::vector<std::byte> scheduler::save() const {
  calls::binary_writer out;
  state_->save(out);
  return out.take();
}

result<std::unique_ptr<scheduler>> scheduler::restore(std::span<const std::byte> snapshot) {
  auto restored = std::make_unique<state>();
  SQUALL_TRY(restored->load(snapshot));
  return std::unique_ptr<scheduler>{new scheduler(std::move(restored))};
}

std::uint64_t scheduler::hash() const {
  fnv1a hash;
  hash.add(save());
  return hash.value();
}

} // namespace squall::policy
