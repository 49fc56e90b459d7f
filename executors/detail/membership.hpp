#pragma once

#include "actors/role.hpp"
#include "base/log.hpp"
#include "executors/node_service.hpp"
#include "wire/endpoints.hpp"

#include <deque>
#include <map>
#include <string>
#include <vector>

namespace squall::executors {

/// The node's place in the cluster: says hello until it is welcomed, beats every second, notices that the controller
/// forgot it or is gone, and reaches the other nodes by connections that are made when they are first needed.
///
/// A node whose controller is gone keeps its identity and its work for `grace` and offers them to the next one, which
/// is another process; only a welcome that says so lets it keep them.
class membership {
public:
  /// Longer than two leases of a leader, and than a client asks again.
  static constexpr duration grace = std::chrono::seconds{15};
  static constexpr duration beat_interval = std::chrono::seconds{1};
  static constexpr duration controller_silence = std::chrono::seconds{5};
  /// Of several controllers, one that does not answer a hello for so long is left for the next.
  static constexpr duration hello_patience = std::chrono::milliseconds{2500};
  /// Messages to a node that `peers` has not named yet wait for it so long; the controller tells nodes of each other in
  /// its own time.
  static constexpr duration stranger_patience = std::chrono::seconds{2};
  static constexpr std::size_t max_for_strangers = 1000;
  static constexpr std::size_t max_unanswered = 16; ///< beats whose answer is waited for

  membership(const node_options& options, std::uint64_t instance, logger& log);

  void start(actors::post& post);
  /// Says goodbye, and hello no more.
  void stop();

  [[nodiscard]] bool from_controller(actors::peer_id peer) const { return peer == controller_; }
  /// Any message of the controller is a sign of life.
  void heard() { heard_ = post_->now(); }

  /// Whether a welcome counts: not of a controller that led before another did which the node has known. (Term 0: the
  /// only one.)
  [[nodiscard]] bool still_leads(const wire::node_welcome& message) const {
    return message.term == 0 || message.term >= term_;
  }
  /// Leaves the controller for the next that it knows of, if there are several.
  void look_elsewhere();
  /// The new identity. Everything of the old one is void, whatever the epoch: the controller gives a new id with each
  /// welcome.
  void on_welcome(const wire::node_welcome& message);
  /// Nodes that it does not name are still reached for a while if they may join again (after a welcome that keeps).
  void on_peers(const std::vector<wire::peer_info>& peers);
  /// Without a controller, and what was told by the last one still counts.
  [[nodiscard]] bool holds() const { return !joined_ && !left_ && post_ && post_->now() < holds_until_; }
  [[nodiscard]] time_point holds_until() const { return joined_ || left_ ? never : holds_until_; }
  /// What it held is gone.
  void let_go() { holds_until_ = time_point{}; }
  [[nodiscard]] std::vector<node_id> known_peers() const;
  void on_controllers(const std::vector<std::string>& endpoints) { controllers_.learn(endpoints); }
  /// The answer to a hello or a beat that was not accepted.
  void on_refused(const wire::reply& message);
  void on_peer_lost(actors::peer_id peer);

  /// Whether a beat is due; the service fills it in and sends it with send_to_controller().
  [[nodiscard]] bool beat_due() const { return joined_ && post_->now() >= next_; }
  void beaten();
  /// The controller's answer to the oldest beat that had none.
  void on_pong();
  /// From a beat to its answer, the last time; 0: not known yet.
  [[nodiscard]] duration round_trip() const { return round_trip_; }
  /// Says hello if it is time to, gives up on a silent controller, and on nodes that did not appear.
  void on_alarm();
  [[nodiscard]] time_point next_alarm() const { return next_; }

  result<> send_to_controller(wire::frames message);
  /// The same for what the controller ought to know but nobody can do more about; the log says what it missed: `lost`.
  void tell_controller(wire::frames message, std::string_view lost, std::vector<log_field> about = {});
  /// Fails as unavailable when the node is not known (and did not become so in time: then `false` comes by on_alarm's
  /// log only).
  result<> send(node_id node, wire::frames message);

  [[nodiscard]] bool joined() const { return joined_; }
  [[nodiscard]] actors::peer_id controller() const { return controller_; }
  [[nodiscard]] node_id self() const { return self_; }
  [[nodiscard]] std::uint64_t epoch() const { return epoch_; }
  [[nodiscard]] std::uint64_t own_host() const { return host_; }
  [[nodiscard]] bool controller_on_this_host() const { return controller_host_ == host_; }
  /// A node that is not known counts as one of another host.
  [[nodiscard]] bool on_this_host(node_id node) const;
  [[nodiscard]] std::uint64_t host_of(node_id node) const;
  /// For messages: its name, or its number.
  [[nodiscard]] std::string name_of(node_id node) const;
  [[nodiscard]] bool several_hosts() const { return several_hosts_; }

private:
  struct peer {
    wire::peer_info info;
    actors::peer_id connection; ///< zero: none yet
  };
  struct held_message {
    node_id to;
    wire::frames message;
    time_point until;
  };

  void lose_controller();
  void connect_controller();
  void disconnect_controller();
  void say_hello();
  void flush_strangers();
  [[nodiscard]] result<actors::peer_id> connection_to(peer& p);

  const node_options& options_;
  logger& log_;
  actors::post* post_ = nullptr;
  std::uint64_t instance_;
  std::uint64_t host_;
  wire::endpoint_list controllers_;
  std::uint64_t term_ = 0; ///< of the latest leader
  actors::peer_id controller_;
  time_point connected_;
  bool joined_ = false;
  bool left_ = false;
  time_point holds_until_{};
  time_point peers_kept_until_{}; ///< also those that the controller does not name
  node_id self_;
  std::uint64_t epoch_ = 0;
  std::uint64_t controller_host_ = 0;
  bool several_hosts_ = false;
  time_point heard_;
  time_point next_;
  std::deque<time_point> unanswered_; ///< when these beats were sent; the connection keeps their order
  duration round_trip_{0};
  std::string last_refusal_; ///< said once
  std::map<node_id, peer> peers_;
  std::vector<held_message> for_strangers_;
};

} // namespace squall::executors
