#include "client/detail/link.hpp"

#include <fmt/format.h>

namespace squall::client::detail {

namespace {

using namespace std::chrono_literals;

constexpr auto ping_interval = 1s;
constexpr auto hello_interval = 2s;
constexpr auto silence_limit = 5s;
constexpr auto retry_interval = 500ms;
// Of several servers one that does not answer is left sooner, for the next.
constexpr auto next_interval = 200ms;
constexpr auto connect_limit = 1s;
constexpr auto tick_interval = 250ms;

// Requests of the link itself; those of the engine are random and never this small.
constexpr request_id hello_request{1};
constexpr request_id ping_request{2};

} // namespace

link::link(wire::zmq_context& context, const options& options, wire::role peer, client_id self)
    : context_(context), options_(options), peer_(peer), self_(self) {}

void link::open(const std::string& endpoints, clock::time_point now) {
  endpoints_ = wire::endpoint_list{endpoints};
  connect(now);
}

void link::connect(clock::time_point now) {
  retry_at_ = clock::time_point::max();
  next_tick_ = now + tick_interval;
  auto socket =
      wire::client_socket::connect(context_, {.endpoint = endpoint(),
                                              .linger = 200ms,
                                              .server_key = options_.keys.server_public,
                                              .keys = {options_.keys.client_public, options_.keys.client_secret}});
  if (!socket.ok())
    return fail(socket.error().code, socket.error().message, now);
  socket_ = std::move(socket).value();
  ++sockets_;
  news_ = waiting_ = true;
  opened_ = heard_ = pinged_ = now;
  say_hello(now);
}

void link::close() {
  flush();
  socket_.reset();
  ++sockets_;
  ready_ = false;
  retry_at_ = clock::time_point::max();
}

void link::say_hello(clock::time_point now) {
  wire::hello hello;
  hello.software = options_.software;
  hello.client = self_;
  hello.host = wire::host_key();
  hello.answers_from_nodes = true;
  if (auto sent = socket_->send(wire::encode(hello, hello_request, {}, peer_)); !sent.ok())
    return fail(sent.error().code, sent.error().message, now);
  ready_ = peer_ != wire::role::controller;
}

result<> link::send(const wire::frames& message) {
  if (!socket_)
    return trouble_;
  return socket_->send(message);
}

bool link::receive(answer& out, clock::time_point now) {
  // News of the connection first: ZeroMQ would soon connect again by itself, to a server that does not know us.
  if (socket_ && std::exchange(news_, false)) {
    socket_->pump();
    waiting_ = true;
  }
  if (!waiting_)
    return false;
  wire::arrival arrival;
  while (socket_ && socket_->receive(arrival)) {
    heard_ = now;
    // What cannot be read cannot be matched with a request either; its time-out will end that.
    auto head = wire::peek(arrival.message.header.span());
    if (arrival.problem == errc::corrupt || !head.ok())
      continue;
    if (head->type == wire::message_type::welcome) {
      on_welcome(arrival.message);
    } else if (head->type == wire::message_type::pong && head->request == ping_request) {
      on_pong(arrival.message);
    } else if (head->request == hello_request || head->request == ping_request) {
      on_hello_refused(arrival.message);
    } else {
      out = {*head, std::move(arrival.message)};
      return true;
    }
  }
  waiting_ = false;
  if (socket_ && socket_->now() == wire::client_socket::state::down)
    fail(errc::unavailable, socket_->reason(), now);
  return false;
}

void link::on_welcome(const wire::frames& message) {
  auto welcome = wire::decode<wire::welcome>(message, nullptr);
  if (!welcome.ok() || peer_ != wire::role::controller || ready_) // the answer to a second hello tells nothing new
    return;
  epoch_ = welcome->epoch;
  endpoints_.learn(welcome->controllers);
  ready_ = true;
  welcome_ = std::move(welcome).value();
}

void link::on_pong(const wire::frames& message) {
  const auto pong = wire::decode<wire::pong>(message, nullptr);
  if (pong.ok() && ready_ && peer_ == wire::role::controller && pong->epoch != epoch_)
    fail(errc::unavailable, "the cluster has restarted", heard_);
}

/// Somebody answered, but does not take us for a client it knows.
void link::on_hello_refused(const wire::frames& message) {
  const auto reply = wire::decode<wire::reply>(message, nullptr);
  if (peer_ != wire::role::controller || !reply.ok() || reply->code == errc::ok)
    return;
  fail(reply->code, reply->message, heard_);
}

std::optional<error> link::tick(clock::time_point now) {
  next_tick_ = now + tick_interval;
  const bool connecting = socket_ && socket_->now() == wire::client_socket::state::connecting;
  const auto limit = endpoints_.several() && connecting ? connect_limit : silence_limit;
  if (socket_ && now - heard_ >= limit && peer_ == wire::role::controller)
    fail(errc::unavailable, silence(), now);
  if (socket_ && now - pinged_ >= ping_interval && ready_ && peer_ != wire::role::node) {
    pinged_ = now;
    // A full queue is no reason to give up; silence is.
    (void)send(wire::encode(wire::ping{}, ping_request, {}, peer_));
  }
  if (socket_ && now - pinged_ >= hello_interval && !ready_ && socket_->now() == wire::client_socket::state::up) {
    pinged_ = now; // the last one may have met a server that did not read it
    say_hello(now);
  }
  const bool lost = std::exchange(lost_, false);
  if (!socket_ && now >= retry_at_)
    connect(now);
  return lost ? std::optional{trouble_} : std::nullopt;
}

std::string link::silence() const {
  if (socket_->now() == wire::client_socket::state::connecting)
    return "nobody answers there";
  return fmt::format("no word from it for {} s", std::chrono::seconds{silence_limit}.count());
}

void link::watch(std::vector<int>& out) const {
  const std::size_t before = out.size();
  if (socket_)
    socket_->fds(out);
  watched_ = out.size() - before;
}

std::size_t link::woken(const wire::ready_set& ready, std::size_t first) {
  // The first descriptor of a socket tells of messages, the others of the connection.
  for (std::size_t i = 0; i < watched_; ++i)
    (i == 0 ? waiting_ : news_) |= ready.woke(first + i);
  return watched_;
}

void link::fail(errc code, std::string why, clock::time_point now) {
  const bool was_ready = std::exchange(ready_, false);
  lost_ = lost_ || was_ready;
  trouble_ = {code, std::move(why), {}};
  socket_.reset();
  ++sockets_;
  retry_at_ = was_ready ? now : now + (endpoints_.several() ? next_interval : retry_interval);
  endpoints_.next();
  next_tick_ = now;
}

} // namespace squall::client::detail
