#include "wire/bundle.hpp"
#include "wire/zmq/detail/raw_socket.hpp"
#include "wire/zmq/detail/unix_twin.hpp"

#include <cerrno>

namespace squall::wire {

namespace {

using detail::raw_socket;

/// A connection that has carried so many messages is a busy one: the peer hears that we take bundles.
constexpr std::uint32_t busy_after = 128;

class dealer final : public client_socket {
public:
  explicit dealer(std::uint64_t waiting_bytes) : backlog_(waiting_bytes), held_(backlog_.open()) {}

  result<> open(zmq_context& context, const connect_options& options) {
    socket_ = raw_socket{context, ZMQ_DEALER};
    SQUALL_TRY(detail::set_common_options(socket_, options.endpoint, options.high_water_mark, options.linger));
    if (!socket_.set(ZMQ_RECONNECT_IVL, 50) || !socket_.set(ZMQ_RECONNECT_IVL_MAX, 1'000) ||
        !socket_.set(ZMQ_CONNECT_TIMEOUT, 3'000))
      return detail::zmq_failure("cannot make a socket for", options.endpoint);
    if (!options.server_key.empty())
      SQUALL_TRY(encrypt(options));
    const int events = ZMQ_EVENT_CONNECTED | ZMQ_EVENT_CONNECT_RETRIED | ZMQ_EVENT_DISCONNECTED |
                       ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
                       ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL;
    SQUALL_TRY(monitor_.start(context, socket_, events));
    endpoint_ = options.endpoint;
    way_ = detail::best_way_to(endpoint_);
    if (zmq_connect(socket_.get(), way_.c_str()) != 0)
      return detail::zmq_failure("cannot connect to", options.endpoint);
    return {};
  }

  bool receive(arrival& out) override {
    for (;;) {
      if (bundle_.next(out))
        return true;
      touched_ = true;
      if (!frames_.receive(socket_, out))
        break;
      count();
      if (out.problem == errc::ok && bundle_.open(out.message))
        continue;
      if (!is_takes_bundles(out.message.header.span()))
        return true;
      bundles_ = true;
    }
    touched_ = false; // it has just looked: what comes now shows on the descriptor
    if (!reason_.empty() && state_ != state::down)
      fall();
    return false;
  }

  result<> send(const frames& message) override {
    SQUALL_TRY(within_limits(message));
    if (state_ == state::down)
      return {errc::unavailable, "the connection is down: " + reason_};
    SQUALL_TRY(backlog_.check(*held_, size_of(message)));
    count();
    const bool waits = bundles_ && bundle_writer::fits(message);
    if (waits && !waiting_.full()) {
      waiting_.add(message);
      return {};
    }
    int failure = send_waiting();
    if (failure == 0 && waits)
      waiting_.add(message);
    else if (failure == 0)
      failure = detail::send_frames(socket_, message, held_);
    touched_ = true;
    if (failure == 0)
      return {};
    if (failure == EAGAIN)
      return {errc::overloaded, "the queue to the server is full"};
    return {errc::unavailable, std::string{"the connection fails: "} + zmq_strerror(failure)};
  }

  void flush() override {
    (void)send_waiting();
    unread_.look();
  }

  void pump() override {
    detail::socket_monitor::event event;
    while (monitor_.next(event)) {
      switch (event.what) {
        case ZMQ_EVENT_CONNECTED:
          unread_.watch(static_cast<int>(event.value));
          break;
        case ZMQ_EVENT_CONNECT_RETRIED:
          // Nobody was there, and who came meanwhile may listen on TCP alone.
          if (state_ == state::connecting && way_ != endpoint_ && detail::best_way_to(endpoint_) != way_)
            reason_ = "the server listens elsewhere";
          break;
        case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
          if (state_ == state::connecting)
            state_ = state::up;
          break;
        case ZMQ_EVENT_DISCONNECTED:
          unread_.forget(static_cast<int>(event.value));
          if (state_ == state::up)
            reason_ = "the server is gone";
          break;
        case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
          reason_ = "the server does not allow our key";
          break;
        case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
          reason_ = "the server does not speak as we do (keys on one side only?)";
          break;
        default:
          break;
      }
    }
    pumped_ = true;
  }

  [[nodiscard]] state now() const override { return state_; }
  [[nodiscard]] const std::string& reason() const override { return reason_; }

  [[nodiscard]] bool idle() override {
    // Only our own use of a socket swallows the news on its descriptor; without any the descriptor can be trusted.
    if (pumped_) {
      pump();
      if (monitor_.socket().readable())
        return false;
    }
    const bool falling = !reason_.empty() && state_ != state::down;
    if (falling || !bundle_.empty() || (touched_ && socket_.readable()))
      return false;
    pumped_ = false;
    touched_ = false;
    return true;
  }

  void fds(std::vector<int>& out) const override {
    out.push_back(socket_.fd());
    out.push_back(monitor_.socket().fd());
  }

private:
  result<> encrypt(const connect_options& options) {
    if (!detail::is_key(options.server_key))
      return {errc::invalid_argument, "the key of the server " + options.endpoint + " is not 40 characters of Z85"};
    if (!detail::is_key(options.keys.public_key) || !detail::is_key(options.keys.secret_key))
      return {errc::invalid_argument,
              "the server " + options.endpoint + " has a key, so we need a pair, too; `squall keys new` makes one"};
    if (!socket_.set(ZMQ_CURVE_SERVERKEY, options.server_key) ||
        !socket_.set(ZMQ_CURVE_PUBLICKEY, options.keys.public_key) ||
        !socket_.set(ZMQ_CURVE_SECRETKEY, options.keys.secret_key))
      return detail::zmq_failure("cannot use the keys for", options.endpoint);
    return {};
  }

  void count() {
    if (++messages_ == busy_after)
      (void)detail::send_small(socket_, takes_bundles(), 0);
  }

  /// 0 or errno.
  int send_waiting() {
    if (waiting_.empty())
      return 0;
    touched_ = true;
    const int failure = detail::send_copy(socket_, waiting_.frame(), held_);
    if (failure != EAGAIN)
      waiting_.clear();
    return failure;
  }

  /// Called when the server's last messages are read. ZeroMQ would connect again and hand our queued messages to a
  /// server that does not know us.
  void fall() {
    state_ = state::down;
    zmq_disconnect(socket_.get(), socket_.text(ZMQ_LAST_ENDPOINT).c_str());
  }

  raw_socket socket_;
  detail::frame_reader frames_;
  detail::socket_monitor monitor_;
  std::string endpoint_;
  std::string way_; ///< to it
  detail::backlog backlog_;
  detail::unread_guard unread_;
  std::shared_ptr<detail::backlog::share> held_; ///< for the server, the only peer
  state state_ = state::connecting;
  detail::open_bundle bundle_; ///< that was received
  bundle_writer waiting_;
  bool bundles_ = false; ///< the server takes them
  std::uint32_t messages_ = 0;
  std::string reason_; ///< set first; the state follows when nothing is left to read
  bool touched_ = true;
  bool pumped_ = true;
};

} // namespace

result<std::unique_ptr<client_socket>> client_socket::connect(zmq_context& context, const connect_options& options) {
  auto socket = std::make_unique<dealer>(options.waiting_bytes);
  SQUALL_TRY(socket->open(context, options));
  return std::unique_ptr<client_socket>{std::move(socket)};
}

} // namespace squall::wire
