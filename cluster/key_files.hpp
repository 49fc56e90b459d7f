#pragma once

#include "actors/bridge.hpp"
#include "base/result.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

/// Keys of a cluster (docs/keys.md). A cluster's folder (mode 0700) holds `server.public`, `server.secret`,
/// `client.public`, `client.secret` (an admin's, of the cluster's own processes), and `allowed`: who may connect, one a
/// line as KEY ROLE NAME. Further clients have folders of their own.
namespace squall::cluster {

/// Makes a cluster's folder. Fails as already_exists rather than overwriting.
[[nodiscard]] result<> make_key_folder(const std::string& folder);

/// Reads it. An empty folder name gives empty keys. Fails as not_found and as permission_denied (a secret that others
/// may read).
[[nodiscard]] result<actors::curve_keys> load_key_folder(const std::string& folder);

/// One who may connect.
struct key_entry {
  std::string key;  ///< public
  std::string role; ///< user, node or admin
  std::string name;

  template <class S, class V>
  static void fields(S& s, V& v) {
    v("key", s.key);
    v("role", s.role);
    v("name", s.name);
  }
};

/// Makes the folder FOLDER/NAME with a new key that may do what `role` may, and lets it in: servers that run see it
/// within some seconds. What the client needs is in that folder; a node's has the server's keys and the list, too.
/// Fails as already_exists (the name), invalid_argument (a name with other signs than letters, digits, - and _; no
/// role).
[[nodiscard]] result<> add_key(const std::string& folder, const std::string& role, const std::string& name);

[[nodiscard]] result<std::vector<key_entry>> list_keys(const std::string& folder);

/// Takes an entry out of the list, by its name or key. Servers that run drop what its holders send from then on. Fails
/// as not_found, and as invalid_argument for the last one.
[[nodiscard]] result<> revoke_key(const std::string& folder, const std::string& name);

/// Tells when the list of a folder has changed.
class key_watch {
public:
  explicit key_watch(std::string folder);
  /// The new list, if it is another one than before and can be read.
  [[nodiscard]] std::optional<std::vector<std::string>> changed();

private:
  std::string path_; ///< empty: no keys
  std::string seen_;
};

} // namespace squall::cluster
