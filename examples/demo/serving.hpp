#pragma once

#include "base/result.hpp"
#include "client/cluster.hpp"
#include "client/spec_file.hpp"

#include <filesystem>
#include <map>
#include <set>
#include <string>

namespace squall::demo {

/// What the spec files registered so far.
struct catalogue {
  std::map<std::string, functions::dag_spec> dags;
  std::set<std::string> models; ///< functions that are models, not builtins
};

/// Registers the functions and DAGs of a spec file, after storing the files that they mention unless they are there
/// already.
[[nodiscard]] result<> apply(client::cluster& cluster, const std::filesystem::path& spec_file, catalogue& known);

} // namespace squall::demo
