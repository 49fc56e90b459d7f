#pragma once

#include "actors/background.hpp"
#include "actors/event_log_file.hpp"
#include "actors/store_client.hpp"
#include "controller/call_table.hpp"
#include "controller/catalogue.hpp"
#include "controller/controller_service.hpp"
#include "controller/durable.hpp"
#include "controller/ledger.hpp"
#include "controller/node_health.hpp"
#include "controller/profiles.hpp"
#include "controller/statistics.hpp"
#include "controller/turnstile.hpp"

#include <map>
#include <optional>
#include <set>
#include <span>
#include <unordered_map>

namespace squall::controller {

/// The controller role. Handlers read the clock once (post::now), translate a message to facts, step the scheduler and
/// carry its commands out.
class controller_service final : public actors::role_service {
public:
  controller_service(const controller_options& options, std::shared_ptr<wire::arena_map> arenas, logger& log);

  void start(actors::post& out) override;
  void on_messages(std::span<actors::incoming> messages) override;
  void on_peer_lost(actors::peer_id peer) override;
  void on_alarm() override;
  void drain(std::function<void()> done) override;
  void stop() override;

private:
  struct client_record {
    client_id id;
    std::uint64_t host = 0;
    std::string software;
    time_point heard;
    bool answers_from_nodes = false; ///< wants to know which nodes there are
  };
  struct node_record {
    node_id id;
    actors::peer_id peer;
    std::uint64_t instance = 0;
    wire::peer_info info;
    std::vector<calls::placing::lane_info> lanes;
    std::uint64_t memory_bytes = 0;
    time_point heard;
    time_point joined;
    std::map<variant_id, std::uint64_t> resident; ///< and their memory
    wire::node_beat beat;
    beat_record beats;
    duration way{0};        ///< from an order to its start, when nothing is in the way; zero = not known
    bool draining = false;  ///< nothing more is placed on it
    bool released = false;  ///< it was told to go
    bool stay_away = false; ///< an operator drained it
  };
  /// Outputs of an ended call in shared memory that its client still reads.
  struct held_result {
    actors::peer_id client;
    call_id attempt; ///< as nodes know the call
    std::vector<node_id> holders;
  };

  // -- messages (service.cpp) --
  void handle(actors::incoming& message);
  template <class Message, class Handler>
  void decode_and(actors::incoming& message, Handler handler);
  void answer(const actors::incoming& to, errc code, std::string text, std::string body = {},
              duration retry_after = duration{0});
  void on_hello(const actors::incoming& from, const wire::hello& message);
  void finish_round();
  void arm();
  [[nodiscard]] actors::peer_id connect_store();

  // -- the store's lease (store_lease.cpp) --
  void watch_store();
  [[nodiscard]] bool store_lost() const;

  // -- the scheduler (service.cpp) --
  void step(const calls::placing::event& fact);
  void carry_out(calls::placing::command& command);

  // -- calls (calls.cpp) --
  void on_call(const actors::incoming& from, wire::call_request message);
  [[nodiscard]] result<> check(const wire::call_request& message) const;
  [[nodiscard]] result<std::shared_ptr<const functions::dag>> dag_of(const wire::call_request& message);
  [[nodiscard]] running_call call_of(const actors::incoming& from, const wire::call_request& message,
                                     std::shared_ptr<const functions::dag> dag);
  [[nodiscard]] running_call bare_call(const wire::call_request& message,
                                       std::shared_ptr<const functions::dag> dag) const;
  void ask_for_promise(running_call& call, const calls::call_options& options,
                       calls::placing::call_arrived& fact) const;
  void on_cancel(const actors::incoming& from, const wire::cancel_request& message);
  void on_finished(const actors::incoming& from, wire::call_finished message);
  void on_partial(const actors::incoming& from, wire::stage_partial message);
  [[nodiscard]] wire::role role_of(actors::peer_id peer) const;
  void on_answered(const actors::incoming& from, wire::calls_answered message);
  void on_taken(const actors::incoming& from, const wire::result_taken& message);
  void admit(calls::placing::admit& command);
  void let_through();
  void expire_in_line();
  void count_lanes();
  [[nodiscard]] std::uint32_t widest_batch(const functions::dag& dag) const;
  void end_without_result(call_id call, errc code, std::string message, duration retry_after,
                          std::vector<calls::offer> offers = {});
  void send_result(running_call& call, wire::call_result message);
  void tell_dropped(const running_call& call, wire::call_result& message, const error& why);
  void end_of(running_call& call, calls::outcome outcome);
  [[nodiscard]] calls::placing::call_ended ended(const running_call& call, const calls::outcome& outcome);
  void reply_refused(const actors::incoming& from, call_id call, errc code, std::string message, duration retry_after);
  void hold_or_release(const running_call& call, const wire::call_result& result, const std::vector<node_id>& holders);
  void release(call_id call, const std::vector<node_id>& holders);
  void flush_releases();
  void client_gone(actors::peer_id peer);

