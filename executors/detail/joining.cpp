#include "executors/detail/service.hpp"

/// How the node takes its place in a cluster, and what it learns of functions and DAGs there.
namespace squall::executors {

namespace {

/// The store over its actor's client.
class store_objects final : public object_source {
public:
  store_objects(actors::post& post, actors::peer_id store)
      : client_(actors::store_client::create(post, store, std::chrono::seconds{30})) {}

  void stat(const std::string& key, std::function<void(result<wire::store_entry>)> done) override {
    client_->stat(key, std::move(done));
  }
  void get(const std::string& key, std::function<void(result<shared_bytes>)> done) override {
    client_->get(key, std::move(done));
  }
  void put(const std::string& key, shared_bytes value, bool durable, std::function<void(result<>)> done) override {
    client_->put(key, std::move(value), durable, std::move(done));
  }
  void erase(const std::string& key, std::function<void(result<>)> done) override {
    client_->erase(key, std::move(done));
  }
  void list(const std::string& prefix, std::function<void(result<std::vector<std::string>>)> done) override {
    client_->list(prefix, std::move(done));
  }
  bool on_message(const actors::incoming& message) override { return client_->on_message(message); }
  void on_alarm() override { client_->on_alarm(); }
  [[nodiscard]] time_point next_alarm() const override { return client_->next_alarm(); }
  void reset(actors::peer_id store) override { client_->reset(store); }

private:
  std::unique_ptr<actors::store_client> client_;
};

} // namespace

void node_role::on_welcome(const wire::node_welcome& message) {
  if (!membership_.still_leads(message))
    return membership_.look_elsewhere();
  if (message.version != wire::protocol_version)
    log_.warn("node", "the controller chose another protocol version", {{"version", std::to_string(message.version)}});
  // Unless it says otherwise, whatever ran here belongs to an identity that the controller has given up.
  const bool keeps = message.keeps && membership_.holds() && message.node == membership_.self();
  if (!keeps)
    drop_everything();
  membership_.on_welcome(message);
  prices_ = message.prices;
  if (!keeps || !store_connection_ || store_endpoint_ != message.store_endpoint)
    connect_store(message.store_endpoint);
  catalogue_.keep_only(message.functions);
  forget_unused();
  if (options_.event_log && options_.data_folder.size() && !keeps)
    open_event_log();
  for (const auto& f : message.functions)
    define(f);
  for (const auto& d : message.dags)
    define(d);
  for (const auto& [variant, bytes] : resident_) {
    wire::residency there;
    there.variant = variant;
    there.resident = true;
    there.memory_bytes = bytes;
    report_residency(std::move(there));
  }
  if (message.keeps)
    report_held();
}

/// A new identity writes a new log: the segments say whose they are.
void node_role::open_event_log() {
  actors::event_log_options log;
  log.folder = options_.data_folder + "/events";
  log.core = calls::log_core::node_queue;
  log.node = membership_.self();
  event_log_.reset();
  auto opened = actors::event_log_file::create(
      log, now(), [this] { return queue_->save(); }, log_);
  if (opened.ok())
    event_log_ = std::move(*opened);
  else
    log_.warn("node", "facts are not recorded", {{"error", opened.error().message}});
}

void node_role::connect_store(const std::string& endpoint) {
  actors::peer_id store;
  if (store_connection_)
    post_->close(store_connection_);
  store_connection_ = {};
  store_endpoint_ = endpoint;
  if (!endpoint.empty()) {
    auto connected = post_->connect(endpoint, options_.controller_key);
    if (!connected.ok())
      return log_.error("node", "cannot connect to the store",
                        {{"endpoint", endpoint}, {"error", connected.error().message}});
    store = store_connection_ = *connected;
  } else {
    const auto here = post_->local(wire::role::store);
    store = here ? here : membership_.controller();
  }
  if (store_)
    return store_->reset(store);
  store_ = parts_.open_store ? parts_.open_store(*post_, store) : std::make_unique<store_objects>(*post_, store);
}

void node_role::drop_everything() {
  for (const auto& [id, call] : calls_)
    withdraw(id, call->items);
  for (const auto& [id, shares] : shares_)
    for (const auto& s : shares)
      withdraw(id, s->items);
  for (const auto& [replica, wanted] : std::map{replicas_})
    feed(calls::queueing::replica_unwanted{replica});
  orders_.clear();
  kept_ends_.clear();
  kept_bytes_ = 0;
  ended_orders_.clear();
  nested_.clear();
  calls_.clear();
  shares_.clear();
  timers_.clear();
  put_off_.clear();
  answered_.clear();
  touched_.clear();
  parked_.clear();
  sequences_.clear();
  ended_.clear();
  over_.clear();
  release_when_idle_.clear();
  blocks_.release_all();
}

void node_role::define(const functions::registered_function& function) {
  for (const auto* v : catalogue_.define(function)) {
    const auto& spec = v->spec();
    if (user_ && runs_user_code(spec.kind)) {
      user_->prepare(spec);
      prepare_code(spec.target);
    }
    feed(calls::queueing::variant_known{v->id, spec.resource, spec.max_batch, spec.max_delay, spec.memory_bytes, true});
  }
}

void node_role::define(const wire::dag_definition& dag) {
  if (const auto defined = catalogue_.define(dag.id, dag.spec); !defined.ok())
    return log_.error("node", "a DAG of the controller's is not valid here",
                      {{"dag", dag.spec.name}, {"error", defined.error().message}});
  unpark(dag.id);
}

void node_role::forget_unused() {
  for (const auto variant : catalogue_.take_unused()) {
    load_times_.erase(variant);
    feed(calls::queueing::variant_forgotten{variant});
  }
}

void node_role::send_beat() {
  membership_.beaten();
  forget_unused();
  drop_parked();
  blocks_.release_expired(now());
  compact_timers();
  if (next_sweep_ <= now()) {
    next_sweep_ = now() + sweep_interval;
    disk_->run([] { wire::sweep_dead_arenas(); });
  }
  wire::node_beat beat;
  beat.node = membership_.self();
  beat.queued = queue_->queued();
  for (const auto& [id, batch] : running_)
    beat.running += batch.entries.size();
  for (const auto& [variant, bytes] : resident_)
    beat.resident_bytes += bytes;
  if (const auto* arena = blocks_.own()) {
    beat.arena_used_bytes = arena->used_bytes();
    beat.arena_capacity_bytes = arena->capacity_bytes();
  }
  if (user_)
    beat.instances = user_->instances();
  beat.wall_clock_ns = std::chrono::nanoseconds{std::chrono::system_clock::now().time_since_epoch()}.count();
  beat.round_trip = membership_.round_trip();
  const auto add = [&](const char* name, auto figure) { beat.metrics[name] = static_cast<double>(figure); };
  add("calls", counters_.calls);
  add("calls_here", calls_.size());
  add("calls_failed", counters_.calls_failed);
  add("stages_light", counters_.stages_light);
  add("items", counters_.items);
  add("items_dropped", counters_.items_dropped);
  add("batches", counters_.batches);
  add("batch_items", counters_.batch_items);
  add("loads", counters_.loads);
  add("loads_failed", counters_.loads_failed);
  add("evictions", counters_.evictions);
  add("worker_lost", counters_.worker_lost);
  add("late_messages", counters_.late_messages);
  add("bad_messages", counters_.bad_messages);
  add("bytes_to_hosts", counters_.bytes_to_hosts);
  add("cache_bytes", models_->used_bytes());
  add("sequences", sequences_.size());
  if (options_.traffic) {
    const actors::bridge_stats traffic = options_.traffic();
    add("waiting_bytes", traffic.waiting_bytes);
    add("messages_overloaded", traffic.overloaded);
    add("messages_unreachable", traffic.unreachable);
  }
  if (const auto sent = membership_.send_to_controller(wire::encode(beat, request_id{2})); !sent.ok())
    log_.debug("node", "a beat was not sent", {{"error", sent.error().message}});
}

// -- messages that came before their DAG

/// The controller tells nodes of a DAG in its own time; another node may be faster. Such a message waits a little.
void node_role::park(const wire::call_context& context, const actors::incoming& message) {
  if (parked_.size() >= max_parked)
    return refuse_call(context.call, {errc::overloaded, "too many messages wait for DAGs that are not known yet", {}});
  parked_.push_back({context.dag, context.call, now() + park_patience, message});
}

void node_role::unpark(dag_id dag) {
  std::vector<actors::incoming> ready;
  std::erase_if(parked_, [&](parked_message& p) {
    if (p.dag == dag)
      ready.push_back(std::move(p.message));
    return p.dag == dag;
  });
  for (auto& m : ready)
    handle(m);
}

void node_role::drop_parked() {
  std::vector<std::pair<call_id, dag_id>> expired;
  std::erase_if(parked_, [&](const parked_message& p) {
    if (p.until <= now())
      expired.emplace_back(p.call, p.dag);
    return p.until <= now();
  });
  for (const auto& [call, dag] : expired)
    refuse_call(call, {errc::not_found, "DAG " + to_string(dag) + " is not known on this node", {}});
}

} // namespace squall::executors
