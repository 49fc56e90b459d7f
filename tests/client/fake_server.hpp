#pragma once

#include "wire/codec.hpp"
#include "wire/messages.hpp"
#include "wire/zmq/socket.hpp"

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace squall::client::testing {

/// A controller and a store as far as a client can tell: a thread with a ROUTER. What it does with calls is the test's
/// choice; hooks run in its thread.
class fake_server {
public:
  using call_hook = std::function<void(fake_server&, wire::route, wire::call_request)>;

  /// "tcp://127.0.0.1:*" takes any port.
  explicit fake_server(std::string endpoint = "tcp://127.0.0.1:*", std::uint64_t epoch = 1, call_hook calls = {});
  ~fake_server();

  [[nodiscard]] const std::string& endpoint() const { return endpoint_; }
  void stop();

  // -- the script; set before clients come, or guarded by being atomic
  call_hook on_call; ///< none: echoes the inputs as outputs
  std::function<wire::reply(const wire::query&)> on_query;
  std::function<wire::reply(const wire::apply_dag&)> on_apply_dag;
  std::function<wire::reply(const wire::apply_function&)> on_apply_function;
  wire::welcome welcome;
  std::function<void(fake_server&, wire::route)> each_round; ///< of its thread, with the first that said hello
  std::vector<std::string> nodes;                            ///< endpoints that clients are told of when they say hello
  std::atomic<bool> refuse_hello{false};
  std::atomic<bool> mute{false}; ///< takes everything, says nothing
  std::atomic<std::uint64_t> pong_epoch;

  // -- for hooks
  template <class Message>
  void send(wire::route to, const Message& message, request_id request, const wire::arena_map* local = nullptr) {
    (void)socket_->send(to, wire::encode(message, request, {.local = local}));
  }
  void send_raw(wire::route to, const wire::frames& message) { (void)socket_->send(to, message); }
  void answer(wire::route to, const wire::call_request& call, std::vector<wire::wire_value> outputs);
  [[nodiscard]] wire::arena_map& arenas() { return *arenas_; }

  // -- what came
  struct seen {
    std::vector<wire::hello> hellos;
    std::set<std::uint64_t> taken;
    std::set<std::uint64_t> cancelled;
    std::vector<functions::function_spec> functions;
    std::vector<functions::dag_spec> dags;
    std::vector<wire::remove> removed;
    std::string policy;
    bool shut_down = false;
    std::size_t store_pieces = 0;
    std::map<std::string, std::string> values; ///< of the store
  };
  /// A copy of what came so far.
  [[nodiscard]] seen record() const;
  /// Waits up to 5 s until the record satisfies the condition.
  [[nodiscard]] bool wait_until(const std::function<bool(const seen&)>& condition) const;
  void put_value(const std::string& key, std::string value);

private:
  void run();
  void on_message(wire::route from, const wire::frames& message);
  void on_request(wire::route from, const wire::envelope_head& head, const wire::frames& message);
  void on_store(wire::route from, const wire::envelope_head& head, const wire::frames& message);
  [[nodiscard]] wire::store_reply store_put(const wire::store_put& put);
  [[nodiscard]] wire::store_reply store_get(const wire::store_get& get) const;
  [[nodiscard]] wire::store_reply store_list(const wire::store_list& list) const;

  wire::route first_;
  std::unique_ptr<wire::zmq_context> context_;
  std::unique_ptr<wire::server_socket> socket_;
  std::shared_ptr<wire::arena_map> arenas_ = wire::arena_map::create();
  std::string endpoint_;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  seen record_;
  std::map<std::string, std::uint64_t> versions_;
  std::map<std::uint64_t, std::string> uploads_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

} // namespace squall::client::testing
