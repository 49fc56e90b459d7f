#include "sim/hybrid.hpp"
#include "sim/verbs/vector_verbs.hpp"
#include "sim/verbs/vectors.hpp"

#include <cstdio>
#include <memory>

namespace squall::sim {

namespace {

using calls::json_node;

result<hybrid_problem> read_problem(json_node root) {
  hybrid_problem p;
  SQUALL_ASSIGN(cores, need(root, "cores"));
  SQUALL_ASSIGN(of_cores, real(cores, "cores"));
  SQUALL_ASSIGN(sla, need(root, "sla"));
  SQUALL_ASSIGN(of_sla, real(sla, "sla"));
  if (!(of_cores > 0))
    return {errc::invalid_argument, "cores: must be more than 0"};
  if (of_sla < 0 || of_sla > 1e6)
    return {errc::invalid_argument, "sla: must be from 0 to 1000000 ms"};
  p.cores = of_cores;
  p.sla = of_sla;
  SQUALL_ASSIGN(policy, need(root, "policy"));
  SQUALL_ASSIGN(name, text(policy, "policy"));
  if (name != "vm" && name != "threshold" && name != "projected")
    return {errc::invalid_argument, "policy: '" + name + "' is not one of vm, threshold, projected"};
  p.rule = name == "vm" ? hybrid_rule::vm : name == "threshold" ? hybrid_rule::threshold : hybrid_rule::projected;
  if (const auto prewarmed = maybe(root, "prewarmed")) {
    SQUALL_ASSIGN(count, whole(*prewarmed, "prewarmed", 0, 1'000'000));
    p.prewarmed = static_cast<std::uint64_t>(count);
  }
  SQUALL_ASSIGN(arrivals, need(root, "arrivals"));
  SQUALL_TRY(need_array(arrivals, "arrivals"));
  for (std::size_t i = 0; i < arrivals.size(); ++i) {
    SQUALL_ASSIGN(arrival, real(arrivals.element(i), at("arrivals", i)));
    if (arrival < 0)
      return {errc::invalid_argument, at("arrivals", i) + ": must not be below 0"};
    p.arrivals.push_back(arrival);
  }
  return p;
}

result<std::string> answer(json_node root, bool functions_too) {
  SQUALL_ASSIGN(problem, read_problem(root));
  const hybrid_answer said = run_hybrid(problem);
  calls::json_writer out;
  out.begin_object();
  out("vm", said.vm_responses.size());
  out("functions", said.function_responses.size());
  out("ends", said.vm_responses);
  if (functions_too) {
    out("function_ends", said.function_responses);
    out("cold_starts", said.cold_starts);
  }
  out.end_object();
  return out.take();
}

int print_thresholds() {
  std::printf("%6s %8s %8s %8s %8s\n", "cores", "100 ms", "150 ms", "200 ms", "300 ms");
  for (const double cores : {1, 2, 4, 8, 16}) {
    std::printf("%6.0f", cores);
    for (const double sla : {100, 150, 200, 300})
      std::printf(" %8llu", static_cast<unsigned long long>(hybrid_threshold(cores, sla)));
    std::printf("\n");
  }
  return 0;
}

struct hybrid_flags {
  bool functions = false;
  bool thresholds = false;
};

} // namespace

void add_hybrid_verb(CLI::App& sim, int& status) {
  auto flags = std::make_shared<hybrid_flags>();
  auto* verb = sim.add_subcommand("hybrid",
                                  "a machine helped out by functions: problems on standard input, answers on "
                                  "standard output, one a line");
  verb->add_flag("--functions", flags->functions, "add what the functions did")->envname("SQUALL_FUNCTIONS");
  verb->add_flag("--thresholds", flags->thresholds, "print how many requests at once meet an SLA instead")
      ->envname("SQUALL_THRESHOLDS");
  verb->callback([&status, flags] {
    status = flags->thresholds ? print_thresholds()
                               : answer_lines([&](json_node root) { return answer(root, flags->functions); });
  });
}

} // namespace squall::sim