  // -- dispatched calls, promises, profiles (dispatching.cpp) --
  struct dispatched_batch {
    variant_id variant;
    node_id node;
    std::uint32_t tasks = 0;
    time_point sent;
    bool started = false;
    time_point started_at;
    std::vector<calls::placing::task> work{}; ///< none of one that an earlier controller sent
  };
  /// A call that was refused with offers, until they expire.
  struct refused_call {
    actors::peer_id client;
    dag_id dag;
    time_point arrived;
    std::uint32_t assurance_ppm = 0;
    std::vector<calls::offer> offers;
    time_point until;
  };
  static constexpr std::size_t refused_kept = 10'000;
  void start_dispatched(running_call& call, const calls::placing::admit& command);
  void on_stage_ready(wire::stage_ready message);
  void carry_out(const calls::placing::dispatch& command);
  void carry_out(const calls::placing::compute& command);
  void on_order_report(const wire::order_report& message);
  [[nodiscard]] duration dispatch_way(const dispatched_batch& batch);
  void on_replica_report(const wire::replica_report& message);
  [[nodiscard]] calls::receipt receipt_of(const calls::outcome& outcome) const;
  void settle_promise(const running_call& call, calls::outcome& outcome);
  void learn_from_cut_short(const dispatched_batch& batch);
  void note_running(call_id call, calls::outcome& outcome) const;
  void keep_for_offers(const running_call& call, const std::vector<calls::offer>& offers);
  /// Fills what the offer says into the call that takes it.
  [[nodiscard]] result<> take_offer(running_call& call, const calls::call_options& options);
  void expire_refused();
  [[nodiscard]] calls::placing::function_registered described(const functions::registered_function& function);
  void learn_from(const running_call& call, const calls::stage_trace& trace);
  void refresh_profiles();
  void say_drifts();
  void measure(const functions::registered_function& function, std::size_t variant);
  void recall_profiles(const functions::registered_function& function);
  void save_profiles();

  // -- calls that are placed again (repeating.cpp) --
  static constexpr std::uint32_t attempts_most = 3;
  [[nodiscard]] bool may_run_twice(const functions::dag& dag) const;
  [[nodiscard]] bool repeat(running_call& call, errc code, const std::string& why);
  void place_again();
  void offer_again(call_id call);
  [[nodiscard]] bool wait_for_node(running_call& call, errc code);
  void retry_waiting();
  [[nodiscard]] call_id fresh_call_id();
  void begin_anew(running_call& call);
  [[nodiscard]] bool asked_again(const actors::incoming& from, const wire::call_request& message,
                                 const functions::dag& dag, const std::vector<functions::value>& inputs);
  /// How soon a client may try again what was refused because the cluster is coming up or nodes are changing; zero: it
  /// would be no better.
  [[nodiscard]] duration retry_hint(errc code) const;

  // -- calls that outlive the controller (durable.cpp) --
  /// A durable call that has ended, until its client has taken the result.
  struct kept_result {
    client_id owner;
    actors::peer_id client; ///< who asked last
    request_id request;
    bool stored = false;
    time_point until;
  };
  void keep_and_offer(running_call& call, const wire::call_request& request, const calls::placing::event& offer);
  void end_durable(running_call& call, wire::call_result message);
  kept_result& keep_result(call_id id, client_id owner);
  void deliver_kept(const wire::call_result& message);
  [[nodiscard]] bool answer_from_kept(const actors::incoming& from, call_id id);
  void forget_kept(actors::peer_id client, call_id id);
  void expire_kept();
  void erase_durable(call_id id);
  void recover_durable();
  void recover_entries(std::vector<std::string> keys);
  void recover(call_id id, durable_record record);
  void end_unrecovered(call_id id, client_id owner, const error& why);

