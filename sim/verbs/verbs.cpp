#include "sim/verbs/verbs.hpp"

#include "sim/verbs/parts.hpp"
#include "sim/verbs/vector_verbs.hpp"

namespace squall::sim {

void add_sim_verbs(CLI::App& app, int& status) {
  auto* sim = app.add_subcommand("sim", "run the scheduling code under virtual time");
  sim->require_subcommand(1);
  add_run_verb(*sim, status);
  add_kaas_verb(*sim, status);
  add_pareto_verb(*sim, status);
  add_hybrid_verb(*sim, status);
  add_workload_verb(*sim, status);
}

} // namespace squall::sim
