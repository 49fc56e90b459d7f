#include "wire/bundle.hpp"
#include "wire/zmq/detail/curve_gate.hpp"
#include "wire/zmq/detail/raw_socket.hpp"
#include "wire/zmq/detail/unix_twin.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <unordered_map>
#include <unordered_set>

namespace squall::wire {

namespace {

using detail::raw_message;
using detail::raw_socket;

/// The identity that ROUTER gives to a peer that names none: a zero byte and a number of four bytes.
constexpr std::size_t identity_bytes = 5;
constexpr std::uint64_t route_mark = 1ull << 32; // makes number 0 a valid id

bool is_loopback(const std::string& endpoint) {
  for (const char* local : {"ipc://", "inproc://", "tcp://127.", "tcp://localhost:", "tcp://[::1]:"})
    if (endpoint.starts_with(local))
      return true;
  return false;
}

result<> check_exposure(const server_options& options) {
  if (options.keys.secret_key.empty()) {
    if (is_loopback(options.endpoint))
      return {};
    return {errc::permission_denied, "listening on " + options.endpoint +
                                         " without keys would let in anybody who can reach it: make keys with `squall "
                                         "keys new` and name them in the "
                                         "configuration, or listen on tcp://127.0.0.1:PORT"};
  }
  if (!detail::is_key(options.keys.secret_key))
    return {errc::invalid_argument, "the server's secret key is not 40 characters of Z85; `squall keys new` makes one"};
  if (options.allowed.empty())
    return {errc::invalid_argument, "the server has a key but no client's key is allowed: nobody could connect"};
  return {};
}

class router final : public server_socket {
public:
  explicit router(std::uint64_t waiting_bytes) : backlog_(waiting_bytes) {}

  result<> open(zmq_context& context, const server_options& options) {
    SQUALL_TRY(check_exposure(options));
    socket_ = raw_socket{context, ZMQ_ROUTER};
    SQUALL_TRY(detail::set_common_options(socket_, options.endpoint, options.high_water_mark, options.linger));
    if (!socket_.set(ZMQ_ROUTER_MANDATORY, 1) || !socket_.set(ZMQ_ROUTER_HANDOVER, 0) ||
        !socket_.set(ZMQ_BACKLOG, 1024))
      return detail::zmq_failure("cannot make a socket for", options.endpoint);
    if (!options.keys.secret_key.empty())
      SQUALL_TRY(guard(context, options));
    SQUALL_TRY(monitor_.start(context, socket_, ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED));
    if (zmq_bind(socket_.get(), options.endpoint.c_str()) != 0)
      return detail::zmq_failure("cannot listen on", options.endpoint);
    endpoint_ = socket_.text(ZMQ_LAST_ENDPOINT);
    if (!options.unix_socket)
      return {};
    const std::string twin = detail::unix_twin_of(endpoint_);
    if (!twin.empty() && zmq_bind(socket_.get(), twin.c_str()) != 0)
      return detail::zmq_failure("cannot listen on", twin);
    return {};
  }

  [[nodiscard]] const std::string& endpoint() const override { return endpoint_; }

  bool receive(arrival& out) override {
    for (;;) {
      if (bundle_.next(out)) {
        out.from = bundle_from_;
        out.allowed = bundle_allowed_;
        return true;
      }
      touched_ = true;
      if (!socket_.receive(identity_)) {
        touched_ = false; // it has just looked: what comes now shows on the descriptor
        let_go();
        return false;
      }
      if (!frames_.begin(socket_))
        return false;
      out.from = route_of(identity_.bytes(), frames_.header());
      frames_.finish(socket_, out);
      // A peer that names itself is none of ours: it could take the name of another. One whose key was revoked is gone.
      if (!out.from || last_->allowed == access::nobody)
        continue;
      out.allowed = last_->allowed;
      if (out.problem == errc::ok && bundle_.open(out.message)) {
        bundle_from_ = out.from;
        bundle_allowed_ = out.allowed;
      } else if (is_takes_bundles(out.message.header.span())) {
        agree_to_bundles(*last_);
      } else {
        return true;
      }
    }
  }

