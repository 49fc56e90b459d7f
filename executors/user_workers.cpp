#include "executors/user_workers.hpp"

#include "executors/detail/user_pools.hpp"

namespace squall::executors {

std::unique_ptr<user_workers> user_workers::create(const user_worker_options& options, actors::post& post,
                                                   user_worker_listener& listener, detail::outbox::maker make,
                                                   logger& log) {
  return std::make_unique<detail::user_pools>(options, post, listener, std::move(make), log);
}

} // namespace squall::executors
