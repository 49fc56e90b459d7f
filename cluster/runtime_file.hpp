#pragma once

#include "base/fields.hpp"
#include "base/result.hpp"

#include <cstdint>
#include <string>

namespace squall::cluster {

/// Tells the tools of this user where a running cluster is: `${XDG_RUNTIME_DIR:-/tmp}/squall-<uid>/<name>.json`.
struct runtime_file {
  std::string endpoint;
  std::uint64_t pid = 0; ///< of the process that ends the cluster when it is told to
  std::string keys;      ///< folder, or empty
  std::string http;
  std::string data;

  template <class S, class V>
  static void fields(S& s, V& v) {
    v("endpoint", s.endpoint);
    v("pid", s.pid);
    v("keys", s.keys);
    v("http", s.http);
    v("data", s.data);
  }
};

/// Whether a process of this id runs (one that is dead but not yet waited for does not).
[[nodiscard]] bool process_lives(std::uint64_t pid);

[[nodiscard]] std::string runtime_path(const std::string& cluster);
[[nodiscard]] result<> write_runtime_file(const std::string& cluster, const runtime_file& content);
/// not_found when no such cluster runs (a file left by a dead one is removed).
[[nodiscard]] result<runtime_file> read_runtime_file(const std::string& cluster);
void remove_runtime_file(const std::string& cluster);

} // namespace squall::cluster
