#pragma once

#include <CLI/CLI.hpp>

/// The verb `sim` of the command line: the simulator's files in and out. docs/cli.md is its reference.
namespace squall::sim {

/// Registers `sim` with the verbs below it. `status` is set by the verb that ran: 0 ok, 1 failed.
void add_sim_verbs(CLI::App& app, int& status);

// Each registers one verb under `sim`.
void add_kaas_verb(CLI::App& sim, int& status);
void add_pareto_verb(CLI::App& sim, int& status);
void add_hybrid_verb(CLI::App& sim, int& status);

} // namespace squall::sim
