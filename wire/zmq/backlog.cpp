#include "wire/zmq/detail/backlog.hpp"

#include <string>

namespace squall::wire::detail {

namespace {

constexpr std::uint64_t small_bytes = 4096;
constexpr std::uint64_t reserve_bytes = 16 << 20; ///< for small messages of each peer

} // namespace

result<> backlog::check(const share& peer, std::uint64_t message_bytes) const {
  const std::uint64_t waiting = all_->load(std::memory_order_relaxed);
  const std::uint64_t own = peer.bytes();
  const std::uint64_t left = waiting < bound_ ? bound_ - waiting : 0;
  if (own + message_bytes <= left || (message_bytes < small_bytes && own <= left + reserve_bytes) ||
      (own == 0 && waiting + message_bytes <= 2 * bound_))
    return {};
  return {errc::overloaded, "the peer has not taken " + std::to_string(own) + " bytes that wait for it, of " +
                                std::to_string(waiting) + " for all peers; " + std::to_string(message_bytes) +
                                " more are too many"};
}

} // namespace squall::wire::detail
