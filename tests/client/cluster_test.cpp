#include "client/cluster.hpp"

#include "tests/client/fake_server.hpp"

#include <gtest/gtest.h>

#include <future>
#include <mutex>
#include <thread>

namespace squall::client {
namespace {

using namespace std::chrono_literals;
using functions::datatype;
using testing::fake_server;

std::unique_ptr<cluster> connect(const fake_server& server, std::size_t max_outstanding = 10'000) {
  options o;
  o.endpoint = server.endpoint();
  o.timeout = 3s;
  o.max_outstanding = max_outstanding;
  auto made = cluster::connect(o);
  EXPECT_TRUE(made.ok()) << made.error().message;
  return std::move(made).value();
}

std::vector<functions::named_value> number(std::int64_t n) { return {{"n", functions::scalar_value(n)}}; }

functions::named_value large(std::size_t bytes, char fill) {
  return {"x", functions::value{functions::tensor{
                   datatype::uint8, {static_cast<std::int64_t>(bytes)}, shared_bytes::take(std::string(bytes, fill))}}};
}

TEST(Cluster, SaysHelloAndKnowsWhoAnswered) {
  const fake_server server;
  const auto cluster = connect(server);
  const auto info = cluster->info();
  EXPECT_EQ(info.name, "fake");
  EXPECT_EQ(info.software, "squall 9.9 fake");
  EXPECT_EQ(info.epoch, 1u);
  EXPECT_TRUE(info.same_host);
  const auto record = server.record();
  ASSERT_EQ(record.hellos.size(), 1u);
  EXPECT_EQ(record.hellos[0].software, "squall client");
  EXPECT_EQ(record.hellos[0].host, wire::host_key());
  EXPECT_TRUE(record.hellos[0].client);
  EXPECT_TRUE(cluster->ping().ok());
}

TEST(Cluster, NoServerIsUnavailable) {
  options o;
  o.endpoint = "tcp://127.0.0.1:1";
  o.timeout = 200ms;
  const auto made = cluster::connect(o);
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().code, errc::unavailable);
  EXPECT_EQ(made.error().message, "cannot connect to tcp://127.0.0.1:1: no answer within 200 ms");
}

TEST(Cluster, AnEndpointThatIsNoneIsRefused) {
  options o;
  EXPECT_EQ(cluster::connect(o).error().code, errc::invalid_argument);
  o.endpoint = "localhost";
  EXPECT_EQ(cluster::connect(o).error().code, errc::invalid_argument);
}

TEST(Cluster, ARefusedHelloSaysWhy) {
  fake_server server;
  server.refuse_hello = true;
  options o;
  o.endpoint = server.endpoint();
  o.timeout = 3s;
  const auto made = cluster::connect(o);
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().code, errc::unsupported);
  EXPECT_EQ(made.error().message,
            "cannot connect to " + server.endpoint() + ": versions 7 to 9 are spoken here, yours are 1 to 1");
}

TEST(Cluster, ACallReturnsItsOutputs) {
  const fake_server server;
  const auto cluster = connect(server);
  const auto result = cluster->call("echo", number(7)).get();
  EXPECT_TRUE(result.ok()) << result.outcome.message;
  EXPECT_TRUE(result.status().ok());
  ASSERT_NE(result.find("n"), nullptr);
  EXPECT_EQ(*result.find("n"), functions::scalar_value(7));
  EXPECT_EQ(result.find("m"), nullptr);
}

TEST(Cluster, TargetVersionAndOptionsTravel) {
  fake_server server;
  std::promise<wire::call_request> got;
  server.on_call = [&](fake_server& s, wire::route from, const wire::call_request& call) {
    got.set_value(call);
    s.answer(from, call, {});
  };
  const auto cluster = connect(server);
  calls::call_options o;
  o.deadline = 80ms;
  o.priority = 3;
  o.sequence = {sequence_id{5}, true, false};
  const auto handle = cluster->call("read-line@2", number(1), o);
  (void)handle.get();
  const auto request = got.get_future().get();
  EXPECT_EQ(request.target, "read-line");
  EXPECT_EQ(request.version, 2u);
  EXPECT_EQ(request.options, o);
  EXPECT_EQ(request.call, handle.id());
  EXPECT_EQ(cluster->call("x@y", {}).get().outcome.message, "'x@y' is not a name with a version such as x@2");
}

