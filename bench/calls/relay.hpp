#pragma once

#include "wire/codec.hpp"

#include <cstddef>
#include <memory>
#include <vector>

namespace squall::bench {

/// Plain ZeroMQ processes that carry messages along the way of a call and do nothing else: what a call costs at the
/// least. Each process waits in a blocking receive and sends on at once; all are children of this one and die with it.
///
/// Make it before this process starts a thread (it forks). Failures of ZeroMQ or the system are exceptions.
class relay {
public:
  /// client -> scheduler -> executor -> scheduler -> client; `hops` as of call_hops().
  [[nodiscard]] static std::unique_ptr<relay> through_scheduler(std::vector<wire::frames> hops);

  /// client -> scheduler -> three executors, each to the next -> client; `hops` as of chain_hops().
  [[nodiscard]] static std::unique_ptr<relay> chain(std::vector<wire::frames> hops);

  virtual ~relay() = default;

  /// Sends `count` messages round, keeping `outstanding` of them on their way.
  virtual void send_round(std::size_t count, std::size_t outstanding) = 0;
};

} // namespace squall::bench
