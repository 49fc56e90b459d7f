#pragma once

#include "actors/event_log_file.hpp"
#include "actors/store_client.hpp"
#include "calls/recent_calls.hpp"
#include "executors/detail/block_ledger.hpp"
#include "executors/detail/call_record.hpp"
#include "executors/detail/catalogue.hpp"
#include "executors/detail/known_clients.hpp"
#include "executors/detail/membership.hpp"
#include "executors/detail/model_cache.hpp"
#include "executors/detail/object_cache.hpp"
#include "executors/detail/python_packages.hpp"
#include "executors/detail/sequence_table.hpp"
#include "executors/node_service.hpp"
#include "executors/user_workers.hpp"

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <unordered_map>

namespace squall::executors {

/// Counters since the start, sent with each beat.
struct node_counters {
  std::uint64_t calls = 0;         ///< that had stages or their exit here
  std::uint64_t calls_failed = 0;  ///< that ended here with an error
  std::uint64_t stages_light = 0;  ///< run in the node's own thread
  std::uint64_t items = 0;         ///< given to the queue
  std::uint64_t items_dropped = 0; ///< by the queue
  std::uint64_t batches = 0;
  std::uint64_t batch_items = 0;
  std::uint64_t loads = 0;
  std::uint64_t loads_failed = 0;
  std::uint64_t evictions = 0;
  std::uint64_t worker_lost = 0;
  std::uint64_t late_messages = 0;  ///< about calls that had ended
  std::uint64_t bad_messages = 0;   ///< that did not decode, or did not fit
  std::uint64_t bytes_to_hosts = 0; ///< of values sent to other hosts
};

/// What a service is made of; tests replace parts.
struct node_parts {
  std::shared_ptr<wire::arena> arena;
  std::shared_ptr<wire::arena_map> arenas;
  worker_starter start_worker;
  /// Null: actors::store_client over the connection to the store.
  std::function<std::unique_ptr<object_source>(actors::post&, actors::peer_id)> open_store;
  std::uint64_t instance = 1;
};

/// The node role. Each handler drives what it changed as far as it goes; finish_round() then carries out what the queue
/// decided, gives blocks back to the worker and sets the alarm. All state belongs to the role's context.
class node_role final : public actors::role_service, public worker_listener, public user_worker_listener {
public:
  /// Light stages of one call that run in one go; the rest waits for the next round, so that no call holds up the
  /// others.
  static constexpr std::size_t light_stages_per_round = 64;
  /// Inputs of a light run, together.
  static constexpr std::size_t light_bytes = 4096;
  static constexpr std::size_t max_calls = 100'000;
  /// Code of a function that nobody has called yet is fetched up to this size.
  static constexpr std::uint64_t max_prepared_bytes = 16 << 20;
  static constexpr std::size_t max_parked = 1000;
  static constexpr duration park_patience = std::chrono::seconds{2};
  /// Blocks of a call that nobody released are freed so long after its deadline.
  static constexpr duration block_backstop = std::chrono::seconds{30};
  static constexpr duration sweep_interval = std::chrono::seconds{10};
  /// Answered calls that the controller is told of in one message, and how long the first of them waits for others:
  /// less than half of what the controller's turnstile takes for the time that calls are on their way.
  static constexpr std::size_t max_answered = 256;
  static constexpr duration answered_patience = std::chrono::milliseconds{2};
  /// What is kept for the next controller: ends of calls, their outputs together, and ends of dispatched batches.
  static constexpr std::size_t max_kept_ends = 10'000;
  static constexpr std::size_t max_kept_bytes = std::size_t{256} << 20;
  static constexpr std::size_t max_ended_orders = 10'000;
  /// For so long a call that a function made is asked for again while controllers change.
  static constexpr duration nested_patience = std::chrono::seconds{10};

  node_role(const node_options& options, node_parts parts, logger& log);
  ~node_role() override;

