#pragma once

#include "actors/role.hpp"
#include "base/bytes.hpp"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace squall::actors {

/// Asks a store over the wire from inside a role: never blocks, calls back in the role's context. The role hands it the
/// messages and the alarm. Requests that are unanswered after the time-out fail as unavailable; pieces of one value are
/// pipelined (4 at a time), and the time-out is each piece's own. A value that is replaced while it is read is read
/// again; one that keeps changing is data_loss. Callbacks may ask again, and may come before the call returns when
/// nothing could be sent; those that are pending when the client goes are not called.
class store_client {
public:
  static constexpr std::uint64_t default_first_request = 1ull << 62;

  /// `store` is the peer that serves (a connection, or the local role). Several clients of one role need ranges of
  /// request ids that differ.
  [[nodiscard]] static std::unique_ptr<store_client> create(post& post, peer_id store, duration timeout,
                                                            std::uint64_t first_request = default_first_request);
  virtual ~store_client() = default;

  virtual void get(std::string key, std::function<void(result<shared_bytes>)> done) = 0;
  /// Size and version of a value, without reading it.
  virtual void stat(std::string key, std::function<void(result<wire::store_entry>)> done) = 0;
  virtual void put(std::string key, shared_bytes value, bool durable, std::function<void(result<>)> done) = 0;
  virtual void erase(std::string key, std::function<void(result<>)> done) = 0;
  /// All keys with the prefix (pages through them).
  virtual void list(std::string prefix, std::function<void(result<std::vector<std::string>>)> done) = 0;

  /// Request ids that this client uses lie in [first_request, first_request + 2^32): true when the message was its own
  /// (also a late one).
  virtual bool on_message(const incoming& message) = 0;
  virtual void on_alarm() = 0;
  /// `never` when nothing is pending.
  [[nodiscard]] virtual time_point next_alarm() const = 0;
  /// The store moved (a restarted process): pending requests fail as unavailable, later ones go there.
  virtual void reset(peer_id store) = 0;
};

} // namespace squall::actors
