#include "controller/detail/service.hpp"

#include <algorithm>
#include <utility>

namespace squall::controller {

namespace {

/// For so long after a node came or went, calls that find none are told to come again soon.
constexpr duration settling = std::chrono::seconds{10};

} // namespace

controller_service::node_record* controller_service::find_node(node_id id) {
  const auto it = nodes_.find(id);
  return it == nodes_.end() ? nullptr : &it->second;
}

void controller_service::on_node_hello(const actors::incoming& from, wire::node_hello message) {
  if (message.newest < wire::oldest_protocol_version || message.oldest > wire::protocol_version)
    return answer(from, errc::unsupported,
                  "no common protocol version: this controller speaks " +
                      std::to_string(wire::oldest_protocol_version) + " to " + std::to_string(wire::protocol_version) +
                      ", the node " + std::to_string(message.oldest) + " to " + std::to_string(message.newest));
  if (!ready_)
    return answer(from, errc::unavailable, "the controller is still reading its catalogue", {},
                  std::chrono::milliseconds{200});
  for (const auto& [id, node] : nodes_) {
    if (node.info.name != message.name)
      continue;
    if (node.instance != message.instance && node.heard + std::chrono::seconds{2} > post_->now())
      return answer(from, errc::already_exists,
                    "a node named '" + message.name + "' is in the cluster; give this one another name");
    lose_node(id, node.instance == message.instance ? "it joined again" : "another process took its name");
    break;
  }

  // What it holds of this controller's is void: its calls were placed again when the node was lost.
  const bool keeps = message.held && message.held_epoch != options_.epoch && !nodes_.contains(message.held);
  node_record node;
  while (!node.id || nodes_.contains(node.id))
    node.id = keeps ? message.held : node_id{options_.first_node + last_node_++};
  node.peer = from.from;
  node.instance = message.instance;
  node.info = {node.id, message.name, message.endpoint, message.host};
  node.lanes = message.lanes;
  node.memory_bytes = message.memory_bytes;
  node.heard = node.joined = post_->now();

  wire::node_welcome welcome;
  welcome.node = node.id;
  welcome.epoch = options_.epoch;
  welcome.store_endpoint = options_.store_endpoint;
  welcome.host = host_;
  welcome.prices = options_.prices;
  welcome.term = options_.term;
  welcome.keeps = keeps;
  welcome.controllers = controllers_;
  for (const functions::registered_function* f : catalogue_.functions())
    welcome.functions.push_back(*f);
  std::sort(welcome.functions.begin(), welcome.functions.end(),
            [](const auto& a, const auto& b) { return a.id < b.id; });
  for (const callable* c : catalogue_.callables())
    welcome.dags.push_back({c->dag->id, c->dag->spec});
  for (const auto& dag : catalogue_.sequels())
    welcome.dags.push_back({dag->id, dag->spec});
  const node_id id = node.id;
  node_of_peer_[from.from] = id;
  nodes_[id] = std::move(node);
  count_lanes();
  for (const auto& [other, record] : nodes_)
    welcome.peers.push_back(record.info);
  (void)post_->send(from.from, wire::encode(welcome, from.head.request));
  announce_peers();
  log_.info("controller", "node joined",
            {{"node", message.name},
             {"id", to_string(id)},
             {"endpoint", message.endpoint},
             {"lanes", std::to_string(message.lanes.size())},
             {"keeps", keeps ? "its work" : "nothing"}});
  unsettled_until_ = post_->now() + settling;
  step(calls::placing::node_joined{id, std::move(message.lanes), message.memory_bytes});
  if (keeps && !gathering_)
    begin_gathering();
  if (keeps)
    gathering_->awaited.insert(id);
  else if (gathering_ && !gathering_->reported && gathering_->awaited.empty() && options_.term <= 1)
    finish_gathering(); // the whole cluster is new
  retry_waiting();
  if (nodes_.size() == 1)
    for (const functions::registered_function* f : catalogue_.functions())
      for (std::size_t i = 0; i < f->variants.size(); ++i)
        measure(*f, i);
}

wire::peers controller_service::peers() const {
  wire::peers message;
  for (const auto& [id, node] : nodes_)
    message.nodes.push_back(node.info);
  message.controllers = controllers_;
  return message;
}

void controller_service::announce_peers() {
  const wire::peers message = peers();
  send_to_nodes(message);
  for (const auto& [peer, client] : clients_)
    if (client.answers_from_nodes)
      (void)post_->send(peer, wire::encode(message, request_id{}, {}, wire::role::client));
}

void controller_service::on_beat(const actors::incoming& from, wire::node_beat message) {
  const auto it = node_of_peer_.find(from.from);
  if (it == node_of_peer_.end() || it->second != message.node)
    return answer(from, errc::not_found, "node " + to_string(message.node) + " is not in the cluster; say hello again");
  node_record& node = nodes_[it->second];
  node.heard = post_->now();
  node.beats.beat(
      node.heard,
      message.wall_clock_ns == 0 ? std::nullopt : std::optional{duration{message.wall_clock_ns} - wall_clock()},
      message.round_trip);
  node.beat = std::move(message);
  wire::pong pong;
  pong.epoch = options_.epoch;
  (void)post_->send(from.from, wire::encode(pong, from.head.request, {}, wire::role::node));
}

void controller_service::on_residency(const wire::residency& message) {
  node_record* node = find_node(message.node);
  if (!node)
    return;
  if (message.code != errc::ok)
    log_.warn("controller", "a variant cannot be loaded",
              {{"node", node->info.name}, {"variant", to_string(message.variant)}, {"error", message.message}});
  if (message.resident && message.load_time > duration{0})
    profiles_.loaded(message.variant, message.load_time, message.memory_bytes, message.measured);
  if (message.resident)
    node->resident[message.variant] = message.memory_bytes;
  else
    node->resident.erase(message.variant);
  step(calls::placing::residency_changed{message.node, message.variant, message.resident});
}

void controller_service::lose_node(node_id id, const std::string& why) {
  const auto it = nodes_.find(id);
  if (it == nodes_.end())
    return;
  log_.warn("controller", "node lost", {{"node", it->second.info.name}, {"id", to_string(id)}, {"why", why}});
  lost_node_ = "node '" + it->second.info.name + "', which had work of the call, was lost: " + why;
  unsettled_until_ = post_->now() + settling;
  node_of_peer_.erase(it->second.peer);
  nodes_.erase(it);
  paces_.forget(id);
  count_lanes();
  std::erase_if(batches_, [id](const auto& b) { return b.second.node == id; });
  step(calls::placing::node_lost{id});
  // The scheduler does not know homes.
  std::vector<call_id> homeless;
  for (const auto& [call, running] : calls_.running())
    if (running.dispatched && running.home == id)
      homeless.push_back(call);
  std::sort(homeless.begin(), homeless.end());
  for (const call_id call : homeless)
    step(calls::placing::cancel_requested{call});
  lost_node_.reset();
  announce_peers();
  if (gathering_)
    gathering_->awaited.erase(id);
  settle_gathering();
}

void controller_service::sweep() {
  const time_point now = post_->now();
  if (auto known = options_.controllers ? options_.controllers() : controllers_; known != controllers_) {
    controllers_ = std::move(known);
    announce_peers();
  }
  std::vector<node_id> silent_nodes;
  for (const auto& [id, node] : nodes_)
    if (node.heard + options_.node_lease < now)
      silent_nodes.push_back(id);
  for (const node_id id : silent_nodes)
    lose_node(id, "it has been silent for " + std::to_string(options_.node_lease.count() / 1'000'000) + " ms");
  std::vector<actors::peer_id> silent_clients;
  for (const auto& [peer, client] : clients_)
    if (client.heard + options_.client_lease < now)
      silent_clients.push_back(peer);
  std::sort(silent_clients.begin(), silent_clients.end());
  for (const actors::peer_id peer : silent_clients)
    client_gone(peer);
}

} // namespace squall::controller