  result<> send(route to, const frames& message) override {
    SQUALL_TRY(within_limits(message));
    // The socket learns of a closed connection later than the monitor tells of it, and until then takes messages.
    peer* const known = find(to);
    if (known == nullptr || known->allowed == access::nobody)
      return {errc::unavailable, "the peer is gone"};
    SQUALL_TRY(backlog_.check(*known->held, size_of(message)));
    const bool waits = known->bundles && bundle_writer::fits(message);
    int failure = waits && !known->waiting.full() ? 0 : send_waiting(*known);
    if (failure == 0 && waits) {
      if (known->waiting.empty())
        to_flush_.push_back(to);
      known->waiting.add(message);
    } else if (failure == 0) {
      failure = send_identity(*known);
      if (failure == 0)
        failure = detail::send_frames(socket_, message, known->held);
    }
    if (failure == 0)
      return {};
    if (failure == EAGAIN)
      return {errc::overloaded, "the queue to the peer is full"};
    return {errc::unavailable, "the peer is gone"};
  }

  [[nodiscard]] std::shared_ptr<const std::atomic<std::uint64_t>> waiting_bytes() const override {
    return backlog_.all();
  }

  void flush() override {
    std::erase_if(to_flush_, [this](route to) {
      peer* const known = find(to);
      return known == nullptr || send_waiting(*known) != EAGAIN;
    });
    unread_.look();
  }

  void pump() override {
    follow_connections();
    if (gate_.socket())
      gate_.pump();
  }

  [[nodiscard]] std::vector<route> take_departed() override { return std::exchange(departed_, {}); }

  [[nodiscard]] bool idle() override {
    // Only our own use of a socket swallows the news on its descriptor; without any the descriptor can be trusted.
    if (pumped_) {
      follow_connections();
      // Who waits at the gate is for pump() to let in.
      if (monitor_.socket().readable() || (gate_.socket() && gate_.socket().readable()))
        return false;
    }
    if (!leaving_.empty() || !departed_.empty() || !bundle_.empty() || (touched_ && socket_.readable()))
      return false;
    pumped_ = false;
    touched_ = false;
    return true;
  }

  void fds(std::vector<int>& out) const override {
    out.push_back(socket_.fd());
    out.push_back(monitor_.socket().fd());
    if (gate_.socket())
      out.push_back(gate_.socket().fd());
  }

  result<> set_allowed(const std::vector<std::string>& allowed) override {
    if (!gate_.socket())
      return {};
    if (allowed.empty())
      return {errc::invalid_argument, "the list of allowed keys is empty: nobody could connect"};
    SQUALL_ASSIGN(list, detail::read_access_list(allowed));
    gate_.set_allowed(std::move(list));
    for (auto& [route, known] : routes_) {
      const auto before = std::exchange(known.allowed, gate_.access_of(known.key));
      if (known.allowed != access::nobody || before == access::nobody)
        continue;
      departed_.push_back(route);
      known.waiting.clear();
      if (route == bundle_from_)
        bundle_.drop();
    }
    return {};
  }

private:
  struct peer {
    route self;
    std::string key; ///< empty without keys
    access allowed = access::admin;
    std::shared_ptr<detail::backlog::share> held; ///< by ZeroMQ
    bool bundles = false;                         ///< it takes them
    bundle_writer waiting;
  };

  peer* find(route to) {
    if (last_ != nullptr && last_->self == to)
      return last_;
    const auto known = routes_.find(to);
    return known == routes_.end() ? nullptr : &known->second;
  }

  void agree_to_bundles(peer& from) {
    if (std::exchange(from.bundles, true))
      return;
    if (send_identity(from) == 0)
      (void)detail::send_small(socket_, takes_bundles(), 0);
  }

  /// 0 or errno.
  int send_waiting(peer& to) {
    if (to.waiting.empty())
      return 0;
    int failure = send_identity(to);
    if (failure == 0)
      failure = detail::send_copy(socket_, to.waiting.frame(), to.held);
    if (failure != EAGAIN)
      to.waiting.clear();
    return failure;
  }

  /// 0 or errno. A message must follow.
  int send_identity(const peer& to) {
    touched_ = true;
    std::array<std::byte, identity_bytes> identity{};
    for (std::size_t i = 0; i < 4; ++i)
      identity[i + 1] = static_cast<std::byte>(to.self.value >> (8 * (3 - i)));
    return detail::send_small(socket_, identity, ZMQ_SNDMORE);
  }

  result<> guard(zmq_context& context, const server_options& options) {
    SQUALL_ASSIGN(list, detail::read_access_list(options.allowed));
    SQUALL_TRY(gate_.open(context, std::move(list)));
    if (!socket_.set(ZMQ_CURVE_SERVER, 1) || !socket_.set(ZMQ_CURVE_SECRETKEY, options.keys.secret_key) ||
        !socket_.set(ZMQ_ZAP_DOMAIN, std::string{"squall"}))
      return detail::zmq_failure("cannot use the keys for", options.endpoint);
    return {};
  }