  void start(actors::post& out) override;
  void on_messages(std::span<actors::incoming> messages) override;
  void on_peer_lost(actors::peer_id peer) override;
  void on_alarm() override;
  void drain(std::function<void()> done) override;
  void stop() override;

  void on_ready(const wire::worker::ready& message) override;
  void on_loaded(const wire::worker::loaded& message) override;
  void on_done(wire::worker::done message) override;
  void on_lost(const std::string& why) override;

  void on_user_loaded(const wire::worker::loaded& message) override;
  void on_user_done(wire::worker::done message) override;
  void on_user_item(batch_id batch, std::uint32_t item, wire::worker::item_result result, duration executed) override;
  void on_user_pace(variant_id variant, std::uint32_t items) override;
  void on_user_partial(batch_id batch, std::uint32_t item, std::vector<functions::value> outputs) override;
  void on_user_waiting(batch_id batch, bool waits) override;
  void on_user_call(const worker_question& from, wire::worker::call message) override;
  void on_user_state(const worker_question& from, wire::worker::state_request message) override;
  void on_user_gone(std::uint64_t worker) override;

  [[nodiscard]] const node_counters& counters() const { return counters_; }
  [[nodiscard]] std::size_t calls_here() const { return calls_.size(); }
  [[nodiscard]] std::size_t items_here() const { return items_.size(); }
  [[nodiscard]] std::size_t sequences_here() const { return sequences_.size(); }
  [[nodiscard]] std::size_t calls_with_blocks() const { return blocks_.calls(); }
  [[nodiscard]] std::uint64_t cached_bytes() const { return models_->used_bytes(); }

private:
  struct loading {
    std::uint64_t attempt = 0;
    time_point began;
    std::size_t files_missing = 0;
    wire::worker::load request;
  };
  /// A call that a function made, until it is answered.
  struct nested_call {
    worker_question from;
    batch_id batch;
    wire::call_request request; ///< to ask another controller again
    bool doubtful = false;      ///< it was sent to a controller that is gone
    time_point again_at = never;
    time_point give_up{};
  };
  /// The end of a call that no controller has heard of.
  struct kept_end {
    wire::held_call about; ///< as of `at`
    time_point at;
    wire::call_finished message;
    std::size_t bytes = 0;
  };
  struct load_times {
    time_point began;
    time_point ended;
  };
  /// Objects of the store that a ready stage waits for: of element e those at first[e] and after, up to the next.
  struct lookup {
    call_id call;
    flow::ready_stage ready;
    std::uint32_t port = 0;
    std::vector<std::size_t> first;
    std::vector<functions::value> objects;
    std::size_t missing = 0;
  };
  struct wanted_replica {
    variant_id variant;
    bool loaded = false;
  };
  struct parked_message {
    dag_id dag;
    call_id call;
    time_point until;
    actors::incoming message;
  };
  struct timer {
    time_point at;
    call_id call;
    friend bool operator>(const timer& a, const timer& b) { return a.at > b.at; }
  };

  /// A stretch of work in the role's context. The outermost one ends with finish_round().
  class round_guard {
  public:
    explicit round_guard(node_role& role) : role_(role) { ++role_.depth_; }
    ~round_guard() {
      if (role_.depth_ == 1 && role_.post_)
        role_.finish_round();
      --role_.depth_;
    }
    round_guard(const round_guard&) = delete;
    round_guard& operator=(const round_guard&) = delete;

  private:
    node_role& role_;
  };

  // -- rounds and messages (node_role.cpp)
  void finish_round();
  void set_alarm();
  void handle(actors::incoming& message);
  template <class Message, class Handler>
  void decode_and(actors::incoming& message, const Handler& handler);
  void handle_call_message(actors::incoming& message);
  void handle_catalogue_message(actors::incoming& message);
  void leave(const wire::node_drain& message);
  void bad_message(const actors::incoming& from, const error& why);
  [[nodiscard]] time_point now() const { return post_->now(); }

