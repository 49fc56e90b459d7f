#pragma once

#include "actors/bridge.hpp"
#include "actors/detail/role_actor.hpp"
#include "actors/detail/timer.hpp"
#include "wire/linger.hpp"
#include "wire/outbox.hpp"
#include "wire/zmq/ready_set.hpp"
#include "wire/zmq/socket.hpp"

#include <array>
#include <deque>
#include <optional>
#include <thread>
#include <unordered_map>
#include <variant>

namespace squall::actors::detail {

/// The bridge. One thread, the one in run(), owns every member but those marked; others reach it through the outbox.
class hub final : public bridge {
public:
  hub(const bridge_options& options, logger& log, std::unique_ptr<wire::zmq_context> context,
      std::unique_ptr<wire::server_socket> server);
  ~hub() override;

  void host(wire::role role, std::unique_ptr<role_service> service, placing how) override;
  [[nodiscard]] const std::string& endpoint() const override { return endpoint_; }
  void run() override;
  void stop() override;
  void drain() override { outbox_.push(drain_item{}); }
  void allow(std::vector<std::string> allowed) override { outbox_.push(allow_item{std::move(allowed)}); }
  [[nodiscard]] bridge_stats stats() const override;

  // What roles ask for (role_port); from any thread.
  result<> send(role_slot& from, peer_id to, wire::frames message);
  result<peer_id> connect(role_slot& from, const std::string& endpoint, const std::string& server_key);
  void close(peer_id peer);
  [[nodiscard]] peer_id local(wire::role role) const;
  [[nodiscard]] time_point now() const;
  void set_alarm(role_slot& slot, time_point at);
  void watch(int fd, std::function<void()> ready);
  void later(role_slot& slot, std::function<void()> task);

private:
  // -- requests of other threads
  struct send_item {
    role_slot* from;
    peer_id to;
    wire::frames message;
  };
  struct connect_item {
    role_slot* from;
    peer_id peer;
    std::string endpoint;
    std::string server_key;
  };
  struct close_item {
    peer_id peer;
  };
  struct alarm_item {
    role_slot* slot;
    time_point at;
    std::uint64_t number;
  };
  struct mail_item {
    role_slot* to;
    std::variant<incoming, role_task> what;
  };
  struct stopped_item {};
  struct drain_item {};
  struct drained_item {};
  struct allow_item {
    std::vector<std::string> allowed;
  };
  using item = std::variant<send_item, connect_item, close_item, alarm_item, mail_item, stopped_item, drain_item,
                            drained_item, allow_item>;
  void carry_out(item&& one);

  // -- the loop (hub_loop.cpp)
  void start_roles();
  /// False when there is nothing more to do before something comes.
  bool round();
  bool look_again();
  void sleep();
  void collect_fds();
  void look_everywhere();
  void after_wait();
  void fire_alarms();
  [[nodiscard]] time_point next_alarm() const;
  void begin_drain();
  void advance_stop();
  void close_everything();

  // -- mail (hub_mail.cpp)
  struct connection {
    peer_id peer;
    role_slot* owner;
    std::unique_ptr<wire::client_socket> socket;
    bool ready = true; ///< something may be there to read
    bool closed = false;
  };
  bool drain_server();
  bool drain(connection& from);
  void drop_closed();
  void receive(peer_id from, wire::arrival& arrival, role_slot* owner);
  void refuse(peer_id to, const wire::envelope_head& head, const error& why);
  [[nodiscard]] role_slot* find_role(wire::role role);
  void hand_over_arrived();
  void deliver(role_slot& to, incoming&& one);
  [[nodiscard]] bool mailbox_full(const role_slot& slot) const;
  void report_lost(peer_id peer);
  result<> send_now(peer_id to, const wire::frames& message);
  result<> send_local(role_slot& from, role_slot& to, wire::frames message);
  result<> connect_now(role_slot& from, peer_id peer, const std::string& endpoint, const std::string& server_key);
  void tell(role_slot& slot, notice n);

  [[nodiscard]] bool in_loop() const { return owner_.load(std::memory_order_relaxed) == std::this_thread::get_id(); }
  caf::execution_unit* unit() { return in_loop() ? &unit_ : nullptr; }

  /// Written by the loop's thread alone, read by all.
  class counter {
  public:
    void add(std::uint64_t n = 1) { value_.store(value() + n, std::memory_order_relaxed); }
    [[nodiscard]] std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

  private:
    std::atomic<std::uint64_t> value_{0};
  };
  struct counters {
    counter received, sent, undecodable, unroutable, overloaded, unreachable;
  };

  const bridge_options options_;
  logger& log_;
  std::string endpoint_;

  // Any thread:
  std::atomic<std::thread::id> owner_{};
  std::atomic<bool> stopping_{false};
  std::atomic<std::uint64_t> connections_made_{0};
  wire::outbox<item> outbox_;
  counters counts_;
  std::shared_ptr<const std::atomic<std::uint64_t>> waiting_bytes_;

  std::unique_ptr<wire::zmq_context> context_;
  std::unique_ptr<wire::server_socket> server_;
  std::vector<std::unique_ptr<connection>> connections_;
  std::unordered_map<peer_id, std::uint32_t>
      acquainted_;    ///< which roles (a bit each) have heard from a peer that came to us
  peer_id last_from_; ///< the latest entry of acquainted_ that was looked up, and its value
  std::uint32_t last_roles_ = 0;

  std::deque<role_slot> roles_; ///< fixed after host(); outlives the actors
  std::array<role_slot*, 256> role_by_number_{};
  system_config config_;
  caf::actor_system system_;
  inline_unit unit_;
  struct watched {
    int fd;
    std::function<void()> ready;
  };
  std::vector<watched> watches_;
  timer timer_;         ///< for alarms
  wire::ready_set fds_; ///< the outbox, the timer, the server's, each connection's, the watched
  bool fds_stale_ = true;
  std::size_t server_fds_ = 0;
  bool server_news_ = true; ///< it wants pump()
  std::uint32_t busy_rounds_ = 0;
  wire::linger linger_;
  time_point now_{};

  std::size_t stopping_role_ = 0; ///< roles_ from here on have been told to stop
  std::size_t stopped_roles_ = 0;
  bool draining_ = false;
  std::size_t drained_roles_ = 0;
};

} // namespace squall::actors::detail