TEST(Cluster, ResultsAreMatchedByIdNotByOrder) {
  fake_server server;
  std::vector<std::pair<wire::route, wire::call_request>> held;
  server.on_call = [&](fake_server& s, wire::route from, wire::call_request call) {
    held.emplace_back(from, std::move(call));
    if (held.size() == 3)
      for (auto each = held.rbegin(); each != held.rend(); ++each)
        s.answer(each->first, each->second, each->second.inputs);
  };
  const auto cluster = connect(server);
  std::vector<call_handle> handles;
  for (int i = 0; i < 3; ++i)
    handles.push_back(cluster->call("echo", number(i)));
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(*handles[i].get().find("n"), functions::scalar_value(i));
}

TEST(Cluster, AFailedCallCarriesItsTrace) {
  fake_server server;
  server.on_call = [](fake_server& s, wire::route from, const wire::call_request& call) {
    wire::call_result result;
    result.call = call.call;
    result.outcome.code = errc::failed;
    result.outcome.message = "stage 'a': no";
    result.outcome.trace.resize(2);
    s.send(from, result, request_id{call.call.value});
  };
  const auto cluster = connect(server);
  const auto result = cluster->call("x", {}).get();
  EXPECT_EQ(result.status().error().code, errc::failed);
  EXPECT_EQ(result.outcome.trace.size(), 2u);
}

TEST(Cluster, CallbacksRunOnceBeforeOrAfterTheEnd) {
  const fake_server server;
  const auto cluster = connect(server);
  std::promise<bool> before;
  const auto handle = cluster->call("echo", number(1));
  handle.on_done([&](const call_result& r) { before.set_value(r.ok()); });
  EXPECT_TRUE(before.get_future().get());
  bool after = false;
  handle.on_done([&](const call_result& r) { after = r.ok(); });
  EXPECT_TRUE(after);
  std::promise<bool> async;
  cluster->call_async("echo", number(2), {}, [&](call_result r) { async.set_value(r.ok()); });
  EXPECT_TRUE(async.get_future().get());
}

TEST(Cluster, TheLimitOfOutstandingCallsIsAnAnswer) {
  fake_server server;
  server.on_call = [](fake_server&, wire::route, const wire::call_request&) {};
  const auto cluster = connect(server, 2);
  const auto a = cluster->call("slow", {});
  const auto b = cluster->call("slow", {});
  const auto refused = cluster->call("slow", {}).get();
  EXPECT_EQ(refused.outcome.code, errc::overloaded);
  EXPECT_EQ(refused.outcome.message, "2 calls are outstanding, this client's limit");
  EXPECT_GT(refused.outcome.retry_after, 0ns);
  a.cancel();
  EXPECT_EQ(a.get().outcome.code, errc::cancelled);
  EXPECT_FALSE(cluster->call("slow", {}).wait_for(10ms));
}

TEST(Cluster, ACallEndsSoonAfterItsDeadlineWhateverTheServerDoes) {
  fake_server server;
  server.on_call = [](fake_server&, wire::route, const wire::call_request&) {};
  const auto cluster = connect(server);
  calls::call_options o;
  o.deadline = 50ms;
  const auto begin = std::chrono::steady_clock::now();
  const auto result = cluster->call("slow", {}, o).get();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 2050ms);
  EXPECT_EQ(result.outcome.code, errc::deadline_exceeded);
  EXPECT_EQ(result.outcome.message, "no result came by the deadline of 50 ms");
}

TEST(Cluster, TheDefaultDeadlineOfTheClusterHolds) {
  fake_server server;
  server.welcome.default_deadline = 60ms;
  server.on_call = [](fake_server&, wire::route, const wire::call_request&) {};
  const auto cluster = connect(server);
  EXPECT_EQ(cluster->call("slow", {}).get().outcome.code, errc::deadline_exceeded);
}

TEST(Cluster, ACancelledCallEndsAndTheServerIsTold) {
  fake_server server;
  server.on_call = [](fake_server&, wire::route, const wire::call_request&) {};
  const auto cluster = connect(server);
  const auto handle = cluster->call("slow", {});
  handle.cancel();
  EXPECT_EQ(handle.get().outcome.code, errc::cancelled);
  EXPECT_TRUE(server.wait_until([&](const auto& r) { return r.cancelled.contains(handle.id().value); }));
}

TEST(Cluster, ClosingEndsWhatIsOutstanding) {
  fake_server server;
  server.on_call = [](fake_server&, wire::route, const wire::call_request&) {};
  auto cluster = connect(server);
  const auto handle = cluster->call("slow", {});
  cluster.reset();
  EXPECT_EQ(handle.get().outcome.code, errc::cancelled);
  EXPECT_EQ(handle.get().outcome.message, "the client was closed");
  handle.cancel();
}

