#pragma once

#include "base/random.hpp"
#include "client/cluster.hpp"
#include "client/detail/link.hpp"
#include "client/detail/outbox.hpp"
#include "client/detail/pending.hpp"
#include "wire/arena.hpp"
#include "wire/linger.hpp"
#include "wire/zmq/socket.hpp"

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <variant>
#include <vector>

namespace squall::client::detail {

// What other threads hand to the engine's.
struct start_call {
  std::shared_ptr<pending_call> call;
};
struct cancel_call {
  call_id call;
};
struct drop_outputs {
  call_id call;
};
struct start_request {
  std::shared_ptr<pending_request> request;
};
struct stop_engine {};
using command = std::variant<start_call, cancel_call, drop_outputs, start_request, stop_engine>;
using command_queue = outbox<command>;

/// The thread that owns the sockets, and the tables of what is outstanding. The other methods may be called from any
/// thread.
class engine {
public:
  [[nodiscard]] static result<std::shared_ptr<engine>> start(const options& options);
  explicit engine(const options& options);
  ~engine();
  engine(const engine&) = delete;
  engine& operator=(const engine&) = delete;

  /// Ends everything that is outstanding as cancelled, and the thread.
  void stop();

  /// Fills in the id and the message, and hands the call over; or finishes it at once when it is refused.
  void call(const std::shared_ptr<pending_call>& call, std::string_view name,
            std::vector<functions::named_value> inputs, const calls::call_options& options);
  void cancel(call_id call);

  /// Sends a request; its end comes within `timeout`.
  template <class Message>
  [[nodiscard]] std::shared_ptr<pending_request> begin(const Message& message, wire::role to = Message::to) {
    const request_id id{fresh_id()};
    return begin_encoded(id, to, wire::encode(message, id, {}, to));
  }
  /// The answer of begin() as the message that it should be; a reply in its place is an error.
  template <class Answer>
  [[nodiscard]] result<Answer> finish(pending_request& request) {
    SQUALL_ASSIGN(got, request.wait());
    if (got.head.type != Answer::type)
      return unexpected(got);
    return wire::decode<Answer>(got.message, arenas_.get());
  }
  /// A request that is answered with reply or pong.
  template <class Answer = wire::reply, class Message>
  [[nodiscard]] result<Answer> ask(const Message& message) {
    return finish<Answer>(*begin(message));
  }

  /// Unique in this client, and as good as unique among all. Never zero.
  [[nodiscard]] std::uint64_t fresh_id();

  [[nodiscard]] cluster_info info() const;
  [[nodiscard]] const options& settings() const { return options_; }

private:
  // -- any thread
  [[nodiscard]] std::shared_ptr<pending_request> begin_encoded(request_id id, wire::role to, wire::frames message);
  [[nodiscard]] static error unexpected(const answer& got);
  [[nodiscard]] result<> share_inputs(pending_call& call);
  [[nodiscard]] wire::arena* own_arena();
  [[nodiscard]] result<> wait_until_ready();
  void end_call(pending_call& call, calls::outcome outcome, std::vector<functions::named_value> outputs = {});
  void fail_call(pending_call& call, error why);

  // -- the engine's thread
  void run();
  bool serve(clock::time_point now);
  bool look_again(clock::time_point now);
  void sleep(clock::time_point until);
  bool links_idle();
  void look(duration patience);
  void on_command(command&& what, clock::time_point now);
  void begin_call(std::shared_ptr<pending_call> call, clock::time_point now);
  void begin_request(std::shared_ptr<pending_request> request);
  void begin_cancel(call_id call, clock::time_point now);
  void on_answer(answer&& got, clock::time_point now);
  void on_call_result(const wire::frames& message, clock::time_point now);
  void on_call_partial(const wire::frames& message);
  /// Calls may wait for a controller that is to come back.
  [[nodiscard]] bool patient(clock::time_point now) const;
  [[nodiscard]] bool wait_and_send_again(pending_call& call, const calls::outcome& refused,
                                         clock::time_point now) const;
  void send_again(pending_call& call, clock::time_point now);
  void send_waiting(clock::time_point now);
  void on_welcome(const wire::welcome& welcome, clock::time_point now);
  void on_peers(const wire::frames& message);
  void connect_nodes(clock::time_point now);
  /// Ends what was outstanding on a link; null: on all.
  void on_lost(const link* lost, const error& why, clock::time_point now);
  void fail_calls(const error& why);
  void note_readiness();
  void tick(clock::time_point now);
  void sweep(clock::time_point now);
  void give_back(std::vector<call_id> taken);
  [[nodiscard]] link& link_to(wire::role role);
  [[nodiscard]] error not_connected(const link& to) const;
  [[nodiscard]] functions::value unshared(functions::value value) const;
  [[nodiscard]] functions::value leased(functions::value value, const std::shared_ptr<const void>& lease) const;

  const options options_;
  const std::shared_ptr<wire::arena_map> arenas_;
  const std::shared_ptr<command_queue> queue_; ///< outlives the engine in the outputs that users hold
  std::atomic<std::uint64_t> next_id_;
  std::atomic<std::size_t> outstanding_{0};
  std::atomic<bool> same_host_{false};
  std::atomic<bool> stopped_{false};

  mutable std::mutex mutex_; ///< guards the four below
  std::condition_variable readiness_;
  bool ready_ = false;
  std::optional<error> trouble_; ///< of the first connection
  cluster_info info_;

  std::once_flag arena_made_;
  std::shared_ptr<wire::arena> arena_; ///< null: shared memory cannot be used

  // The engine's thread.
  std::unique_ptr<wire::zmq_context> context_;
  std::unique_ptr<link> controller_;
  std::unique_ptr<link> store_;
  std::vector<std::unique_ptr<link>> nodes_; ///< that may answer directly
  std::vector<std::string> node_endpoints_;  ///< as the controller named them last
  std::uint64_t calls_begun_ = 0;
  bool nodes_stale_ = false; ///< `nodes_` are not those of `node_endpoints_`
  client_id self_;
  bool separate_store_ = false; ///< false: the controller's connection serves the store
  duration default_deadline_{0};
  std::unordered_map<std::uint64_t, std::shared_ptr<pending_call>> calls_;
  std::unordered_map<std::uint64_t, std::shared_ptr<pending_request>> requests_;
  std::optional<clock::time_point> lost_at_; ///< when the controller went; none: it is there
  error lost_why_;
  std::vector<call_id> taken_; ///< outputs that were dropped since the last round
  wire::ready_set news_;       ///< of the queue, the controller, the store, the nodes
  std::uint64_t nodes_changed_ = 0;
  std::pair<std::uint64_t, std::uint64_t> watched_{~0ull, 0}; ///< changes of nodes, and sockets, when news_ was filled
  std::uint32_t busy_rounds_ = 0;
  wire::linger linger_;
  bool stopping_ = false;
  std::thread thread_;
};

} // namespace squall::client::detail
