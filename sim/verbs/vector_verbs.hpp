#pragma once

#include <CLI/CLI.hpp>

/// The verbs that answer files of problems, one a line.
namespace squall::sim {

void add_kaas_verb(CLI::App& sim, int& status);
void add_pareto_verb(CLI::App& sim, int& status);
void add_hybrid_verb(CLI::App& sim, int& status);

} // namespace squall::sim