  // -- what the controller before has left (recovery.cpp) --
  struct held_by {
    node_id node;
    time_point told;
    wire::held_call call;
  };
  struct order_of {
    node_id node;
    time_point told;
    wire::held_order order;
  };
  /// What nodes have said, until all of them have.
  struct gathered_plans {
    time_point until;          ///< then those that are not there are lost
    bool reported = false;     ///< somebody held something
    std::set<node_id> named;   ///< the nodes of the controller before, as far as they are known
    std::set<node_id> awaited; ///< are here, and have not said everything
    std::vector<held_by> calls;
    std::vector<order_of> orders;
    std::vector<calls::placing::adopted_replica> replicas;
    std::vector<actors::incoming> early; ///< about calls that are not known yet
  };
  /// The end of a call whose client has not asked again yet.
  struct unasked_result {
    client_id owner;
    wire::call_result result;
    std::size_t bytes = 0;
  };
  static constexpr duration gathering_most = std::chrono::milliseconds{3500};
  static constexpr duration asked_within = std::chrono::seconds{12}; ///< somewhat more than clients ask again
  static constexpr std::size_t early_most = 100'000;
  static constexpr std::size_t unasked_most = 10'000;
  static constexpr std::size_t unasked_bytes_most = std::size_t{256} << 20;
  void begin_gathering();
  void on_plans_held(const actors::incoming& from, wire::plans_held message);
  [[nodiscard]] bool put_off(actors::incoming& message);
  void settle_gathering();
  void finish_gathering();
  [[nodiscard]] std::vector<held_by> latest_attempts(std::vector<held_by> calls);
  [[nodiscard]] std::string obstacle(const held_by& held, const functions::dag* dag,
                                     const std::vector<node_id>& holders);
  [[nodiscard]] std::optional<calls::placing::adopted_call> take_over(const held_by& held);
  void enter_adopted(const held_by& held, std::shared_ptr<const functions::dag> dag, std::vector<node_id> holders);
  void take_over(const order_of& held, calls::placing::plans_adopted& fact,
                 std::vector<calls::placing::batch_done>& ended);
  void drop_held(const wire::held_call& held, const std::string& why);
  void keep_unasked(running_call& call, wire::call_result message);
  [[nodiscard]] bool answer_unasked(const actors::incoming& from, call_id id, client_id asks);
  void forget_unasked(std::map<call_id, unasked_result>::iterator at);
  void expire_unasked();
  void refuse_for_now(const actors::incoming& from, call_id call);
  [[nodiscard]] wire::call_claim claim_of(const running_call& call) const;

  // -- leaving (draining.cpp) --
  void on_drain(const actors::incoming& from, const wire::drain& message);
  void begin_drain(node_record& node);
  void release_drained();

  // -- nodes (nodes.cpp) --
  void on_node_hello(const actors::incoming& from, wire::node_hello message);
  void on_beat(const actors::incoming& from, wire::node_beat message);
  void on_residency(const wire::residency& message);
  void lose_node(node_id id, const std::string& why);
  void announce_peers();
  [[nodiscard]] wire::peers peers() const;
  void sweep();
  [[nodiscard]] node_record* find_node(node_id id);
  template <class Message>
  void send_to_node(node_id id, const Message& message);
  template <class Message>
  void send_to_nodes(const Message& message);

  // -- the catalogue (changes.cpp) --
  void load_catalogue();
  void read_catalogue_later();
  void load_entries(std::vector<std::string> keys);
  void be_ready();
  void restore_entry(const std::string& key, const shared_bytes& bytes);
  void on_apply(const actors::incoming& from, functions::function_spec spec, bool replace);
  void on_apply(const actors::incoming& from, functions::dag_spec spec, bool replace);
  void on_remove(const actors::incoming& from, const wire::remove& message);
  template <class Spec>
  void apply_stored(const actors::incoming& from, Spec spec, bool replace, const std::string& key);
  void publish(const catalogue_change& change);
  void forget_unused();

  // -- queries (queries.cpp) --
  void on_query(const actors::incoming& from, const wire::query& message);
  [[nodiscard]] result<std::string> describe(const std::string& kind, const std::string& name);
  struct node_view;
  [[nodiscard]] node_view node_view_of(const node_record& node) const;
  [[nodiscard]] ledger_view ledger_totals() const;
  [[nodiscard]] policy_view policy_in_force() const;