TEST(Cluster, LargeInputsTravelByReferenceAndAreFreed) {
  fake_server server;
  std::atomic<bool> by_reference{false};
  server.on_call = [&](fake_server& s, wire::route from, const wire::call_request& call) {
    by_reference = s.arenas().locate(call.inputs.at(0).value.as_tensor()->data).has_value();
    EXPECT_EQ(call.inputs.at(0).value.as_tensor()->data.text(), std::string(200'000, 'x'));
    s.answer(from, call, {});
  };
  const auto cluster = connect(server);
  // Far more in total than the arena holds, so that what is not given back would show as inline.
  for (int i = 0; i < 20; ++i) {
    std::vector<functions::named_value> inputs;
    inputs.push_back(large(200'000, 'x'));
    EXPECT_TRUE(cluster->call("echo", std::move(inputs)).get().ok());
    EXPECT_TRUE(by_reference);
  }
}

TEST(Cluster, LargeInputsTravelInlineToAnotherHost) {
  fake_server server;
  server.welcome.host = 12345;
  std::atomic<bool> by_reference{true};
  server.on_call = [&](fake_server& s, wire::route from, const wire::call_request& call) {
    by_reference = s.arenas().locate(call.inputs.at(0).value.as_tensor()->data).has_value();
    s.answer(from, call, call.inputs);
  };
  const auto cluster = connect(server);
  EXPECT_FALSE(cluster->info().same_host);
  std::vector<functions::named_value> inputs;
  inputs.push_back(large(1 << 20, 'y'));
  const auto result = cluster->call("echo", std::move(inputs)).get();
  EXPECT_TRUE(result.ok());
  EXPECT_FALSE(by_reference);
  EXPECT_EQ(result.find("x")->as_tensor()->data.size(), 1u << 20);
}

TEST(Cluster, NodesMayAnswerAClientThatMakesManyCalls) {
  std::mutex mutex;
  bool hold = false;
  std::vector<wire::call_request> held; // by the controller: only the node answers
  fake_server node;
  node.each_round = [&](fake_server& self, wire::route client) {
    const std::lock_guard lock{mutex};
    for (const auto& call : std::exchange(held, {}))
      self.answer(client, call, {{"o", functions::scalar_value(std::int64_t{8})}});
  };
  fake_server controller;
  controller.nodes = {node.endpoint()};
  controller.on_call = [&](fake_server& self, wire::route from, const wire::call_request& call) {
    const std::lock_guard lock{mutex};
    if (hold)
      held.push_back(call);
    else
      self.answer(from, call, call.inputs);
  };
  const auto cluster = connect(controller);
  EXPECT_TRUE(node.record().hellos.empty()) << "the first calls are not worth a connection";
  for (int i = 0; i < 40; ++i)
    ASSERT_EQ(cluster->call("f", number(i)).get().outcome.code, errc::ok);
  ASSERT_TRUE(node.wait_until([](const auto& seen) { return seen.hellos.size() == 1; }));
  EXPECT_EQ(node.record().hellos[0].client, controller.record().hellos[0].client);
  EXPECT_TRUE(controller.record().hellos[0].answers_from_nodes);

  {
    const std::lock_guard lock{mutex};
    hold = true;
  }
  const auto result = cluster->call("f", number(7)).get();
  EXPECT_EQ(result.outcome.code, errc::ok) << result.outcome.message;
  EXPECT_EQ(*result.find("o"), functions::scalar_value(std::int64_t{8}));
}

TEST(Cluster, AnInputBeyondTheLimitIsTooLarge) {
  const fake_server server;
  const auto cluster = connect(server);
  std::vector<functions::named_value> inputs;
  inputs.push_back(large(300u << 20, 'z'));
  const auto result = cluster->call("echo", std::move(inputs)).get();
  EXPECT_EQ(result.outcome.code, errc::too_large);
  EXPECT_EQ(result.outcome.message, "the input 'x' has 314572800 bytes; a value may have 268435456");
}

TEST(Cluster, OutputsInSharedMemoryAreGivenBackWhenTheLastCopyIsDropped) {
  fake_server server;
  const auto arena = wire::arena::create(16 << 20).value();
  const auto known = wire::arena_map::create();
  known->add(arena);
  std::vector<wire::arena_ref> blocks;
  const auto shared = wire::share(large(100'000, 'o').value, *arena, *known, blocks);
  server.on_call = [&](fake_server& s, wire::route from, const wire::call_request& call) {
    wire::call_result result;
    result.call = call.call;
    result.outputs = {{"y", shared}, {"list", functions::value{functions::value_list{shared}}}};
    result.taken_wanted = true;
    s.send(from, result, request_id{call.call.value}, known.get());
  };
  const auto cluster = connect(server);
  auto result = cluster->call("make", {}).get();
  const std::uint64_t id = result.id.value;
  EXPECT_EQ(result.find("y")->as_tensor()->data.text(), std::string(100'000, 'o'));
  functions::value kept = result.find("list")->as_list()->at(0);
  result = {};
  (void)cluster->ping();
  EXPECT_FALSE(server.record().taken.contains(id));
  kept = {};
  EXPECT_TRUE(server.wait_until([&](const auto& r) { return r.taken.contains(id); }));
}

TEST(Cluster, PartialResultsComeInOrderEachOnce) {
  fake_server server;
  server.on_call = [](fake_server& s, wire::route from, const wire::call_request& call) {
    EXPECT_TRUE(call.options.stream);
    const auto say = [&](const char* stage, std::uint32_t element, std::uint32_t index) {
      wire::call_partial partial;
      partial.call = call.call;
      partial.stage = stage;
      partial.element = element;
      partial.index = index;
      partial.outputs = {{"n", functions::scalar_value(static_cast<int>(index))}};
      s.send(from, partial, request_id{call.call.value});
    };
    say("a", 0, 0);
    say("a", 0, 1);
    say("a", 0, 0); // it was run again
    say("a", 0, 1);
    say("a", 1, 0);
    say("b", 0, 0);
    say("a", 0, 2);
    s.answer(from, call, call.inputs);
    say("a", 0, 3); // too late
  };
  const auto cluster = connect(server);
  std::vector<std::string> seen;
  const auto handle = cluster->call("each", number(1), {}, [&](const partial_result& partial) {
    EXPECT_EQ(*partial.find("n"), functions::scalar_value(static_cast<int>(partial.index)));
    EXPECT_EQ(partial.find("m"), nullptr);
    seen.push_back(partial.stage + std::to_string(partial.element) + std::to_string(partial.index));
  });
  EXPECT_TRUE(handle.get().ok());
  EXPECT_TRUE(cluster->ping().ok()); // the last of what the server said has been read
  EXPECT_EQ(seen, (std::vector<std::string>{"a00", "a01", "a10", "b00", "a02"}));
}

TEST(Cluster, FunctionsAndDagsAreRegisteredAndRemoved) {
  fake_server server;
  server.on_apply_dag = [](const wire::apply_dag& apply) {
    return apply.replace ? wire::reply{} : wire::reply{errc::already_exists, "there is another DAG 'd'", {}, {}};
  };
  const auto cluster = connect(server);
  functions::function_spec f;
  f.name = "f";
  EXPECT_TRUE(cluster->register_function(f).ok());
  functions::dag_spec d;
  d.name = "d";
  EXPECT_EQ(cluster->register_dag(d).error(), (error{errc::already_exists, "there is another DAG 'd'", {}}));
  EXPECT_TRUE(cluster->register_dag(d, true).ok());
  EXPECT_TRUE(cluster->remove_function("f").ok());
  EXPECT_TRUE(cluster->remove_dag("d", 2).ok());
  const auto record = server.record();
  EXPECT_EQ(record.functions, std::vector{f});
  EXPECT_EQ(record.removed.at(0).kind, "function");
  EXPECT_EQ(record.removed.at(1).kind, "dag");
  EXPECT_EQ(record.removed.at(1).version, 2u);
}

TEST(Cluster, QueriesPolicyAndShutdown) {
  fake_server server;
  server.on_query = [](const wire::query& q) {
    return wire::reply{errc::ok, {}, {}, "[\"" + q.kind + "/" + q.name + "\"]"};
  };
  const auto cluster = connect(server);
  EXPECT_EQ(cluster->query("dags").value(), "[\"dags/\"]");
  EXPECT_EQ(cluster->query("dags", "x").value(), "[\"dags/x\"]");
  EXPECT_TRUE(cluster->set_policy("rr").ok());
  EXPECT_EQ(server.record().policy, "rr");
  EXPECT_TRUE(cluster->shutdown().ok());
  EXPECT_TRUE(server.record().shut_down);
}

TEST(Cluster, ThreadsShareOneConnection) {
  const fake_server server;
  const auto cluster = connect(server);
  std::vector<std::thread> threads;
  std::atomic<int> right{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        const auto result = cluster->call("echo", number(t * 1000 + i)).get();
        right += result.ok() && *result.find("n") == functions::scalar_value(t * 1000 + i);
      }
    });
  for (auto& thread : threads)
    thread.join();
  EXPECT_EQ(right, 800);
  EXPECT_EQ(server.record().hellos.size(), 1u);
}

} // namespace
} // namespace squall::client
