#include "executors/detail/membership.hpp"

#include <algorithm>

namespace squall::executors {

membership::membership(const node_options& options, std::uint64_t instance, logger& log)
    : options_(options),
      log_(log),
      instance_(instance),
      host_(wire::host_key()),
      controllers_(options.controller_endpoint) {}

void membership::start(actors::post& post) {
  post_ = &post;
  connect_controller();
  say_hello();
}

void membership::stop() {
  if (joined_)
    (void)send_to_controller(wire::encode(wire::node_leave{self_}, request_id{}));
  joined_ = false;
  left_ = true;
  next_ = never;
}

void membership::connect_controller() {
  if (controllers_.empty()) {
    controller_ = post_->local(wire::role::controller);
    return;
  }
  connected_ = post_->now();
  auto connected = post_->connect(controllers_.current(), options_.controller_key);
  if (connected.ok())
    controller_ = *connected;
  else
    log_.error("node", "cannot connect to the controller",
               {{"endpoint", controllers_.current()}, {"error", connected.error().message}});
}

/// The next hello connects anew.
void membership::disconnect_controller() {
  if (controllers_.empty())
    return;
  if (controller_)
    post_->close(controller_);
  controller_ = {};
}

/// From now on nothing new is ordered; what was goes on.
void membership::lose_controller() {
  if (std::exchange(joined_, false) && !left_)
    holds_until_ = post_->now() + grace;
}

void membership::look_elsewhere() {
  lose_controller();
  if (!controllers_.several())
    return;
  disconnect_controller();
  controllers_.next();
}

void membership::say_hello() {
  wire::node_hello hello;
  hello.software = "squall node";
  hello.name = options_.name;
  hello.endpoint = options_.own_endpoint;
  hello.host = host_;
  for (std::uint32_t lane = 1; lane <= options_.lanes; ++lane)
    hello.lanes.push_back({lane_id{lane}, functions::resource_type::cpu});
  hello.memory_bytes = options_.memory_bytes;
  hello.instance = instance_;
  if (holds()) {
    hello.held = self_;
    hello.held_epoch = epoch_;
  }
  if (!controller_)
    connect_controller();
  if (const auto sent = send_to_controller(wire::encode(hello, request_id{1})); !sent.ok())
    log_.debug("node", "hello was not sent", {{"error", sent.error().message}});
  next_ = post_->now() + beat_interval;
}

void membership::on_welcome(const wire::node_welcome& message) {
  log_.info("node", joined_ || self_ ? "joined again" : "joined",
            {{"node", to_string(message.node)}, {"name", options_.name}});
  joined_ = true;
  peers_kept_until_ = message.keeps ? post_->now() + grace : time_point{};
  self_ = message.node;
  epoch_ = message.epoch;
  term_ = message.term;
  controllers_.learn(message.controllers);
  controller_host_ = message.host;
  last_refusal_.clear();
  unanswered_.clear();
  round_trip_ = {};
  heard();
  next_ = post_->now() + beat_interval;
  if (!message.keeps)
    for_strangers_.clear();
  on_peers(message.peers);
}

std::vector<node_id> membership::known_peers() const {
  std::vector<node_id> out;
  for (const auto& [id, p] : peers_)
    out.push_back(id);
  return out;
}

void membership::on_peers(const std::vector<wire::peer_info>& infos) {
  std::map<node_id, peer> fresh;
  several_hosts_ = false;
  for (const auto& info : infos) {
    several_hosts_ |= info.host != host_;
    auto& p = fresh[info.node];
    p.info = info;
    if (const auto known = peers_.find(info.node);
        known != peers_.end() && known->second.info.endpoint == info.endpoint) {
      p.connection = known->second.connection;
      known->second.connection = {};
    }
  }
  const bool keeps = post_->now() < peers_kept_until_;
  for (auto& [id, gone] : peers_)
    if (keeps && !fresh.contains(id) &&
        std::none_of(infos.begin(), infos.end(), [&](const wire::peer_info& i) { return i.name == gone.info.name; }))
      fresh[id] = std::exchange(gone, {});
    else if (gone.connection)
      post_->close(gone.connection);
  peers_ = std::move(fresh);
  flush_strangers();
}

void membership::on_refused(const wire::reply& message) {
  if (message.message != last_refusal_)
    log_.warn("node", "the controller refused",
              {{"code", std::string{to_string(message.code)}}, {"message", message.message}});
  last_refusal_ = message.message;
  if (!joined_ && message.code == errc::unavailable) // it stands by, or is starting, too
    look_elsewhere();
  if (!joined_ && message.retry_after > duration{0})
    next_ = std::min(next_, post_->now() + message.retry_after);
  // The controller restarted, or took the node for dead: what it knew is gone.
  if (joined_ && message.code == errc::not_found) {
    lose_controller();
    say_hello();
  }
}

void membership::on_peer_lost(actors::peer_id lost) {
  if (lost == controller_) {
    if (joined_)
      log_.warn("node", "lost the controller; going on with what there is, and saying hello until it is back");
    lose_controller();
    next_ = left_ ? never : post_->now() + (controllers_.several() ? duration{0} : beat_interval);
    disconnect_controller();
    controllers_.next();
    return;
  }
  for (auto& [id, p] : peers_) {
    if (p.connection != lost)
      continue;
    post_->close(lost);
    p.connection = {};
  }
}

void membership::beaten() {
  next_ = post_->now() + beat_interval;
  unanswered_.push_back(post_->now());
  if (unanswered_.size() > max_unanswered)
    unanswered_.pop_front();
}

void membership::on_pong() {
  if (unanswered_.empty())
    return;
  round_trip_ = post_->now() - unanswered_.front();
  unanswered_.pop_front();
}

void membership::on_alarm() {
  const auto now = post_->now();
  std::erase_if(for_strangers_, [&](const held_message& m) {
    if (m.until <= now)
      log_.warn("node", "dropped a message to a node that did not appear", {{"node", to_string(m.to)}});
    return m.until <= now;
  });
  if (left_)
    return;
  if (joined_ && now - heard_ >= controller_silence) {
    log_.warn("node", "the controller is silent; saying hello until one answers");
    look_elsewhere();
    return say_hello();
  }
  if (!joined_ && controllers_.several() && controller_ && now - connected_ >= hello_patience)
    look_elsewhere();
  if (!joined_ && now >= next_)
    say_hello();
}

result<> membership::send_to_controller(wire::frames message) {
  if (!controller_)
    return {errc::unavailable, "there is no connection to the controller"};
  return post_->send(controller_, std::move(message));
}

void membership::tell_controller(wire::frames message, std::string_view lost, std::vector<log_field> about) {
  if (!joined_)
    return; // the next one is told all at once
  const auto sent = send_to_controller(std::move(message));
  if (sent.ok())
    return;
  about.push_back({"error", sent.error().message});
  log_.warn("node", lost, std::move(about));
}

result<actors::peer_id> membership::connection_to(peer& p) {
  if (!p.connection) {
    SQUALL_ASSIGN(connected, post_->connect(p.info.endpoint, options_.controller_key));
    p.connection = connected;
  }
  return p.connection;
}

result<> membership::send(node_id node, wire::frames message) {
  const auto found = peers_.find(node);
  if (found == peers_.end()) {
    if (for_strangers_.size() >= max_for_strangers)
      return {errc::overloaded, "too many messages wait for nodes that are not known yet"};
    for_strangers_.push_back({node, std::move(message), post_->now() + stranger_patience});
    return {};
  }
  SQUALL_ASSIGN(connection, connection_to(found->second));
  return post_->send(connection, std::move(message));
}

void membership::flush_strangers() {
  for (auto& m : std::exchange(for_strangers_, {}))
    if (!peers_.contains(m.to))
      for_strangers_.push_back(std::move(m));
    else if (const auto sent = send(m.to, std::move(m.message)); !sent.ok())
      log_.warn("node", "a message to another node was not sent",
                {{"node", name_of(m.to)}, {"error", sent.error().message}});
}

std::uint64_t membership::host_of(node_id node) const {
  const auto found = peers_.find(node);
  return found == peers_.end() ? 0 : found->second.info.host;
}

bool membership::on_this_host(node_id node) const { return host_of(node) == host_; }

std::string membership::name_of(node_id node) const {
  const auto found = peers_.find(node);
  return found == peers_.end() ? "node " + to_string(node) : "node '" + found->second.info.name + "'";
}

} // namespace squall::executors
