#include "cluster/core/supervision.hpp"
#include "input.hpp"

#include <vector>

/// Supervision of three processes: what it orders fits what runs, and a stop comes to an end.
namespace squall {
namespace {

class world {
public:
  static constexpr std::size_t processes = 3;

  void step(const cluster::supervision_event& fact) {
    supervisor_.step(now_, fact);
    for (const auto& command : supervisor_.take_commands())
      std::visit([this](const auto& c) { follow(c); }, command);
  }
  void wait(duration d) {
    now_ += d;
    step(cluster::supervision_tick{});
  }
  void exit(std::size_t i, bool wanted, bool retired = false) {
    if (!running_[i])
      return;
    running_[i] = false;
    retired_[i] = retired_[i] || retired;
    step(cluster::process_exited{i, wanted, retired});
  }
  void finish() {
    step(cluster::stop_wanted{});
    wait(std::chrono::hours{1});
    for (std::size_t i = 0; i < processes; ++i)
      exit(i, false);
    wait(std::chrono::hours{1});
    if (!stopped_)
      fuzzing::broken("the stop did not come to an end");
  }

private:
  void follow(const cluster::start_process& c) {
    if (running_[c.process] || stopped_ || retired_[c.process])
      fuzzing::broken("a process is started that runs, or after the end");
    running_[c.process] = true;
  }
  void follow(const cluster::ask_to_stop& c) {
    if (!running_[c.process])
      fuzzing::broken("a process is asked to stop that does not run");
  }
  void follow(const cluster::kill_process& c) {
    if (!running_[c.process])
      fuzzing::broken("a process is killed that does not run");
  }
  void follow(const cluster::all_stopped&) {
    for (const bool r : running_)
      if (r || stopped_)
        fuzzing::broken("all is said to have stopped while a process runs, or twice");
    stopped_ = true;
  }

  time_point now_ = from_ns(1);
  cluster::supervisor supervisor_{{}, processes, now_};
  std::vector<bool> running_ = std::vector<bool>(processes, true);
  std::vector<bool> retired_ = std::vector<bool>(processes, false);
  bool stopped_ = false;
};

void fuzz(fuzzing::input& in) {
  world w;
  while (!in.empty()) {
    const auto what = in.below(16);
    if (what == 0)
      w.step(cluster::stop_wanted{});
    else if (what < 8)
      w.exit(in.below(world::processes), in.below(8) == 0, in.below(8) == 0);
    else
      w.wait(in.pause());
  }
  w.finish();
}

} // namespace
} // namespace squall

SQUALL_FUZZ_TARGET(squall::fuzz)
