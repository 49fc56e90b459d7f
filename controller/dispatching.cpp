#include "calls/binary.hpp"
#include "controller/detail/service.hpp"
#include "policy/front.hpp"

#include <algorithm>
#include <utility>

/// Calls whose work is dispatched batch by batch, promises, and the profiles that both rest on.
namespace squall::controller {

namespace placing = calls::placing;

// -- the way of a dispatched call

/// All stages have one home, which gathers their inputs and says what could run. Homes take turns.
void controller_service::start_dispatched(running_call& call, const placing::admit& command) {
  auto node = nodes_.upper_bound(last_home_);
  if (node == nodes_.end())
    node = nodes_.begin();
  if (node == nodes_.end())
    return step(placing::cancel_requested{call.id});
  last_home_ = call.home = node->first;
  call.dispatched = true;
  call.nodes = {call.home};
  const time_point now = post_->now();
  wire::start_call message;
  message.context.call = call.id;
  message.context.dag = call.dag->id;
  for (const functions::stage& stage : call.dag->stages)
    message.context.plan.stages.push_back({stage.variants.front(), call.home, {}});
  message.context.plan.exit = call.home;
  message.context.priority = call.priority;
  message.context.remaining = call.deadline == never ? duration::max() : call.deadline - now;
  message.context.age = now - call.arrived;
  message.context.client_host = call.client_host;
  message.context.stream = call.stream;
  message.context.depth = call.depth;
  message.context.answer_to = call.answer_to;
  message.context.expected = call.promise.expected;
  message.context.dispatched = true;
  message.context.reserve = command.reserve;
  message.context.without = command.without;
  message.context.claim = claim_of(call);
  message.inputs = call.repeatable ? call.inputs : std::exchange(call.inputs, {});
  send_to_node(call.home, message);
}

void controller_service::on_stage_ready(wire::stage_ready message) {
  running_call* call = calls_.find(message.call);
  if (!call || !call->dispatched || message.stage >= call->dag->stages.size())
    return;
  if (!message.elements.empty())
    call->elements[message.stage] = std::move(message.elements);
  step(placing::stage_ready{message.call, message.stage, message.width});
}

void controller_service::carry_out(const placing::dispatch& command) {
  const time_point now = post_->now();
  dispatched_batch& batch = batches_[command.batch];
  batch = {command.variant, command.node, static_cast<std::uint32_t>(command.tasks.size()), now, false, {},
           command.tasks};
  wire::order_ticket ticket;
  ticket.order = command.batch;
  ticket.replica = command.replica;
  ticket.variant = command.variant;
  ticket.tasks = batch.tasks;
  if (command.latest_start != never)
    ticket.start_within = std::max(command.latest_start - now, duration{0});
  std::map<node_id, wire::hand_out> by_home;
  std::uint32_t missing = 0;
  for (const placing::task& task : command.tasks) {
    running_call* call = calls_.find(task.call);
    if (!call) {
      ++missing;
      continue;
    }
    if (const auto at = std::lower_bound(call->nodes.begin(), call->nodes.end(), command.node);
        at == call->nodes.end() || *at != command.node)
      call->nodes.insert(at, command.node);
    placing::task real = task;
    if (const auto map = call->elements.find(task.stage);
        map != call->elements.end() && task.element < map->second.size())
      real.element = map->second[task.element];
    by_home[call->home].tasks.push_back(real);
  }
  for (auto& [home, message] : by_home) {
    message.runner = command.node;
    message.order = ticket;
    std::sort(message.tasks.begin(), message.tasks.end());
    send_to_node(home, message);
  }
  if (missing > 0)
    send_to_node(command.node, wire::order_short{ticket, missing});
}

/// A wide DAG may take a second.
void controller_service::carry_out(const placing::compute& command) {
  if (!computing_)
    computing_ = std::make_unique<actors::background>();
  computing_->run([this, command, alive = std::weak_ptr{alive_}, post = post_] {
    post->later([this, alive, found = policy::find_front(command)] {
      if (alive.expired())
        return;
      step(found);
      finish_round();
    });
  });
}

void controller_service::on_order_report(const wire::order_report& message) {
  const auto batch = batches_.find(message.order);
  if (batch == batches_.end() || batch->second.node != message.node)
    return;
  if (!message.done) {
    batch->second.started = true;
    batch->second.started_at = post_->now();
    return step(placing::batch_started{message.node, message.order});
  }
  // What a batch takes of a lane as the scheduler sees it: the way there and back, too, but not a wait for the lane.
  if (message.code == errc::ok && message.executed > duration{0})
    paces_.ran(batch->second.variant, batch->second.tasks, batch->second.node, message.executed);
  if (message.code == errc::ok && batch->second.started)
    profiles_.ran(batch->second.variant, batch->second.tasks,
                  std::max(message.executed, post_->now() - batch->second.started_at) + dispatch_way(batch->second));
  else if (batch->second.started)
    learn_from_cut_short(batch->second);
  batches_.erase(batch);
  step(placing::batch_done{message.node, message.order, message.code, message.executed});
}

/// It has run for at least so long. Were only ends measured, what takes longer than its callers wait would seem fast
/// for ever.
void controller_service::learn_from_cut_short(const dispatched_batch& batch) {
  const duration ran = post_->now() - batch.started_at;
  if (ran > batch.tasks * profiles_.expected({batch.variant}))
    profiles_.ran(batch.variant, batch.tasks, ran);
}

/// Of stages that still run when their call ends, its trace says for how long.
void controller_service::note_running(call_id call, calls::outcome& outcome) const {
  for (const auto& [id, batch] : batches_) {
    if (!batch.started)
      continue;
    for (const placing::task& task : batch.work) {
      const auto trace = task.call == call ? std::ranges::find(outcome.trace, task.stage, &calls::stage_trace::stage)
                                           : outcome.trace.end();
      if (trace == outcome.trace.end())
        continue;
      const duration ran = (post_->now() - batch.started_at) / batch.tasks;
      trace->executed += ran;
      if (trace->width == 1)
        trace->queued = std::max(outcome.elapsed - trace->begin - ran, duration{0});
    }
  }
}

/// From the order to the start, as far as it is the way and not a wait: orders go to free lanes, so the shortest one of
/// the last is the way.
duration controller_service::dispatch_way(const dispatched_batch& batch) {
  const duration took = batch.started_at - batch.sent;
  node_record* node = find_node(batch.node);
  if (!node)
    return duration{0};
  node->way = node->way.count() == 0 ? took : std::min(took, node->way + node->way / 16);
  return std::min(took, 2 * node->way);
}

void controller_service::on_replica_report(const wire::replica_report& message) {
  if (message.code != errc::ok)
    if (const node_record* node = find_node(message.node))
      log_.warn("controller", "a replica is not there", {{"node", node->info.name}, {"error", message.message}});
  step(placing::replica_loaded{message.node, message.replica, message.code});
}

// -- promises

calls::receipt controller_service::receipt_of(const calls::outcome& outcome) const {
  return calls::receipt_of(outcome.trace, options_.prices, [this](const calls::stage_trace& t) {
    const auto node = nodes_.find(t.node);
    return node != nodes_.end() && std::ranges::any_of(node->second.lanes, [&](const placing::lane_info& lane) {
             return lane.id == t.lane && lane.resource == functions::resource_type::gpu;
           });
  });
}

void controller_service::settle_promise(const running_call& call, calls::outcome& outcome) {
  outcome.promise = call.promise;
  if (call.dispatched && outcome.code == errc::deadline_exceeded)
    note_running(call.id, outcome);
  outcome.receipt = receipt_of(outcome);
  if (call.promise.assurance_ppm == 0 || outcome.code == errc::cancelled)
    return;
  promise_record record;
  record.call = call.known_as();
  record.dag = call.dag->spec.name;
  record.promise = call.promise;
  record.finish = outcome.elapsed;
  record.cost = outcome.receipt.cost;
  record.code = outcome.code;
  record.kept = kept(outcome);
  if (!record.kept) {
    duration expected{0};
    for (const calls::stage_trace& t : outcome.trace)
      if (!t.skipped && t.stage < call.dag->stages.size())
        expected += profiles_.expected(call.dag->stages[t.stage].variants);
    record.why = blame_for(outcome, expected);
    if (record.why == blame::none)
      record.why = blame::failure;
    const bool took_long = record.why == blame::queue || record.why == blame::network;
    if (call.adopted && took_long)
      record.why = blame::takeover;
  }
  ledger_.settle(std::move(record));
}

/// Keeps what a redeemed ticket will need.
void controller_service::keep_for_offers(const running_call& call, const std::vector<calls::offer>& offers) {
  ledger_.refused(!offers.empty());
  if (offers.empty() || refused_.size() >= refused_kept)
    return;
  duration valid{0};
  for (const calls::offer& o : offers)
    valid = std::max(valid, o.valid_for);
  refused_.insert_or_assign(call.id, refused_call{call.client, call.dag->id, call.arrived, call.promise.assurance_ppm,
                                                  offers, post_->now() + valid});
}

result<> controller_service::take_offer(running_call& call, const calls::call_options& options) {
  const auto refused = refused_.find(options.redeems);
  if (refused == refused_.end())
    return {errc::not_found, "call " + to_string(options.redeems) +
                                 " has no offers: it was not refused with any, or they have expired or were redeemed"};
  const refused_call& kept = refused->second;
  if (kept.client != call.client)
    return {errc::permission_denied, "ticket " + to_string(options.ticket) + " belongs to another client"};
  const auto offer = std::find_if(kept.offers.begin(), kept.offers.end(),
                                  [&](const calls::offer& o) { return o.ticket == options.ticket; });
  if (offer == kept.offers.end())
    return {errc::not_found,
            "call " + to_string(options.redeems) + " was not offered ticket " + to_string(options.ticket)};
  if (kept.until <= call.arrived)
    return {errc::deadline_exceeded, "ticket " + to_string(options.ticket) + " has expired"};
  if (kept.dag != call.dag->id || call.id != options.redeems)
    return {errc::invalid_argument,
            "ticket " + to_string(options.ticket) +
                " is for another call; redeem it with the id and the target of the refused one"};
  call.arrived = kept.arrived;
  call.promise = {offer->finish, offer->cost, kept.assurance_ppm, duration{0}, {}};
  call.deadline = kept.arrived + offer->finish;
  refused_.erase(refused);
  ledger_.redeemed();
  return {};
}

void controller_service::expire_refused() {
  const time_point now = post_->now();
  std::erase_if(refused_, [now](const auto& r) { return r.second.until <= now; });
}

// -- profiles

placing::function_registered controller_service::described(const functions::registered_function& function) {
  placing::function_registered fact = fact_of(function);
  for (placing::variant_info& v : fact.variants)
    profiles_.describe(v, v.resource == functions::resource_type::gpu ? options_.prices.gpu : options_.prices.cpu);
  return fact;
}

void controller_service::say_drifts() {
  for (const drift& d : profiles_.take_drifts())
    for (const functions::registered_function* f : catalogue_.functions())
      for (std::size_t i = 0; i < f->variants.size(); ++i)
        if (f->variants[i] == d.variant)
          log_.warn("controller",
                    d.over ? "a variant takes again what its profile says"
                           : "a variant no longer takes what its profile said; promises follow the new times",
                    {{"function", f->spec.name},
                     {"variant", f->spec.variants[i].name},
                     {"booked_us", std::to_string(d.booked.count() / 1000)},
                     {"recent_us", std::to_string(d.recent.count() / 1000)}});
}

/// Tells the scheduler of times that have moved.
void controller_service::refresh_profiles() {
  say_drifts();
  const auto moved = profiles_.take_moved();
  if (moved.empty())
    return;
  for (const functions::registered_function* f : catalogue_.functions())
    if (std::any_of(f->variants.begin(), f->variants.end(),
                    [&](variant_id v) { return std::binary_search(moved.begin(), moved.end(), v); }))
      step(described(*f));
}

namespace {

std::string profile_key(const functions::registered_function& function, std::size_t variant) {
  return "profiles/" + function.spec.name + "/" + std::to_string(function.spec.version) + "/" +
         function.spec.variants[variant].name;
}

} // namespace

/// Profiles outlive the controller in the store; what was never measured is measured now.
void controller_service::recall_profiles(const functions::registered_function& function) {
  for (std::size_t i = 0; i < function.variants.size(); ++i)
    store_->get(profile_key(function, i),
                [this, i, id = function.id, variant = function.variants[i]](result<shared_bytes> bytes) {
                  const functions::registered_function* known = catalogue_.find_function(id);
                  if (!known)
                    return;
                  if (bytes)
                    if (auto saved = calls::from_binary<profile>(bytes->span(), "a profile")) {
                      profiles_.restore(variant, std::move(saved).value());
                      return;
                    }
                  measure(*known, i);
                });
}

void controller_service::save_profiles() {
  const auto unsaved = profiles_.take_unsaved();
  if (unsaved.empty())
    return;
  for (const functions::registered_function* f : catalogue_.functions())
    for (std::size_t i = 0; i < f->variants.size(); ++i)
      if (const profile* p = profiles_.find(f->variants[i]);
          p && std::binary_search(unsaved.begin(), unsaved.end(), f->variants[i]))
        store_->put(profile_key(*f, i), shared_bytes::take(calls::to_binary(*p)), false, [this](result<> stored) {
          if (!stored)
            log_.debug("controller", "a profile was not stored", {{"error", stored.error().message}});
        });
}

/// A variant that was never measured is loaded once, so that its warm-up measures it before somebody asks for a
/// promise.
void controller_service::measure(const functions::registered_function& function, std::size_t variant) {
  const functions::variant_spec& spec = function.spec.variants[variant];
  if (spec.kind != functions::variant_kind::onnx || profiles_.measured(function.variants[variant]))
    return;
  for (const auto& [id, node] : nodes_)
    if (std::any_of(node.lanes.begin(), node.lanes.end(),
                    [&](const placing::lane_info& l) { return l.resource == spec.resource; }))
      return send_to_node(id, wire::preload{function.variants[variant]});
}

} // namespace squall::controller
