// What a cluster of four processes costs when nothing is to be done: CPU time of all its processes, model hosts and
// launcher among them, in percent of one core. The reference is one core, so the ratio is a share of it.
#include "bench/calls/caller.hpp"
#include "bench/calls/no_ops.hpp"

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

using namespace squall;
using namespace squall::bench;

namespace {

/// CPU time of every thread that lives. The kernel counts it in nanoseconds here; /proc/PID/stat would say it in ticks
/// of 10 ms, a tenth of a percent of a measurement of ten seconds.
double cpu_ns(const std::vector<pid_t>& processes) {
  double total = 0;
  for (const pid_t pid : processes) {
    std::error_code gone;
    for (const auto& task : std::filesystem::directory_iterator{"/proc/" + std::to_string(pid) + "/task", gone}) {
      double ns = 0;
      std::ifstream{task.path() / "schedstat"} >> ns;
      total += ns;
    }
  }
  if (total == 0)
    fail({errc::unsupported, "this kernel does not count the CPU time of threads in /proc/PID/task/TID/schedstat", {}});
  return total;
}

} // namespace

int main(int argc, char** argv) {
  const settings s = parse(argc, argv);
  const running_cluster cluster{2, "fifo"};
  fnv1a work;
  {
    const auto client = connect_with_no_ops(cluster);
    check_no_op(*client, work);
    (void)or_fail(caller{*client, "sleep"}.run(20, 4)); // so that every model host runs
  }
  // Logs are written, and threads go to sleep.
  std::this_thread::sleep_for(std::chrono::seconds{s.size(5, 1)});

  const auto processes = cluster.processes();
  std::vector<double> percents;
  for (std::size_t round = 0; round < s.size(3, 1); ++round) {
    const auto began_ns = static_cast<double>(now_ns());
    const double before = cpu_ns(processes);
    std::this_thread::sleep_for(std::chrono::seconds{s.size(10, 1)});
    percents.push_back(100 * (cpu_ns(processes) - before) / (static_cast<double>(now_ns()) - began_ns));
  }
  work.add(processes.size());
  report(s, "idle", {median(percents), 100}, "% of a core", work);
}
