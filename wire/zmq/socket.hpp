#pragma once

#include "base/bytes.hpp"
#include "base/ids.hpp"
#include "base/result.hpp"
#include "base/time.hpp"
#include "wire/codec.hpp"

#include <atomic>
#include <memory>
#include <string>
#include <vector>

/// ZeroMQ sockets that exchange `frames`, with the options and limits of docs/wire.md. Nothing here waits, and nothing
/// here is thread-safe: a socket belongs to the thread that uses it.
///
/// A loop over several sockets: take what receive() gives until it gives nothing; flush(); then, if idle() of each
/// socket is true, sleep in poll() on the fds() of all; then pump() those that woke. One that is not idle wants pump()
/// and another look. The descriptors are edge-triggered: without idle() a wake-up is lost. A loop that never sleeps
/// calls pump() now and then.
///
/// Small messages to a busy peer that takes bundles (wire/bundle.hpp) wait for flush(); all others go at once.
namespace squall::wire {

/// A pair for CURVE, each as 40 characters of Z85.
struct key_pair {
  std::string public_key;
  std::string secret_key;
};
[[nodiscard]] result<key_pair> make_keys();

/// Owns ZeroMQ's I/O threads. Make it after the last fork, let it live longer than its sockets. Its destructor waits
/// until the sockets' last messages are out, at most their linger.
class zmq_context {
public:
  [[nodiscard]] static result<std::unique_ptr<zmq_context>> create(int io_threads = 1);
  ~zmq_context();
  zmq_context(const zmq_context&) = delete;
  zmq_context& operator=(const zmq_context&) = delete;

  [[nodiscard]] void* raw() const { return context_; }

private:
  explicit zmq_context(void* context) : context_(context) {}
  void* context_;
};

/// Of messages that ZeroMQ holds for peers that do not take them.
inline constexpr std::uint64_t max_waiting_bytes = 1ull << 30;
/// A peer that takes nothing of what waits for it for so long is cut off.
inline constexpr duration unread_limit = std::chrono::seconds{10};

/// A connection as the server sees it; a client that connects again gets another.
using route = strong_id<struct route_tag>;

/// What receive() gives.
struct arrival {
  route from; ///< of a server's socket
  frames message;
  /// too_large: a limit of docs/wire.md is passed; payloads are dropped, the header is there to be peeked at. corrupt:
  /// no header.
  errc problem = errc::ok;
  access allowed = access::admin; ///< what its sender may do; on a connection that we made: everything
};

struct server_options {
  std::string endpoint;    ///< "tcp://127.0.0.1:*" takes any port
  bool unix_socket = true; ///< on loopback: listen on one as well, which clients then take (docs/wire.md)
  int high_water_mark = 10'000;
  duration linger = std::chrono::milliseconds{500};
  /// What may wait for all peers together; for one of them as much as is left of it, and one message in any case (up to
  /// twice this for all). Messages below 4 KiB have room beyond that.
  std::uint64_t waiting_bytes = max_waiting_bytes;
  key_pair keys; ///< empty: no encryption, loopback only
  /// With keys at least one: "KEY", "KEY ROLE" or "KEY ROLE NAME" with the client's public key; the role is user, node
  /// or admin (which it is where none is given).
  std::vector<std::string> allowed;
};

/// A ROUTER: one socket, many peers.
class server_socket {
public:
  /// Fails as permission_denied when the endpoint is not loopback and there are no keys (and says how to make them), as
  /// already_exists when the port is taken, as invalid_argument when the endpoint or a key is none.
  [[nodiscard]] static result<std::unique_ptr<server_socket>> bind(zmq_context& context, const server_options& options);
  virtual ~server_socket() = default;

  /// With the real port.
  [[nodiscard]] virtual const std::string& endpoint() const = 0;

  /// The next message; false when there is none now.
  virtual bool receive(arrival& out) = 0;

  /// Fails as overloaded (too many messages or bytes wait for the peer), unavailable (the peer is gone), too_large.
  virtual result<> send(route to, const frames& message) = 0;

  /// Bytes that wait for all peers. For any thread.
  [[nodiscard]] virtual std::shared_ptr<const std::atomic<std::uint64_t>> waiting_bytes() const = 0;

  /// Sends what waits. What a peer's full queue does not take goes on waiting.
  virtual void flush() = 0;

  /// Serves what comes beside messages: who left, who may come in. Cheap when there is nothing. Nobody else lets peers
  /// in: whoever changes the list first and calls this then lets nobody in by the old one.
  virtual void pump() = 0;

  /// Peers that sent something and have left since the last call. Ask after receive() gave nothing, so that their last
  /// messages come first.
  [[nodiscard]] virtual std::vector<route> take_departed() = 0;

  [[nodiscard]] virtual bool idle() = 0;
  virtual void fds(std::vector<int>& out) const = 0;

  /// Another list from now on. Peers whose key is no longer in it depart, and what they send is dropped. Fails as
  /// bind() does, then the old list stays. Of a server without keys: no effect.
  virtual result<> set_allowed(const std::vector<std::string>& allowed) = 0;
};

struct connect_options {
  std::string endpoint;
  int high_water_mark = 10'000;
  duration linger = std::chrono::milliseconds{500};
  std::uint64_t waiting_bytes = max_waiting_bytes; ///< half of it may wait for the server, or one message
  std::string server_key;                          ///< empty: no encryption
  key_pair keys;                                   ///< ours, with a server key
};

/// A DEALER: one server. Messages sent before the server is there wait for it. A connection that was up and broke stays
/// down: what was said on it is void, and whoever wants to go on connects again and introduces itself again.
class client_socket {
public:
  enum class state : std::uint8_t { connecting, up, down };

  /// Fails as invalid_argument when the endpoint or a key is none.
  [[nodiscard]] static result<std::unique_ptr<client_socket>> connect(zmq_context& context,
                                                                      const connect_options& options);
  virtual ~client_socket() = default;

  virtual bool receive(arrival& out) = 0;
  /// Fails as overloaded (the queue is full), unavailable (down), too_large.
  virtual result<> send(const frames& message) = 0;
  /// Sends what waits. What a full queue does not take goes on waiting.
  virtual void flush() = 0;
  /// Follows the state of the connection. Cheap when there is nothing.
  virtual void pump() = 0;
  [[nodiscard]] virtual state now() const = 0;
  /// Why it is down, for people.
  [[nodiscard]] virtual const std::string& reason() const = 0;
  [[nodiscard]] virtual bool idle() = 0;
  virtual void fds(std::vector<int>& out) const = 0;
};

} // namespace squall::wire
