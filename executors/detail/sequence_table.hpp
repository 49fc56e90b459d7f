#pragma once

#include "calls/call.hpp"
#include "functions/dag.hpp"

#include <deque>
#include <optional>
#include <unordered_map>
#include <vector>

namespace squall::executors {

/// The states of the sequences that this node serves: per sequence and function, the values of its state outputs. Runs
/// of one function in one sequence take turns, in the order in which they came, because each needs the state that the
/// one before it left.
class sequence_table {
public:
  static constexpr std::size_t max_sequences = 100'000;

  /// A stage of a call that wants to run.
  struct run {
    call_id call;
    stage_index stage = 0;
  };

  /// True: it is the run's turn, which ends with leave(). False: it waits, and leave() gives it back when its turn
  /// comes. Fails as overloaded when there are too many sequences.
  result<bool> enter(sequence_id sequence, function_id function, const run& who);

  /// Ends a turn; gives the run whose turn comes now.
  std::optional<run> leave(sequence_id sequence, function_id function);

  /// Puts the state into the inputs that take it: fresh state if `start` (or if the call belongs to no sequence), else
  /// what the last run left. Fails as data_loss when there is none.
  result<> fill(const calls::sequence& sequence, const functions::registered_function& function,
                std::vector<functions::value>& inputs) const;

  /// Keeps copies of the state outputs.
  void store(sequence_id sequence, const functions::registered_function& function,
             const std::vector<functions::value>& outputs);

  /// Forgets the state; runs that wait keep their turns.
  void drop(sequence_id sequence);
  void clear() { sequences_.clear(); }
  [[nodiscard]] std::size_t size() const { return sequences_.size(); }

private:
  struct slot {
    function_id function;
    bool busy = false;
    std::deque<run> waiting;
    std::optional<std::vector<functions::value>> state; ///< parallel to the function's state
  };
  using slots = std::vector<slot>;

  [[nodiscard]] const slot* find(sequence_id sequence, function_id function) const;
  [[nodiscard]] slot* find(sequence_id sequence, function_id function) {
    return const_cast<slot*>(std::as_const(*this).find(sequence, function));
  }
  void tidy(sequence_id sequence);

  std::unordered_map<sequence_id, slots> sequences_;
};

} // namespace squall::executors
