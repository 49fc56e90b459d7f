#pragma once

#include "executors/detail/model_cache.hpp"

#include <list>
#include <map>

namespace squall::executors {

/// Objects of the store in this node's memory, for stages that look keys up. An object is asked for its version before
/// each use that is not within `max_age` of the last time; its bytes are read again only when that has changed. When
/// the objects together pass the bound, those that were used least recently go; one that is larger than a quarter of it
/// is not kept.
class object_cache {
public:
  static constexpr std::uint64_t default_max_bytes = std::uint64_t{256} << 20;
  using found = std::function<void(const result<shared_bytes>&)>;

  explicit object_cache(std::uint64_t max_bytes = default_max_bytes) : max_bytes_(max_bytes) {}

  /// Fails as not_found, or as the store does. May call back at once. The cache outlives the source's callbacks.
  void fetch(object_source& from, const std::string& key, time_point now, duration max_age, found done);
  void clear();

  [[nodiscard]] std::uint64_t used_bytes() const { return used_bytes_; }
  [[nodiscard]] std::uint64_t hits() const { return hits_; } ///< uses that read no bytes from the store

private:
  struct object {
    std::uint64_t version = 0;
    shared_bytes bytes;
    time_point checked;
    std::list<std::string>::iterator use; ///< in uses_
  };
  void on_stat(object_source& from, const std::string& key, time_point now, const result<wire::store_entry>& entry);
  void keep(const std::string& key, std::uint64_t version, const shared_bytes& bytes, time_point now);
  void forget(const std::string& key);
  void finish(const std::string& key, const result<shared_bytes>& outcome);

  std::uint64_t max_bytes_;
  std::uint64_t used_bytes_ = 0;
  std::uint64_t hits_ = 0;
  std::map<std::string, object> objects_;
  std::list<std::string> uses_;                       ///< the least recent first
  std::map<std::string, std::vector<found>> fetches_; ///< by key: those who wait for one fetch
};

} // namespace squall::executors
