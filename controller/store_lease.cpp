#include "controller/detail/service.hpp"

/// The store holds a lease, too: it answers a question of the controller every second, or it counts as lost. A store
/// that hangs keeps its connection, so that nothing else would notice.
namespace squall::controller {

namespace {

constexpr const char* any_key = "cluster/term"; ///< whether it is there does not matter

} // namespace

bool controller_service::store_lost() const {
  return !options_.store_endpoint.empty() && post_->now() - store_heard_ > options_.node_lease;
}

void controller_service::watch_store() {
  if (options_.store_endpoint.empty())
    return;
  if (store_lost() != store_missed_) {
    store_missed_ = !store_missed_;
    if (store_missed_)
      log_.warn("controller", "the store is lost: it does not answer",
                {{"endpoint", options_.store_endpoint},
                 {"lease_ms", std::to_string(options_.node_lease.count() / 1'000'000)}});
    else
      log_.info("controller", "the store answers again", {{"endpoint", options_.store_endpoint}});
  }
  if (store_asked_ || post_->now() - store_heard_ < std::chrono::seconds{1})
    return;
  store_asked_ = true;
  store_->stat(any_key, [this](const result<wire::store_entry>& found) {
    store_asked_ = false;
    if (found.ok() || found.error().code == errc::not_found)
      store_heard_ = post_->now();
  });
}

} // namespace squall::controller
