// squall sim workload
#include "sim/verbs/parts.hpp"
#include "sim/verbs/workload_file.hpp"
#include "sim/workload_kinds.hpp"

#include <cstdio>

namespace squall::sim {

namespace {

struct workload_flags {
  std::string arrivals;
  std::string dags = "ensemble";
  std::uint64_t seed = 1;
  std::int64_t slo = 40;
};

} // namespace

void add_workload_verb(CLI::App& sim, int& status) {
  auto flags = std::make_shared<workload_flags>();
  auto* verb = sim.add_subcommand("workload", "print a workload of a known kind, drawn from a seed");
  verb->add_option("kind", flags->arrivals, "steady, bursty, heavy or table41")
      ->required()
      ->check(CLI::IsMember({"steady", "bursty", "heavy", "table41"}));
  verb->add_option("--kind", flags->dags, "what is called: ensemble or cascade")
      ->check(CLI::IsMember({"ensemble", "cascade"}))
      ->envname("SQUALL_SIM_KIND")
      ->capture_default_str();
  verb->add_option("--seed", flags->seed, "another seed gives other calls of the same kind")
      ->envname("SQUALL_SIM_SEED")
      ->capture_default_str();
  verb->add_option("--slo", flags->slo, "ms, of every call of table41")
      ->check(CLI::Range(1, 100'000))
      ->envname("SQUALL_SIM_SLO")
      ->capture_default_str();
  verb->callback([&status, flags] {
    const auto arrivals = arrival_kind_of(flags->arrivals);
    const workload w =
        arrivals ? make_workload(*arrivals, *dag_kind_of(flags->dags), flags->seed) : make_table41(flags->slo);
    const std::string text = workload_json(w);
    const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
    status = written ? 0 : print_error({errc::failed, "the workload could not be written", {}});
  });
}

} // namespace squall::sim
