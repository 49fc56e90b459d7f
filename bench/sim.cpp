// How fast the simulator is: facts fed to the cores of a modelled cluster under policy fifo, on one core. The reference
// is what no simulator can do without: the same number of events through a plain priority queue.
#include "base/random.hpp"
#include "bench/support.hpp"
#include "sim/dag_model.hpp"
#include "sim/workload_kinds.hpp"

#include <queue>

namespace {

using namespace squall;

struct plain_event {
  std::int64_t at = 0;
  std::uint64_t count = 0;
  friend bool operator<(const plain_event& a, const plain_event& b) {
    return std::tie(b.at, b.count) < std::tie(a.at, a.count);
  }
};

/// Nanoseconds for each of `events`, with as many planned as a modelled cluster has.
double plain_queue(std::uint64_t events, fnv1a& work) {
  constexpr std::uint64_t planned = 64;
  random_source random{1};
  std::priority_queue<plain_event> agenda;
  std::uint64_t count = 0;
  const std::int64_t begin = bench::now_ns();
  while (count < planned)
    agenda.push({static_cast<std::int64_t>(random.below(1000)), ++count});
  while (count < events) {
    const plain_event e = agenda.top();
    agenda.pop();
    agenda.push({e.at + static_cast<std::int64_t>(random.below(1000)), ++count});
  }
  const std::int64_t end = bench::now_ns();
  work.add(static_cast<std::uint64_t>(agenda.top().at));
  return static_cast<double>(end - begin) / static_cast<double>(events);
}

} // namespace

int main(int argc, char** argv) {
  const bench::settings settings = bench::parse(argc, argv);
  bench::pin_to_one_core();
  sim::workload input = sim::make_workload(sim::arrival_kind::steady, sim::dag_kind::ensemble, 1);
  input.requests.resize(settings.size(input.requests.size(), 100));
  sim::run_observer nobody;
  fnv1a work;
  std::uint64_t facts = 0;
  const auto simulate = [&] {
    sim::dag_run_config config;
    config.scheduler.policy = "fifo";
    sim::dag_model model{input, config, nobody};
    const std::int64_t begin = bench::now_ns();
    const auto ran = model.run();
    const std::int64_t end = bench::now_ns();
    SQUALL_CHECK(ran.ok());
    facts = model.summary().facts;
    work.add(facts);
    work.add(model.summary().met_both);
    return static_cast<double>(end - begin) / static_cast<double>(facts);
  };
  (void)simulate();
  const auto c = bench::compare(settings.size(9, 1), simulate, [&] { return plain_queue(facts, work); });
  bench::report(settings, "sim", c, "ns per event", work);
  return 0;
}
