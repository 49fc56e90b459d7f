#pragma once

#include "actors/role.hpp"
#include "base/log.hpp"
#include "cluster/arbiter.hpp"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace squall::cluster {

struct candidacy_options {
  leadership_config leadership;
  std::string store_endpoint;
  std::string store_key; ///< its CURVE key
  /// Makes the controller that leads, in its term. It asks for the addresses of the controllers as often as it likes.
  std::function<std::unique_ptr<actors::role_service>(std::uint64_t term,
                                                      std::function<std::vector<std::string>()> controllers)>
      make_controller;
  /// Where the record of the leadership is kept; empty: in the cluster's store.
  std::function<std::unique_ptr<arbiter>(actors::post&)> make_arbiter;
  /// It led, and does not any more: the process is to begin anew. Nothing is sent from now on.
  std::function<void()> on_deposed;
};

/// The controller role of a process that may not be the only controller: a candidate that stands by until it leads,
/// says so to whoever asks, and is the controller from then on. Everything that the controller sends goes through here,
/// and only while the lease lasts.
[[nodiscard]] std::unique_ptr<actors::role_service> make_candidacy(const candidacy_options& options, logger& log);

} // namespace squall::cluster
