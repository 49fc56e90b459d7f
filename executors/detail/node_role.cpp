#include "executors/detail/service.hpp"

#include <unistd.h>

namespace squall::executors {

namespace {

/// Half of the host's memory, for operators who did not say.
std::uint64_t default_memory() {
  const auto pages = static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES));
  return pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGE_SIZE)) / 2;
}

node_options completed(node_options o) {
  if (o.memory_bytes == 0)
    o.memory_bytes = default_memory();
  o.queue.memory_bytes = o.memory_bytes;
  o.worker.lanes = o.lanes;
  o.user.lanes = o.lanes;
  return o;
}

/// A controller that does not lead any more may not know it yet.
bool only_controllers_say(wire::message_type type) {
  using wire::message_type;
  switch (type) {
    case message_type::peers:
    case message_type::define_function:
    case message_type::define_dag:
    case message_type::forget_function:
    case message_type::forget_dag:
    case message_type::start_call:
    case message_type::hand_out:
    case message_type::preload:
    case message_type::want_replica:
    case message_type::end_sequence:
      return true;
    default:
      return false;
  }
}

} // namespace

node_role::node_role(const node_options& options, node_parts parts, logger& log)
    : options_(completed(options)),
      parts_(std::move(parts)),
      log_(log),
      membership_(options_, parts_.instance, log),
      blocks_(parts_.arena, parts_.arenas),
      queue_(std::make_unique<policy::node_queue>(options_.queue, parts_.instance)) {}

node_role::~node_role() = default;

void node_role::start(actors::post& out) {
  post_ = &out;
  const round_guard r{*this};
  disk_ = std::make_unique<actors::background>();
  models_ = std::make_unique<model_cache>(options_.data_folder + "/cache", options_.cache_bytes, out, *disk_, log_);
  membership_.start(out);
  next_sweep_ = now();
  if (!options_.user.python.empty())
    packages_ = std::make_unique<detail::python_packages>(options_.user.python, options_.user.python_installer,
                                                          options_.user.python_packages, out, log_);
  if (!options_.user.program_folder.empty())
    user_ = user_workers::create(
        options_.user, out, *this, [this](std::size_t size, const auto& fill) { return make_user_memory(size, fill); },
        log_);
  auto started = parts_.start_worker(options_.worker, out, *parts_.arenas, *this, log_);
  if (started.ok())
    worker_ = std::move(*started);
  else
    log_.error("node", "the worker process cannot be started; only light builtins run",
               {{"error", started.error().message}});
}

void node_role::stop() {
  report_answered();
  membership_.stop();
  drop_everything();
  event_log_.reset();
  worker_.reset();
  user_.reset();
  packages_.reset();
  *alive_ = false;
  disk_.reset();
  models_.reset();
}

void node_role::on_messages(std::span<actors::incoming> messages) {
  const round_guard r{*this};
  for (auto& m : messages)
    handle(m);
}

void node_role::on_peer_lost(actors::peer_id peer) {
  const round_guard r{*this};
  clients_.lose(peer);
  if (store_ && peer == store_connection_)
    connect_store(store_endpoint_); // it is started again
  membership_.on_peer_lost(peer);
}

void node_role::on_alarm() {
  const round_guard r{*this};
  if (membership_.beat_due())
    send_beat();
  membership_.on_alarm();
  if (worker_ && worker_->next_alarm() <= now())
    worker_->on_alarm();
  if (user_ && user_->next_alarm() <= now())
    user_->on_alarm();
  if (store_ && store_->next_alarm() <= now())
    store_->on_alarm();
  run_timers();
  continue_put_off();
  ask_nested_again();
  if (queue_->next_deadline().value_or(never) <= now())
    feed(calls::queueing::tick{});
}

/// Whether a call still needs the node is for the controller to say: it knows the plans of all.
void node_role::drain(std::function<void()> done) {
  const round_guard r{*this};
  drained_ = std::move(done);
  if (membership_.joined())
    (void)membership_.send_to_controller(wire::encode(wire::node_drain{membership_.self(), false}, request_id{}));
}

void node_role::leave(const wire::node_drain& message) {
  if (message.node != membership_.self())
    return;
  log_.info("node", "leaving: no call needs this node any more");
  membership_.stop();
  if (!drained_ && options_.on_leave)
    options_.on_leave(message.stay_away);
}

/// What one thing decided may decide another: until nothing is left.
void node_role::finish_round() {
  keep_or_let_go();
  while (!commands_.empty() || !touched_.empty()) {
    carry_out_commands();
    drive_touched();
  }
  if (answered_due_ <= now())
    report_answered();
  if (auto released = blocks_.take_released(); worker_ && !released.empty())
    worker_->release(released);
  if (event_log_ && event_log_->flush_due().value_or(never) <= now())
    event_log_->flush(now());
  if (drained_ && !membership_.joined())
    std::exchange(drained_, {})();
  set_alarm();
}