  // -- figures (metrics.cpp) --
  [[nodiscard]] std::string metrics_json();
  void count_drifts(std::vector<metric_sample>& samples) const;
  void count_traffic(std::vector<metric_sample>& samples) const;
  void count_node(const node_record& node, std::vector<metric_sample>& samples) const;

  controller_options options_;
  std::shared_ptr<wire::arena_map> arenas_;
  logger& log_;
  actors::post* post_ = nullptr;
  std::uint64_t host_;
  policy::scheduler scheduler_;
  std::unique_ptr<actors::event_log_file> event_log_;
  std::unique_ptr<actors::store_client> store_;
  actors::peer_id store_peer_; ///< our connection to it; zero: it is a role of this process
  time_point store_heard_;     ///< it answered
  bool store_asked_ = false;
  bool store_missed_ = false; ///< and it was said
  catalogue catalogue_;
  bool ready_ = false; ///< the catalogue has been read from the store
  time_point retry_catalogue_ = never;
  call_table calls_;
  flow_control flow_;
  turnstile turnstile_;
  bool dispatching_ = false; ///< the policy in force holds work back
  statistics statistics_;
  std::unordered_map<actors::peer_id, client_record> clients_;
  std::map<node_id, node_record> nodes_;
  std::vector<std::string> controllers_; ///< where others stand by, and this one; as clients and nodes were told
  std::unordered_map<actors::peer_id, node_id> node_of_peer_;
  std::uint64_t last_node_ = 0;
  std::unordered_map<call_id, held_result> held_;
  std::map<call_id, kept_result> kept_;
  std::map<call_id, error> unrecovered_; ///< durable ones that end with this unless a node goes on with them
  std::optional<gathered_plans> gathering_;
  std::map<call_id, unasked_result> unasked_;
  std::size_t unasked_bytes_ = 0;
  time_point unasked_until_ = never; ///< then adopted calls that nobody has asked for are cancelled
  std::uint64_t adopted_ = 0;
  std::map<batch_id, dispatched_batch> batches_; ///< dispatched and not ended
  std::unordered_map<call_id, refused_call> refused_;
  profiles profiles_;
  paces paces_;
  ledger ledger_;
  node_id last_home_;
  std::map<node_id, std::vector<call_id>> releases_; ///< gathered during a round
  std::map<dag_id, std::uint32_t> running_of_dag_;
  std::set<dag_id> removed_dags_; ///< with calls in flight: nodes still need them
  std::map<function_id, calls::placing::function_removed> removed_functions_; ///< the same
  std::optional<std::string> lost_node_;    ///< why calls are abandoned, while a lost node is being stepped
  std::optional<error> cut_off_;            ///< why a call is abandoned, while that is being stepped
  std::optional<std::string> policy_error_; ///< of the policy_set that is being stepped
  std::vector<call_id> to_repeat_;          ///< at the end of this round
  std::vector<call_id> waiting_for_node_;   ///< ran before, and were refused since no node is there
  std::uint64_t fresh_ids_ = 0;
  std::uint64_t repeated_ = 0;
  std::uint64_t results_dropped_ = 0;
  bool draining_ = false;         ///< no new calls
  std::function<void()> drained_; ///< called when none is left
  bool stopping_ = false;
  bool tell_clients_ = false;    ///< the cluster ends for good: clients need not look for another controller
  time_point unsettled_until_{}; ///< nodes come and go: refused calls may find one if they come again
  time_point next_sweep_;
  time_point next_profile_save_;
  time_point started_;

  std::shared_ptr<const bool> alive_ = std::make_shared<bool>(true); ///< for what other threads hand back
  std::unique_ptr<actors::background> computing_; ///< begun when it is needed first; ends before all else does
};

template <class Message>
void controller_service::send_to_node(node_id id, const Message& message) {
  node_record* node = find_node(id);
  if (!node)
    return;
  const wire::encode_options options{node->info.host == host_ ? arenas_.get() : nullptr};
  if (auto sent = post_->send(node->peer, wire::encode(message, request_id{}, options)); !sent)
    log_.warn("controller", "cannot send to node", {{"node", node->info.name}, {"error", sent.error().message}});
}

template <class Message>
void controller_service::send_to_nodes(const Message& message) {
  for (const auto& [id, node] : nodes_)
    send_to_node(id, message);
}

} // namespace squall::controller
