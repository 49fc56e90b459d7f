#pragma once

#include "actors/role.hpp"
#include "base/log.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace squall::actors {

/// Keys of CURVE, as 40 characters of Z85. Empty = no encryption (loopback only).
struct curve_keys {
  std::string server_public;
  std::string server_secret;
  std::string client_public; ///< with which we connect to others
  std::string client_secret;
  std::vector<std::string> allowed; ///< who may connect, and do what (wire::server_options); needed with a server key
};

struct bridge_options {
  std::string endpoint =
      "tcp://127.0.0.1:*"; ///< where the ROUTER binds. An address that is not loopback needs keys, else start() refuses
  bool unix_sockets = true; ///< for peers on this host (wire::server_options)
  curve_keys keys;
  int high_water_mark = 10'000;
  std::uint64_t waiting_bytes = 1ull << 30; ///< for all peers that came to us (wire::server_options)
  std::uint64_t mailbox_bytes = 1ull << 30; ///< of messages that wait for one role
  int worker_threads = 0;                   ///< of CAF's pool; 0 = cores
};

/// How an actor runs.
enum class placing : std::uint8_t {
  inline_in_bridge, ///< handlers must be short and never block
  pooled,
  detached, ///< a thread of its own: may block
};

/// Counters since the start; read from any thread.
struct bridge_stats {
  std::uint64_t received = 0;
  std::uint64_t sent = 0;
  std::uint64_t undecodable = 0;   ///< dropped, or answered with `corrupt`
  std::uint64_t unroutable = 0;    ///< for a role that this process does not host: answered with `unsupported`
  std::uint64_t overloaded = 0;    ///< sends refused because a peer's queue was full, and messages because a role's was
  std::uint64_t unreachable = 0;   ///< sends to peers that were gone
  std::uint64_t waiting_bytes = 0; ///< now, for peers that came to us
};

/// One process's exchange between ZeroMQ and its actors (see README.md and docs/architecture.md). Owns the CAF system,
/// the sockets and the thread.
class bridge {
public:
  /// Binds at once, so that a taken port is an error here. Messages flow from run() on.
  [[nodiscard]] static result<std::unique_ptr<bridge>> create(const bridge_options& options, logger& log);
  virtual ~bridge() = default;

  /// Adds a role; before run(). The service is started by run() in its own context.
  virtual void host(wire::role role, std::unique_ptr<role_service> service, placing how) = 0;

  /// The bound endpoint with its real port.
  [[nodiscard]] virtual const std::string& endpoint() const = 0;

  /// Serves in the calling thread until stop(); then stops the roles in reverse order of host() and closes the sockets.
  virtual void run() = 0;

  /// From any thread or a signal handler's thread; idempotent.
  virtual void stop() = 0;

  /// Asks every role to finish what it has; stops when all have. From any thread. Whoever does not want to wait longer
  /// calls stop().
  virtual void drain() = 0;

  /// Another list of those who may connect. From any thread. A list with a mistake is refused, and logged.
  virtual void allow(std::vector<std::string> allowed) = 0;

  [[nodiscard]] virtual bridge_stats stats() const = 0;
};

} // namespace squall::actors