void node_role::set_alarm() {
  auto at = membership_.next_alarm();
  at = std::min(at, queue_->next_deadline().value_or(never));
  if (!timers_.empty())
    at = std::min(at, timers_.front().at);
  at = std::min(at, answered_due_);
  if (holding_)
    at = std::min(at, membership_.holds_until());
  at = std::min(at, nested_due_);
  if (!put_off_.empty())
    at = now();
  if (worker_)
    at = std::min(at, worker_->next_alarm());
  if (user_)
    at = std::min(at, user_->next_alarm());
  if (store_)
    at = std::min(at, store_->next_alarm());
  if (event_log_)
    at = std::min(at, event_log_->flush_due().value_or(never));
  post_->set_alarm(at);
}

// -- messages

template <class Message, class Handler>
void node_role::decode_and(actors::incoming& message, const Handler& handler) {
  auto decoded = wire::decode<Message>(message.message, parts_.arenas.get());
  if (!decoded.ok())
    return bad_message(message, decoded.error());
  handler(std::move(*decoded));
}

void node_role::bad_message(const actors::incoming& from, const error& why) {
  ++counters_.bad_messages;
  log_.warn("node", "a message was refused",
            {{"type", std::to_string(static_cast<int>(from.head.type))}, {"error", why.message}});
  if (from.head.request)
    (void)post_->send(from.from, wire::encode_failure(why, from.head.request));
}

void node_role::handle(actors::incoming& m) {
  using wire::message_type;
  if (membership_.from_controller(m.from))
    membership_.heard();
  if (store_ && store_->on_message(m))
    return;
  switch (m.head.type) {
    case message_type::node_welcome:
      return decode_and<wire::node_welcome>(
          m, [&](auto&& w) { membership_.from_controller(m.from) ? on_welcome(w) : void(); });
    case message_type::hello:
      return decode_and<wire::hello>(m, [&](auto&& h) { clients_.add(h.client, m.from); });
    case message_type::pong:
      return membership_.from_controller(m.from) ? membership_.on_pong() : void();
    case message_type::reply:
      return decode_and<wire::reply>(m, [&](auto&& reply) {
        if (reply.code != errc::ok && membership_.from_controller(m.from))
          membership_.on_refused(reply);
      });
    case message_type::ping:
      (void)post_->send(m.from, wire::encode(wire::pong{membership_.epoch()}, m.head.request, {}, wire::role::any));
      return;
    case message_type::node_leave:
      return membership_.from_controller(m.from) ? membership_.stop() : void();
    case message_type::node_drain:
      return decode_and<wire::node_drain>(m,
                                          [&](auto&& d) { membership_.from_controller(m.from) ? leave(d) : void(); });
    default:
      break;
  }
  // What another epoch says is void, and what another controller orders than the one that was joined. Without one the
  // nodes go on among themselves.
  const bool taken = membership_.joined() ? membership_.from_controller(m.from) || !only_controllers_say(m.head.type)
                                          : membership_.holds() && !membership_.from_controller(m.from) &&
                                                !only_controllers_say(m.head.type);
  if (taken)
    handle_call_message(m);
}

void node_role::handle_call_message(actors::incoming& m) {
  using wire::message_type;
  switch (m.head.type) {
    case message_type::start_call:
      return decode_and<wire::start_call>(m, [&](wire::start_call&& s) { on_start(m, std::move(s)); });
    case message_type::settled:
      return decode_and<wire::settled>(m, [&](wire::settled&& s) { on_settled(m, std::move(s)); });
    case message_type::scatter:
      return decode_and<wire::scatter>(m, [&](wire::scatter&& s) { on_scatter(m, std::move(s)); });
    case message_type::gathered:
      return decode_and<wire::gathered>(m, [&](wire::gathered&& g) { on_gathered(std::move(g)); });
    case message_type::drop_call:
      return decode_and<wire::drop_call>(m, [&](auto&& d) { drop_call(d); });
    case message_type::release_call:
      return decode_and<wire::release_call>(m, [&](auto&& r) {
        for (const auto id : r.calls)
          release_blocks(id);
      });
    case message_type::call_result:
      return decode_and<wire::call_result>(m, [&](auto&& r) { on_call_result(r); });
    case message_type::end_sequence:
      return decode_and<wire::end_sequence>(m, [&](auto&& e) { sequences_.drop(e.sequence); });
    default:
      return handle_catalogue_message(m);
  }
}

