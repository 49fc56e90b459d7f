#pragma once

#include "base/result.hpp"
#include "policy/calendar/config.hpp"
#include "policy/dispatch_policies.hpp"

#include <memory>

namespace squall::policy::calendar {

/// The policy `calendar`: admits a call only if a complete schedule of everything admitted exists in which it meets its
/// SLOs (graph.hpp), and runs work as early as that schedule allows. docs/promises.md explains it.
class calendar_policy final : public dispatch_policy {
public:
  /// Ids that it names are greater than `last_id`.
  explicit calendar_policy(const calendar_config& config = {}, std::uint64_t last_id = 0);
  ~calendar_policy() override;

  [[nodiscard]] std::string_view name() const override { return "calendar"; }
  void step(time_point now, const calls::placing::event& fact, std::vector<calls::placing::command>& out) override;
  [[nodiscard]] bool adopts() const override { return true; }
  [[nodiscard]] std::optional<time_point> next_deadline() const override;
  void save(calls::binary_writer& out) const override;
  void restore(calls::binary_reader& in) override;

  /// What is wrong with the books, for tests; empty when all is well. `kept`: no promise may be in danger.
  [[nodiscard]] std::string check(bool kept) const;
  /// Batches that are booked and have not started, and the bytes that the books take.
  [[nodiscard]] std::size_t booked() const;
  [[nodiscard]] std::size_t memory_bytes() const;

private:
  std::unique_ptr<struct state> state_;
};

/// Options: see docs/policies.md.
[[nodiscard]] result<std::unique_ptr<dispatch_policy>> make_calendar(const dispatch_policy_setup& setup);

} // namespace squall::policy::calendar
