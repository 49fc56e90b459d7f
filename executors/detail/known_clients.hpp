#pragma once

#include "actors/role.hpp"
#include "base/ids.hpp"

#include <unordered_map>

namespace squall::executors {

/// Clients that have said hello to this node: results may be sent straight to them. Bounded; a client that finds no
/// room, or whose id another connection holds, gets its results by way of the controller.
class known_clients {
public:
  static constexpr std::size_t max_clients = 10'000;

  void add(client_id client, actors::peer_id peer) {
    if (!client || peers_.size() >= max_clients || clients_.contains(peer))
      return;
    if (peers_.try_emplace(client, peer).second)
      clients_.emplace(peer, client);
  }
  void lose(actors::peer_id peer) {
    const auto known = clients_.find(peer);
    if (known == clients_.end())
      return;
    peers_.erase(known->second);
    clients_.erase(known);
  }
  /// Zero: it is not connected here.
  [[nodiscard]] actors::peer_id find(client_id client) const {
    const auto known = peers_.find(client);
    return known == peers_.end() ? actors::peer_id{} : known->second;
  }

private:
  std::unordered_map<client_id, actors::peer_id> peers_;
  std::unordered_map<actors::peer_id, client_id> clients_;
};

} // namespace squall::executors
