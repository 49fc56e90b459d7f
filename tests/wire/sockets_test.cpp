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

/// A message that says its number, small or too large for a bundle.
frames numbered(std::uint64_t number, std::size_t payload) {
  frames out = encode(ping{}, request_id{number});
  out.payloads.push_back(shared_bytes::take(std::string(payload, 'x')));
  return out;
}

TEST(Sockets, BusyPeersExchangeBundlesAndTheOrderHolds) {
  auto ours = zmq_context::create().value();
  auto theirs = zmq_context::create().value();
  const auto server = server_socket::bind(*ours, anywhere()).value();
  const auto client = connect(*theirs, server->endpoint());
  constexpr std::uint64_t count = 5'000;
  std::uint64_t sent = 0;
  std::uint64_t back = 0;
  std::uint64_t bytes = 0;
  arrival a;
  const auto number = [&] { return peek(a.message.header.span()).value().request.value; };
  const auto echo = [&] {
    while (server->receive(a))
      if (!server->send(a.from, a.message).ok())
        return false;
    server->flush();
    server->pump();
    while (client->receive(a)) {
      if (number() != ++back)
        return false;
      bytes += a.message.payloads.at(0).size();
    }
    return true;
  };
  const auto size_of = [](std::uint64_t n) -> std::size_t { return n % 7 == 0 ? 10'000 : n % 100; };
  std::uint64_t expected = 0;
  while (sent < count) {
    for (int i = 0; i < 50; ++i) {
      ++sent;
      expected += size_of(sent);
      ASSERT_TRUE(client->send(numbered(sent, size_of(sent))).ok());
    }
    client->flush();
    client->pump();
    ASSERT_TRUE(echo()) << "message " << back << " is out of order, or could not be answered";
  }
  ASSERT_TRUE(eventually([&] { return !echo() || back == count; }));
  EXPECT_EQ(back, count);
  EXPECT_EQ(bytes, expected);
}

TEST(Sockets, WhatWaitsForABusyPeerGoesOutWithFlushAlone) {
  auto ours = zmq_context::create().value();
  auto theirs = zmq_context::create().value();
  const auto server = server_socket::bind(*ours, anywhere()).value();
  const auto client = connect(*theirs, server->endpoint());
  int arrived = 0;
  arrival a;
  const auto take = [&] {
    while (server->receive(a))
      ++arrived;
    server->pump();
    while (client->receive(a)) {
    }
  };
  for (int i = 0; i < 300; ++i)
    ASSERT_TRUE(client->send(some_message()).ok());
  ASSERT_TRUE(eventually([&] { return take(), arrived == 300; })) << "the client had not heard of bundles yet";
  // The server's answer that it takes bundles is there by now; what a client sends then waits.
  ASSERT_TRUE(eventually([&] {
    take();
    const int before = arrived;
    EXPECT_TRUE(client->send(some_message()).ok());
    std::this_thread::sleep_for(std::chrono::milliseconds{20});
    take();
    return arrived == before;
  })) << "messages still travel alone";
  const int before = arrived;
  client->flush();
  EXPECT_TRUE(eventually([&] { return take(), arrived == before + 1; }));
}

TEST(Sockets, ADamagedBundleIsOneMessageThatCannotBeRead) {
  auto context = zmq_context::create().value();
  const auto server = server_socket::bind(*context, anywhere()).value();
  testing::raw_peer bad{server->endpoint()};
  std::string bundle{"\x95\x01\x07\x00\x00\x90", 6};
  const auto inner = encode(ping{}, request_id{9}).header;
  bundle += std::string{"\x06\x00\x00\x00\x00\x00\x00\x00", 8};
  ASSERT_EQ(inner.size(), 6u);
  bundle += inner.text();
  bundle += "cut";
  bad.send({bundle});
  bad.send({std::string{inner.text()}});
  std::vector<errc> got;
  arrival a;
  ASSERT_TRUE(eventually([&] {
    while (server->receive(a))
      got.push_back(a.problem);
    return got.size() == 3;
  })) << got.size();
  EXPECT_EQ(got, (std::vector{errc::ok, errc::corrupt, errc::ok}));
}

} // namespace
} // namespace squall::wire
