#pragma once

#include "base/hash.hpp"
#include "base/result.hpp"
#include "wire/codec.hpp"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <sys/types.h>

/// What every benchmark needs. A benchmark measures ours and a reference in the same run and placement, in turns, and
/// reports the ratio of the medians. Times are in nanoseconds.
namespace squall::bench {

struct settings {
  bool json = false;
  bool smoke = false; ///< tiny: shows that the benchmark works, not how fast anything is

  /// `full` in a real run, `tiny` in a smoke run.
  [[nodiscard]] std::size_t size(std::size_t full, std::size_t tiny) const { return smoke ? tiny : full; }
};

/// Ends the program with status 2 and a usage line when an argument is none.
[[nodiscard]] settings parse(int argc, char** argv);

/// Keeps this process and those it starts later on one core, the first that it may use. Latency is measured so, because
/// where the scheduler puts the processes decides more than what they do.
void pin_to_one_core();

[[nodiscard]] std::int64_t now_ns();
/// The value with as many below as above; `values` must not be empty.
[[nodiscard]] double median(std::vector<double> values);
/// The exact quantile, q in [0, 1].
[[nodiscard]] double quantile(std::vector<double> values, double q);

/// A process that is killed with this one, or by the destructor.
class child_process {
public:
  /// `serve` runs in the child; it gets a function with which it says where it serves, once.
  explicit child_process(const std::function<void(const std::function<void(const std::string&)>&)>& serve);
  ~child_process();
  child_process(const child_process&) = delete;
  child_process& operator=(const child_process&) = delete;

  [[nodiscard]] const std::string& endpoint() const { return endpoint_; }

private:
  pid_t pid_ = -1;
  std::string endpoint_;
};

/// Serves a plain ZeroMQ ROUTER that sends every message back. `copy`: its last frame as a copy in fresh memory, as a
/// function that makes a result does.
void serve_plain_echo(bool copy, const std::function<void(const std::string&)>& tell);

/// A plain ZeroMQ DEALER, used on both sides of every ratio.
class plain_client {
public:
  explicit plain_client(const std::string& endpoint);
  ~plain_client();
  plain_client(const plain_client&) = delete;
  plain_client& operator=(const plain_client&) = delete;

  void send(std::span<const std::byte> message);
  /// Waits for a message of one frame and gives its bytes, valid until the next receive. `wait` false: empty when there
  /// is none.
  std::span<const std::byte> receive(bool wait = true);

private:
  void* context_;
  void* socket_;
  struct holder;
  holder* last_;
};

/// The p50 of `count` round trips, one at a time, after a tenth of them to warm up. The replies go into `hash`.
double round_trip_p50(plain_client& client, const shared_bytes& message, std::size_t count, fnv1a& hash);
/// Messages per second with `window` of them outstanding.
double pipelined_rate(plain_client& client, const shared_bytes& message, std::size_t count, std::size_t window,
                      fnv1a& hash);

/// A message of exactly `size` bytes that any role would take.
[[nodiscard]] shared_bytes header_of_size(std::size_t size);

/// Calls both in turns, `rounds` times, each first as often as second; gives the medians.
struct comparison {
  double ours = 0;
  double reference = 0;
};
[[nodiscard]] comparison compare(std::size_t rounds, const std::function<double()>& ours,
                                 const std::function<double()>& reference);

/// Prints the result: a line for people, or with --json one object.
void report(const settings& s, const std::string& bench, const comparison& c, const std::string& unit,
            const fnv1a& work);

} // namespace squall::bench
