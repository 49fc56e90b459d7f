#pragma once

namespace squall::executors::worker {

/// Forks workers for the node at the other end of `socket` (docs/workers.md) until that closes it. Returns the exit
/// status of the process, in a worker as well as in the zygote.
[[nodiscard]] int serve_zygote(int socket);

} // namespace squall::executors::worker
