#pragma once

#include "base/result.hpp"
#include "base/time.hpp"
#include "calls/placing.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace squall::calls {
class binary_writer;
class binary_reader;
} // namespace squall::calls

namespace squall::policy {

/// How a shadow's decisions compare with those of the policy in force, over all calls that are over under both.
struct shadow_report {
  std::string policy; ///< empty: there is no shadow
  std::uint64_t calls = 0;
  std::uint64_t admitted_by_both = 0;
  std::uint64_t only_in_force = 0; ///< admitted by it alone
  std::uint64_t only_shadow = 0;
  std::uint64_t refused_by_both = 0;
  std::uint64_t met_in_force = 0; ///< ended well, within their deadline
  std::uint64_t met_shadow = 0;   ///< in its model
  std::uint64_t ended_by_both = 0;
  duration latency_in_force{0}; ///< sum of those
  duration latency_shadow{0};
  std::uint64_t stages = 0; ///< of those that both ran
  std::uint64_t same_variant = 0;
  std::uint64_t same_node = 0;
  std::uint64_t open = 0;     ///< calls that are not over under both
  std::uint64_t left_out = 0; ///< calls of sequences, and those beyond the limit

  friend bool operator==(const shadow_report&, const shadow_report&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("policy", s.policy);
    v("calls", s.calls);
    v("admitted_by_both", s.admitted_by_both);
    v("only_in_force", s.only_in_force);
    v("only_shadow", s.only_shadow);
    v("refused_by_both", s.refused_by_both);
    v("met_in_force", s.met_in_force);
    v("met_shadow", s.met_shadow);
    v("ended_by_both", s.ended_by_both);
    v("latency_in_force_ns", s.latency_in_force);
    v("latency_shadow_ns", s.latency_shadow);
    v("stages", s.stages);
    v("same_variant", s.same_variant);
    v("same_node", s.same_node);
    v("open", s.open);
    v("left_out", s.left_out);
  }
};

/// A dispatch policy that decides nothing. It hears of the same catalogue, nodes and calls as the policy in force, at
/// the same times; what it orders is carried out by a model: a batch takes what its variant is said to take, times what
/// the cluster was found to take over that; a load takes what it is said to take. Whether a stage runs and how wide it
/// is follows the real call where that is ahead, else what such calls do.
///
/// A part of the scheduler, with its rules: pure, not thread-safe, in its snapshot.
class shadow {
public:
  static constexpr std::size_t max_calls = 10'000; ///< followed at a time

  /// Errors: the name is not one of a dispatch policy, or its options are wrong. `last_id` as for that.
  [[nodiscard]] static result<std::unique_ptr<shadow>> create(std::string_view name, std::uint64_t seed,
                                                              std::uint64_t last_id);
  ~shadow();
  shadow(const shadow&) = delete;
  shadow& operator=(const shadow&) = delete;

  /// A fact, and what the policy in force decided upon it.
  void observe(time_point now, const calls::placing::event& fact, std::span<const calls::placing::command> decided);

  [[nodiscard]] std::optional<time_point> next_deadline() const;
  [[nodiscard]] shadow_report report() const;

  void save(calls::binary_writer& out) const;
  void restore(calls::binary_reader& in);

private:
  struct state;
  explicit shadow(std::unique_ptr<state> made);
  std::unique_ptr<state> state_;
};

} // namespace squall::policy
