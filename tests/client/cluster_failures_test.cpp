#include "client/cluster.hpp"
#include "tests/client/fake_server.hpp"

#include <gtest/gtest.h>

#include <map>
#include <mutex>
#include <thread>

namespace squall::client {
namespace {

using namespace std::chrono_literals;
using testing::fake_server;

std::unique_ptr<cluster> connect(const fake_server& server, duration patience = 0s) {
  options o;
  o.patience = patience;
  o.endpoint = server.endpoint();
  o.timeout = 3s;
  auto made = cluster::connect(o);
  EXPECT_TRUE(made.ok()) << made.error().message;
  return std::move(made).value();
}

/// Whether a call succeeds within 5 s of trying.
bool works_again(cluster& c) {
  for (int i = 0; i < 100; ++i) {
    if (c.call("echo", {}).get().ok())
      return true;
    std::this_thread::sleep_for(50ms);
  }
  return false;
}

void ignore_calls(fake_server&, wire::route, const wire::call_request&) {}

TEST(ClusterFailures, AServerThatGoesEndsWhatIsOutstandingAtOnce) {
  auto server = std::make_unique<fake_server>();
  server->on_call = ignore_calls;
  const std::string endpoint = server->endpoint();
  const auto cluster = connect(*server);
  const auto handle = cluster->call("slow", {});
  EXPECT_FALSE(handle.wait_for(50ms));
  const auto begin = std::chrono::steady_clock::now();
  server.reset();
  const auto& result = handle.get();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 2s);
  EXPECT_EQ(result.outcome.code, errc::unavailable);
  EXPECT_EQ(result.outcome.message,
            "lost " + endpoint + ": the server is gone; whether what was outstanding has run is not known");
  const auto refused = cluster->call("echo", {}).get();
  EXPECT_EQ(refused.outcome.code, errc::unavailable);
  EXPECT_TRUE(refused.outcome.message.starts_with("not connected to " + endpoint)) << refused.outcome.message;
  EXPECT_EQ(cluster->query("dags").error().code, errc::unavailable);
}

TEST(ClusterFailures, ARestartedServerIsFoundAgain) {
  auto server = std::make_unique<fake_server>();
  const std::string endpoint = server->endpoint();
  const auto cluster = connect(*server);
  EXPECT_TRUE(cluster->call("echo", {}).get().ok());
  server.reset();
  server = std::make_unique<fake_server>(endpoint, 2);
  EXPECT_TRUE(works_again(*cluster));
  EXPECT_EQ(cluster->info().epoch, 2u);
  EXPECT_EQ(server->record().hellos.size(), 1u);
}

TEST(ClusterFailures, ASilentServerIsGivenUpAfterFiveSeconds) {
  fake_server server;
  server.on_call = ignore_calls;
  const auto cluster = connect(server);
  const auto handle = cluster->call("slow", {});
  server.mute = true;
  const auto begin = std::chrono::steady_clock::now();
  const auto& result = handle.get();
  const auto took = std::chrono::steady_clock::now() - begin;
  EXPECT_GT(took, 3s);
  EXPECT_EQ(result.outcome.code, errc::unavailable);
  EXPECT_EQ(result.outcome.message, "lost " + server.endpoint() +
                                        ": no word from it for 5 s; whether what was outstanding has run is not known");
  server.mute = false;
  server.on_call = nullptr;
  EXPECT_TRUE(works_again(*cluster));
}

TEST(ClusterFailures, ANewEpochEndsWhatIsOutstanding) {
  fake_server server;
  server.on_call = ignore_calls;
  const auto cluster = connect(server);
  const auto handle = cluster->call("slow", {});
  EXPECT_FALSE(handle.wait_for(50ms));
  server.pong_epoch = 2;
  const auto& result = handle.get();
  EXPECT_EQ(result.outcome.code, errc::unavailable);
  EXPECT_NE(result.outcome.message.find("the cluster has restarted"), std::string::npos) << result.outcome.message;
  EXPECT_TRUE(server.wait_until([](const auto& r) { return r.hellos.size() >= 2; }));
}

TEST(ClusterFailures, LateResultsAreDroppedAndTheirOutputsGivenBack) {
  fake_server server;
  server.on_call = [](fake_server& s, wire::route from, const wire::call_request& call) {
    if (call.target == "late")
      std::this_thread::sleep_for(2s);
    wire::call_result result;
    result.call = call.call;
    result.taken_wanted = call.target == "late";
    s.send(from, result, request_id{call.call.value});
  };
  const auto cluster = connect(server);
  calls::call_options o;
  o.deadline = 1ms;
  const auto late = cluster->call("late", {}, o);
  EXPECT_EQ(late.get().outcome.code, errc::deadline_exceeded);
  EXPECT_TRUE(cluster->call("echo", {}).get().ok());
  EXPECT_TRUE(server.wait_until([&](const auto& r) { return r.taken.contains(late.id().value); }));
}

TEST(ClusterFailures, GarbageFromTheServerHarmsNobody) {
  fake_server server;
  server.on_call = [](fake_server& s, wire::route from, const wire::call_request& call) {
    using bytes = shared_bytes;
    s.send_raw(from, {bytes::copy_of("garbage"), {}});
    s.send_raw(from, {bytes::copy_of(std::string(1000, '\xc1')), {bytes::copy_of("more")}});
    s.send_raw(from, {bytes{}, {}});
    wire::call_result unknown;
    unknown.call = call_id{4711};
    s.send(from, unknown, request_id{4711});
    s.send(from, wire::reply{errc::internal, "nobody asked", {}, {}}, request_id{0});
    s.send(from, wire::welcome{}, request_id{77});
    s.answer(from, call, call.inputs);
  };
  const auto cluster = connect(server);
  for (int i = 0; i < 10; ++i)
    EXPECT_TRUE(cluster->call("echo", {{"n", functions::scalar_value(i)}}).get().ok());
}

TEST(ClusterFailures, AResultThatDoesNotDecodeEndsItsCall) {
  fake_server server;
  server.on_call = [](fake_server& s, wire::route from, const wire::call_request& call) {
    wire::call_result result;
    result.call = call.call;
    result.outputs = {{"y", functions::scalar_value(1)}};
    wire::frames broken = wire::encode(result, request_id{call.call.value});
    broken.payloads.clear();
    s.send_raw(from, broken);
  };
  const auto cluster = connect(server);
  const auto handle = cluster->call("x", {});
  EXPECT_EQ(handle.get().outcome.code, errc::corrupt);
  EXPECT_TRUE(server.wait_until([&](const auto& r) { return r.taken.contains(handle.id().value); }));
}

TEST(ClusterFailures, AReplyInPlaceOfAResultIsItsError) {
  fake_server server;
  server.on_call = [](fake_server& s, wire::route from, const wire::call_request& call) {
    s.send(from, wire::reply{errc::overloaded, "the queue is full", 5ms, {}}, request_id{call.call.value});
  };
  const auto cluster = connect(server);
  const auto result = cluster->call("x", {}).get();
  EXPECT_EQ(result.status().error(), (error{errc::overloaded, "the queue is full", 5ms}));
}

TEST(ClusterFailures, ACallWaitsForARestartedServerAndIsSentAgainUnderItsId) {
  auto server = std::make_unique<fake_server>();
  server->on_call = ignore_calls;
  const std::string endpoint = server->endpoint();
  const auto cluster = connect(*server, 20s);
  calls::call_options promise;
  promise.deadline = 30s;
  const auto sent = cluster->call("slow", {{"n", functions::scalar_value(1)}}, promise);
  EXPECT_FALSE(sent.wait_for(100ms));
  server.reset();
  // The client notices in its own time; either way the call waits.
  const auto unsent = cluster->call("late", {{"n", functions::scalar_value(2)}});
  EXPECT_FALSE(unsent.wait_for(500ms));
  EXPECT_FALSE(sent.wait_for(0ms));
  std::mutex mutex;
  std::map<std::uint64_t, wire::call_request> came;
  server =
      std::make_unique<fake_server>(endpoint, 2, [&](fake_server& s, wire::route from, const wire::call_request& call) {
        {
          const std::lock_guard lock{mutex};
          came[call.call.value] = call;
        }
        s.answer(from, call, call.inputs);
      });
  EXPECT_TRUE(sent.get().ok()) << sent.get().outcome.message;
  EXPECT_TRUE(unsent.get().ok()) << unsent.get().outcome.message;
  const std::lock_guard lock{mutex};
  const auto& again = came.at(sent.id().value);
  EXPECT_TRUE(again.again);
  EXPECT_LT(again.options.deadline, 30s);
  EXPECT_GT(again.options.deadline, 0s);
  ASSERT_EQ(again.inputs.size(), 1U);
  EXPECT_EQ(again.inputs[0].value, functions::scalar_value(1));
}

TEST(ClusterFailures, PatienceHasAnEnd) {
  auto server = std::make_unique<fake_server>();
  server->on_call = ignore_calls;
  const auto cluster = connect(*server, 500ms);
  const auto handle = cluster->call("slow", {});
  EXPECT_FALSE(handle.wait_for(50ms));
  server.reset();
  EXPECT_EQ(handle.get().outcome.code, errc::unavailable);
  EXPECT_EQ(cluster->call("echo", {}).get().outcome.code, errc::unavailable);
}

TEST(ClusterFailures, WhatIsRefusedForNowIsSentAgain) {
  fake_server server;
  std::atomic<int> refusals{0};
  server.on_call = [&](fake_server& s, wire::route from, const wire::call_request& call) {
    if (refusals.fetch_add(1) >= 2)
      return s.answer(from, call, call.inputs);
    wire::call_result result;
    result.call = call.call;
    result.outcome.code = errc::unavailable;
    result.outcome.retry_after = 50ms;
    s.send(from, result, request_id{call.call.value});
  };
  const auto patient = connect(server, 20s);
  EXPECT_TRUE(patient->call("x", {}).get().ok());
  EXPECT_EQ(refusals, 3);
  refusals = 0;
  const auto hasty = connect(server);
  const auto result = hasty->call("x", {}).get();
  EXPECT_EQ(result.outcome.code, errc::unavailable);
  EXPECT_EQ(result.outcome.retry_after, 50ms);
}

TEST(ClusterFailures, ARequestThatIsNotAnsweredTimesOut) {
  fake_server server;
  server.on_query = [](const wire::query&) {
    std::this_thread::sleep_for(1s);
    return wire::reply{};
  };
  options o;
  o.endpoint = server.endpoint();
  o.timeout = 300ms;
  const auto cluster = cluster::connect(o).value();
  const auto body = cluster->query("dags");
  EXPECT_EQ(body.error().code, errc::unavailable);
  EXPECT_EQ(body.error().message, "no answer from " + server.endpoint() + " within 300 ms");
}

} // namespace
} // namespace squall::client
