#pragma once

#include "base/result.hpp"
#include "client/cluster.hpp"

#include <string>
#include <string_view>
#include <vector>

/// Where a cluster is: the file that `squall up` leaves for the tools of its user, `${XDG_RUNTIME_DIR:-/tmp}/squall-<uid>/<name>.json`.
namespace squall::client {

inline constexpr std::string_view default_cluster_name = "squall";

/// The names of the clusters of this user that have such a file, ascending.
[[nodiscard]] std::vector<std::string> known_clusters();

/// What to connect with. `where` is an endpoint ("tcp://..."), or the name of a cluster on this host; empty: the cluster "squall", or the only one
/// there is. Keys come from the folder `keys`, or from the one that the cluster's file names. Errors: not_found (no such cluster, or it has died; says which
/// there are), and those of load_keys().
[[nodiscard]] result<options> find_cluster(std::string_view where, const std::string& keys = {});

/// The client's part of a folder that `squall keys new` made. Errors: not_found, permission_denied (a secret that others may read).
[[nodiscard]] result<client::keys> load_keys(const std::string& folder);

} // namespace squall::client
