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

// -- peers that do not read
// -------------------------------------------------------------------------------------------------------------------

frames large_message(std::size_t bytes) {
  frames m = some_message();
  m.payloads.push_back(shared_bytes::take(std::string(bytes, 'x')));
  return m;
}

/// A server with that bound, and peers that have sent it one message each.
struct server_with_peers {
  server_with_peers(std::uint64_t bound, std::size_t count) {
    server_options options = anywhere();
    options.waiting_bytes = bound;
    server = server_socket::bind(*ours, options).value();
    listener all{*server};
    for (std::size_t i = 0; i < count; ++i) {
      peers.push_back(std::make_unique<testing::raw_peer>(server->endpoint(), "", 1));
      peers.back()->send({std::string{some_message().header.text()}});
      if (!eventually([&] { return all.look(), all.heard.size() == i + 1; }))
        return;
      for (const auto& [from, count_of] : all.heard)
        if (std::find(routes.begin(), routes.end(), from) == routes.end())
          routes.push_back(from);
    }
  }
  /// Sends until it is refused; how many were taken.
  std::size_t fill(std::size_t peer, std::size_t bytes) {
    std::size_t taken = 0;
    while (taken < 1000 && server->send(routes.at(peer), large_message(bytes)).ok())
      ++taken;
    return taken;
  }
  std::unique_ptr<zmq_context> ours = zmq_context::create().value();
  std::unique_ptr<server_socket> server;
  std::vector<std::unique_ptr<testing::raw_peer>> peers;
  std::vector<route> routes;
};

constexpr std::size_t mebibyte = 1 << 20;

TEST(Backlog, OfAPeerThatDoesNotReadIsBoundedAndOthersHaveRoom) {
  server_with_peers s{64 * mebibyte, 3};
  ASSERT_EQ(s.routes.size(), 3U);
  const std::size_t first = s.fill(0, mebibyte);
  // What the kernel and ZeroMQ's reader hold comes on top of half of the bound.
  EXPECT_GE(first, 31U);
  EXPECT_LE(*s.server->waiting_bytes(), 33 * mebibyte);
  result<> refused;
  ASSERT_TRUE(eventually([&] { return !(refused = s.server->send(s.routes[0], large_message(mebibyte))).ok(); }));
  EXPECT_EQ(refused.error().code, errc::overloaded);
  EXPECT_NE(refused.error().message.find("has not taken"), std::string::npos) << refused.error().message;
  EXPECT_TRUE(s.server->send(s.routes[0], some_message()).ok()) << "news of trouble finds room";
  const std::size_t second = s.fill(1, mebibyte);
  EXPECT_GE(second, 15U) << "the next one gets a share of what is left";
  EXPECT_TRUE(s.server->send(s.routes[2], large_message(mebibyte)).ok());
  EXPECT_LE(*s.server->waiting_bytes(), 64 * mebibyte);
}

TEST(Backlog, AValueLargerThanTheBoundGoesOutAlone) {
  server_with_peers s{8 * mebibyte, 1};
  ASSERT_EQ(s.routes.size(), 1U);
  ASSERT_TRUE(s.server->send(s.routes[0], large_message(12 * mebibyte)).ok());
  EXPECT_LE(s.fill(0, 12 * mebibyte), 6U) << "but for what is read ahead";
}

TEST(Backlog, IsGoneWhenThePeerHasReadOrLeft) {
  server_with_peers s{64 * mebibyte, 2};
  ASSERT_EQ(s.routes.size(), 2U);
  const std::size_t sent = s.fill(0, mebibyte);
  s.fill(1, mebibyte);
  const auto waiting = s.server->waiting_bytes();
  ASSERT_GT(*waiting, 24 * mebibyte);
  for (std::size_t i = 0; i < 2 * sent; ++i) // header and payload
    ASSERT_FALSE(s.peers[0]->receive().empty()) << i;
  EXPECT_TRUE(eventually([&] { return *waiting < 20 * mebibyte; })) << *waiting;
  s.peers[1].reset();
  listener all{*s.server};
  EXPECT_TRUE(eventually([&] { return all.look(), *waiting == 0; })) << *waiting;
  EXPECT_TRUE(s.server->send(s.routes[0], large_message(mebibyte)).ok());
}

