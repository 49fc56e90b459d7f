#pragma once

#include "base/ids.hpp"
#include "base/time.hpp"

#include <cstdint>
#include <deque>
#include <map>
#include <utility>
#include <vector>

namespace squall::controller {

/// Lets the calls of each client of each DAG through to the scheduler a few at a time: as many as keep all lanes busy,
/// and what ends in a few milliseconds. The others wait here, each client's in a line of its own, so that who floods
/// waits for itself alone, and a call of another client finds a short queue at the nodes. For calls that are placed
/// when they arrive; a policy that holds work back sees all calls and orders them by itself. Pure.
class turnstile {
public:
  /// Of all nodes together.
  void set_lanes(std::uint64_t lanes) { lanes_ = lanes; }

  /// Whether the call may go now; else it stands in line. `batch`: items that may run together.
  [[nodiscard]] bool enter(client_id client, dag_id dag, std::uint32_t batch, call_id call);

  /// A call that had gone through has ended.
  void leave(client_id client, dag_id dag, time_point now);

  /// A call that stands in line has ended.
  void withdraw(client_id client, dag_id dag, call_id call);

  /// Calls whose turn has come since.
  [[nodiscard]] std::vector<call_id> take_ready();

  /// Everything may go from now on, or no more.
  void open(bool wide);

  [[nodiscard]] std::size_t waiting() const { return waiting_; }

private:
  static constexpr std::uint64_t fewest = 4;
  /// What ends in this time may be on its way at once.
  static constexpr duration horizon = std::chrono::milliseconds{5};
  static constexpr duration stretch = std::chrono::milliseconds{20};

  struct line {
    std::uint32_t batch = 1;
    std::uint64_t inside = 0;
    std::deque<call_id> waiting;
    double ends_per_ns = 0;
    std::uint64_t ended = 0; ///< in this stretch
    time_point since{};
  };
  using key = std::pair<client_id, dag_id>;

  [[nodiscard]] bool room(const line& l) const;
  void drop_if_idle(std::map<key, line>::iterator at);

  std::map<key, line> lines_;
  std::vector<key> changed_; ///< may have room
  std::uint64_t lanes_ = 0;
  std::size_t waiting_ = 0;
  bool wide_ = false;
};

} // namespace squall::controller
