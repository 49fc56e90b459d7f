#include "sim/verbs/verbs.hpp"

namespace squall::sim {

void add_sim_verbs(CLI::App& app, int& status) {
  auto* sim = app.add_subcommand("sim", "simulate: policies, plans and overflow under virtual time");
  sim->require_subcommand(1);
  sim->fallthrough();
  add_kaas_verb(*sim, status);
  add_pareto_verb(*sim, status);
}

} // namespace squall::sim
