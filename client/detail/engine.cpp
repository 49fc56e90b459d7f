#include "client/detail/engine.hpp"

#include "functions/alignment.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <random>

namespace squall::client::detail {

namespace {

using namespace std::chrono_literals;

/// How long after its deadline a call waits for the news of its end: with the sweep's interval less than the 2 s that
/// cluster.hpp promises.
constexpr auto delivery_allowance = 1500ms;
constexpr auto cancel_allowance = 1s;

/// A client that makes so many calls is worth a connection to each node, if there are no more nodes than that.
constexpr std::uint64_t calls_before_nodes = 32;
constexpr std::size_t max_node_links = 64;

/// A loop that is never idle looks at all connections once in so many rounds.
constexpr std::uint32_t look_everywhere_every = 16;

std::uint64_t random_seed() {
  std::random_device device;
  return (static_cast<std::uint64_t>(device()) << 32) ^ device();
}

} // namespace

engine::engine(const options& options)
    : options_(options),
      arenas_(wire::arena_map::create()),
      queue_(std::make_shared<command_queue>()),
      next_id_(random_seed()) {}

engine::~engine() { stop(); }

result<std::shared_ptr<engine>> engine::start(const options& options) {
  if (options.endpoint.empty())
    return {errc::invalid_argument, "no endpoint to connect to; it looks like tcp://127.0.0.1:7400"};
  auto made = std::make_shared<engine>(options);
  SQUALL_ASSIGN(context, wire::zmq_context::create());
  made->context_ = std::move(context);
  const client_id self = made->self_ = client_id{made->fresh_id()};
  made->controller_ = std::make_unique<link>(*made->context_, made->options_, wire::role::controller, self);
  made->store_ = std::make_unique<link>(*made->context_, made->options_, wire::role::store, self);
  made->controller_->open(options.endpoint, clock::now());
  if (!made->controller_->is_open())
    return made->controller_->trouble();
  made->thread_ = std::thread{[raw = made.get()] { raw->run(); }};
  SQUALL_TRY(made->wait_until_ready());
  return made;
}

void engine::stop() {
  stopped_.store(true);
  if (!thread_.joinable())
    return;
  queue_->push(stop_engine{});
  thread_.join();
  // What raced with the end.
  const error closed{errc::cancelled, "the client was closed", {}};
  queue_->take([&](command&& what) {
    if (auto* call = std::get_if<start_call>(&what))
      fail_call(*call->call, closed);
    else if (auto* request = std::get_if<start_request>(&what))
      request->request->finish(closed);
  });
}

// -- the engine's thread
// ---------------------------------------------------------------------------------------------------

void engine::run() {
  while (!stopping_) {
    const auto now = clock::now();
    const bool busy = serve(now);
    controller_->flush();
    store_->flush();
    const auto next =
        std::min(controller_->next_tick(), separate_store_ ? store_->next_tick() : clock::time_point::max());
    if (now >= next)
      tick(now);
    else if (!busy) {
      if (!look_again(now))
        sleep(next);
    } else if (++busy_rounds_ % look_everywhere_every == 0) {
      (void)links_idle();
      look(0ns);
    }
  }
  on_lost(nullptr, {errc::cancelled, "the client was closed", {}}, clock::now());
  if (!taken_.empty())
    give_back(std::exchange(taken_, {})); // what is kept for us need not be
  controller_->close();
  store_->close();
  nodes_.clear();
}

bool engine::serve(clock::time_point now) {
  bool busy = queue_->take([&](command&& what) { on_command(std::move(what), now); }) > 0;
  if (!taken_.empty())
    give_back(std::exchange(taken_, {}));
  answer got;
  const auto take_from = [&](link& from) {
    // A bound, so that a flood of answers does not keep requests from being sent.
    for (int i = 0; i < 256 && from.receive(got, now); ++i) {
      on_answer(std::move(got), now);
      busy = true;
    }
  };
  take_from(*controller_);
  take_from(*store_);
  for (const auto& node : nodes_)
    take_from(*node);
  if (nodes_stale_ && calls_begun_ >= calls_before_nodes)
    connect_nodes(now);
  if (const auto welcome = controller_->take_welcome())
    on_welcome(*welcome, now);
  return busy;
}

/// Before a sleep, for a little while. False when it is time to sleep.
bool engine::look_again(clock::time_point now) {
  if (!linger_.wants(now) || !linger_.yield(clock::now))
    return false;
  (void)links_idle();
  look(0ns);
  return true;
}

void engine::sleep(clock::time_point until) {
  if (!links_idle() || !queue_->prepare_sleep())
    return;
  look(std::max(until - clock::now(), clock::duration{0}));
  queue_->woken(news_.woke(0));
}

bool engine::links_idle() {
  // All are asked: each notes for itself what it found.
  bool idle = controller_->idle();
  idle &= store_->idle();
  for (const auto& node : nodes_)
    idle &= node->idle();
  return idle;
}

/// Waits for news, at most so long, and tells the links of it.
void engine::look(duration patience) {
  std::uint64_t sockets = controller_->sockets() + store_->sockets();
  for (const auto& node : nodes_)
    sockets += node->sockets();
  if (std::exchange(watched_, std::pair{nodes_changed_, sockets}) != watched_) {
    std::vector<int> fds{queue_->fd()};
    controller_->watch(fds);
    store_->watch(fds);
    for (const auto& node : nodes_)
      node->watch(fds);
    news_.watch(fds);
  }
  if (news_.wait(patience) == 0)
    return;
  linger_.news(clock::now());
  std::size_t at = 1;
  at += controller_->woken(news_, at);
  at += store_->woken(news_, at);
  for (const auto& node : nodes_)
    at += node->woken(news_, at);
}

void engine::on_command(command&& what, clock::time_point now) {
  if (auto* call = std::get_if<start_call>(&what))
    begin_call(std::move(call->call), now);
  else if (auto* request = std::get_if<start_request>(&what))
    begin_request(std::move(request->request));
  else if (const auto* cancelled = std::get_if<cancel_call>(&what))
    begin_cancel(cancelled->call, now);
  else if (const auto* dropped = std::get_if<drop_outputs>(&what))
    taken_.push_back(dropped->call);
  else
    stopping_ = true;
}

void engine::begin_call(std::shared_ptr<pending_call> call, clock::time_point now) {
  const bool ready = controller_->ready();
  if (!ready && !patient(now))
    return fail_call(*call, not_connected(*controller_));
  if (ready)
    if (const auto sent = controller_->send(call->message); !sent.ok())
      return fail_call(*call, sent.error());
  call->sent = ready; // else it goes out with the next welcome
  call->message = {};
  if (call->deadline == 0ns)
    call->deadline = default_deadline_;
  if (call->deadline > 0ns && call->deadline < 24h * 3650)
    call->give_up = now + call->deadline + delivery_allowance;
  const std::uint64_t id = call->id.value;
  calls_.emplace(id, std::move(call));
  ++calls_begun_;
}

void engine::begin_request(std::shared_ptr<pending_request> request) {
  link& to = link_to(request->to);
  if (!to.ready())
    return request->finish(not_connected(to));
  if (const auto sent = to.send(request->message); !sent.ok())
    return request->finish(sent.error());
  request->message = {};
  const std::uint64_t id = request->id.value;
  requests_.emplace(id, std::move(request));
}

void engine::begin_cancel(call_id call, clock::time_point now) {
  const auto found = calls_.find(call.value);
  if (found == calls_.end() || found->second->cancelled)
    return;
  pending_call& pending = *found->second;
  pending.cancelled = true;
  pending.give_up = std::min(pending.give_up, now + cancel_allowance);
  // If it cannot be sent, the call ends here all the same, by the time-out just set.
  (void)controller_->send(wire::encode(wire::cancel_request{call}, request_id{}));
}

void engine::on_answer(answer&& got, clock::time_point now) {
  if (got.head.type == wire::message_type::call_result)
    return on_call_result(got.message, now);
  if (got.head.type == wire::message_type::call_partial)
    return on_call_partial(got.message);
  if (got.head.type == wire::message_type::peers)
    return on_peers(got.message);
  if (const auto found = requests_.find(got.head.request.value); found != requests_.end()) {
    const auto request = std::move(found->second);
    requests_.erase(found);
    return request->finish(std::move(got));
  }
  // A call that was refused before anybody looked into it.
  if (const auto found = calls_.find(got.head.request.value);
      found != calls_.end() && got.head.type == wire::message_type::reply) {
    const auto call = std::move(found->second);
    calls_.erase(found);
    const error why = unexpected(got);
    fail_call(*call, why);
  }
}

void engine::on_call_result(const wire::frames& message, clock::time_point now) {
  auto decoded = wire::decode<wire::call_result>(message, arenas_.get());
  if (!decoded.ok()) {
    // Its header was readable, so the call is known by its request id.
    const auto head = wire::peek(message.header.span());
    const auto found = head.ok() ? calls_.find(head->request.value) : calls_.end();
    if (found == calls_.end())
      return;
    taken_.push_back(found->second->id);
    const auto call = std::move(found->second);
    calls_.erase(found);
    return fail_call(*call, decoded.error());
  }
  const call_id id = decoded->call;
  std::shared_ptr<const void> lease;
  if (decoded->taken_wanted)
    lease =
        std::shared_ptr<const void>{queue_.get(), [queue = queue_, id](const void*) { queue->push(drop_outputs{id}); }};
  const auto found = calls_.find(id.value);
  if (found == calls_.end())
    return; // late: the lease gives its outputs back
  if (wait_and_send_again(*found->second, decoded->outcome, now))
    return;
  const auto call = std::move(found->second);
  calls_.erase(found);
  std::vector<functions::named_value> outputs;
  outputs.reserve(decoded->outputs.size());
  for (wire::wire_value& output : decoded->outputs) {
    functions::value value = functions::aligned(std::move(output.value));
    outputs.push_back({std::move(output.name), lease ? leased(std::move(value), lease) : std::move(value)});
  }
  end_call(*call, std::move(decoded->outcome), std::move(outputs));
}

/// What cannot be read is dropped: it is an extra, and the result will tell what is wrong.
void engine::on_call_partial(const wire::frames& message) {
  auto decoded = wire::decode<wire::call_partial>(message, arenas_.get());
  if (!decoded.ok())
    return;
  const auto found = calls_.find(decoded->call.value);
  if (found == calls_.end() || !found->second->on_partial)
    return;
  pending_call& call = *found->second;
  std::uint32_t& next = call.next_partial[{decoded->stage, decoded->element}];
  if (decoded->index < next)
    return;
  next = decoded->index + 1;
  partial_result partial{call.id, std::move(decoded->stage), decoded->element, decoded->index, {}};
  for (wire::wire_value& output : decoded->outputs)
    partial.outputs.push_back({std::move(output.name), unshared(functions::aligned(std::move(output.value)))});
  call.on_partial(partial);
}

/// The same value in memory of its own: what lies in an arena goes with the call.
functions::value engine::unshared(functions::value value) const {
  if (auto* tensor = std::get_if<functions::tensor>(&value.data)) {
    if (arenas_->locate(tensor->data))
      tensor->data = shared_bytes::copy_of(tensor->data.data(), tensor->data.size());
  } else if (auto* list = std::get_if<functions::value_list>(&value.data)) {
    for (functions::value& element : *list)
      element = unshared(std::move(element));
  }
  return value;
}

/// The same value, whose bytes keep the lease alive.
functions::value engine::leased(functions::value value, const std::shared_ptr<const void>& lease) const {
  if (auto* tensor = std::get_if<functions::tensor>(&value.data)) {
    struct holder {
      std::shared_ptr<const void> lease;
      std::shared_ptr<const void> bytes;
    };
    auto both = std::make_shared<const holder>(holder{lease, tensor->data.owner()});
    tensor->data = shared_bytes{std::move(both), tensor->data.span()};
  } else if (auto* list = std::get_if<functions::value_list>(&value.data)) {
    for (functions::value& element : *list)
      element = leased(std::move(element), lease);
  }
  return value;
}

void engine::end_call(pending_call& call, calls::outcome outcome, std::vector<functions::named_value> outputs) {
  for (const wire::arena_ref& block : call.blocks)
    arena_->release(block);
  call.blocks.clear();
  call.inputs.clear();
  call.message = {};
  outstanding_.fetch_sub(1, std::memory_order_relaxed);
  call.finish({call.id, std::move(outcome), std::move(outputs)});
}

void engine::fail_call(pending_call& call, error why) {
  calls::outcome outcome;
  outcome.code = why.code;
  outcome.message = std::move(why.message);
  outcome.retry_after = why.retry_after;
  end_call(call, std::move(outcome));
}

void engine::on_welcome(const wire::welcome& welcome, clock::time_point now) {
  default_deadline_ = welcome.default_deadline;
  const bool same_host = welcome.host == wire::host_key();
  same_host_.store(same_host);
  separate_store_ = !welcome.store_endpoint.empty();
  if (!separate_store_)
    store_->close();
  else if (!store_->is_open() || store_->endpoint() != welcome.store_endpoint)
    store_->open(welcome.store_endpoint, now);
  if (std::exchange(lost_at_, std::nullopt))
    for (const auto& [id, call] : calls_)
      send_again(*call, now);
  const std::lock_guard lock{mutex_};
  info_ = {welcome.cluster, welcome.software, welcome.version, welcome.epoch, same_host, welcome.default_deadline};
  ready_ = true;
  readiness_.notify_all();
}

void engine::on_peers(const wire::frames& message) {
  const auto peers = wire::decode<wire::peers>(message, nullptr);
  if (!peers.ok())
    return;
  controller_->learn(peers->controllers);
  node_endpoints_.clear();
  for (const wire::peer_info& node : peers->nodes)
    // What answers there already needs no second connection; and many nodes are not worth one each.
    if (node.endpoint != controller_->endpoint() && peers->nodes.size() <= max_node_links)
      node_endpoints_.push_back(node.endpoint);
  nodes_stale_ = true;
}

/// Keeps the connections to nodes that are still there, and makes the others.
void engine::connect_nodes(clock::time_point now) {
  nodes_stale_ = false;
  ++nodes_changed_;
  std::erase_if(nodes_, [this](const auto& node) {
    return std::ranges::find(node_endpoints_, node->endpoint()) == node_endpoints_.end();
  });
  for (const std::string& endpoint : node_endpoints_) {
    if (std::ranges::any_of(nodes_, [&](const auto& node) { return node->endpoint() == endpoint; }))
      continue;
    nodes_.push_back(std::make_unique<link>(*context_, options_, wire::role::node, self_));
    nodes_.back()->open(endpoint, now);
  }
}

bool engine::patient(clock::time_point now) const { return lost_at_ && now - *lost_at_ < options_.patience; }

/// A call that was not begun because the cluster is changing may find it settled soon.
bool engine::wait_and_send_again(pending_call& call, const calls::outcome& refused, clock::time_point now) const {
  if (refused.code != errc::unavailable || refused.retry_after == 0ns || !refused.trace.empty() || call.cancelled)
    return false;
  if (!call.first_refused)
    call.first_refused = now;
  const auto again_at = now + refused.retry_after;
  if (again_at >= call.give_up || again_at - *call.first_refused > options_.patience)
    return false;
  call.again_at = again_at;
  call.sent = call.doubtful;
  return true;
}

void engine::send_again(pending_call& call, clock::time_point now) {
  call.again_at = clock::time_point::max();
  wire::call_request request = call.request;
  if (request.options.deadline > 0ns && call.give_up != clock::time_point::max()) {
    request.options.deadline = call.give_up - delivery_allowance - now;
    if (request.options.deadline <= 0ns)
      return; // the sweep ends it
  }
  request.again = call.doubtful = call.sent;
  request.inputs = call.inputs;
  const auto sent = controller_->send(
      wire::encode(request, request_id{call.id.value}, {.local = same_host_.load() ? arenas_.get() : nullptr}));
  if (sent.ok())
    call.sent = true;
  else
    call.again_at = now + 100ms;
}

void engine::send_waiting(clock::time_point now) {
  if (!controller_->ready())
    return;
  for (const auto& [id, call] : calls_)
    if (call->again_at <= now)
      send_again(*call, now);
}

void engine::fail_calls(const error& why) {
  const auto calls = std::exchange(calls_, {});
  for (const auto& [id, call] : calls)
    fail_call(*call, why);
}

void engine::on_lost(const link* lost, const error& why, clock::time_point now) {
  auto requests = std::exchange(requests_, {});
  for (auto& [id, request] : requests) {
    if (lost && &link_to(request->to) != lost)
      requests_.emplace(id, std::move(request));
    else
      request->finish(why);
  }
  if (lost == store_.get())
    return;
  if (!lost || options_.patience == 0ns)
    return fail_calls(why);
  lost_at_ = now;
  lost_why_ = why;
}

void engine::tick(clock::time_point now) {
  for (link* one : {controller_.get(), store_.get()}) {
    if (one == store_.get() && !separate_store_)
      continue;
    if (const auto lost = one->tick(now))
      on_lost(one,
              {errc::unavailable,
               fmt::format("lost {}: {}; whether what was outstanding has run is not known", one->endpoint(),
                           lost->message),
               {}},
              now);
  }
  for (const auto& node : nodes_)
    (void)node->tick(now); // it connects again by itself; the controller knows what becomes of the calls
  if (lost_at_ && !patient(now))
    fail_calls(lost_why_);
  send_waiting(now);
  note_readiness();
  sweep(now);
}

/// Lets connect() know why there is no welcome yet.
void engine::note_readiness() {
  if (controller_->ready() || controller_->is_open())
    return;
  const std::lock_guard lock{mutex_};
  trouble_ = controller_->trouble();
  readiness_.notify_all();
}

void engine::sweep(clock::time_point now) {
  std::vector<std::shared_ptr<pending_call>> late;
  for (const auto& [id, call] : calls_)
    if (now >= call->give_up)
      late.push_back(call);
  for (const auto& call : late) {
    calls_.erase(call->id.value);
    if (call->cancelled)
      fail_call(*call, {errc::cancelled, "cancelled; the cluster did not confirm it", {}});
    else
      fail_call(
          *call,
          {errc::deadline_exceeded, fmt::format("no result came by the deadline of {} ms", call->deadline / 1ms), {}});
  }
  std::vector<std::shared_ptr<pending_request>> silent;
  for (const auto& [id, request] : requests_)
    if (now >= request->give_up)
      silent.push_back(request);
  for (const auto& request : silent) {
    requests_.erase(request->id.value);
    request->finish(
        error{errc::unavailable,
              fmt::format("no answer from {} within {} ms", link_to(request->to).endpoint(), options_.timeout / 1ms),
              {}});
  }
}

void engine::give_back(std::vector<call_id> taken) {
  // When the connection is gone the server knows that as well, and gives everything back by itself.
  (void)controller_->send(wire::encode(wire::result_taken{std::move(taken)}, request_id{}));
}

link& engine::link_to(wire::role role) { return role == wire::role::store && separate_store_ ? *store_ : *controller_; }

error engine::not_connected(const link& to) const {
  return {errc::unavailable, fmt::format("not connected to {}: {}; trying again", to.endpoint(), to.trouble().message),
          500ms};
}

} // namespace squall::client::detail
