#pragma once

#include "sim/workload.hpp"

#include <optional>
#include <string_view>

/// Workloads of known kinds, drawn from a seed.
namespace squall::sim {

/// How calls arrive: steadily (Poisson), in bursts (Poisson at one of two rates that take turns), or at several times
/// the capacity, most of them for the smallest models.
enum class arrival_kind : std::uint8_t { steady, bursty, heavy };
[[nodiscard]] std::optional<arrival_kind> arrival_kind_of(std::string_view name);

/// What they ask for: three models side by side between two glue stages, or a small model and, in 35 % of calls, a
/// large one behind it.
enum class dag_kind : std::uint8_t { ensemble, cascade };
[[nodiscard]] std::optional<dag_kind> dag_kind_of(std::string_view name);

/// Ten seconds on four CPU nodes (8 lanes, 8 GB) and two GPU nodes (2.5 GB), with SLOs of three classes: 30 % want 0.6
/// of the latency on CPUs at any cost, 40 % take 1.3 of it at half of the span between cheapest and dearest, 30 % take
/// 3 times it at a tenth. Cascades arrive twice as often as ensembles. docs/simulation.md has the figures.
[[nodiscard]] workload make_workload(arrival_kind arrivals, dag_kind dags, std::uint64_t seed);

/// The micro-benchmark of the thesis' table 4.1: one ensemble, 1200 calls, one each millisecond, on eight CPU nodes and
/// a GPU node; latency SLO as given, in ms.
[[nodiscard]] workload make_table41(std::int64_t latency_slo);

} // namespace squall::sim