  // -- joining and the catalogue (joining.cpp)
  void on_welcome(const wire::node_welcome& message);
  void open_event_log();
  void drop_everything();
  void define(const functions::registered_function& function);
  void define(const wire::dag_definition& dag);
  void forget_unused();
  void send_beat();
  void connect_store(const std::string& endpoint);
  void park(const wire::call_context& context, const actors::incoming& message);
  void unpark(dag_id dag);
  void drop_parked();

  // -- calls (calls.cpp)
  void on_start(const actors::incoming& from, wire::start_call message);
  [[nodiscard]] call_record* find_call(call_id id);
  [[nodiscard]] bool is_late(call_id id) { return over_.contains(id) || ended_.contains(id); }
  /// Null: the message is late, waits for its DAG, or was refused; nothing is left to do about it.
  [[nodiscard]] call_record* find_or_open(const actors::incoming& from, wire::call_context& context);
  [[nodiscard]] result<> check_context(const wire::call_context& context, const flow_graph& graph) const;
  void refuse_call(call_id call, const error& why);
  /// Carries the flow's decisions out until none is left. The call may have ended after it.
  void drive(call_record& call);
  void note_own_blocks(call_record& call);
  void finish_call(call_record& call);
  void fail_call(call_record& call, const error& why);
  void expire_call(call_record& call);
  [[nodiscard]] wire::call_finished finished_message(call_record& call);
  void send_finished(const wire::call_finished& message, std::uint64_t client_host);
  enum class ending { for_good, here };
  void end_call(call_record& call, ending how = ending::for_good);
  void drop_call(const wire::drop_call& message);
  void drop_unfinished_elsewhere(call_record& call);
  void set_timer(call_record& call);
  void run_timers();
  void compact_timers();
  void continue_put_off();

  // -- answers that bypass the controller (answering.cpp)
  [[nodiscard]] bool answer_client(const call_record& call, wire::call_finished& finished);
  void report_answered();

  // -- between two controllers (holding.cpp)
  void keep_or_let_go();
  void keep_end(call_record& call, wire::call_finished message);
  void report_held();
  [[nodiscard]] wire::held_call held_of(const call_record& call) const;
  [[nodiscard]] std::vector<wire::held_order> held_orders();
  [[nodiscard]] std::vector<wire::held_replica> held_replicas();
  void ask_nested_again();
  void ask_nested_anew();
  [[nodiscard]] bool will_ask_again(const wire::call_result& message);

  // -- stages that have settled (settling.cpp)
  void on_settled(const actors::incoming& from, wire::settled message);
  void on_unwanted(const wire::unwanted_stage& message);
  void carry_out_cancellations(call_record& call);
  void send_departures(call_record& call, std::span<const flow::departure> departures);
  void send_settled(call_record& call, stage_index stage, std::span<const node_id> nodes);
  void forward(const wire::settled& message, const wire::call_context& context);

  // -- running stages (stages.cpp)
  /// `light_left`: light stages that may still run in this go.
  void launch(call_record& call, const flow::ready_stage& ready, std::size_t& light_left);
  [[nodiscard]] static bool is_light(call_record& call, stage_index stage, const node_variant& variant);
  void run_light(call_record& call, stage_index stage, node_variant& variant);
  void launch_stateful(call_record& call, stage_index stage);
  void next_in_sequence(sequence_id sequence, function_id function);
  void end_turn(call_record& call, function_id function);
  void enqueue(call_record& call, stage_index stage, const std::vector<std::uint32_t>& elements, variant_id variant);
  void count_moved_bytes(call_record& call, stage_index stage);

