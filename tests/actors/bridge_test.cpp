#include "echo_role.hpp"
#include "tests/support/peers.hpp"

#include <gtest/gtest.h>

#include <sys/eventfd.h>
#include <unistd.h>

namespace squall::actors {
namespace {

using namespace testing;
using squall::testing::eventually;
using squall::testing::peer;
using squall::testing::raw_peer;
using namespace std::string_literals;
using namespace std::chrono_literals;

wire::query big_query() { return {"kind", std::string(2000, 'q')}; }

TEST(Bridge, EchoesThroughEveryKindOfRole) {
  running_bridge b;
  b.host(wire::role::controller, placing::inline_in_bridge);
  b.host(wire::role::node, placing::pooled);
  b.host(wire::role::store, placing::detached);
  b.run();
  peer client{b->endpoint()};
  for (const auto role : {wire::role::controller, wire::role::node, wire::role::store}) {
    client.send(big_query(), 7, role);
    const auto back = client.receive();
    ASSERT_TRUE(back.has_value());
    const auto q = wire::decode<wire::query>(*back, nullptr);
    ASSERT_TRUE(q.ok());
    EXPECT_EQ(q->name, big_query().name);
  }
}

TEST(Bridge, RolesRunOnTheirThreads) {
  running_bridge b;
  // The inline role sends to the others: what it sends to must not run in its thread.
  const auto controller = b.host(wire::role::controller, placing::inline_in_bridge, [](echo_role& r) {
    r.at_message = [](post& out, incoming& m) {
      for (const auto to : {wire::role::node, wire::role::store})
        ASSERT_TRUE(out.send(out.local(to), m.message).ok());
    };
  });
  const auto ignore = [](echo_role& r) {
    r.at_message = [](post& out, incoming& m) { ASSERT_TRUE(out.send(out.local(wire::role::client), m.message).ok()); };
  };
  const auto node = b.host(wire::role::node, placing::pooled, ignore);
  const auto store = b.host(wire::role::store, placing::detached, ignore);
  const auto other_inline = b.host(wire::role::client, placing::inline_in_bridge,
                                   [](echo_role& r) { r.at_message = [](post&, incoming&) {}; });
  b.run();
  peer client{b->endpoint()};
  constexpr std::size_t rounds = 2000;
  for (std::size_t i = 0; i < rounds; ++i)
    client.send(wire::ping{}, 0);
  EXPECT_TRUE(other_inline->wait([&] { return other_inline->messages == 2 * rounds; })) << other_inline->messages;
  b.stop();
  const std::set<std::thread::id> bridge_only{b.thread()};
  EXPECT_EQ(controller->threads, bridge_only);
  EXPECT_EQ(other_inline->threads, bridge_only);
  EXPECT_FALSE(node->threads.contains(b.thread()));
  EXPECT_FALSE(store->threads.contains(b.thread()));
  EXPECT_EQ(store->threads.size(), 1U);
  for (const auto thread : store->threads)
    EXPECT_FALSE(node->threads.contains(thread));
}

TEST(Bridge, PeersOfTheSameProcessNeedNoSocket) {
  running_bridge b;
  const auto node = b.host(wire::role::node, placing::inline_in_bridge, [](echo_role& r) {
    r.at_start = [](post& out) {
      EXPECT_FALSE(out.local(wire::role::store));
      ASSERT_TRUE(out.send(out.local(wire::role::controller), wire::encode(wire::ping{}, request_id{5})).ok());
    };
    r.at_message = [](post&, incoming&) {};
  });
  const auto controller = b.host(wire::role::controller, placing::inline_in_bridge);
  b.run();
  ASSERT_TRUE(node->wait([&] { return node->messages == 1; }));
  EXPECT_EQ(controller->kept.at(0).head.request, request_id{5});
  EXPECT_EQ(controller->kept.at(0).from, peer_id{static_cast<std::uint64_t>(wire::role::node)});
  EXPECT_EQ(node->kept.at(0).from, peer_id{static_cast<std::uint64_t>(wire::role::controller)});
  EXPECT_EQ(b->stats().received, 0U);
}

TEST(Bridge, BatchesUnderLoadAndKeepsTheOrder) {
  running_bridge b;
  const auto role = b.host(wire::role::controller, placing::inline_in_bridge, [](echo_role& r) {
    r.at_message = [](post& out, incoming& m) { ASSERT_TRUE(out.send(m.from, m.message).ok()); };
  });
  b.run();
  peer client{b->endpoint()};
  constexpr std::uint64_t count = 20'000;
  std::uint64_t received = 0;
  for (std::uint64_t sent = 0; received < count;) {
    while (sent < count && sent - received < 5000)
      client.send(wire::ping{}, ++sent);
    const auto back = client.receive();
    ASSERT_TRUE(back.has_value());
    ASSERT_EQ(wire::peek(back->header.span())->request, request_id{++received});
  }
  EXPECT_LE(role->largest_batch, 256U);
  EXPECT_EQ(b->stats().received, count);
  EXPECT_EQ(b->stats().sent, count);
}

TEST(Bridge, RepliesOfPooledRolesKeepTheirOrder) {
  running_bridge b;
  b.host(wire::role::controller, placing::pooled);
  b.run();
  peer client{b->endpoint()};
  for (std::uint64_t i = 1; i <= 5000; ++i)
    client.send(wire::ping{}, i);
  for (std::uint64_t i = 1; i <= 5000; ++i) {
    const auto back = client.receive();
    ASSERT_TRUE(back.has_value());
    ASSERT_EQ(wire::peek(back->header.span())->request, request_id{i});
  }
}

// -- bad input
// -------------------------------------------------------------------------------------------------------------

TEST(Bridge, AnswersWhatCannotBeReadIfItAskedForAnAnswer) {
  running_bridge b;
  const auto role = b.host(wire::role::controller, placing::inline_in_bridge);
  b.host(wire::role::node, placing::pooled);
  b.run();
  raw_peer client{b->endpoint()};
  client.send({"\x95\x07\x03\x01\x09\x90"s}); // version 7
  auto r = client.receive_reply();
  ASSERT_TRUE(r.has_value());
  EXPECT_EQ(r->code, errc::unsupported);
  EXPECT_EQ(r->message, "the message is of protocol version 7, spoken here: 1 to 1");
  client.send({"\x95\x01\x03\x03\x09\x90"s}); // to the store, which is not here
  r = client.receive_reply();
  ASSERT_TRUE(r.has_value());
  EXPECT_EQ(r->code, errc::unsupported);
  client.send({"\x95\x01\x03\x01\x09"s + std::string(wire::max_header_bytes, '\x90')}); // oversized
  r = client.receive_reply();
  ASSERT_TRUE(r.has_value());
  EXPECT_EQ(r->code, errc::too_large);
  client.send({"\x95\x01\x03\x01\xcc"s}); // truncated before the request id: no answer possible
  client.send({""s});
  client.send({"rubbish"s, "and", "more"});
  std::vector<std::string> many{"\x95\x01\x03\x01\x09\x90"s};
  many.resize(wire::max_payload_frames + 2, "p");
  client.send(many);
  r = client.receive_reply();
  ASSERT_TRUE(r.has_value());
  EXPECT_EQ(r->code, errc::too_large);
  client.send({"\x95\x01\x03\x01\x09\x90"s}); // the connection still serves
  EXPECT_EQ(client.receive(), "\x95\x01\x03\x01\x09\x90"s);
  EXPECT_EQ(b->stats().undecodable, 6U);
  EXPECT_EQ(b->stats().unroutable, 1U);
  EXPECT_TRUE(role->wait([&] { return role->messages == 1; }));
}

TEST(Bridge, NeverAnswersAReply) {
  running_bridge b;
  b.host(wire::role::controller, placing::inline_in_bridge);
  b.run();
  raw_peer client{b->endpoint()};
  client.send({"\x95\x07\x05\x00\x09\x90"s}); // a reply of version 7
  client.send({"\x95\x01\x05\x04\x09\x90"s}); // a reply for a client
  client.send({"\x95\x01\x03\x01\x09\x90"s});
  EXPECT_EQ(client.receive(), "\x95\x01\x03\x01\x09\x90"s);
}

TEST(Bridge, PeersThatNameThemselvesAreIgnored) {
  running_bridge b;
  b.host(wire::role::controller, placing::inline_in_bridge);
  b.run();
  raw_peer named{b->endpoint(), "mallory"};
  raw_peer other{b->endpoint()};
  named.send({"\x95\x01\x03\x01\x09\x90"s});
  other.send({"\x95\x01\x03\x01\x08\x90"s});
  EXPECT_EQ(other.receive(), "\x95\x01\x03\x01\x08\x90"s);
  EXPECT_LE(b->stats().received, 1U);
}

TEST(Bridge, AFrameOverTheLimitClosesTheConnection) {
  running_bridge b;
  const auto role = b.host(wire::role::controller, placing::inline_in_bridge);
  b.run();
  peer client{b->endpoint()};
  client.send(wire::ping{}, 1);
  ASSERT_TRUE(client.receive().has_value());
  raw_peer bad{b->endpoint()};
  bad.send({"\x95\x01\x03\x01\x09\x90"s});
  EXPECT_EQ(bad.receive().size(), 6U);
  bad.send({"\x95\x01\x03\x01\x09\x90"s, std::string(wire::max_payload_bytes + 1, 'x')});
  EXPECT_TRUE(role->wait([&] { return role->lost.size() == 1; }));
  client.send(wire::ping{}, 2);
  EXPECT_TRUE(client.receive().has_value());
}

// -- peers that come and go
// --------------------------------------------------------------------------------------------------

TEST(Bridge, ReportsPeersThatVanish) {
  running_bridge b;
  const auto controller = b.host(wire::role::controller, placing::inline_in_bridge);
  const auto node = b.host(wire::role::node, placing::inline_in_bridge);
  b.run();
  {
    peer first{b->endpoint()};
    first.send(wire::ping{}, 1);
    ASSERT_TRUE(first.receive().has_value());
  }
  ASSERT_TRUE(controller->wait([&] { return controller->lost.size() == 1; }));
  EXPECT_EQ(controller->lost[0], controller->kept[0].from);
  EXPECT_TRUE(node->lost.empty()) << "it never heard from that peer";
  // Sending there is refused at once for an inline role.
  std::optional<errc> code;
  controller->out->later([&] {
    const auto sent = controller->out->send(controller->lost[0], wire::encode(wire::ping{}, request_id{1}));
    const std::lock_guard lock{controller->mutex};
    code = sent.ok() ? errc::ok : sent.error().code;
    controller->changed.notify_all();
  });
  ASSERT_TRUE(controller->wait([&] { return code.has_value(); }));
  EXPECT_EQ(*code, errc::unavailable);
  EXPECT_EQ(b->stats().unreachable, 1U);
}

TEST(Bridge, APooledRoleLearnsLaterThatItsPeerIsGone) {
  running_bridge b;
  const auto role = b.host(wire::role::controller, placing::pooled);
  b.run();
  {
    peer client{b->endpoint()};
    client.send(wire::ping{}, 1);
    ASSERT_TRUE(client.receive().has_value());
  }
  ASSERT_TRUE(role->wait([&] { return role->lost.size() == 1; }));
  EXPECT_TRUE(role->out->send(role->lost[0], wire::encode(wire::ping{}, request_id{1})).ok());
  EXPECT_TRUE(role->wait([&] { return role->lost.size() == 2; }));
}

TEST(Bridge, AFullPeerIsAnAnswerAndNoSilentDrop) {
  bridge_options options;
  options.high_water_mark = 10;
  running_bridge b{options};
  const auto role = b.host(wire::role::controller, placing::inline_in_bridge,
                           [](echo_role& r) { r.at_message = [](post&, incoming&) {}; });
  b.run();
  raw_peer lazy{b->endpoint()}; // never reads
  lazy.send({"\x95\x01\x03\x01\x09\x90"s});
  ASSERT_TRUE(role->wait([&] { return role->messages == 1; }));
  std::size_t sent = 0;
  std::optional<errc> code;
  role->out->later([&] {
    wire::frames big = wire::encode(wire::ping{}, request_id{1});
    big.payloads.push_back(shared_bytes::take(std::string(1 << 20, 'x')));
    for (; sent < 3000; ++sent) {
      const auto r = role->out->send(role->kept[0].from, big);
      if (r.ok())
        continue;
      const std::lock_guard lock{role->mutex};
      code = r.error().code;
      role->changed.notify_all();
      return;
    }
  });
  ASSERT_TRUE(role->wait([&] { return code.has_value(); }));
  EXPECT_EQ(*code, errc::overloaded);
  EXPECT_GE(b->stats().overloaded, 1U);
}

TEST(Bridge, AFullMailboxIsAnAnswer) {
  bridge_options options;
  options.high_water_mark = 10;
  running_bridge b{options};
  const auto role = b.host(wire::role::controller, placing::detached, [](echo_role& r) {
    r.at_message = [](post&, incoming&) { std::this_thread::sleep_for(20ms); };
  });
  b.run();
  raw_peer client{b->endpoint()};
  for (int i = 0; i < 100; ++i)
    client.send({"\x95\x01\x03\x01\x09\x90"s});
  const auto r = client.receive_reply();
  ASSERT_TRUE(r.has_value());
  EXPECT_EQ(r->code, errc::overloaded);
}

TEST(Bridge, ConnectsToServersThatComeLaterAndReportsTheirEnd) {
  std::string endpoint;
  {
    running_bridge probe; // for a port that is free
    endpoint = probe->endpoint();
  }
  running_bridge client;
  const auto node = client.host(wire::role::node, placing::inline_in_bridge, [&](echo_role& r) {
    r.at_start = [&](post& out) {
      const auto server = out.connect(endpoint, "");
      ASSERT_TRUE(server.ok());
      ASSERT_TRUE(out.send(*server, wire::encode(wire::ping{}, request_id{3})).ok());
    };
    r.at_message = [](post&, incoming&) {};
  });
  client.run();
  std::this_thread::sleep_for(30ms);
  bridge_options options;
  options.endpoint = endpoint;
  auto server = std::make_unique<running_bridge>(options);
  server->host(wire::role::controller, placing::inline_in_bridge);
  server->run();
  ASSERT_TRUE(node->wait([&] { return node->messages == 1; }));
  EXPECT_EQ(node->kept[0].head.request, request_id{3});
  server.reset();
  ASSERT_TRUE(node->wait([&] { return node->lost.size() == 1; }));
  EXPECT_EQ(node->lost[0], node->kept[0].from);
  EXPECT_EQ(node->out->connect("no such thing", "").error().code, errc::invalid_argument);
}

TEST(Bridge, APooledRoleConnectsToo) {
  running_bridge server;
  server.host(wire::role::controller, placing::inline_in_bridge);
  server.run();
  running_bridge client;
  const auto node = client.host(wire::role::node, placing::pooled, [&](echo_role& r) {
    r.at_start = [&](post& out) {
      const auto peer = out.connect(server->endpoint(), "");
      ASSERT_TRUE(peer.ok());
      ASSERT_TRUE(out.send(*peer, wire::encode(wire::ping{}, request_id{3})).ok());
    };
    r.at_message = [](post& out, incoming& m) { out.close(m.from); };
  });
  client.run();
  EXPECT_TRUE(node->wait([&] { return node->messages == 1; }));
}

// -- the loop
// --------------------------------------------------------------------------------------------------------------

TEST(Bridge, AlarmsComeInTimeAndCanBeMoved) {
  for (const auto how : {placing::inline_in_bridge, placing::pooled}) {
    running_bridge b;
    time_point begun;
    const auto role = b.host(wire::role::controller, how, [&](echo_role& r) {
      r.at_start = [&](post& out) {
        begun = out.now();
        out.set_alarm(begun + 1h);
        out.set_alarm(begun + 20ms);
      };
    });
    b.run();
    ASSERT_TRUE(role->wait([&] { return role->alarms == 1; }));
    EXPECT_GE(role->out->now() - begun, 20ms);
    role->out->set_alarm(role->out->now() + 30ms);
    role->out->set_alarm(never);
    std::this_thread::sleep_for(60ms);
    EXPECT_EQ(role->alarms, 1U);
    role->out->set_alarm(role->out->now());
    EXPECT_TRUE(role->wait([&] { return role->alarms == 2; }));
  }
}

TEST(Bridge, WatchesDescriptorsForInlineRoles) {
  running_bridge b;
  const int fd = ::eventfd(0, EFD_NONBLOCK);
  std::atomic<int> calls{0};
  const auto role = b.host(wire::role::controller, placing::inline_in_bridge, [&](echo_role& r) {
    r.at_start = [&](post& out) {
      out.watch(fd, [&, fd] {
        std::uint64_t n = 0;
        EXPECT_EQ(::read(fd, &n, sizeof n), 8);
        if (++calls == 3)
          out.watch(fd, {});
      });
    };
  });
  b.run();
  const std::uint64_t one = 1;
  for (int i = 1; i <= 3; ++i) {
    ASSERT_EQ(::write(fd, &one, sizeof one), 8);
    ASSERT_TRUE(eventually([&] { return calls == i; }));
  }
  ASSERT_EQ(::write(fd, &one, sizeof one), 8);
  std::this_thread::sleep_for(10ms);
  EXPECT_EQ(calls, 3);
  b.stop();
  ::close(fd);
}

TEST(Bridge, WatchedDescriptorsAreServedUnderLoad) {
  running_bridge b;
  const int fd = ::eventfd(0, EFD_NONBLOCK);
  std::atomic<bool> called{false};
  std::atomic<bool> done{false};
  b.host(wire::role::controller, placing::inline_in_bridge, [&](echo_role& r) {
    r.at_start = [&](post& out) {
      out.watch(fd, [&] {
        called = true;
        out.watch(fd, {});
      });
    };
    // Keeps the loop busy for ever: each message makes another.
    r.at_message = [&](post& out, incoming& m) {
      if (!done) {
        ASSERT_TRUE(out.send(m.from, m.message).ok());
      }
    };
  });
  const auto other = b.host(wire::role::node, placing::pooled);
  b.run();
  ASSERT_TRUE(other->wait([&] { return other->started; }));
  ASSERT_TRUE(
      other->out->send(other->out->local(wire::role::controller), wire::encode(wire::ping{}, request_id{1})).ok());
  const std::uint64_t one = 1;
  ASSERT_EQ(::write(fd, &one, sizeof one), 8);
  EXPECT_TRUE(eventually([&] { return called.load(); }));
  done = true;
  b.stop();
  ::close(fd);
}

TEST(Bridge, TasksOfOtherThreadsRunInTheRolesContext) {
  for (const auto how : {placing::inline_in_bridge, placing::pooled, placing::detached}) {
    running_bridge b;
    const auto role = b.host(wire::role::controller, how);
    b.run();
    ASSERT_TRUE(role->wait([&] { return role->started; }));
    int count = 0; // not atomic: all tasks run in one context
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
      threads.emplace_back([&] {
        for (int i = 0; i < 1000; ++i)
          role->out->later([&] {
            if (++count == 4000) {
              const std::lock_guard lock{role->mutex};
              role->messages = 1;
              role->changed.notify_all();
            }
          });
      });
    for (auto& t : threads)
      t.join();
    EXPECT_TRUE(role->wait([&] { return role->messages == 1; }));
  }
}

TEST(Bridge, StopsItsRolesLastFirstWithTheSocketsStillThere) {
  running_bridge b;
  peer client{b->endpoint()};
  const auto first = b.host(wire::role::controller, placing::inline_in_bridge);
  const auto second = b.host(wire::role::node, placing::pooled);
  const auto third = b.host(wire::role::store, placing::detached);
  b.run();
  client.send(wire::ping{}, 1);
  ASSERT_TRUE(client.receive().has_value());
  b->stop();
  b->stop();
  b.stop();
  EXPECT_TRUE(first->stopped && second->stopped && third->stopped);
  EXPECT_TRUE(eventually([&] {
    wire::arrival a;
    client.socket().pump();
    static_cast<void>(client.socket().receive(a));
    return client.socket().now() == wire::client_socket::state::down;
  }));
}

TEST(Bridge, ABridgeThatNeverRanCanBeDestroyed) {
  running_bridge b;
  b.host(wire::role::controller, placing::inline_in_bridge);
  b.host(wire::role::node, placing::pooled);
  b.host(wire::role::store, placing::detached);
}

TEST(Bridge, ATakenPortIsAnError) {
  running_bridge b;
  null_logger log;
  bridge_options options;
  options.endpoint = b->endpoint();
  const auto second = bridge::create(options, log);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code, errc::already_exists);
  EXPECT_NE(second.error().message.find(options.endpoint), std::string::npos);
  options.endpoint = "tcp://nonsense";
  EXPECT_EQ(bridge::create(options, log).error().code, errc::permission_denied) << "not loopback";
  options.endpoint = "tcp://127.0.0.1";
  EXPECT_EQ(bridge::create(options, log).error().code, errc::invalid_argument);
}

// -- keys
// --------------------------------------------------------------------------------------------------------------------

TEST(BridgeKeys, ListeningBeyondLoopbackNeedsKeys) {
  null_logger log;
  bridge_options options;
  options.endpoint = "tcp://0.0.0.0:*";
  const auto open = bridge::create(options, log);
  ASSERT_FALSE(open.ok());
  EXPECT_EQ(open.error().code, errc::permission_denied);
  EXPECT_NE(open.error().message.find("squall keys new"), std::string::npos);
  options.keys.server_public = "x";
  options.keys.server_secret = "y";
  EXPECT_EQ(bridge::create(options, log).error().code, errc::invalid_argument);
  const auto keys = *wire::make_keys();
  options.keys.server_public = keys.public_key;
  options.keys.server_secret = keys.secret_key;
  EXPECT_EQ(bridge::create(options, log).error().code, errc::invalid_argument) << "nobody could connect";
  options.keys.allowed = {wire::make_keys()->public_key};
  EXPECT_TRUE(bridge::create(options, log).ok());
}

TEST(BridgeKeys, OnlyListedClientsComeIn) {
  const auto server_keys = *wire::make_keys();
  const auto friend_keys = *wire::make_keys();
  const auto stranger_keys = *wire::make_keys();
  bridge_options options;
  options.keys.server_public = server_keys.public_key;
  options.keys.server_secret = server_keys.secret_key;
  options.keys.allowed = {friend_keys.public_key};
  running_bridge b{options};
  b.host(wire::role::controller, placing::inline_in_bridge);
  b.run();
  wire::connect_options with;
  with.server_key = server_keys.public_key;
  with.keys = friend_keys;
  peer welcome{b->endpoint(), with};
  welcome.send(wire::ping{}, 1);
  EXPECT_TRUE(welcome.receive().has_value());

  with.keys = stranger_keys;
  peer stranger{b->endpoint(), with};
  stranger.send(wire::ping{}, 1);
  EXPECT_TRUE(eventually([&] {
    wire::arrival a;
    stranger.socket().pump();
    EXPECT_FALSE(stranger.socket().receive(a));
    return stranger.socket().now() == wire::client_socket::state::down;
  }));
  EXPECT_EQ(stranger.socket().reason(), "the server does not allow our key");

  raw_peer naked{b->endpoint()};
  naked.send({"\x95\x01\x03\x01\x09\x90"s});
  std::this_thread::sleep_for(100ms);
  EXPECT_EQ(b->stats().received, 1U);
}

TEST(BridgeKeys, AKeyDoesWhatItsRoleMayAndNoMore) {
  const auto server_keys = *wire::make_keys();
  const std::array<std::string, 3> roles{"user", "node", "admin"};
  std::array<wire::key_pair, 3> keys;
  bridge_options options;
  options.keys.server_public = server_keys.public_key;
  options.keys.server_secret = server_keys.secret_key;
  for (std::size_t i = 0; i < roles.size(); ++i) {
    keys[i] = *wire::make_keys();
    options.keys.allowed.push_back(keys[i].public_key + " " + roles[i] + " name");
  }
  running_bridge b{options};
  b.host(wire::role::controller, placing::inline_in_bridge);
  b.run();
  const auto code_of = [&](std::size_t i, const auto& message) {
    wire::connect_options with;
    with.server_key = server_keys.public_key;
    with.keys = keys[i];
    peer p{b->endpoint(), with};
    p.send(message, 1);
    const auto answer = p.receive();
    const auto reply = answer ? wire::decode<wire::reply>(*answer, nullptr) : result<wire::reply>{errc::ok, ""};
    return reply.ok() ? reply->code : errc::ok; // another answer: the role has it
  };
  for (std::size_t i = 0; i < roles.size(); ++i) {
    EXPECT_NE(code_of(i, wire::ping{}), errc::permission_denied) << roles[i];
    EXPECT_EQ(code_of(i, wire::shutdown{}) == errc::permission_denied, i < 2) << roles[i];
    EXPECT_EQ(code_of(i, wire::set_policy{"rr"}) == errc::permission_denied, i < 2) << roles[i];
    EXPECT_EQ(code_of(i, wire::node_hello{}) == errc::permission_denied, i < 1) << roles[i];
  }
}

TEST(BridgeKeys, ARevokedKeyIsHeardNoMoreAndANewOneComesIn) {
  const auto server_keys = *wire::make_keys();
  const auto old_keys = *wire::make_keys();
  const auto new_keys = *wire::make_keys();
  bridge_options options;
  options.keys.server_public = server_keys.public_key;
  options.keys.server_secret = server_keys.secret_key;
  options.keys.allowed = {old_keys.public_key + " user old"};
  running_bridge b{options};
  b.host(wire::role::controller, placing::inline_in_bridge);
  b.run();
  wire::connect_options with;
  with.server_key = server_keys.public_key;
  with.keys = old_keys;
  peer old{b->endpoint(), with};
  old.send(wire::ping{}, 1);
  ASSERT_TRUE(old.receive().has_value());
  b->allow({new_keys.public_key + " user new"});
  with.keys = new_keys;
  peer fresh{b->endpoint(), with};
  fresh.send(wire::ping{}, 1);
  ASSERT_TRUE(fresh.receive().has_value());
  const auto before = b->stats().received;
  old.send(wire::ping{}, 2);
  fresh.send(wire::ping{}, 2);
  ASSERT_TRUE(fresh.receive().has_value());
  std::this_thread::sleep_for(100ms);
  EXPECT_EQ(b->stats().received, before + 1);
}

} // namespace
} // namespace squall::actors