TEST(Backlog, OfAServerThatIsNotThereIsBoundedForItsClient) {
  connect_options options;
  {
    const auto context = zmq_context::create().value();
    options.endpoint = server_socket::bind(*context, anywhere()).value()->endpoint();
  } // gone again
  const auto context = zmq_context::create().value();
  options.waiting_bytes = 64 * mebibyte;
  const auto client = client_socket::connect(*context, options).value();
  std::size_t taken = 0;
  result<> last;
  while (taken < 1000 && (last = client->send(large_message(mebibyte))).ok())
    ++taken;
  EXPECT_EQ(taken, 32U);
  EXPECT_EQ(last.error().code, errc::overloaded);
}

// -- who may come in
// -------------------------------------------------------------------------------------------------------------------

TEST(Gate, LetsNobodyInByAListThatWasReplacedBeforeItLooked) {
  const auto server_keys = make_keys().value();
  const auto old_keys = make_keys().value();
  const auto new_keys = make_keys().value();
  auto ours = zmq_context::create().value();
  server_options options = anywhere();
  options.keys = server_keys;
  options.allowed = {old_keys.public_key};
  const auto server = server_socket::bind(*ours, options).value();
  connect_options with;
  with.endpoint = server->endpoint();
  with.server_key = server_keys.public_key;
  with.keys = new_keys;
  auto theirs = zmq_context::create().value();
  const auto client = client_socket::connect(*theirs, with).value();
  ASSERT_TRUE(client->send(some_message()).ok());
  // It knocks; the server's loop may ask whether it is idle meanwhile, which is no answer.
  std::vector<int> fds;
  server->fds(fds);
  pollfd gate{fds.back(), POLLIN, 0};
  ASSERT_EQ(::poll(&gate, 1, 10'000), 1);
  std::this_thread::sleep_for(std::chrono::milliseconds{100}); // the gate is told that somebody comes before who it is
  (void)server->idle();
  ASSERT_TRUE(server->set_allowed({new_keys.public_key}).ok());
  listener all{*server};
  EXPECT_TRUE(eventually([&] { return all.look(), client->pump(), all.heard.size() == 1; })) << client->reason();
}

// A look whether something came makes ZeroMQ take the first message in, without saying then whose it is.
TEST(Gate, KnowsAPeerWhoseFirstMessageWasFoundByALook) {
  auto ours = zmq_context::create().value();
  auto theirs = zmq_context::create().value();
  const auto server_keys = make_keys().value();
  connect_options with;
  with.keys = make_keys().value();
  with.server_key = server_keys.public_key;
  server_options options = anywhere();
  options.keys = server_keys;
  options.allowed = {with.keys.public_key + " user"};
  const auto server = server_socket::bind(*ours, options).value();
  with.endpoint = server->endpoint();
  auto client = client_socket::connect(*theirs, with).value();
  ASSERT_TRUE(eventually([&] { return server->pump(), client->pump(), client->now() == client_socket::state::up; }));
  ASSERT_TRUE(client->send(some_message()).ok());
  std::vector<int> fds;
  server->fds(fds);
  pollfd messages{fds.front(), POLLIN, 0};
  ASSERT_EQ(::poll(&messages, 1, 10'000), 1);
  std::this_thread::sleep_for(std::chrono::milliseconds{100}); // a new peer is told of before its message
  server->pump();
  EXPECT_FALSE(server->idle());
  arrival first;
  ASSERT_TRUE(server->receive(first));
  EXPECT_EQ(first.allowed, access::user);
  client.reset();
  listener all{*server};
  ASSERT_TRUE(eventually([&] { return all.look(), all.departed.size() == 1; })) << "its descriptor was not known";
  EXPECT_EQ(all.departed.front(), first.from);
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
