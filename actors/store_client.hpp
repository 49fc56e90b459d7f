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
  struct stored_value {
    std::uint64_t version = 0;
    shared_bytes bytes;
  };

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
  /// Only if `expected_version` is that of the key's value (0: it has none), else already_exists. Durable; of at most
  /// a piece. After unavailable it may have been written.
  virtual void put_if(std::string key, std::uint64_t expected_version, shared_bytes value,
                      std::function<void(result<wire::store_entry>)> done) = 0;
  /// A value of at most a piece, with its version.
  virtual void read(std::string key, std::function<void(result<stored_value>)> done) = 0;
  /// From now on writes and erasures fail as permission_denied once a leader later than this term has begun.
  virtual void set_fence(std::uint64_t term) = 0;
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
