#include "tests/support/peers.hpp"
#include "wire/messages.hpp"
#include "wire/zmq/socket.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <vector>

namespace squall::wire {
namespace {

using testing::eventually;

server_options anywhere() {
  server_options options;
  options.endpoint = "tcp://127.0.0.1:*";
  return options;
}

std::unique_ptr<client_socket> connect(zmq_context& context, const std::string& endpoint) {
  connect_options options;
  options.endpoint = endpoint;
  return client_socket::connect(context, options).value();
}

frames some_message() { return encode(ping{}, request_id{1}); }

/// What a server hears of its peers: how many messages each sent, and who left.
struct listener {
  void look() {
    arrival a;
    while (server.receive(a))
      ++heard[a.from];
    server.pump();
    for (const route gone : server.take_departed())
      departed.push_back(gone);
  }
  server_socket& server;
  std::map<route, int> heard = {};
  std::vector<route> departed = {};
};

TEST(Sockets, AConnectionThatEndsWhileItsSocketIsClosedStopsNobodyElse) {
  auto context = zmq_context::create().value();
  const auto survivor = server_socket::bind(*context, anywhere()).value();
  for (int round = 0; round < 40; ++round) {
    auto other = zmq_context::create().value();
    auto server = server_socket::bind(*other, anywhere()).value();
    std::vector<std::unique_ptr<client_socket>> clients;
    for (int i = 0; i < 20; ++i) {
      clients.push_back(connect(*context, server->endpoint()));
      ASSERT_TRUE(clients.back()->send(some_message()).ok());
    }
    listener all{*server};
    ASSERT_TRUE(eventually([&] { return all.look(), all.heard.size() == clients.size(); }));
    // The server's end of each connection goes while the clients are being closed.
    std::thread ends{[&] {
      server.reset();
      other.reset();
    }};
    clients.clear();
    ends.join();
  }
  const auto client = connect(*context, survivor->endpoint());
  ASSERT_TRUE(client->send(some_message()).ok());
  listener all{*survivor};
  EXPECT_TRUE(eventually([&] { return all.look(), all.heard.size() == 1; })) << "ZeroMQ's thread of the process waits";
}

TEST(Sockets, EachPeerDepartsOnceAlsoWhenDescriptorsAreUsedAgainBeforeTheServerLooks) {
  auto ours = zmq_context::create().value();
  const auto server = server_socket::bind(*ours, anywhere()).value();
  listener all{*server};
  auto theirs = zmq_context::create().value();
  const auto come = [&] {
    auto client = connect(*theirs, server->endpoint());
    EXPECT_TRUE(client->send(some_message()).ok());
    return client;
  };
  auto first = come();
  ASSERT_TRUE(eventually([&] { return all.look(), all.heard.size() == 1; }));
  // Nobody looks while others come and go, as in a process that is stopped for a while.
  first.reset();
  std::this_thread::sleep_for(std::chrono::milliseconds{20});
  for (int i = 0; i < 5; ++i) {
    auto brief = come();
    std::this_thread::sleep_for(std::chrono::milliseconds{20});
    brief.reset();
    std::this_thread::sleep_for(std::chrono::milliseconds{20});
  }
  auto last = come();
  ASSERT_TRUE(eventually([&] { return all.look(), all.heard.size() == 7; })) << all.heard.size();
  ASSERT_TRUE(eventually([&] { return all.look(), all.departed.size() == 6; })) << all.departed.size();
  const route living = std::max_element(all.heard.begin(), all.heard.end())->first;
  EXPECT_EQ(std::count(all.departed.begin(), all.departed.end(), living), 0) << "the last one is still there";
  ASSERT_TRUE(server->send(living, some_message()).ok());
  arrival a;
  EXPECT_TRUE(eventually([&] { return last->receive(a); }));

  last.reset();
  EXPECT_TRUE(eventually([&] { return all.look(), all.departed.size() == 7; }));
  auto once = all.departed;
  std::sort(once.begin(), once.end());
  EXPECT_EQ(std::unique(once.begin(), once.end()), once.end());
}

} // namespace
} // namespace squall::wire