  // -- stages that read objects of the store (lookups.cpp)
  [[nodiscard]] bool needs_objects(const call_record& call, stage_index stage);
  void look_up(call_record& call, const flow::ready_stage& ready);
  void fetch_object(std::uint64_t lookup, std::size_t place, const std::string& key);
  void object_found(std::uint64_t lookup, std::size_t place, const result<shared_bytes>& object);
  void lookup_part_done(std::uint64_t lookup);

  // -- maps over several nodes (maps.cpp)
  void scatter(call_record& call, const flow::ready_stage& ready);
  void send_share(call_record& call, stage_index stage, node_id to, std::span<const std::uint32_t> elements);
  void on_scatter(const actors::incoming& from, wire::scatter message);
  void enqueue_share(map_share& share);
  void join_order(map_share& share, const wire::order_ticket& ticket);
  void on_gathered(wire::gathered message);
  void share_item_ended(const work_item& item, wire::worker::item_result outcome);
  void share_element_failed(map_share& share, std::uint32_t place, const error& why);
  void send_gathered(map_share& share);
  /// The share is gone after it.
  void end_share(map_share& share);
  void end_shares(call_id call);

  // -- dispatched calls (orders.cpp)
  void report_ready(call_record& call, const flow::ready_stage& ready, std::size_t& light_left);
  void report_passed_over(call_record& call);
  void report_stage(call_id call, stage_index stage, std::uint32_t width, std::vector<std::uint32_t> elements);
  void on_hand_out(const wire::hand_out& message);
  void hand_over(call_record& call, stage_index stage, std::vector<std::uint32_t> elements,
                 const wire::hand_out& message);
  void note_dispatched(const call_record& call, calls::stage_trace& trace, node_id node);
  void on_order_short(const wire::order_short& message);
  order_record& order_of(const wire::order_ticket& ticket);
  void tasks_missing(const wire::order_ticket& ticket, std::uint32_t count);
  void queue_if_complete(order_record& order);
  void leave_order(batch_id order, item_id item);
  void end_order(batch_id id, errc code, duration executed);
  void note_ended_order(const order_record& order, errc code, duration executed);
  void report_order(const wire::order_report& message);
  void want_replica(const wire::want_replica& message);
  void report_replica(replica_id replica, errc code, const std::string& text);
  void replicas_loaded(variant_id variant, const error* why);
  void unload_unused(variant_id variant);

  // -- the queue and the worker (batches.cpp)
  void feed(const calls::queueing::event& fact);
  void carry_out_commands();
  void carry_out(const calls::queueing::run& command);
  void carry_out(const calls::queueing::load& command);
  void carry_out(const calls::queueing::evict& command);
  void carry_out(const calls::queueing::drop& command);
  void carry_out(const calls::queueing::run_order& command);
  void carry_out(const calls::queueing::drop_order& command);
  void carry_out(const calls::queueing::load_replica& command);
  void carry_out(const calls::queueing::evict_replica& command);
  void carry_out(const calls::queueing::replica_failed& command);
  void run_batch(batch_id id, running_batch batch, const std::vector<item_id>& items);
  void begin_load(variant_id variant);
  /// What the worker needs to run an item; the item's deadline beside it.
  struct item_inputs {
    std::vector<functions::value> values;
    time_point deadline;
  };
  [[nodiscard]] result<item_inputs> inputs_of(const work_item& item);
  [[nodiscard]] bool wants_stream(const work_item& item);
  void fail_batch(batch_id id, const error& why);
  void withdraw(call_id call, const std::vector<item_id>& items);
  void withdraw_stage(call_record& call, stage_index stage);
  void cancel_unwanted_batches(call_id call);
  void item_failed(item_id id, const error& why);
  void item_ended(item_id id, wire::worker::item_result outcome, const running_batch& batch, duration share_of_time);
  void add_figures(calls::stage_trace& trace, const work_item& item, const running_batch& batch,
                   duration share_of_time) const;
  /// Takes an item out; a default one when it is gone.
  [[nodiscard]] std::optional<work_item> take_item(item_id id);
  void drive_touched();

