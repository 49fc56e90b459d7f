#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace squall::executors::cpu {

struct host_options {
  int socket = -1;                      ///< to the node; blocking
  std::uint32_t lanes = 1;              ///< threads that run batches
  std::size_t arena_capacity_bytes = 0; ///< 0 = default
  std::string cache_folder;             ///< of compiled models; empty = none
};

/// Serves the node at the other end of the socket (wire/worker.hpp) until that closes it; returns the exit status of
/// the process: 0, or 1 when it could not start or was sent what is no packet. To be called from a process with one
/// thread: it forks to test the runtime.
[[nodiscard]] int serve(const host_options& options);

} // namespace squall::executors::cpu
