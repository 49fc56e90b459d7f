#pragma once

#include "base/time.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

/// When processes of a cluster on one host are started, started again, and stopped. Pure: facts in, commands out
/// (policy/README.md).
namespace squall::cluster {

struct supervision_config {
  duration first_pause = std::chrono::milliseconds{100}; ///< before a process that died is started again
  duration longest_pause = std::chrono::seconds{10};     ///< the pause doubles with each death in a row, up to this
  duration stable_after = std::chrono::seconds{10}; ///< a process that lived so long starts anew with the first pause
  duration stop_grace = std::chrono::seconds{10};   ///< after asking it to stop, until it is killed
};

/// Index of a process in the order in which they were added; also the order of starting. Stopping goes the other way
/// round.
using process_index = std::size_t;

// Facts.
struct process_exited {
  process_index process = 0;
  bool wanted = false;  ///< it ended by itself in good order, which means that the cluster shall stop
  bool retired = false; ///< it was drained: it is not started again
};
struct stop_wanted {};
struct supervision_tick {};
using supervision_event = std::variant<process_exited, stop_wanted, supervision_tick>;

// Commands.
struct start_process {
  process_index process = 0;
  bool operator==(const start_process&) const = default;
};
struct ask_to_stop {
  process_index process = 0;
  bool operator==(const ask_to_stop&) const = default;
};
struct kill_process {
  process_index process = 0;
  bool operator==(const kill_process&) const = default;
};
struct all_stopped {
  bool operator==(const all_stopped&) const = default;
};
using supervision_command = std::variant<start_process, ask_to_stop, kill_process, all_stopped>;

/// Keeps n processes running. All are taken to be running when it is made.
class supervisor {
public:
  supervisor(const supervision_config& config, std::size_t processes, time_point now);

  void step(time_point now, const supervision_event& fact);
  [[nodiscard]] std::vector<supervision_command> take_commands();
  [[nodiscard]] std::optional<time_point> next_deadline() const;

private:
  struct process {
    bool running = true;
    std::uint32_t deaths = 0; ///< in a row
    time_point started;
    std::optional<time_point> restart_at;
    std::optional<time_point> kill_at;
  };

  void exited(time_point now, const process_exited& fact);
  void stop(time_point now);
  void tick(time_point now);

  supervision_config config_;
  std::vector<process> processes_;
  bool stopping_ = false;
  bool said_stopped_ = false;
  std::vector<supervision_command> commands_;
};

} // namespace squall::cluster
