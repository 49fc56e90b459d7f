#pragma once

#include "base/time.hpp"
#include "calls/placing.hpp"
#include "policy/shadow.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace squall::policy {

/// What the scheduler is told once. Part of every snapshot.
struct scheduler_config {
  std::string policy = "fifo";                          ///< name of a policy of either kind
  std::uint32_t max_calls = 100'000;                    ///< admitted and not ended; more are refused as overloaded
  std::uint32_t max_calls_per_client = 20'000;          ///< the same for one client
  duration sequence_timeout = std::chrono::seconds{60}; ///< a sequence without a call for so long is ended
  duration deadline_grace = std::chrono::milliseconds{
      200}; ///< after its deadline, how long a call may stay unanswered by its nodes before it is abandoned
  duration move_cost = std::chrono::milliseconds{
      1}; ///< a stage leaves the node of its last producer only for one whose load is less by this or more
  bool late_placement = false; ///< no call is placed when it arrives: all policies are dispatch policies
  /// Which of the schedulers that follow each other in a cluster it is, up to 65535: batches, replicas and tickets that
  /// it names have other ids than those of the others.
  std::uint32_t life = 0;

  friend bool operator==(const scheduler_config&, const scheduler_config&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("policy", s.policy);
    v("max_calls", s.max_calls);
    v("max_calls_per_client", s.max_calls_per_client);
    v("sequence_timeout_ns", s.sequence_timeout);
    v("deadline_grace_ns", s.deadline_grace);
    v("move_cost_ns", s.move_cost);
    v("late_placement", s.late_placement);
    v("life", s.life);
  }
};

/// The policy that decides a part of the calls, beside the one in force.
struct share_view {
  std::string policy; ///< empty: there is none
  std::uint32_t share_ppm = 0;
  std::string state;
  std::uint64_t calls = 0;   ///< in flight
  std::uint64_t decided = 0; ///< so far
  std::uint64_t admitted = 0;
  std::vector<node_id> nodes; ///< its own; ascending
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("policy", s.policy);
    v("share_ppm", s.share_ppm);
    v("state", s.state);
    v("calls", s.calls);
    v("decided", s.decided);
    v("admitted", s.admitted);
    v("nodes", s.nodes);
  }
};

/// Whether a scheduler that also places knows the policy. The error lists those that it knows.
[[nodiscard]] result<> check_policy(std::string_view name);

/// Decides what runs where. The same configuration, seed and facts give the same commands on every platform.
/// Not thread-safe; owns all of its state; unmovable.
///
/// Two kinds of policies. A placement policy (placement_policy.hpp) places a call when it arrives. A dispatch policy
/// (dispatch_policy.hpp) holds work back: then the scheduler checks limits and names, and the policy decides the rest.
/// Names that both kinds know mean the former, or the latter with `late_placement`, where there are no others.
///
/// When another policy is set, placed calls keep their plans, and the calls that a dispatch policy admitted end under
/// it. Calls for another dispatch policy are held until the last of them has ended and its replicas are gone, so that
/// never two of them order of the same nodes. A policy may also be set as a shadow (shadow.hpp), which only computes
/// and is compared; the name `none` ends that. Or it gets a share of the calls, drawn by their ids: then it is a
/// dispatch policy, and has nodes of its own, on which the other one orders nothing. It starts when those are free; a
/// share of 0 ends it with its calls. Calls of a sequence are placed, since its state is on one node; with
/// `late_placement` they are refused.
class scheduler {
public:
  scheduler(const scheduler_config& config, std::uint64_t seed);
  ~scheduler();
  scheduler(const scheduler&) = delete;
  scheduler& operator=(const scheduler&) = delete;

  /// Feeds one fact; `now` never goes back. Facts about unknown ids are ignored (late answers are normal).
  void step(time_point now, const calls::placing::event& fact);

  /// Commands decided since the last call, in the order to carry them out.
  [[nodiscard]] std::vector<calls::placing::command> take_commands();

  /// When to step with `tick` if nothing else comes first.
  [[nodiscard]] std::optional<time_point> next_deadline() const;

  /// The whole state as bytes; restore() of them gives a scheduler that behaves the same. Format: the binary codec of
  /// `calls`.
  [[nodiscard]] std::vector<std::byte> save() const;
  [[nodiscard]] static result<std::unique_ptr<scheduler>> restore(std::span<const std::byte> snapshot);

  /// A hash of the state, equal for equal states.
  [[nodiscard]] std::uint64_t hash() const;

  /// What it knows of the catalogue and the cluster, as facts that would tell another one: functions, DAGs, nodes.
  [[nodiscard]] std::vector<calls::placing::event> known_facts() const;

  /// The time of the last step.
  [[nodiscard]] time_point now() const;

  /// The name of the policy in force, and the number of calls admitted and not ended.
  [[nodiscard]] const std::string& policy_name() const;
  [[nodiscard]] std::size_t calls_in_flight() const;

  /// What the policy that only computes would have done so far.
  [[nodiscard]] shadow_report shadow_so_far() const;
  [[nodiscard]] share_view share() const;

private:
  struct state;
  explicit scheduler(std::unique_ptr<state> restored);
  std::unique_ptr<state> state_;
};

} // namespace squall::policy
