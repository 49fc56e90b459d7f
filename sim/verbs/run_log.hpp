#pragma once

#include "sim/dag_model.hpp"

#include <cstdio>
#include <memory>
#include <string>

namespace squall::sim {

/// Writes what happens in a run as JSON lines (docs/simulation.md).
class run_log final : public run_observer {
public:
  /// Both must outlive the log.
  run_log(const workload& input, std::FILE* out) : input_(input), out_(out) {}

  void admitted(std::int64_t t, std::size_t request, std::optional<std::int64_t> expected,
                calls::placing::micro_cost cost) override;
  void refused(std::int64_t t, std::size_t request, std::span<const offered> offers) override;
  void redeemed(std::int64_t t, std::size_t request, const offered& offer) override;
  void loading(std::int64_t t, replica_id replica, node_id node, variant_id variant) override;
  void evicted(std::int64_t t, replica_id replica) override;
  void running(std::int64_t t, replica_id replica, std::span<const calls::placing::task> tasks,
               std::int64_t until) override;
  void skipped(std::int64_t t, std::size_t request, stage_index stage) override;
  void dropped(std::int64_t t, std::size_t request, const std::string& why) override;
  void finished(std::int64_t t, std::size_t request, calls::placing::micro_cost cost, bool kept) override;
  /// Whether everything could be written.
  [[nodiscard]] bool flush();

private:
  void begin(std::int64_t t, const char* what);
  void request(std::size_t index);
  void key(const char* name);
  void number(std::int64_t n);
  void quoted(std::string_view s);
  void cost(calls::placing::micro_cost c);
  void end();

  const workload& input_;
  std::FILE* out_;
  std::string line_;
};

/// Money as the file writes it: a decimal number without needless digits.
[[nodiscard]] std::string cost_text(calls::placing::micro_cost c);

/// A run's summary as `-o json` prints it, with a newline. `wall_s` is how long the run took.
[[nodiscard]] std::string summary_json(const dag_run_summary& s, std::int64_t horizon_ms, double wall_s);
/// The same for people.
[[nodiscard]] std::string summary_table(const dag_run_summary& s, std::int64_t horizon_ms, double wall_s);

} // namespace squall::sim