  // -- loading (loading.cpp)
  void fetch_file(variant_id variant, std::uint64_t attempt, const std::string& parameter, const std::string& key);
  void file_fetched(variant_id variant, std::uint64_t attempt, const std::string& parameter,
                    const result<std::string>& path);
  void send_load(variant_id variant, const loading& l);
  void send_waiting_loads();
  void load_failed(variant_id variant, const error& why);
  void make_light(variant_id variant, std::map<std::string, std::string> files);
  void report_residency(wire::residency message);
  void report_gone(variant_id variant);

  // -- user code (user_code.cpp)
  [[nodiscard]] static bool runs_user_code(functions::variant_kind kind) {
    return kind == functions::variant_kind::native || kind == functions::variant_kind::python;
  }
  [[nodiscard]] bool in_user_worker(variant_id variant) const { return user_ && user_->knows(variant); }
  [[nodiscard]] result<shared_bytes> make_user_memory(std::size_t size,
                                                      const std::function<result<>(std::span<std::byte>)>& fill);
  [[nodiscard]] bool in_sandbox(const wire::worker::load& request) const;
  void prepare_code(const std::string& key);
  void load_user_code(variant_id variant, const loading& l);
  void start_user_code(variant_id variant, const loading& l);
  void list_user_keys(const worker_question& from, const std::string& prefix);
  [[nodiscard]] std::uint32_t slot_of(lane_id lane) const;
  void open_extra_lane(batch_id batch);
  [[nodiscard]] std::map<batch_id, running_batch> take_lost_batches();
  void close_lanes();
  void reopen(lane_id lane);
  void on_call_result(const wire::call_result& message);
  void answer_nested(call_id call, wire::worker::returned message);
  template <class Unwanted>
  void drop_nested(const Unwanted& unwanted);
  /// What user code that runs works for.
  struct item_call {
    const wire::call_context& context;
    time_point deadline;
    partial_counts& partials;
    std::uint32_t element;
  };
  [[nodiscard]] result<item_call> call_of(batch_id batch, std::uint32_t item);

  // -- values (values.cpp)
  void keep(call_id call, std::vector<functions::value>& values);
  void adopt(call_id call, std::vector<functions::value>& values);
  /// Frees what the call holds here: at once, or when the last batch that reads it has ended.
  void release_blocks(call_id call);
  void item_left_worker(call_id call);
  /// Fails as too_large when the message passes a limit of the wire.
  template <class Message>
  result<> send_to_node(node_id node, const Message& message);
  /// The same, with the call's context as it is now in the message.
  template <class Message>
  result<> send_with_context(call_record& call, node_id node, Message& message);
  [[nodiscard]] wire::encode_options places_for(std::uint64_t host) const {
    return {host == membership_.own_host() ? &blocks_.known() : nullptr};
  }

