#include "wire/zmq/detail/unix_twin.hpp"

#include "tests/support/peers.hpp"
#include "wire/messages.hpp"

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <thread>

#include <sys/socket.h>
#include <unistd.h>

namespace squall::wire {
namespace {

using namespace std::chrono_literals;
using detail::best_way_to;
using detail::unix_twin_of;
using testing::eventually;

std::unique_ptr<server_socket> server_at(zmq_context& context, const std::string& endpoint, bool unix_socket) {
  server_options options;
  options.endpoint = endpoint;
  options.unix_socket = unix_socket;
  return server_socket::bind(context, options).value();
}

std::unique_ptr<client_socket> client_of(zmq_context& context, const std::string& endpoint) {
  connect_options options;
  options.endpoint = endpoint;
  return client_socket::connect(context, options).value();
}

/// Whether a message gets there and its answer back.
::testing::AssertionResult they_talk(client_socket& client, server_socket& server) {
  if (!client.send(encode(ping{}, request_id{1})).ok())
    return ::testing::AssertionFailure() << "the client cannot send: " << client.reason();
  arrival got;
  if (!eventually([&] { return server.pump(), server.receive(got); }))
    return ::testing::AssertionFailure() << "nothing came to the server";
  if (!server.send(got.from, encode(pong{}, request_id{1})).ok())
    return ::testing::AssertionFailure() << "the server cannot answer";
  if (!eventually([&] { return client.pump(), client.receive(got); }))
    return ::testing::AssertionFailure() << "no answer came";
  return ::testing::AssertionSuccess();
}

TEST(UnixTwin, IsOfANumberedPortOfLoopbackAlone) {
  EXPECT_EQ(unix_twin_of("tcp://127.0.0.1:7700"), "ipc://@squall/127.0.0.1:7700");
  EXPECT_EQ(unix_twin_of("tcp://localhost:7700"), "ipc://@squall/127.0.0.1:7700");
  for (const char* other : {"tcp://127.0.0.1:*", "tcp://127.0.0.1:0", "tcp://127.0.0.1:70000", "tcp://127.0.0.1:77x",
                            "tcp://10.0.0.1:7700", "tcp://[::1]:7700", "tcp://*:7700", "ipc:///tmp/x", ""})
    EXPECT_EQ(unix_twin_of(other), "") << other;
}

TEST(UnixTwin, IsTakenWhereTheServerHasOne) {
  const auto context = zmq_context::create().value();
  const auto server = server_at(*context, "tcp://127.0.0.1:*", true);
  EXPECT_EQ(best_way_to(server->endpoint()), unix_twin_of(server->endpoint()));
  const auto theirs = zmq_context::create().value();
  const auto client = client_of(*theirs, server->endpoint());
  EXPECT_TRUE(they_talk(*client, *server));
}

TEST(UnixTwin, IsNotTakenWhereTheServerListensOnTcpAlone) {
  const auto context = zmq_context::create().value();
  const auto server = server_at(*context, "tcp://127.0.0.1:*", false);
  EXPECT_EQ(best_way_to(server->endpoint()), server->endpoint());
  const auto theirs = zmq_context::create().value();
  const auto client = client_of(*theirs, server->endpoint());
  EXPECT_TRUE(they_talk(*client, *server));
}

/// An endpoint at which nobody listens.
std::string free_endpoint() {
  const auto context = zmq_context::create().value();
  return server_at(*context, "tcp://127.0.0.1:*", true)->endpoint();
}

TEST(UnixTwin, AClientThatWaitedForItFindsAServerThatListensOnTcpAlone) {
  const std::string endpoint = free_endpoint();
  const auto theirs = zmq_context::create().value();
  auto client = client_of(*theirs, endpoint);
  const auto context = zmq_context::create().value();
  const auto server = server_at(*context, endpoint, false);
  arrival ignored;
  ASSERT_TRUE(eventually(
      [&] { return client->pump(), client->receive(ignored), client->now() == client_socket::state::down; }));
  EXPECT_EQ(client->reason(), "the server listens elsewhere");
  client = client_of(*theirs, endpoint); // as whoever lost a connection does
  EXPECT_TRUE(they_talk(*client, *server));
}

TEST(UnixTwin, AClientFindsAServerThatComesLater) {
  const std::string endpoint = free_endpoint();
  const auto theirs = zmq_context::create().value();
  const auto client = client_of(*theirs, endpoint);
  const auto context = zmq_context::create().value();
  const auto server = server_at(*context, endpoint, true);
  EXPECT_TRUE(they_talk(*client, *server));
}

TEST(UnixTwin, ThatAnotherProcessHoldsIsATakenPort) {
  const std::string endpoint = free_endpoint();
  const auto context = zmq_context::create().value();
  const auto other = server_at(*context, unix_twin_of(endpoint), true);
  server_options options;
  options.endpoint = endpoint;
  const auto refused = server_socket::bind(*context, options);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, errc::already_exists) << refused.error().message;
}

// -- who does not read
// -------------------------------------------------------------------------------------------------------------------

/// Two connected Unix sockets, the first of which has sent what the kernel takes.
class full_pair {
public:
  full_pair() {
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends_.data()), 0);
    fill();
  }
  ~full_pair() {
    for (const int fd : ends_)
      ::close(fd);
  }
  full_pair(const full_pair&) = delete;
  full_pair& operator=(const full_pair&) = delete;

  [[nodiscard]] int sender() const { return ends_[0]; }
  void fill() const {
    const std::array<char, 4096> some{};
    while (::send(ends_[0], some.data(), some.size(), MSG_NOSIGNAL) > 0) {
    }
  }
  void read_some() const {
    std::array<char, 4096> some{};
    EXPECT_GT(::recv(ends_[1], some.data(), some.size(), 0), 0);
  }
  [[nodiscard]] bool ended() const {
    const char one = 0;
    return ::send(ends_[0], &one, 1, MSG_NOSIGNAL) < 0 && errno == EPIPE;
  }

private:
  std::array<int, 2> ends_{-1, -1};
};

TEST(UnreadGuard, EndsWhatNobodyReadsAndLeavesASlowReader) {
  const full_pair unread;
  const full_pair slow;
  const full_pair forgotten;
  detail::unread_guard guard{1s};
  for (const full_pair* pair : {&unread, &slow, &forgotten})
    guard.watch(pair->sender());
  guard.forget(forgotten.sender());
  const auto begun = std::chrono::steady_clock::now();
  while (!unread.ended() && std::chrono::steady_clock::now() - begun < 10s) {
    guard.look();
    slow.read_some();
    std::this_thread::sleep_for(100ms);
  }
  EXPECT_TRUE(unread.ended());
  EXPECT_GE(std::chrono::steady_clock::now() - begun, 1s);
  EXPECT_FALSE(slow.ended());
  EXPECT_FALSE(forgotten.ended());
}

} // namespace
} // namespace squall::wire
