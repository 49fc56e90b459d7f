#pragma once

#include "client/cluster.hpp"
#include "client/spec_file.hpp"

#include <cstdint>
#include <functional>

namespace squall::client {

struct apply_options {
  bool replace = false; ///< what exists under the same name and version and differs is replaced
  /// Called while a file is sent to the store, from the thread that waits.
  std::function<void(const upload&, std::uint64_t done_bytes)> progress;
};

/// Puts the files of a document into the store (those that are there already are not sent again) and registers its spec.
[[nodiscard]] result<> apply(cluster& to, const spec_document& document, const apply_options& options = {});

/// All documents: functions before DAGs, as a DAG needs its functions; else in their order. Ends at the first error.
[[nodiscard]] result<> apply(cluster& to, const std::vector<spec_document>& documents, const apply_options& options = {});

} // namespace squall::client