void node_role::handle_catalogue_message(actors::incoming& m) {
  using wire::message_type;
  switch (m.head.type) {
    case message_type::peers:
      return decode_and<wire::peers>(m, [&](auto&& p) {
        membership_.on_peers(p.nodes);
        membership_.on_controllers(p.controllers);
      });
    case message_type::define_function:
      return decode_and<wire::define_function>(m, [&](auto&& d) { define(d.function); });
    case message_type::define_dag:
      return decode_and<wire::define_dag>(m, [&](auto&& d) { define(d.dag); });
    case message_type::forget_function:
      return decode_and<wire::forget_function>(m, [&](auto&& f) { catalogue_.forget(f.function); });
    case message_type::forget_dag:
      return decode_and<wire::forget_dag>(m, [&](auto&& f) { catalogue_.forget(f.dag); });
    case message_type::hand_out:
      return decode_and<wire::hand_out>(m, [&](auto&& h) { on_hand_out(h); });
    case message_type::order_short:
      return decode_and<wire::order_short>(m, [&](auto&& o) { on_order_short(o); });
    case message_type::unwanted_stage:
      return decode_and<wire::unwanted_stage>(m, [&](auto&& u) { on_unwanted(u); });
    case message_type::want_replica:
      return decode_and<wire::want_replica>(m, [&](auto&& w) { want_replica(w); });
    case message_type::preload:
      return decode_and<wire::preload>(m, [&](auto&& p) { feed(calls::queueing::preload_wanted{p.variant}); });
    default:
      return bad_message(m, {errc::unsupported,
                             "a node does not serve messages of type " + std::to_string(static_cast<int>(m.head.type)),
                             {}});
  }
}

// -- the worker's events

void node_role::on_ready(const wire::worker::ready& message) {
  const round_guard r{*this};
  if (message.code != errc::ok)
    log_.warn("node", "the worker's runtime cannot be used",
              {{"runtime", message.runtime}, {"error", message.message}});
  blocks_.set_worker_arena(message.arena);
  worker_ready_ = true;
  send_waiting_loads();
  for (std::uint32_t lane = 1; lane <= options_.lanes; ++lane)
    if (!kept_lanes_.contains(lane_id{lane}))
      feed(calls::queueing::lane_opened{lane_id{lane}, functions::resource_type::cpu});
  for (const auto batch : waiting_)
    open_extra_lane(batch);
}

void node_role::on_loaded(const wire::worker::loaded& message) {
  const round_guard r{*this};
  const auto found = loading_.find(message.variant);
  if (found == loading_.end())
    return; // given up meanwhile
  if (message.code != errc::ok)
    return load_failed(message.variant, {message.code, message.message, {}});
  load_times_[message.variant] = {found->second.began, now()};
  make_light(message.variant, std::move(found->second.request.resources));
  loading_.erase(found);
  resident_[message.variant] = message.memory_bytes;
  ++counters_.loads;
  wire::residency there;
  there.variant = message.variant;
  there.resident = true;
  there.memory_bytes = message.memory_bytes;
  there.load_time = message.load_time; // of its own: loads wait for each other
  there.measured = message.measured;
  report_residency(std::move(there));
  if (on_demand_.contains(message.variant))
    feed(calls::queueing::loaded{message.variant, message.memory_bytes});
  replicas_loaded(message.variant, nullptr);
}

void node_role::on_done(wire::worker::done message) {
  const round_guard r{*this};
  const auto found = running_.find(message.batch);
  if (found == running_.end())
    return;
  const auto batch = std::move(found->second);
  running_.erase(found);
  const auto share_of_time =
      batch.entries.empty() ? duration{0} : message.executed / static_cast<std::int64_t>(batch.entries.size());
  for (std::size_t i = 0; i < batch.entries.size(); ++i) {
    if (!batch.entries[i].item)
      continue; // it ended before the others
    wire::worker::item_result missing{errc::internal, "the worker gave no result for it", {}};
    item_ended(batch.entries[i].item, i < message.items.size() ? std::move(message.items[i]) : std::move(missing),
               batch, share_of_time);
  }
  for (const auto& e : batch.entries)
    if (e.item)
      item_left_worker(e.call);
  feed(calls::queueing::batch_ended{message.batch, errc::ok, message.executed});
  reopen(batch.lane);
  if (batch.order)
    end_order(batch.order, errc::ok, message.executed);
}

/// Every batch that the model host ran and everything resident in it is gone; user code goes on. Values in its arena
/// stay readable for as long as somebody reads them.
void node_role::on_lost(const std::string& why) {
  const round_guard r{*this};
  ++counters_.worker_lost;
  worker_ready_ = false;
  const error lost{errc::unavailable, "the model host died while running it (" + why + ")", {}};
  const auto running = take_lost_batches();
  for (const auto& [id, batch] : running) {
    for (const auto& e : batch.entries)
      item_failed(e.item, lost);
    for (const auto& e : batch.entries)
      if (e.item)
        item_left_worker(e.call);
    if (batch.order)
      end_order(batch.order, errc::unavailable, duration{0});
  }
  blocks_.set_worker_arena(0);
  close_lanes();
  std::erase_if(loading_, [this](const auto& entry) { return !in_sandbox(entry.second.request); });
  std::erase_if(on_demand_, [this](variant_id v) { return !in_user_worker(v) && !loading_.contains(v); });
  // The queue takes all for lost, and asks for those of user code again: they are answered at once.
  std::erase_if(resident_, [this](const auto& entry) {
    if (in_user_worker(entry.first))
      return false;
    report_gone(entry.first);
    return true;
  });
  feed(calls::queueing::residents_lost{functions::resource_type::cpu});
}

} // namespace squall::executors
