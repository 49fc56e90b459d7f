#pragma once

#include "actors/role.hpp"
#include "base/bytes.hpp"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace squall::actors {

/// Asks a store over the wire from inside a role: never blocks, calls back in the role's context. The role hands it the messages and the alarm.
/// Requests that are unanswered after the time-out fail as unavailable; pieces of one value are pipelined (4 at a time).
class store_client {
public:
  /// `store` is the peer that serves (a connection, or the local role).
  [[nodiscard]] static std::unique_ptr<store_client> create(post& post, peer_id store, duration timeout);
  virtual ~store_client() = default;

  virtual void get(std::string key, std::function<void(result<shared_bytes>)> done) = 0;
  virtual void put(std::string key, shared_bytes value, bool durable, std::function<void(result<>)> done) = 0;
  virtual void erase(std::string key, std::function<void(result<>)> done) = 0;
  /// All keys with the prefix (pages through them).
  virtual void list(std::string prefix, std::function<void(result<std::vector<std::string>>)> done) = 0;

  /// Request ids that this client uses lie in [first, first + 2^32): true when the message was its own.
  virtual bool on_message(const incoming& message) = 0;
  virtual void on_alarm() = 0;
  [[nodiscard]] virtual time_point next_alarm() const = 0;
  /// The store moved (a restarted process): pending requests fail, later ones go there.
  virtual void reset(peer_id store) = 0;
};

} // namespace squall::actors
