// Streams of calls that share state: where the state is, and when it is dropped.
#include "policy/detail/scheduler_state.hpp"

namespace squall::policy {

using namespace detail;

result<sequence_state*> scheduler::state::find_sequence(const placing::call_arrived& fact) {
  const slot_index slot = sequences.find_slot(fact.sequence.id);
  const std::string name = "sequence " + to_string(fact.sequence.id);
  if (slot == no_slot) {
    if (fact.sequence.start)
      return nullptr;
    return {errc::data_loss,
            "state of " + name + " is not held: it never started, has ended or timed out; begin again with start"};
  }
  sequence_state& sequence = sequences.at(slot);
  if (sequence.lost) {
    const node_id node = sequence.node;
    sequence_timers.erase(slot);
    sequences.erase(slot);
    if (fact.sequence.start)
      return nullptr;
    return {errc::data_loss, "state of " + name + " is gone: node " + to_string(node) +
                                 ", which held it, was lost; begin again with start"};
  }
  if (sequence.ending && !fact.sequence.start)
    return {errc::data_loss, "state of " + name + " is not held: call " + to_string(sequence.ending) +
                                 " ends it; begin again with start"};
  return &sequence;
}

sequence_state& scheduler::state::begin_sequence(sequence_id id, node_id node) {
  sequence_state& sequence = sequences.at(sequences.insert(id));
  sequence.node = node;
  return sequence;
}

void scheduler::state::enter_sequence(sequence_state& sequence, const placing::call_arrived& fact) {
  if (fact.sequence.start)
    sequence.ending = {};
  if (fact.sequence.end)
    sequence.ending = fact.id;
  ++sequence.calls;
  sequence_timers.erase(sequences.find_slot(fact.sequence.id));
}

void scheduler::state::leave_sequence(const calls::sequence& of, call_id call) {
  const slot_index slot = sequences.find_slot(of.id);
  if (slot == no_slot)
    return;
  sequence_state& sequence = sequences.at(slot);
  if (sequence.calls > 0)
    --sequence.calls;
  if (sequence.lost)
    return;
  if (sequence.ending == call) {
    commands.emplace_back(placing::end_sequence{sequence.node, of.id});
    sequence_timers.erase(slot);
    sequences.erase(slot);
    return;
  }
  sequence.idle_since = now;
  if (sequence.calls == 0)
    sequence_timers.set(slot, later(now, config.sequence_timeout), of.id.value);
}

void scheduler::state::lose_sequences(node_id node) {
  for (const sequence_id id : sequences.sorted_ids()) {
    const slot_index slot = sequences.find_slot(id);
    sequence_state& sequence = sequences.at(slot);
    if (sequence.node != node || sequence.lost)
      continue;
    // Kept for the time-out, so that the next call learns what became of the state.
    sequence.lost = true;
    sequence.idle_since = now;
    sequence_timers.set(slot, later(now, config.sequence_timeout), id.value);
  }
}

void scheduler::state::expire_sequences() {
  for (slot_index slot = sequence_timers.due(now); slot != no_slot; slot = sequence_timers.due(now)) {
    if (!sequences.at(slot).lost)
      commands.emplace_back(placing::end_sequence{sequences.at(slot).node, sequences.id_of(slot)});
    sequence_timers.erase(slot);
    sequences.erase(slot);
  }
}

} // namespace squall::policy
