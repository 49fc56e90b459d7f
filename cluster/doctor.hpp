#pragma once

#include <string>
#include <vector>

namespace squall::cluster {

/// One thing that was looked at.
struct finding {
  enum class grade { good, poor, bad } state = finding::grade::good;
  std::string what;   ///< "shared memory"
  std::string found;  ///< "/dev/shm has 64 MiB"
  std::string remedy; ///< what would fix it; empty when good
};

/// Looks at shared memory, limits, the inference runtime (by starting the model host), the sandbox of
/// user code (by starting a worker), ports and versions of this host.
[[nodiscard]] std::vector<finding> look_at_host(const std::string& http_address);

/// Prints findings; returns 1 when one is bad.
int print_findings(const std::vector<finding>& findings);

/// Looks at a cluster that runs on this host: whether its controller answers and knows its catalogue, nodes that are
/// silent or swamped, the disk, processes that die again and again.
int examine_cluster(const std::string& name);

int examine_host(const std::string& http_address);

} // namespace squall::cluster
