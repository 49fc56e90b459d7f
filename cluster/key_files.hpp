#pragma once

#include "actors/bridge.hpp"
#include "base/result.hpp"

#include <string>

namespace squall::cluster {

/// Makes a folder (mode 0700) with the keys of a cluster: `server.public`, `server.secret`, `client.public`,
/// `client.secret`, and `allowed`, the public keys of clients that servers accept, one a line. Hosts and clients of the
/// cluster each need a copy. Fails as already_exists rather than overwriting.
[[nodiscard]] result<> make_key_folder(const std::string& folder);

/// Reads them. An empty folder name gives empty keys. Fails as not_found and as permission_denied (a secret that others
/// may read).
[[nodiscard]] result<actors::curve_keys> load_key_folder(const std::string& folder);

} // namespace squall::cluster
