#pragma once

#include "base/time.hpp"
#include "calls/binary.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace squall::policy {

/// A place in the table of groups or of executors: 0, 1, ... in order of registration.
using group_index = std::uint32_t;
using executor_index = std::uint32_t;

/// How executors of the exclusive policy pass from one group to another.
enum class rebalance_rule : std::uint8_t {
  none,
  /// By load: what has arrived times its execution time, per executor that the group owns (thesis, 6.1).
  pressure,
  /// By number: a group that has none, or fewer by two or more, takes from the greatest group; among equally great
  /// ones from the one that gave least recently.
  group_size,
};
[[nodiscard]] std::string_view to_string(rebalance_rule rule);
[[nodiscard]] std::optional<rebalance_rule> enum_from_string(std::string_view name, std::type_identity<rebalance_rule>);

struct selection_config {
  std::string policy = "balance"; ///< rr, balance, srtf, mlfq or exclusive
  /// srtf: how much of its wait is taken off a task's execution time, in millionths; 0 = none, 1,000,000 = all.
  std::uint32_t aging_ppm = 0;
  rebalance_rule rebalance = rebalance_rule::pressure; ///< exclusive
  time_point rebalance_from{};                         ///< exclusive: not before
  /// exclusive: a group that owns no executor and has a task waiting takes a free one of the group of least pressure,
  /// whatever that has left. Without this, a group may wait for ever where there are more groups than executors.
  bool make_room = true;
  std::uint64_t seed = 1; ///< mlfq
  /// mlfq: the first draws, each taken modulo the number of buckets that may be drawn; after them `seed` decides.
  std::vector<std::uint64_t> draws{};

  friend bool operator==(const selection_config&, const selection_config&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("policy", s.policy);
    v("aging_ppm", s.aging_ppm);
    v("rebalance", s.rebalance);
    v("rebalance_from", s.rebalance_from);
    v("make_room", s.make_room);
    v("seed", s.seed);
    v("draws", s.draws);
  }
};

/// Which waiting task runs next, and on which free executor: the policies of the thesis, chapter 6, as one pure object.
///
/// Tasks that take the same time and can run in the same places (one model, one function) form a group. Executors and
/// groups have kinds (bits; an executor has one); a group's tasks run on executors of its kinds. Executors that are
/// free stand in a row in the order in which they became free; those that were never used stand first, by index. All
/// policies are work-conserving but rr: a task that could run is not held back for one that could not.
///
/// rr         the oldest task; executors in turn by index (skipping kinds that do not suit); waits for that executor
/// balance    the oldest task, on the executor that is free longest
/// srtf       the least execution time, then the oldest; on the executor that is free longest
/// mlfq       draws among the groups that could run now; the oldest task of the group; the executor that is free
/// longest exclusive  each group runs on executors of its own only, groups in order of registration, each with its
/// oldest task
///            on the one of its own that is free longest
///
/// Not thread-safe. Not for more than a few thousand executors: choosing costs up to groups x free executors.
class selection {
public:
  struct choice {
    group_index group = 0;
    std::uint64_t task = 0;
    executor_index executor = 0;
    friend bool operator==(const choice&, const choice&) = default;
  };
  /// Whether a group's tasks can run on a free executor now, beside being of its kinds (memory, for instance).
  using can_run = std::function<bool(group_index, executor_index)>;

  /// `config.policy` must be one of selection_names().
  explicit selection(const selection_config& config);
  ~selection();
  selection(const selection&) = delete;
  selection& operator=(const selection&) = delete;

  [[nodiscard]] const selection_config& config() const;

  group_index add_group(duration expected, std::uint64_t kinds);
  void set_kinds(group_index group, std::uint64_t kinds);
  void set_expected(group_index group, duration expected);
  /// Adds a free executor. As long as nothing was chosen, the exclusive policy gives the i-th executor of a kind to the
  /// (i mod m)-th of the m groups of that kind; later executors go to the group of greatest pressure.
  executor_index add_executor(std::uint64_t kind);
  /// The executor is gone for good; its index is not used again.
  void remove_executor(executor_index executor);

  /// A task begins to wait. Tasks must ascend in the order of submission, and `now` never goes back.
  void enqueue(group_index group, std::uint64_t task, time_point now);
  /// A waiting task is no longer wanted; false if it does not wait.
  bool withdraw(group_index group, std::uint64_t task);
  /// An executor's task has ended. Of several in one moment the one whose task was chosen first comes first.
  void release(executor_index executor);
  /// What a policy does once in each moment, after arrivals and before the first next(): the exclusive one rebalances.
  void settle(time_point now);
  /// The next task to run and where, both taken out; nothing if none can run now. Ask until it says nothing.
  [[nodiscard]] std::optional<choice> next(const can_run& can);

  /// Takes out up to `most` further tasks of a group, oldest first, to run together with a chosen one.
  [[nodiscard]] std::vector<std::uint64_t> take(group_index group, std::size_t most);

  [[nodiscard]] std::size_t waiting() const;
  [[nodiscard]] std::uint64_t draws_taken() const; ///< by mlfq
  /// The executors that a group owns under the exclusive policy.
  [[nodiscard]] std::uint32_t owned(group_index group) const;

  void save(calls::binary_writer& out) const;
  void restore(calls::binary_reader& in);

private:
  struct state;
  std::unique_ptr<state> state_;
};

/// The names of the policies, ascending.
[[nodiscard]] const std::vector<std::string>& selection_names();

} // namespace squall::policy
