#include "wire/zmq/detail/raw_socket.hpp"

#include <cerrno>
#include <cstring>

namespace squall::wire {

result<key_pair> make_keys() {
  char public_key[41];
  char secret_key[41];
  if (zmq_curve_keypair(public_key, secret_key) != 0)
    return {errc::unsupported, "this ZeroMQ was built without CURVE"};
  return key_pair{public_key, secret_key};
}

result<std::unique_ptr<zmq_context>> zmq_context::create(int io_threads) {
  void* context = zmq_ctx_new();
  if (context == nullptr)
    return {errc::internal, "ZeroMQ: no context: " + std::string{zmq_strerror(zmq_errno())}};
  zmq_ctx_set(context, ZMQ_IO_THREADS, io_threads);
  zmq_ctx_set(context, ZMQ_MAX_SOCKETS, 65'536);
  return std::unique_ptr<zmq_context>{new zmq_context{context}};
}

zmq_context::~zmq_context() {
  while (zmq_ctx_term(context_) != 0 && zmq_errno() == EINTR) {
  }
}

namespace detail {

namespace {

/// Below this a copy is cheaper than the bookkeeping of a shared buffer.
constexpr std::size_t copy_below_bytes = 512;

/// Headers up to this size are copied.
constexpr std::size_t small_header_bytes = 240;

/// What ZeroMQ sends without a copy.
struct held_part {
  shared_bytes bytes;
  std::shared_ptr<backlog::share> of;
};

/// In ZeroMQ's thread.
void drop_part(void*, void* part) {
  const std::unique_ptr<held_part> held{static_cast<held_part*>(part)};
  held->of->take(held->bytes.size());
}

int send_message(raw_socket& socket, zmq_msg_t& m, int flags) {
  for (;;) {
    if (zmq_msg_send(&m, socket.get(), flags | ZMQ_DONTWAIT) >= 0)
      return 0;
    const int failure = zmq_errno();
    if (failure == EINTR)
      continue;
    zmq_msg_close(&m);
    return failure;
  }
}

int send_part(raw_socket& socket, const shared_bytes& part, int flags, const std::shared_ptr<backlog::share>& of) {
  if (part.size() < copy_below_bytes)
    return send_small(socket, part.span(), flags);
  zmq_msg_t m;
  auto held = std::make_unique<held_part>(held_part{part, of});
  // ZeroMQ only reads what it sends; its interface lacks the const.
  void* data = const_cast<std::byte*>(part.data());
  if (zmq_msg_init_data(&m, data, part.size(), drop_part, held.get()) != 0)
    return zmq_errno();
  static_cast<void>(held.release());
  of->add(part.size());
  return send_message(socket, m, flags);
}

shared_bytes bytes_of(std::shared_ptr<raw_message> owner) {
  const auto view = owner->bytes();
  if (view.empty())
    return {};
  return {std::move(owner), view};
}

} // namespace

std::string raw_socket::text(int option) const {
  char buffer[256];
  std::size_t size = sizeof buffer;
  if (zmq_getsockopt(socket_, option, buffer, &size) != 0 || size == 0)
    return {};
  return {buffer, size - 1};
}

int raw_socket::fd() const {
  int fd = -1;
  std::size_t size = sizeof fd;
  zmq_getsockopt(socket_, ZMQ_FD, &fd, &size);
  return fd;
}

bool raw_socket::readable() const {
  int events = 0;
  std::size_t size = sizeof events;
  return zmq_getsockopt(socket_, ZMQ_EVENTS, &events, &size) == 0 && (events & ZMQ_POLLIN) != 0;
}

result<> set_common_options(raw_socket& socket, const std::string& endpoint, int high_water_mark, duration linger) {
  constexpr int heartbeat_ms = 1'000;
  constexpr int dead_after_ms = 5'000;
  // The kernel gives up a peer that acknowledges nothing, or whose window stays closed, for so long.
  constexpr int unread_ms = std::chrono::duration_cast<std::chrono::milliseconds>(unread_limit).count();
  const auto linger_ms = static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(linger).count());
  const bool set = socket && socket.set(ZMQ_LINGER, linger_ms) && socket.set(ZMQ_SNDHWM, high_water_mark) &&
                   socket.set(ZMQ_RCVHWM, high_water_mark) && socket.set(ZMQ_HEARTBEAT_IVL, heartbeat_ms) &&
                   socket.set(ZMQ_HEARTBEAT_TIMEOUT, dead_after_ms) && socket.set(ZMQ_HEARTBEAT_TTL, dead_after_ms) &&
                   socket.set(ZMQ_HANDSHAKE_IVL, 10'000) && socket.set(ZMQ_TCP_MAXRT, unread_ms) &&
                   socket.set(ZMQ_MAXMSGSIZE, static_cast<std::int64_t>(max_payload_bytes)) &&
                   socket.set(ZMQ_TCP_KEEPALIVE, 1) && socket.set(ZMQ_TCP_KEEPALIVE_IDLE, 10) &&
                   socket.set(ZMQ_TCP_KEEPALIVE_INTVL, 5) && socket.set(ZMQ_TCP_KEEPALIVE_CNT, 3) &&
                   socket.set(ZMQ_IPV6, endpoint.find('[') != std::string::npos ? 1 : 0);
  if (!set)
    return zmq_failure("cannot make a socket for", endpoint);
  return {};
}

void frame_reader::finish(raw_socket& socket, arrival& out) {
  out.message.payloads.clear();
  out.problem = errc::ok;
  bool more = header_.more();
  std::size_t total = header_.bytes().size();
  // Also one that is too large: its first bytes say who wants an answer.
  if (total > 0 && total <= small_header_bytes)
    out.message.header = headers_.copy(header_.bytes());
  else
    out.message.header = bytes_of(std::make_shared<raw_message>(std::move(header_)));
  if (total > max_header_bytes)
    out.problem = errc::too_large;
  else if (total == 0)
    out.problem = errc::corrupt;
  while (more) {
    auto part = std::make_shared<raw_message>();
    if (!socket.receive(*part))
      break;
    more = part->more();
    total += part->bytes().size();
    if (out.message.payloads.size() == max_payload_frames || total > max_message_bytes)
      out.problem = errc::too_large;
    if (out.problem == errc::ok)
      out.message.payloads.push_back(bytes_of(std::move(part)));
  }
  if (out.problem != errc::ok)
    out.message.payloads.clear();
}

bool open_bundle::next(arrival& out) {
  if (messages_.empty())
    return false;
  const auto got = messages_.next(out.message);
  out.problem = got.ok() ? errc::ok : errc::corrupt;
  if (!got.ok())
    out.message = {};
  else if (out.message.header.size() > max_header_bytes || out.message.payloads.size() > max_payload_frames)
    out.problem = errc::too_large;
  return true;
}

int send_small(raw_socket& socket, std::span<const std::byte> part, int flags) {
  zmq_msg_t m;
  if (zmq_msg_init_size(&m, part.size()) != 0)
    return zmq_errno();
  if (!part.empty())
    std::memcpy(zmq_msg_data(&m), part.data(), part.size());
  return send_message(socket, m, flags);
}

int send_copy(raw_socket& socket, std::span<const std::byte> part, const std::shared_ptr<backlog::share>& of) {
  return send_part(socket, shared_bytes::copy_of(part.data(), part.size()), 0, of);
}

int send_frames(raw_socket& socket, const frames& message, const std::shared_ptr<backlog::share>& of) {
  std::size_t left = message.payloads.size();
  int failure = send_part(socket, message.header, left > 0 ? ZMQ_SNDMORE : 0, of);
  for (const auto& payload : message.payloads) {
    if (failure != 0)
      break;
    failure = send_part(socket, payload, --left > 0 ? ZMQ_SNDMORE : 0, of);
  }
  return failure;
}

socket_monitor::~socket_monitor() {
  // ZeroMQ's I/O thread waits for whoever reads its events, for ever if nobody does: first it must stop to tell.
  if (watched_ != nullptr)
    zmq_socket_monitor(watched_, nullptr, 0);
}

result<> socket_monitor::start(zmq_context& context, const raw_socket& watched, int events) {
  // The address must be unique in the context; that of the object is.
  const std::string address =
      "inproc://squall-monitor-" + std::to_string(reinterpret_cast<std::uintptr_t>(watched.get()));
  pair_ = raw_socket{context, ZMQ_PAIR};
  // Without a bound, since a full pipe, too, stops the I/O thread, and with it every socket of the process.
  if (!pair_ || !pair_.set(ZMQ_LINGER, 0) || !pair_.set(ZMQ_RCVHWM, 0) ||
      zmq_socket_monitor(watched.get(), address.c_str(), events) != 0)
    return zmq_failure("cannot monitor", address);
  watched_ = watched.get();
  if (zmq_connect(pair_.get(), address.c_str()) != 0)
    return zmq_failure("cannot monitor", address);
  return {};
}

bool socket_monitor::next(event& out) {
  raw_message m;
  if (!pair_.receive(m))
    return false;
  const auto bytes = m.bytes();
  if (bytes.size() >= 6) {
    std::uint16_t what = 0;
    std::memcpy(&what, bytes.data(), sizeof what);
    std::memcpy(&out.value, bytes.data() + sizeof what, sizeof out.value);
    out.what = what;
  }
  raw_message address;
  pair_.receive(address);
  return true;
}

error zmq_failure(const std::string& what, const std::string& endpoint) {
  const int reason = zmq_errno();
  const std::string text = what + " " + endpoint + ": " + zmq_strerror(reason);
  switch (reason) {
    case EADDRINUSE:
      return {errc::already_exists, text + "; another process holds it, choose another port", {}};
    case EINVAL:
    case EPROTONOSUPPORT:
    case ENOCOMPATPROTO:
    case ENODEV:
    case EADDRNOTAVAIL:
      return {errc::invalid_argument, text + "; an endpoint looks like tcp://127.0.0.1:7700", {}};
    case EACCES:
      return {errc::permission_denied, text, {}};
    case EMFILE:
      return {errc::overloaded, text + "; raise the limit of open files (ulimit -n)", {}};
    default:
      return {errc::internal, text, {}};
  }
}

bool is_key(const std::string& text) {
  std::uint8_t bytes[32];
  return text.size() == 40 && zmq_z85_decode(bytes, text.c_str()) != nullptr;
}

} // namespace detail

} // namespace squall::wire
