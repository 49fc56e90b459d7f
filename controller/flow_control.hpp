#pragma once

#include "base/ids.hpp"
#include "base/result.hpp"
#include "base/time.hpp"

#include <cstdint>
#include <unordered_map>

namespace squall::controller {

/// Of all clients of a controller together, and of each. Beyond them calls are refused as overloaded (docs/limits.md);
/// how many calls may run is the scheduler's bound.
struct flow_limits {
  std::uint64_t calls = 100'000; ///< that run or wait for their turn
  std::uint64_t calls_of_client = 20'000;
  std::uint64_t bytes = 2ull << 30; ///< of inputs of calls that run
  std::uint64_t bytes_of_client = 1ull << 30;
  std::size_t clients = 10'000; ///< connections that said hello
};

/// Counts what the calls of each client take, says when it is too much, and who takes more than a fair share. Pure
/// bookkeeping.
class flow_control {
public:
  explicit flow_control(const flow_limits& limits) : limits_(limits) {}

  /// Overloaded, with the time in which as much again will probably have ended, when the bytes would pass a bound.
  [[nodiscard]] result<> check(client_id client, std::uint64_t bytes) const;
  void begin(client_id client, std::uint64_t bytes);
  void end(client_id client, std::uint64_t bytes, time_point now);

  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  [[nodiscard]] const flow_limits& limits() const { return limits_; }

private:
  struct client_flow {
    std::uint64_t calls = 0;
    std::uint64_t bytes = 0;
  };

  [[nodiscard]] error overloaded(std::string what, double wait_ns, std::uint64_t limit) const;

  flow_limits limits_;
  std::unordered_map<client_id, client_flow> clients_; ///< with calls in flight
  std::uint64_t calls_ = 0;
  std::uint64_t bytes_ = 0;
  double bytes_per_ns_ = 0; ///< running averages of what ends
  double calls_per_ns_ = 0;
  time_point last_end_{};
  std::uint64_t ended_bytes_ = 0; ///< since then
  std::uint64_t ended_calls_ = 0;
};

} // namespace squall::controller
