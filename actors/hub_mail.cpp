#include "actors/detail/hub.hpp"
#include "wire/access.hpp"

#include <algorithm>

namespace squall::actors::detail {

namespace {

/// Messages taken from one socket before the others have their turn.
constexpr int messages_a_turn = 256;

// How peers are numbered: roles of this process by their number, peers that came to us by their route (from 2^32 on),
// connections that we made from 2^40 on.
constexpr std::uint64_t first_route = 1ull << 32;
constexpr std::uint64_t first_connection = 1ull << 40;

bool is_local(peer_id p) { return p.value < first_route; }
bool is_route(peer_id p) { return p.value >= first_route && p.value < first_connection; }

result<> check_endpoint(const std::string& endpoint) {
  for (const char* scheme : {"tcp://", "ipc://", "inproc://"})
    if (endpoint.starts_with(scheme) && endpoint.size() > std::string_view{scheme}.size())
      return {};
  return {errc::invalid_argument, "'" + endpoint + "' is no endpoint; one looks like tcp://127.0.0.1:7700"};
}

template <class... Fs>
struct overloads : Fs... {
  using Fs::operator()...;
};
template <class... Fs>
overloads(Fs...) -> overloads<Fs...>;

} // namespace

// -- in
// ------------------------------------------------------------------------------------------------------------------

bool hub::drain_server() {
  wire::arrival arrival;
  int taken = 0;
  while (taken < messages_a_turn && server_->receive(arrival)) {
    ++taken;
    receive(peer_id{arrival.from.value}, arrival, nullptr);
  }
  hand_over_arrived();
  if (taken < messages_a_turn)
    for (const wire::route gone : server_->take_departed())
      report_lost(peer_id{gone.value});
  return taken == messages_a_turn;
}

bool hub::drain(connection& from) {
  wire::arrival arrival;
  int taken = 0;
  while (taken < messages_a_turn && !from.closed && from.socket->receive(arrival)) {
    ++taken;
    receive(from.peer, arrival, from.owner);
  }
  hand_over_arrived();
  from.ready = taken == messages_a_turn;
  if (!from.closed && from.socket->now() == wire::client_socket::state::down) {
    log_.info("bridge", "a connection is down", {{"peer", to_string(from.peer)}, {"why", from.socket->reason()}});
    from.closed = true;
    tell(*from.owner, {notice::kind::peer_lost, from.peer.value});
  }
  return from.ready;
}

void hub::drop_closed() {
  const auto gone = std::erase_if(connections_, [](const auto& c) { return c->closed; });
  fds_stale_ |= gone > 0;
}

void hub::receive(peer_id from, wire::arrival& arrival, role_slot* owner) {
  counts_.received.add();
  wire::envelope_head head;
  const auto valid = wire::peek(arrival.message.header.span(), head);
  if (arrival.problem == errc::too_large)
    return refuse(from, head,
                  {errc::too_large,
                   "the message passes the limits of the protocol: 1 MiB of header, 4096 payloads, 256 MiB",
                   {}});
  if (!valid.ok())
    return refuse(from, head, valid.error());
  role_slot* to = owner != nullptr ? owner : find_role(head.to);
  if (to == nullptr) {
    counts_.unroutable.add();
    if (head.request && head.type != wire::message_type::reply)
      static_cast<void>(send_now(from, wire::encode_failure({errc::unsupported,
                                                             "role " + std::to_string(static_cast<int>(head.to)) +
                                                                 " is not served at " + endpoint_,
                                                             {}},
                                                            head.request)));
    return;
  }
  if (arrival.allowed < wire::needed_for(head.type))
    return refuse(
        from, head,
        {errc::permission_denied,
         "this takes the key of a" + std::string{wire::needed_for(head.type) == wire::access::admin ? "n " : " "} +
             std::string{to_string(wire::needed_for(head.type))} + ", yours is a " +
             std::string{to_string(arrival.allowed)} + "'s",
         {}});
  if (mailbox_full(*to)) {
    counts_.overloaded.add();
    if (head.request && head.type != wire::message_type::reply)
      static_cast<void>(send_now(
          from, wire::encode_failure({errc::overloaded, "too many messages wait to be served", {}}, head.request)));
    return;
  }
  if (owner == nullptr) {
    const std::uint32_t bit = 1U << (static_cast<std::uint32_t>(to->role) & 31);
    if (from != last_from_ || (last_roles_ & bit) == 0) {
      last_roles_ = acquainted_[from] |= bit;
      last_from_ = from;
    }
  }
  to->arrived.push_back({from, head, std::move(arrival.message), arrival.allowed});
  if (const auto bytes = payload_bytes(to->arrived.back()); bytes > 0)
    to->waiting_bytes.fetch_add(bytes, std::memory_order_relaxed);
}

/// Answers what could not be read, if it asked for an answer. A reply is never answered: two that do not understand
/// each other would go on for ever.
void hub::refuse(peer_id to, const wire::envelope_head& head, const error& why) {
  counts_.undecodable.add();
  log_.debug("bridge", "refused a message: " + why.message, {{"peer", to_string(to)}});
  if (head.request && head.type != wire::message_type::reply)
    static_cast<void>(send_now(to, wire::encode_failure(why, head.request)));
}

role_slot* hub::find_role(wire::role role) {
  if (role == wire::role::any)
    return roles_.size() == 1 ? &roles_.front() : nullptr;
  return role_by_number_[static_cast<std::size_t>(role)];
}

bool hub::mailbox_full(const role_slot& slot) const {
  return slot.waiting.load(std::memory_order_relaxed) + slot.arrived.size() >=
             static_cast<std::size_t>(options_.high_water_mark) ||
         slot.waiting_bytes.load(std::memory_order_relaxed) >= options_.mailbox_bytes;
}

void hub::hand_over_arrived() {
  for (auto& slot : roles_) {
    const std::size_t count = slot.arrived.size();
    if (count == 0)
      continue;
    slot.waiting.fetch_add(static_cast<std::uint32_t>(count), std::memory_order_relaxed);
    if (count == 1) {
      mail(slot.actor, std::move(slot.arrived.front()), &unit_);
      slot.arrived.clear();
    } else {
      mail(slot.actor, mail_batch{std::exchange(slot.arrived, {})}, &unit_);
    }
  }
}

void hub::deliver(role_slot& to, incoming&& one) {
  to.waiting.fetch_add(1, std::memory_order_relaxed);
  to.waiting_bytes.fetch_add(payload_bytes(one), std::memory_order_relaxed);
  mail(to.actor, std::move(one), unit());
}

void hub::tell(role_slot& slot, notice n) { mail(slot.actor, n, unit()); }

void hub::report_lost(peer_id peer) {
  const auto known = acquainted_.find(peer);
  if (known == acquainted_.end())
    return;
  for (auto& slot : roles_)
    if ((known->second & (1U << (static_cast<std::uint32_t>(slot.role) & 31))) != 0)
      tell(slot, {notice::kind::peer_lost, peer.value});
  acquainted_.erase(known);
  last_from_ = {};
}

// -- out
// -----------------------------------------------------------------------------------------------------------------

result<> hub::send(role_slot& from, peer_id to, wire::frames message) {
  if (is_local(to)) {
    role_slot* slot = to ? role_by_number_[to.value & 0xff] : nullptr;
    if (slot == nullptr || to.value > 0xff)
      return {errc::unavailable, "peer " + to_string(to) + " is none"};
    return send_local(from, *slot, std::move(message));
  }
  if (in_loop())
    return send_now(to, message);
  SQUALL_TRY(wire::within_limits(message));
  outbox_.push(send_item{&from, to, std::move(message)});
  return {};
}

result<> hub::send_now(peer_id to, const wire::frames& message) {
  const auto sent = [&]() -> result<> {
    if (is_route(to))
      return server_->send(wire::route{to.value}, message);
    for (auto& c : connections_) {
      if (c->peer != to || c->closed)
        continue;
      return c->socket->send(message);
    }
    return {errc::unavailable, "the connection is closed"};
  }();
  if (sent.ok())
    counts_.sent.add();
  else if (sent.error().code == errc::overloaded)
    counts_.overloaded.add();
  else if (sent.error().code == errc::unavailable)
    counts_.unreachable.add();
  return sent;
}

result<> hub::send_local(role_slot& from, role_slot& to, wire::frames message) {
  SQUALL_TRY(wire::within_limits(message));
  SQUALL_ASSIGN(head, wire::peek(message.header.span()));
  if (to.waiting.load(std::memory_order_relaxed) >= static_cast<std::uint32_t>(options_.high_water_mark) ||
      to.waiting_bytes.load(std::memory_order_relaxed) >= options_.mailbox_bytes)
    return {errc::overloaded, "too many messages wait to be served"};
  incoming one{local(from.role), head, std::move(message), wire::access::admin};
  // Inline roles are only ever reached from the loop: anything else would run them on the pool.
  if (to.how == placing::inline_in_bridge && !in_loop())
    outbox_.push(mail_item{&to, std::move(one)});
  else
    deliver(to, std::move(one));
  return {};
}

result<peer_id> hub::connect(role_slot& from, const std::string& endpoint, const std::string& server_key) {
  SQUALL_TRY(check_endpoint(endpoint));
  const peer_id peer{first_connection + connections_made_.fetch_add(1, std::memory_order_relaxed)};
  if (in_loop())
    SQUALL_TRY(connect_now(from, peer, endpoint, server_key));
  else
    outbox_.push(connect_item{&from, peer, endpoint, server_key});
  return peer;
}

result<> hub::connect_now(role_slot& from, peer_id peer, const std::string& endpoint, const std::string& server_key) {
  wire::connect_options options;
  options.endpoint = endpoint;
  options.high_water_mark = options_.high_water_mark;
  options.server_key = server_key;
  options.keys = {options_.keys.client_public, options_.keys.client_secret};
  SQUALL_ASSIGN(socket, wire::client_socket::connect(*context_, options));
  connections_.push_back(std::make_unique<connection>(connection{peer, &from, std::move(socket)}));
  fds_stale_ = true;
  return {};
}

void hub::close(peer_id peer) {
  if (!in_loop())
    return outbox_.push(close_item{peer});
  // Not erased here: the loop may be in the middle of its messages.
  for (auto& c : connections_)
    if (c->peer == peer)
      c->closed = true;
}

peer_id hub::local(wire::role role) const {
  return role_by_number_[static_cast<std::size_t>(role)] != nullptr ? peer_id{static_cast<std::uint64_t>(role)}
                                                                    : peer_id{};
}

void hub::later(role_slot& slot, std::function<void()> task) {
  if (slot.how == placing::inline_in_bridge && !in_loop())
    outbox_.push(mail_item{&slot, role_task{std::move(task)}});
  else
    mail(slot.actor, role_task{std::move(task)}, unit());
}

void hub::carry_out(item&& one) {
  std::visit(overloads{
                 [this](send_item&& i) {
                   const auto sent = send_now(i.to, i.message);
                   if (!sent.ok())
                     tell(*i.from, {notice::kind::peer_lost, i.to.value});
                 },
                 [this](connect_item&& i) {
                   const auto made = connect_now(*i.from, i.peer, i.endpoint, i.server_key);
                   if (made.ok())
                     return;
                   log_.warn("bridge", made.error().message);
                   tell(*i.from, {notice::kind::peer_lost, i.peer.value});
                 },
                 [this](close_item&& i) { close(i.peer); },
                 [](alarm_item&& i) {
                   i.slot->alarm = i.at;
                   i.slot->alarm_armed = i.number;
                 },
                 [this](mail_item&& i) {
                   if (auto* message = std::get_if<incoming>(&i.what))
                     deliver(*i.to, std::move(*message));
                   else
                     mail(i.to->actor, std::get<role_task>(std::move(i.what)), &unit_);
                 },
                 [this](stopped_item&&) { ++stopped_roles_; },
                 [this](drain_item&&) { begin_drain(); },
                 [this](drained_item&&) {
                   if (++drained_roles_ == roles_.size())
                     stop();
                 },
                 [this](allow_item&& i) {
                   if (const auto set = server_->set_allowed(i.allowed); !set.ok())
                     log_.error("bridge", "the list of keys stays as it was", {{"error", set.error().message}});
                   else
                     log_.info("bridge", "another list of keys", {{"keys", std::to_string(i.allowed.size())}});
                 },
             },
             std::move(one));
}

} // namespace squall::actors::detail