  void follow_connections() {
    detail::socket_monitor::event event;
    while (monitor_.next(event)) {
      const auto fd = static_cast<int>(event.value);
      if (event.what == ZMQ_EVENT_ACCEPTED)
        open_.insert(fd);
      else if (event.what == ZMQ_EVENT_DISCONNECTED)
        on_closed(fd);
    }
    pumped_ = true;
  }

  /// The peer's route; none if it names itself. Who a new one is the message's header knows: ZeroMQ leaves it off the
  /// identity of a message that it has taken in to say that there is one.
  route route_of(std::span<const std::byte> identity, raw_message& header) {
    if (identity.size() != identity_bytes || identity[0] != std::byte{0})
      return {};
    std::uint64_t number = 0;
    for (std::size_t i = 1; i < identity_bytes; ++i)
      number = number << 8 | static_cast<std::uint64_t>(identity[i]);
    const route from{route_mark | number};
    if (last_ != nullptr && last_->self == from)
      return from;
    auto known = routes_.find(from);
    if (known == routes_.end()) {
      const int fd = zmq_msg_get(header.get(), ZMQ_SRCFD);
      peer fresh;
      fresh.self = from;
      fresh.held = backlog_.open();
      if (gate_.socket()) {
        const char* const key = zmq_msg_gets(header.get(), "User-Id");
        fresh.key = key == nullptr ? "" : key;
        fresh.allowed = gate_.access_of(fresh.key);
      }
      known = routes_.emplace(from, std::move(fresh)).first;
      if (fd >= 0) // else it is in this process
        watch(from, fd);
    }
    last_ = &known->second;
    return from;
  }

  /// A descriptor is used again as soon as it is free, while messages of its earlier connections may still wait to be
  /// read. Of two routes the one with the higher number has it (ROUTER counts up), and none if it is closed.
  void watch(route fresh, int fd) {
    follow_connections();
    if (!open_.contains(fd))
      return leaving_.push_back(fresh);
    unread_.watch(fd);
    const auto [held, first] = route_of_fd_.try_emplace(fd, fresh);
    if (first)
      return;
    if (static_cast<std::int32_t>(fresh.value - held->second.value) > 0)
      std::swap(fresh, held->second);
    leaving_.push_back(fresh);
  }

  void on_closed(int fd) {
    open_.erase(fd);
    unread_.forget(fd);
    const auto held = route_of_fd_.find(fd);
    if (held == route_of_fd_.end())
      return; // it has sent nothing yet
    leaving_.push_back(held->second);
    route_of_fd_.erase(held);
  }

  /// The messages of peers whose connection closed are all read: their routes end.
  void let_go() {
    for (const route gone : std::exchange(leaving_, {})) {
      const auto known = routes_.find(gone);
      if (known->second.allowed != access::nobody) // else it has departed
        departed_.push_back(gone);
      routes_.erase(known);
      last_ = nullptr;
    }
  }

  raw_socket socket_;
  detail::frame_reader frames_;
  detail::socket_monitor monitor_;
  detail::curve_gate gate_;
  std::string endpoint_;
  raw_message identity_;
  detail::backlog backlog_;
  detail::unread_guard unread_;
  std::unordered_map<route, peer> routes_;
  peer* last_ = nullptr;       ///< in routes_: the sender of the latest message
  detail::open_bundle bundle_; ///< that was received,
  route bundle_from_;          ///< whose it is, and what that peer may do
  access bundle_allowed_ = access::nobody;
  std::vector<route> to_flush_;                ///< peers for whom messages wait
  std::unordered_map<int, route> route_of_fd_; ///< of each in routes_ that has a descriptor
  std::unordered_set<int> open_;               ///< descriptors of connections
  std::vector<route> leaving_;                 ///< their connections are gone, their last messages may be unread
  std::vector<route> departed_;
  bool touched_ = true;
  bool pumped_ = true;
};

} // namespace

result<std::unique_ptr<server_socket>> server_socket::bind(zmq_context& context, const server_options& options) {
  auto socket = std::make_unique<router>(options.waiting_bytes);
  SQUALL_TRY(socket->open(context, options));
  return std::unique_ptr<server_socket>{std::move(socket)};
}

} // namespace squall::wire
