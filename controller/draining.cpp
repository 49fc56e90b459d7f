#include "controller/detail/service.hpp"

#include <algorithm>

/// Nodes that are to leave: nothing more is placed on them, and when no running call needs one it is told to go.
namespace squall::controller {

void controller_service::on_drain(const actors::incoming& from, const wire::drain& message) {
  const auto at = std::find_if(nodes_.begin(), nodes_.end(),
                               [&](const auto& entry) { return entry.second.info.name == message.node; });
  if (at == nodes_.end())
    return answer(from, errc::not_found, "there is no node '" + message.node + "'");
  at->second.stay_away = true;
  begin_drain(at->second);
  answer(from, errc::ok, "draining");
}

void controller_service::begin_drain(node_record& node) {
  if (node.draining)
    return;
  node.draining = true;
  log_.info("controller", "node drains", {{"node", node.info.name}, {"id", to_string(node.id)}});
  const node_id id = node.id;
  lost_node_ = "node '" + node.info.name + "', which had work of the call, is leaving";
  step(calls::placing::node_draining{id});
  lost_node_.reset();
}

/// Lets those go that no running call has in its plan.
void controller_service::release_drained() {
  std::vector<node_id> idle;
  for (auto& [id, node] : nodes_)
    if (node.draining && !node.released)
      idle.push_back(id);
  if (idle.empty())
    return;
  for (const auto& [call, running] : calls_.running())
    std::erase_if(idle, [&](node_id id) {
      return running.home == id || std::binary_search(running.nodes.begin(), running.nodes.end(), id);
    });
  for (const node_id id : idle) {
    nodes_[id].released = true;
    send_to_node(id, wire::node_drain{id, nodes_[id].stay_away});
  }
}

/// New calls are refused; done when those that run have ended.
void controller_service::drain(std::function<void()> done) {
  draining_ = true;
  drained_ = std::move(done);
  finish_round();
}

} // namespace squall::controller
