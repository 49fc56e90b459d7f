#include "wire/zmq/detail/unix_twin.hpp"

#include <time.h>

#include <charconv>
#include <cstring>
#include <optional>
#include <string_view>

#include <arpa/inet.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace squall::wire::detail {

namespace {

constexpr duration look_every = std::chrono::milliseconds{250};

/// The port of "tcp://127.0.0.1:7700" or "tcp://localhost:7700".
std::optional<std::uint16_t> loopback_port(std::string_view endpoint) {
  for (const std::string_view host : {"tcp://127.0.0.1:", "tcp://localhost:"}) {
    if (!endpoint.starts_with(host))
      continue;
    const std::string_view number = endpoint.substr(host.size());
    std::uint16_t port = 0;
    const auto [end, problem] = std::from_chars(number.begin(), number.end(), port);
    if (problem == std::errc{} && end == number.end() && port != 0)
      return port;
  }
  return {};
}

std::string name_of(std::uint16_t port) { return "squall/127.0.0.1:" + std::to_string(port); }

/// Why a connection fails, which shows at once on one host, as errno has it; 0 if it does not.
template <class Address>
int problem_of_connecting(int family, const Address& address, std::size_t size) {
  const int fd = ::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return 0; // that tells nothing of the other side
  int problem = 0;
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), static_cast<socklen_t>(size)) != 0)
    problem = errno;
  if (socklen_t bytes = sizeof problem; problem == EINPROGRESS)
    ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &problem, &bytes);
  ::close(fd);
  return problem;
}

/// Also where this process may not use such sockets.
bool nobody_at_twin(std::uint16_t port) {
  const std::string name = name_of(port);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  // An abstract name begins with a zero byte and ends with the address.
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  const int problem = problem_of_connecting(AF_UNIX, address, offsetof(sockaddr_un, sun_path) + 1 + name.size());
  return problem != 0 && problem != EAGAIN; // that is: somebody is too busy just now
}

bool nobody_at_port(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return problem_of_connecting(AF_INET, address, sizeof address) == ECONNREFUSED;
}

/// To a few milliseconds, for next to nothing.
time_point coarse_now() {
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
  return time_point{std::chrono::seconds{t.tv_sec} + std::chrono::nanoseconds{t.tv_nsec}};
}

bool is_unix(int fd) {
  int domain = 0;
  socklen_t size = sizeof domain;
  return ::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX;
}

} // namespace

std::string unix_twin_of(const std::string& endpoint) {
  const auto port = loopback_port(endpoint);
  return port ? "ipc://@" + name_of(*port) : std::string{};
}

std::string best_way_to(const std::string& endpoint) {
  const auto port = loopback_port(endpoint);
  // A port alone: a server that knows nothing of twins, or a tunnel.
  if (!port || (nobody_at_twin(*port) && !nobody_at_port(*port)))
    return endpoint;
  return unix_twin_of(endpoint);
}

void unread_guard::watch(int fd) {
  if (is_unix(fd))
    watched_[fd] = {};
}

void unread_guard::look() {
  if (watched_.empty())
    return;
  const time_point now = coarse_now();
  if (now - looked_ < look_every)
    return;
  looked_ = now;
  for (auto& [fd, queue] : watched_) {
    int bytes = 0;
    if (::ioctl(fd, SIOCOUTQ, &bytes) != 0)
      continue;
    if (bytes == 0 || bytes != queue.bytes)
      queue = {bytes, now};
    else if (now - queue.since >= limit_)
      ::shutdown(fd, SHUT_RDWR);
  }
}

} // namespace squall::wire::detail
