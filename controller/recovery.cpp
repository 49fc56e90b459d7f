#include "controller/detail/service.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

/// Taking over: the calls of a controller that is no more run on at the nodes, which say so when they join. When all of
/// them have, or the time for it has passed, the scheduler takes the calls over at once, and from then on they are like
/// others, but that their clients have yet to ask for them. Until then no call is begun: nobody knows where there is
/// room.
namespace squall::controller {

namespace placing = calls::placing;

namespace {

std::vector<node_id> nodes_of(const wire::call_context& context) {
  std::vector<node_id> nodes{context.plan.exit};
  for (const calls::placement& stage : context.plan.stages) {
    nodes.push_back(stage.home);
    nodes.insert(nodes.end(), stage.spread.begin(), stage.spread.end());
  }
  std::sort(nodes.begin(), nodes.end());
  nodes.erase(std::unique(nodes.begin(), nodes.end()), nodes.end());
  return nodes;
}

std::vector<node_id> holders_of(const wire::held_call& held) {
  std::vector<node_id> nodes = nodes_of(held.context);
  for (const wire::held_stage& stage : held.stages)
    nodes.insert(nodes.end(), stage.runners.begin(), stage.runners.end());
  std::sort(nodes.begin(), nodes.end());
  nodes.erase(std::unique(nodes.begin(), nodes.end()), nodes.end());
  return nodes;
}

call_id known_as(const wire::call_context& context) {
  return context.claim.origin ? context.claim.origin : context.call;
}

std::size_t bytes_of(const std::vector<wire::wire_value>& values) {
  std::size_t bytes = 0;
  for (const wire::wire_value& v : values)
    bytes += v.value.byte_size();
  return bytes;
}

} // namespace

/// What the next controller has to know of the call.
wire::call_claim controller_service::claim_of(const running_call& call) const {
  wire::call_claim claim;
  claim.owner = call.owner;
  claim.origin = call.origin;
  claim.attempt = call.attempts;
  claim.promised = call.promised;
  claim.finish = call.promise.finish;
  claim.cost = call.promised ? call.promise.cost : call.wanted.max_cost;
  claim.assurance_ppm = call.promised ? call.promise.assurance_ppm : call.wanted.assurance_ppm;
  claim.preference = call.wanted.preference;
  claim.durable = call.durable;
  return claim;
}

// -- gathering

void controller_service::begin_gathering() {
  gathering_ = gathered_plans{};
  gathering_->until = post_->now() + gathering_most;
}

void controller_service::on_plans_held(const actors::incoming& from, wire::plans_held message) {
  const auto node = node_of_peer_.find(from.from);
  // A report to another controller, or of a node that has been lost since: its plans are void.
  if (node == node_of_peer_.end() || node->second != message.node || message.epoch != options_.epoch || !gathering_ ||
      !gathering_->awaited.contains(message.node))
    return log_.info("controller", "a late report is void", {{"node", to_string(message.node)}});
  gathered_plans& g = *gathering_;
  const time_point now = post_->now();
  g.reported = true;
  g.named.insert(message.peers.begin(), message.peers.end());
  for (wire::held_call& call : message.calls)
    g.calls.push_back({message.node, now, std::move(call)});
  for (wire::held_order& order : message.orders)
    g.orders.push_back({message.node, now, std::move(order)});
  for (const wire::held_replica& replica : message.replicas)
    g.replicas.push_back({message.node, replica.replica, replica.variant});
  if (message.last)
    g.awaited.erase(message.node);
  settle_gathering();
}

/// What a node says of calls that are not known yet waits until they are.
bool controller_service::put_off(actors::incoming& message) {
  using wire::message_type;
  const message_type type = message.head.type;
  if ((type != message_type::call_finished && type != message_type::stage_ready &&
       type != message_type::order_report) ||
      gathering_->early.size() >= early_most)
    return false;
  gathering_->early.push_back(std::move(message));
  return true;
}

void controller_service::settle_gathering() {
  if (!gathering_ || !ready_)
    return;
  const gathered_plans& g = *gathering_;
  const bool all_there =
      std::all_of(g.named.begin(), g.named.end(), [this](node_id id) { return nodes_.contains(id); });
  if ((g.reported && g.awaited.empty() && all_there) || post_->now() >= g.until)
    finish_gathering();
}

void controller_service::refuse_for_now(const actors::incoming& from, call_id call) {
  wire::call_result out;
  out.call = call;
  out.outcome.code = errc::unavailable;
  out.outcome.message = "the controller has taken over and is finding out what runs";
  out.outcome.retry_after = std::chrono::milliseconds{100};
  (void)post_->send(from.from, wire::encode(out, from.head.request, {}, role_of(from.from)));
}

/// Of calls that the controller before had placed again, the last attempt; each once.
std::vector<controller_service::held_by> controller_service::latest_attempts(std::vector<held_by> calls) {
  std::sort(calls.begin(), calls.end(), [](const held_by& a, const held_by& b) {
    const auto rank = [](const held_by& h) {
      // Of several nodes' reports the home's says most.
      return std::tuple{known_as(h.call.context), ~h.call.context.claim.attempt, h.call.context.call,
                        h.call.stages.empty(), h.node};
    };
    return rank(a) < rank(b);
  });
  std::vector<held_by> out;
  for (held_by& held : calls) {
    if (out.empty() || known_as(out.back().call.context) != known_as(held.call.context))
      out.push_back(std::move(held));
    else if (out.back().call.context.call != held.call.context.call)
      drop_held(held.call, "a later attempt of it runs");
  }
  std::sort(out.begin(), out.end(), [](const held_by& a, const held_by& b) {
    const auto arrived = [](const held_by& h) { return h.told - h.call.context.age; };
    return std::pair{arrived(a), a.call.context.call} < std::pair{arrived(b), b.call.context.call};
  });
  return out;
}

void controller_service::drop_held(const wire::held_call& held, const std::string& why) {
  log_.info("controller", "a call of the controller before does not go on",
            {{"call", to_string(known_as(held.context))}, {"why", why}});
  for (const node_id node : holders_of(held))
    send_to_node(node, wire::drop_call{held.context.call});
}

/// Why the call cannot go on; empty when it can.
std::string controller_service::obstacle(const held_by& held, const functions::dag* dag,
                                         const std::vector<node_id>& holders) {
  const wire::call_context& context = held.call.context;
  if (!dag)
    return "its DAG is not registered any more";
  if (!context.call || context.plan.stages.size() != dag->stages.size())
    return "its plan does not fit its DAG";
  if (kept_.contains(known_as(context)) && !unrecovered_.contains(known_as(context)))
    return "it has ended";
  if (const running_call* known = calls_.find_known_as(known_as(context));
      known && std::find(waiting_for_node_.begin(), waiting_for_node_.end(), known->id) == waiting_for_node_.end())
    return "it runs elsewhere";
  if (unasked_.contains(known_as(context)))
    return "it has ended";
  for (const node_id node : holders)
    if (!nodes_.contains(node) && (!context.dispatched || node == context.plan.exit || !may_run_twice(*dag)))
      return "node " + to_string(node) + ", which had work of it, is lost";
  for (const wire::held_stage& stage : held.call.stages)
    if (stage.stage >= dag->stages.size())
      return "what its home says of it does not fit its DAG";
  return {};
}

/// In the table; the scheduler is told by who called.
void controller_service::enter_adopted(const held_by& held, std::shared_ptr<const functions::dag> dag,
                                       std::vector<node_id> holders) {
  const wire::call_context& context = held.call.context;
  const wire::call_claim& claim = context.claim;
  running_call call;
  call.id = context.call;
  call.origin = claim.origin;
  call.owner = claim.owner;
  call.dag = std::move(dag);
  call.priority = context.priority;
  call.depth = context.depth;
  call.stream = context.stream;
  call.sequence = context.sequence;
  call.client_host = context.client_host;
  call.arrived = held.told - context.age;
  call.deadline = context.remaining < never - held.told ? held.told + context.remaining : never;
  std::erase_if(holders, [this](node_id node) { return !nodes_.contains(node); });
  call.nodes = std::move(holders);
  call.dispatched = context.dispatched;
  call.home = context.dispatched ? context.plan.exit : node_id{};
  for (const wire::held_stage& stage : held.call.stages)
    if (!stage.elements.empty())
      call.elements[stage.stage] = stage.elements;
  if (claim.promised)
    call.promise = {claim.finish, claim.cost, claim.assurance_ppm, {}, {}};
  call.promise.expected = context.expected;
  call.wanted = {claim.cost, claim.assurance_ppm, claim.preference};
  call.promised = claim.promised;
  call.durable = claim.durable;
  call.admitted = call.adopted = true;
  call.asked = false;
  call.attempts = claim.attempt;
  call.setback = "the controller was lost while it ran";
  const call_id origin = call.known_as();
  const running_call* recovered = calls_.find_known_as(origin); // a durable one, which was about to run again
  if (auto read = recovered ? calls_.take(recovered->id) : std::nullopt) {
    call.inputs = std::move(read->inputs);
    call.repeatable = true;
    call.bytes = read->bytes;
    call.client = read->client; // it may have asked already
    call.request = read->request;
    call.asked = static_cast<bool>(call.client);
    calls_.forget_alias(origin);
  } else {
    flow_.begin(call.owner, 0);
    ++running_of_dag_[call.dag->id];
  }
  if (call.origin)
    calls_.alias(call.origin, call.id);
  if (unrecovered_.erase(origin) > 0)
    if (const auto waits = kept_.extract(origin); !waits.empty()) {
      call.client = waits.mapped().client;
      call.request = waits.mapped().request;
      call.asked = static_cast<bool>(call.client);
    }
  if (!calls_.add(std::move(call)))
    log_.error("controller", "a call was taken over twice", {{"call", to_string(origin)}});
}

std::optional<placing::adopted_call> controller_service::take_over(const held_by& held) {
  const wire::call_context& context = held.call.context;
  std::vector<node_id> holders = holders_of(held.call);
  auto dag = catalogue_.find_dag(context.dag);
  if (const std::string why = obstacle(held, dag.get(), holders); !why.empty()) {
    drop_held(held.call, why);
    return std::nullopt;
  }
  enter_adopted(held, std::move(dag), std::move(holders));
  const running_call& call = *calls_.find(context.call);
  placing::adopted_call out;
  out.call = {call.id, call.owner, call.dag->id, call.deadline, call.priority, call.sequence};
  out.call.max_cost = call.wanted.max_cost;
  out.call.assurance_ppm = call.wanted.assurance_ppm;
  out.call.preference = call.wanted.preference;
  out.arrived = call.arrived;
  if (!call.dispatched)
    out.plan = context.plan;
  for (const wire::held_stage& stage : held.call.stages)
    out.come.push_back({stage.stage, stage.width, stage.ended});
  for (stage_index i = 0; held.call.finished && call.dispatched && i < call.dag->stages.size(); ++i)
    out.come.push_back({i, 0, true});
  return out;
}

/// A batch that a node runs or has run: those of its tasks that are still waited for.
void controller_service::take_over(const order_of& held, placing::plans_adopted& fact,
                                   std::vector<placing::batch_done>& ended) {
  const wire::held_order& order = held.order;
  if (!nodes_.contains(held.node) || batches_.contains(order.order) || (order.done && order.code != errc::ok))
    return;
  placing::adopted_batch out{held.node, order.order, order.replica, order.variant, {}, order.executed};
  const duration since = post_->now() - held.told;
  if (order.executed > duration{0} && !order.done)
    out.executed += since;
  for (placing::task task : order.tasks) {
    running_call* call = calls_.find(task.call);
    if (!call || !call->adopted || !call->dispatched)
      continue;
    if (const auto map = call->elements.find(task.stage); map != call->elements.end()) {
      const auto place = std::lower_bound(map->second.begin(), map->second.end(), task.element);
      if (place == map->second.end() || *place != task.element)
        continue; // its home has the result
      task.element = static_cast<std::uint32_t>(place - map->second.begin());
    }
    if (const auto at = std::lower_bound(call->nodes.begin(), call->nodes.end(), held.node);
        at == call->nodes.end() || *at != held.node)
      call->nodes.insert(at, held.node);
    out.tasks.push_back(task);
  }
  if (out.tasks.empty())
    return;
  const time_point now = post_->now();
  batches_[order.order] = {
      order.variant,     held.node, static_cast<std::uint32_t>(out.tasks.size()), now, out.executed > duration{0},
      now - out.executed};
  if (order.done)
    ended.push_back({held.node, order.order, order.code, order.executed});
  fact.batches.push_back(std::move(out));
}

void controller_service::finish_gathering() {
  gathered_plans g = std::move(*gathering_);
  gathering_.reset();
  placing::plans_adopted fact;
  for (const held_by& held : latest_attempts(std::move(g.calls)))
    if (auto taken = take_over(held))
      fact.calls.push_back(std::move(*taken));
  std::vector<placing::batch_done> ended;
  for (const order_of& order : g.orders)
    take_over(order, fact, ended);
  fact.replicas = std::move(g.replicas);
  std::erase_if(fact.replicas, [this](const placing::adopted_replica& r) { return !nodes_.contains(r.node); });
  adopted_ += fact.calls.size();
  if (g.reported)
    log_.info("controller", "took over what runs",
              {{"calls", std::to_string(fact.calls.size())},
               {"batches", std::to_string(fact.batches.size())},
               {"replicas", std::to_string(fact.replicas.size())}});
  unasked_until_ = post_->now() + asked_within;
  if (!fact.calls.empty() || !fact.replicas.empty())
    step(fact);
  for (const placing::batch_done& done : ended) {
    batches_.erase(done.batch);
    step(done);
  }
  for (actors::incoming& message : g.early)
    handle(message);
  for (const auto& [id, why] : std::exchange(unrecovered_, {}))
    end_unrecovered(id, kept_[id].owner, why);
  retry_waiting();
}

// -- calls whose clients have not asked again

/// Ends that running it again may mend are not worth keeping: who asks again gets another run.
void controller_service::keep_unasked(running_call& call, wire::call_result message) {
  const bool again = message.outcome.code == errc::unavailable && !call.sequence.id && may_run_twice(*call.dag);
  if (!again) {
    settle_promise(call, message.outcome);
    unasked_result kept{call.owner, message, bytes_of(message.outputs)};
    unasked_bytes_ += kept.bytes;
    unasked_.insert_or_assign(message.call, std::move(kept));
    while (unasked_.size() > unasked_most || unasked_bytes_ > unasked_bytes_most)
      forget_unasked(unasked_.begin());
  }
  end_of(call, std::move(message.outcome));
}

void controller_service::forget_unasked(std::map<call_id, unasked_result>::iterator at) {
  unasked_bytes_ -= at->second.bytes;
  if (const auto held = held_.find(at->first); held != held_.end() && !held->second.client) {
    release(held->second.attempt, held->second.holders);
    held_.erase(held);
  }
  unasked_.erase(at);
}

bool controller_service::answer_unasked(const actors::incoming& from, call_id id, client_id asks) {
  const auto at = unasked_.find(id);
  if (at == unasked_.end() || at->second.owner != asks)
    return false;
  if (const auto held = held_.find(id); held != held_.end())
    held->second.client = from.from;
  const auto client = clients_.find(from.from);
  const wire::encode_options options{client != clients_.end() && client->second.host == host_ ? arenas_.get()
                                                                                              : nullptr};
  if (auto sent =
          post_->send(from.from, wire::encode(at->second.result, from.head.request, options, role_of(from.from)));
      !sent)
    log_.warn("controller", "a result could not be delivered",
              {{"call", to_string(id)}, {"error", sent.error().message}});
  forget_unasked(at);
  return true;
}

/// Nobody waits for them any more.
void controller_service::expire_unasked() {
  if (post_->now() < unasked_until_)
    return;
  unasked_until_ = never;
  while (!unasked_.empty())
    forget_unasked(unasked_.begin());
  std::vector<call_id> left;
  for (const auto& [id, call] : calls_.running())
    if (!call.asked && !call.durable)
      left.push_back(id);
  std::sort(left.begin(), left.end());
  for (const call_id id : left) {
    log_.info("controller", "nobody has asked for a call of the controller before", {{"call", to_string(id)}});
    if (running_call* call = calls_.find(id))
      call->asked = true;
    step(placing::cancel_requested{id});
    end_without_result(id, errc::cancelled, "its client is gone", duration{0});
  }
}

} // namespace squall::controller
