#include "controller/controller_service.hpp"

#include "controller/detail/service.hpp"

#include <algorithm>
#include <utility>

namespace squall::controller {

namespace {

constexpr duration sweep_interval = std::chrono::milliseconds{500};
constexpr duration profile_save_interval = std::chrono::seconds{5};
/// After the start, and after nodes came or went.
constexpr duration settling = std::chrono::seconds{10};
constexpr duration store_timeout = std::chrono::seconds{10};

} // namespace

std::unique_ptr<actors::role_service> make_controller_service(const controller_options& options,
                                                              std::shared_ptr<wire::arena_map> arenas, logger& log) {
  return std::make_unique<controller_service>(options, std::move(arenas), log);
}

controller_service::controller_service(const controller_options& options, std::shared_ptr<wire::arena_map> arenas,
                                       logger& log)
    : options_(options),
      arenas_(std::move(arenas)),
      log_(log),
      host_(wire::host_key()),
      scheduler_(options.scheduler, options.seed),
      calls_(options.records_kept),
      flow_(options.flow),
      ledger_(options.records_kept) {}

void controller_service::start(actors::post& out) {
  post_ = &out;
  started_ = out.now();
  if (options_.controllers)
    controllers_ = options_.controllers();
  unsettled_until_ = started_ + settling;
  next_sweep_ = started_ + sweep_interval;
  store_heard_ = started_;
  if (options_.event_log) {
    actors::event_log_options log_options;
    log_options.folder = options_.data_folder + "/events/scheduler";
    auto opened = actors::event_log_file::create(
        log_options, started_, [this] { return scheduler_.save(); }, log_);
    if (opened)
      event_log_ = std::move(opened).value();
    else
      log_.error("controller", "no event log", {{"error", opened.error().message}});
  }
  store_ = actors::store_client::create(out, connect_store(), store_timeout);
  store_->set_fence(options_.term);
  load_catalogue();
  arm();
}

actors::peer_id controller_service::connect_store() {
  if (options_.store_endpoint.empty())
    return post_->local(wire::role::store);
  auto connected = post_->connect(options_.store_endpoint, options_.store_key);
  if (!connected) {
    log_.error("controller", "cannot connect to the store",
               {{"endpoint", options_.store_endpoint}, {"error", connected.error().message}});
    return {};
  }
  return store_peer_ = *connected;
}

void controller_service::stop() {
  stopping_ = true;
  for (const auto& [id, call] : calls_.running()) {
    // Where another controller may follow, clients find out by themselves that this one is gone, and ask the next.
    if (!tell_clients_ && !options_.store_endpoint.empty())
      break;
    wire::call_result message;
    message.call = call.known_as();
    message.outcome.code = errc::unavailable;
    message.outcome.message = "the controller is stopping";
    (void)post_->send(call.client, wire::encode(message, call.request, {}, role_of(call.client)));
  }
  event_log_.reset();
}

void controller_service::on_messages(std::span<actors::incoming> messages) {
  for (actors::incoming& message : messages) {
    if (store_->on_message(message))
      continue;
    if (const auto it = clients_.find(message.from); it != clients_.end())
      it->second.heard = post_->now();
    handle(message);
  }
  refresh_profiles();
  finish_round();
}

/// What was put off until the messages of a round were dealt with.
void controller_service::finish_round() {
  while (!to_repeat_.empty())
    place_again();
  let_through();
  release_drained();
  flush_releases();
  if (drained_ && calls_.running().empty())
    std::exchange(drained_, {})();
  arm();
}

template <class Message, class Handler>
void controller_service::decode_and(actors::incoming& message, Handler handler) {
  auto decoded = wire::decode<Message>(message.message, arenas_.get());
  if (decoded)
    handler(std::move(decoded).value());
  else
    answer(message, decoded.error().code, decoded.error().message);
}

void controller_service::handle(actors::incoming& m) {
  using wire::message_type;
  const bool from_node = node_of_peer_.contains(m.from);
  const bool greets = m.head.type == message_type::hello || m.head.type == message_type::node_hello;
  if (!greets && !from_node && !clients_.contains(m.from)) {
    // A beat of a node that this controller does not know tells that node to say hello again.
    const bool beat = m.head.type == message_type::node_beat;
    return answer(m, beat ? errc::not_found : errc::invalid_argument, "say hello first: this connection is not known");
  }
  if (gathering_ && from_node && put_off(m))
    return;
  switch (m.head.type) {
    case message_type::hello:
      return decode_and<wire::hello>(m, [&](wire::hello x) { on_hello(m, x); });
    case message_type::ping: {
      wire::pong pong;
      pong.epoch = options_.epoch;
      (void)post_->send(m.from, wire::encode(pong, m.head.request));
      return;
    }
    case message_type::call_request:
      return decode_and<wire::call_request>(m, [&](wire::call_request x) { on_call(m, std::move(x)); });
    case message_type::cancel_request:
      return decode_and<wire::cancel_request>(m, [&](wire::cancel_request x) { on_cancel(m, x); });
    case message_type::result_taken:
      return decode_and<wire::result_taken>(m, [&](wire::result_taken x) { on_taken(m, x); });
    case message_type::apply_function:
      return decode_and<wire::apply_function>(
          m, [&](wire::apply_function x) { on_apply(m, std::move(x.spec), x.replace); });
    case message_type::apply_dag:
      return decode_and<wire::apply_dag>(m, [&](wire::apply_dag x) { on_apply(m, std::move(x.spec), x.replace); });
    case message_type::remove:
      return decode_and<wire::remove>(m, [&](wire::remove x) { on_remove(m, x); });
    case message_type::query:
      return decode_and<wire::query>(m, [&](wire::query x) { on_query(m, x); });
    case message_type::set_policy:
      return decode_and<wire::set_policy>(m, [&](wire::set_policy x) {
        policy_error_.reset();
        step(calls::placing::policy_set{x.name, x.share_ppm, x.shadow});
        policy_error_ ? answer(m, errc::invalid_argument, *policy_error_)
                      : answer(m, errc::ok, "policy is now " + x.name);
      });
    case message_type::shutdown:
      log_.info("controller", "a client asked the cluster to stop");
      answer(m, errc::ok, "stopping");
      tell_clients_ = true;
      send_to_nodes(wire::node_leave{});
      if (options_.on_shutdown)
        options_.on_shutdown();
      return;
    case message_type::node_hello:
      return decode_and<wire::node_hello>(m, [&](wire::node_hello x) { on_node_hello(m, std::move(x)); });
    case message_type::node_beat:
      return decode_and<wire::node_beat>(m, [&](wire::node_beat x) { on_beat(m, std::move(x)); });
    case message_type::plans_held:
      return decode_and<wire::plans_held>(m, [&](wire::plans_held x) { on_plans_held(m, std::move(x)); });
    case message_type::node_leave:
      return from_node ? lose_node(node_of_peer_[m.from], "it left") : void();
    case message_type::node_drain:
      if (node_record* node = from_node ? find_node(node_of_peer_[m.from]) : nullptr)
        begin_drain(*node);
      return;
    case message_type::drain:
      return decode_and<wire::drain>(m, [&](wire::drain x) { on_drain(m, x); });
    case message_type::residency:
      return decode_and<wire::residency>(m, [&](wire::residency x) { on_residency(x); });
    case message_type::stage_ready:
      return decode_and<wire::stage_ready>(
          m, [&](wire::stage_ready x) { from_node ? on_stage_ready(std::move(x)) : void(); });
    case message_type::order_report:
      return decode_and<wire::order_report>(m, [&](wire::order_report x) { from_node ? on_order_report(x) : void(); });
    case message_type::replica_report:
      return decode_and<wire::replica_report>(
          m, [&](wire::replica_report x) { from_node ? on_replica_report(x) : void(); });
    case message_type::call_finished:
      return decode_and<wire::call_finished>(m, [&](wire::call_finished x) { on_finished(m, std::move(x)); });
    case message_type::calls_answered:
      return decode_and<wire::calls_answered>(m, [&](wire::calls_answered x) { on_answered(m, std::move(x)); });
    case message_type::stage_partial:
      return decode_and<wire::stage_partial>(m, [&](wire::stage_partial x) { on_partial(m, std::move(x)); });
    case message_type::pong:
    case message_type::reply:
    case message_type::store_reply: // late
      return;
    default:
      answer(m, errc::unsupported,
             "the controller does not take messages of type " + std::to_string(static_cast<int>(m.head.type)));
  }
}

duration controller_service::retry_hint(errc code) const {
  if (code != errc::unavailable || (post_->now() >= unsettled_until_ && !draining_))
    return duration{0};
  return std::chrono::milliseconds{100};
}

void controller_service::answer(const actors::incoming& to, errc code, std::string text, std::string body,
                                duration retry_after) {
  if (!to.head.request)
    return;
  const wire::reply message{code, std::move(text), retry_after, std::move(body)};
  (void)post_->send(to.from, wire::encode(message, to.head.request, {},
                                          node_of_peer_.contains(to.from) ? wire::role::node : wire::role::client));
}

void controller_service::on_hello(const actors::incoming& from, const wire::hello& message) {
  if (message.newest < wire::oldest_protocol_version || message.oldest > wire::protocol_version)
    return answer(from, errc::unsupported,
                  "no common protocol version: this server speaks " + std::to_string(wire::oldest_protocol_version) +
                      " to " + std::to_string(wire::protocol_version) + ", the client " +
                      std::to_string(message.oldest) + " to " + std::to_string(message.newest));
  if (clients_.size() >= options_.flow.clients && !clients_.contains(from.from))
    return answer(from, errc::overloaded,
                  std::to_string(clients_.size()) + " clients are connected; the limit is " +
                      std::to_string(options_.flow.clients),
                  {}, std::chrono::seconds{1});
  client_record& client = clients_[from.from];
  client.id = message.client;
  client.host = message.host;
  client.software = message.software;
  client.heard = post_->now();
  client.answers_from_nodes = message.answers_from_nodes;
  wire::welcome welcome;
  welcome.software = "squall";
  welcome.cluster = options_.cluster;
  welcome.epoch = options_.epoch;
  welcome.host = host_;
  welcome.store_endpoint = options_.store_endpoint;
  welcome.default_deadline = options_.default_deadline;
  welcome.controllers = controllers_;
  (void)post_->send(from.from, wire::encode(welcome, from.head.request));
  if (client.answers_from_nodes)
    (void)post_->send(from.from, wire::encode(peers(), request_id{}, {}, wire::role::client));
}

void controller_service::step(const calls::placing::event& fact) {
  const time_point now = post_->now();
  scheduler_.step(now, fact);
  auto commands = scheduler_.take_commands();
  if (event_log_)
    event_log_->append(now, calls::digest(commands), fact);
  for (auto& command : commands)
    carry_out(command);
}

void controller_service::carry_out(calls::placing::command& command) {
  namespace placing = calls::placing;
  if (auto* admitted = std::get_if<placing::admit>(&command))
    admit(*admitted);
  else if (auto* refused = std::get_if<placing::refuse>(&command)) {
    running_call* call = calls_.find(refused->id);
    if (!call || wait_for_node(*call, refused->code))
      return;
    call->decision = std::move(refused->how);
    for (calls::offer& o : refused->offers)
      o.how = with_stage_names(o.how, *call->dag);
    std::string text = call->attempts == 1 ? std::move(refused->message)
                                           : call->setback + "; it could not be placed again: " + refused->message;
    end_without_result(refused->id, refused->code, std::move(text),
                       std::max(refused->retry_after, retry_hint(refused->code)), std::move(refused->offers));
  } else if (auto* abandoned = std::get_if<placing::abandon>(&command)) {
    running_call* call = calls_.find(abandoned->id);
    const bool dispatched = call && call->dispatched;    // then the scheduler does not know who holds parts of it
    const bool keep_blocks = call && call->parts_shared; // its client may not have read all
    for (const node_id node : dispatched ? call->nodes : abandoned->nodes)
      send_to_node(node, wire::drop_call{abandoned->id, keep_blocks});
    if (call && lost_node_ && repeat(*call, errc::unavailable, *lost_node_)) {
      release(abandoned->id, call->nodes);
      return;
    }
    if (cut_off_)
      return end_without_result(abandoned->id, cut_off_->code, cut_off_->message, duration{0});
    // The scheduler knows nodes by number only.
    end_without_result(abandoned->id, lost_node_ ? errc::unavailable : abandoned->code,
                       lost_node_.value_or(std::move(abandoned->message)), duration{0});
  } else if (auto* wanted = std::get_if<placing::preload>(&command))
    send_to_node(wanted->node, wire::preload{wanted->variant});
  else if (auto* refused_policy = std::get_if<placing::policy_refused>(&command))
    policy_error_ = std::move(refused_policy->message);
  else if (auto* ended = std::get_if<placing::end_sequence>(&command))
    send_to_node(ended->node, wire::end_sequence{ended->sequence});
  else if (const auto* batch = std::get_if<placing::dispatch>(&command))
    carry_out(*batch);
  else if (const auto* wide = std::get_if<placing::compute>(&command))
    carry_out(*wide);
  else if (const auto* load = std::get_if<placing::load_replica>(&command))
    send_to_node(load->node, wire::want_replica{load->replica, load->variant, true});
  else if (const auto* evict = std::get_if<placing::evict_replica>(&command))
    send_to_node(evict->node, wire::want_replica{evict->replica, {}, false});
}

void controller_service::on_peer_lost(actors::peer_id peer) {
  if (store_peer_ && peer == store_peer_) { // it is started again
    post_->close(peer);
    store_->reset(connect_store());
  }
  if (const auto it = node_of_peer_.find(peer); it != node_of_peer_.end())
    lose_node(it->second, "its connection is gone");
  client_gone(peer);
  finish_round();
}

void controller_service::on_alarm() {
  const time_point now = post_->now();
  if (const auto due = scheduler_.next_deadline(); due && *due <= now)
    step(calls::placing::tick{});
  if (event_log_ && event_log_->flush_due().value_or(never) <= now)
    event_log_->flush(now);
  if (store_->next_alarm() <= now)
    store_->on_alarm();
  if (retry_catalogue_ <= now) {
    retry_catalogue_ = never;
    load_catalogue();
  }
  settle_gathering();
  if (next_sweep_ <= now) {
    sweep();
    watch_store();
    expire_unasked();
    expire_in_line();
    retry_waiting();
    expire_refused();
    if (next_profile_save_ <= now) {
      next_profile_save_ = now + profile_save_interval;
      save_profiles();
      expire_kept();
    }
    next_sweep_ = now + sweep_interval;
  }
  finish_round();
}

void controller_service::arm() {
  time_point at = std::min({scheduler_.next_deadline().value_or(never), store_->next_alarm(), retry_catalogue_});
  if (event_log_)
    at = std::min(at, event_log_->flush_due().value_or(never));
  if (gathering_)
    at = std::min(at, gathering_->until);
  if (!nodes_.empty() || !clients_.empty())
    at = std::min(at, next_sweep_);
  post_->set_alarm(at);
}

} // namespace squall::controller
