#pragma once

#include "base/bytes.hpp"
#include "base/result.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace squall::client {

namespace detail {
class engine;
} // namespace detail

struct kv_entry {
  std::string key;
  std::uint64_t size_bytes = 0;
  std::uint64_t version = 0; ///< of the last write: larger is later
};

/// Called from the thread that waits, after every piece.
using kv_progress = std::function<void(std::uint64_t done_bytes, std::uint64_t total_bytes)>;

struct kv_put_options {
  bool durable = true; ///< on the disk when put() returns
  kv_progress progress;
};

/// The cluster's store. Calls wait for the answer, at most the client's timeout for each piece. Values of more than 1
/// MiB travel in pieces, and become visible as a whole. Thread-safe; valid as long as the cluster.
class kv {
public:
  [[nodiscard]] result<> put(std::string_view key, const shared_bytes& value, const kv_put_options& options = {});
  /// not_found when there is none; data_loss when it was replaced so often while it was read that no whole version
  /// came.
  [[nodiscard]] result<shared_bytes> get(std::string_view key, const kv_progress& progress = {});
  /// What is known without reading the value.
  [[nodiscard]] result<kv_entry> stat(std::string_view key);
  [[nodiscard]] result<> erase(std::string_view key);
  /// Keys with the prefix, ascending, after `after`, at most `limit` (0: all).
  [[nodiscard]] result<std::vector<kv_entry>> list(std::string_view prefix, std::string_view after = {},
                                                   std::size_t limit = 0);

private:
  friend class cluster;
  explicit kv(detail::engine& engine) : engine_(engine) {}
  detail::engine& engine_;
};

} // namespace squall::client
