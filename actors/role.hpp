#pragma once

#include "base/ids.hpp"
#include "base/result.hpp"
#include "base/time.hpp"
#include "wire/codec.hpp"

#include <functional>
#include <span>
#include <string>
#include <vector>

namespace squall::actors {

/// A connection of this process: a client or node that connected here, a server that we connected to, or a role of this
/// very process.
using peer_id = strong_id<struct peer_tag>;

/// A message that came in, with its head already read.
struct incoming {
  peer_id from;
  wire::envelope_head head;
  wire::frames message;
  wire::access allowed = wire::access::admin; ///< what the sender may do; the bridge has checked it for the type
};

/// What a role may do to the world. The bridge implements it; tests have a fake (tests/support/fake_post.hpp).
/// Thread-safe but for watch(), which only a role that runs inline may call.
class post {
public:
  virtual ~post() = default;

  /// Sends without waiting. From an inline role the result is final: overloaded (the peer's queue is full), unavailable
  /// (the peer is gone). From other threads it says only whether the outbox took it, and on_peer_lost() reports a peer
  /// that turned out to be gone.
  virtual result<> send(peer_id to, wire::frames message) = 0;

  /// Connects to a server. Does not wait: messages queue until it is there. `server_key` is its CURVE key, empty
  /// without.
  virtual result<peer_id> connect(const std::string& endpoint, const std::string& server_key) = 0;

  /// Drops a connection that connect() made.
  virtual void close(peer_id peer) = 0;

  /// The role of this process as a peer: what is sent there never leaves the process. Zero when no such role is hosted
  /// here.
  [[nodiscard]] virtual peer_id local(wire::role role) const = 0;

  /// Monotonic time of this process, read once per round of the loop for inline roles.
  [[nodiscard]] virtual time_point now() const = 0;

  /// Calls on_alarm() at that time; replaces an earlier setting. `never` switches it off.
  virtual void set_alarm(time_point at) = 0;

  /// Runs `ready` in the bridge's thread whenever fd is readable; an empty function ends it.
  virtual void watch(int fd, std::function<void()> ready) = 0;

  /// Runs `task` in the role's own context soon: how other threads hand results to a role.
  virtual void later(std::function<void()> task) = 0;
};

/// What a role does. Called by one thread at a time.
class role_service {
public:
  virtual ~role_service() = default;

  /// Once, before anything else. `out` outlives the service.
  virtual void start(post& out) = 0;

  /// Messages in order of arrival per peer; at most 256 at a time.
  virtual void on_messages(std::span<incoming> messages) = 0;

  /// Nothing more will come from the peer, or a message to it could not be delivered.
  virtual void on_peer_lost(peer_id peer) = 0;

  virtual void on_alarm() = 0;

  /// The process is to end: take on nothing new, and call `done` (in the role's context) when nothing is left. stop()
  /// comes in any case, if need be without waiting for that.
  virtual void drain(std::function<void()> done) { done(); }

  /// Once, before the process ends; the sockets still work.
  virtual void stop() = 0;
};

} // namespace squall::actors
