#pragma once

#include "actors/store_client.hpp"
#include "cluster/core/leadership.hpp"

#include <functional>
#include <memory>
#include <string>

namespace squall::cluster {

/// The port to what the candidates for leadership agree by: one record that is replaced under a condition, and is on
/// the disk when that is confirmed. It needs no clock and no leases of its own (docs/decisions/0009).
class arbiter {
public:
  struct versioned {
    std::uint64_t version = 0; ///< 0: there is no record
    lease_record record;
  };

  virtual ~arbiter() = default;

  /// Linearizable: what a write that was confirmed before wrote, or what came later. Unavailable: no answer.
  virtual void read(std::function<void(result<versioned>)> done) = 0;
  /// The new version; versions are never used again. already_exists: another version is there, and nothing was
  /// written. Any other error: it may have been written, now or later.
  virtual void write(std::uint64_t expected_version, const lease_record& record,
                     std::function<void(result<std::uint64_t>)> done) = 0;
};

/// The record is a key of the cluster's store. `store` must outlive it.
[[nodiscard]] std::unique_ptr<arbiter> make_store_arbiter(actors::store_client& store);

/// The record is a key of an etcd, whose JSON gateway is at `endpoint` ("http://127.0.0.1:2379"). Answers come by
/// post.later().
[[nodiscard]] std::unique_ptr<arbiter> make_etcd_arbiter(const std::string& endpoint, const std::string& cluster,
                                                         actors::post& post);

} // namespace squall::cluster
