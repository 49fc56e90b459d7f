#pragma once

#include <CLI/CLI.hpp>

/// `squall sim ...`: the verbs of the simulator. docs/simulation.md is their reference.
namespace squall::sim {

/// Registers `sim` and its verbs. `status` is set by the one that ran: 0 ok, 1 failed.
void add_sim_verbs(CLI::App& app, int& status);
/// Registers `whatif`.
void add_whatif_verb(CLI::App& app, int& status);

} // namespace squall::sim