  node_options options_;
  node_parts parts_;
  logger& log_;
  actors::post* post_ = nullptr;
  membership membership_;
  catalogue catalogue_;
  known_clients clients_;
  calls::price_list prices_;
  std::vector<wire::answered_call> answered_;  ///< that the controller has not been told of
  time_point answered_due_ = never;            ///< when it is told
  std::deque<kept_end> kept_ends_;             ///< oldest first
  std::size_t kept_bytes_ = 0;                 ///< of their outputs
  std::vector<wire::held_order> ended_orders_; ///< that no controller has heard of
  bool holding_ = false;                       ///< there is no controller, and what it ordered goes on
  block_ledger blocks_;
  sequence_table sequences_;
  calls::recent_calls ended_{65'536}; ///< for good: nothing about them is of interest any more
  /// The flow has nothing more to decide here; shares of their spread maps may still come.
  calls::recent_calls over_{65'536};
  node_counters counters_;

  std::unordered_map<call_id, std::unique_ptr<call_record>> calls_;
  std::unordered_map<call_id, std::vector<std::unique_ptr<map_share>>> shares_;
  std::vector<timer> timers_; ///< a heap, the earliest first; of calls that may have ended
  std::vector<call_id> put_off_;
  std::vector<parked_message> parked_;

  std::unique_ptr<policy::node_queue> queue_;
  std::unique_ptr<actors::event_log_file> event_log_;
  std::vector<calls::queueing::command> commands_; ///< decided and not carried out
  std::unordered_map<item_id, work_item> items_;
  std::map<batch_id, running_batch> running_;
  std::map<batch_id, order_record> orders_;
  std::map<replica_id, wanted_replica> replicas_;        ///< of the scheduler: loading or there
  std::set<variant_id> on_demand_;                       ///< loaded or being loaded for the node's own queue
  std::unordered_map<call_id, std::uint32_t> in_worker_; ///< items of a call that the worker has
  std::vector<call_id> release_when_idle_;
  std::vector<call_id> touched_;
  std::uint64_t last_item_ = 0;
  std::uint64_t last_load_ = 0;
  std::uint64_t last_lookup_ = 0;

  std::unique_ptr<worker_host> worker_;
  bool worker_ready_ = false;
  std::unique_ptr<user_workers> user_;                ///< null: this node runs no user code
  std::unique_ptr<detail::python_packages> packages_; ///< null: it has no Python
  std::map<batch_id, lane_id> extra_lanes_;           ///< opened for what waits in a batch, by that batch
  std::map<lane_id, std::uint32_t> extra_lane_slot_;  ///< of the worker, whose lane it stands in for
  std::uint64_t last_extra_lane_ = 0;
  std::set<batch_id> waiting_;            ///< for calls that they made
  std::set<lane_id> kept_lanes_;          ///< whose batch outlives the model host: they open again when it has ended
  std::map<call_id, nested_call> nested_; ///< that functions made here
  std::uint64_t last_nested_ = 0;
  time_point nested_due_ = never; ///< some of them are asked for again
  std::map<variant_id, loading> loading_;
  std::unordered_map<variant_id, load_times> load_times_;
  std::unordered_map<variant_id, std::uint64_t> resident_; ///< and their memory
  std::unique_ptr<object_source> store_;
  std::string store_endpoint_;       ///< empty: the controller's connection serves it, or a role of this process
  actors::peer_id store_connection_; ///< of our own; zero without
  std::unique_ptr<actors::background> disk_;
  std::unique_ptr<model_cache> models_;
  object_cache objects_;
  std::map<std::uint64_t, lookup> lookups_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true); ///< tasks that come after stop() do nothing

  std::function<void()> drained_; ///< the process waits for the node to have left

  time_point next_sweep_; ///< of shared memory whose owner died
  int depth_ = 0;         ///< of rounds: a callback may come inside a handler
};

template <class Message>
result<> node_role::send_to_node(node_id node, const Message& message) {
  const auto host = membership_.host_of(node);
  auto frames = wire::encode(message, request_id{}, places_for(host));
  SQUALL_TRY(wire::within_limits(frames));
  if (host != membership_.own_host())
    for (const auto& payload : frames.payloads)
      counters_.bytes_to_hosts += payload.size();
  return membership_.send(node, std::move(frames));
}

template <class Message>
result<> node_role::send_with_context(call_record& call, node_id node, Message& message) {
  // Lent for as long as it takes to encode, so that the plan is not copied. Meanwhile the flow, which reads the plan,
  // must not be asked anything.
  message.context = std::move(call.context);
  const auto remaining = message.context.remaining;
  const auto age = message.context.age;
  if (remaining != duration::max())
    message.context.remaining = call.deadline - now();
  message.context.age = call.age_of(age, now());
  auto sent = send_to_node(node, message);
  call.context = std::move(message.context);
  call.context.remaining = remaining;
  call.context.age = age;
  return sent;
}

} // namespace squall::executors
