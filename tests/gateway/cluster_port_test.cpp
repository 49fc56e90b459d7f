#include "gateway/cluster_port.hpp"

#include "tests/client/fake_server.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>

namespace squall::gateway {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;

class ClusterPort : public ::testing::Test {
protected:
  void SetUp() override {
    server_.on_query = [this](const wire::query& q) {
      ++queries_;
      wire::reply out;
      if (q.kind == "dags")
        out.body =
            R"([{"name":"read","version":1,"inputs":[],"outputs":[],"output_ports":[]},)"
            R"({"name":"read","version":4,"inputs":[{"name":"x","datatype":"FP32","shape":[1,-1],"list":false,"optional":false}],)"
            R"("outputs":["texts"],"stages":[],)"
            R"("output_ports":[{"name":"texts","datatype":"BYTES","shape":[1],"list":true,"optional":false}]}])";
      else if (q.kind == "functions")
        out.body =
            R"([{"name":"add","version":2,"inputs":[],"outputs":[{"name":"y","datatype":"INT64","shape":[1]}],"variants":[]},)"
            R"({"name":"read","version":9,"inputs":[],"outputs":[]}])";
      else if (q.kind == "status")
        out.body = ready_ ? R"({"cluster":"c","ready":true})" : R"({"cluster":"c","ready":false})";
      else
        out.body = R"([{"name":"squall_nodes","help":"Nodes","type":"gauge","labels":{"node":"a"},"value":2.5}])";
      return out;
    };
  }

  /// A port that has connected.
  std::unique_ptr<serving_port> connected() {
    client::options options;
    options.endpoint = server_.endpoint();
    auto port = make_cluster_port(options, log_);
    for (int i = 0; i < 500 && !port->metrics().ok(); ++i)
      std::this_thread::sleep_for(10ms);
    return port;
  }

  static infer_reply call(serving_port& port, const std::string& model, std::uint32_t version) {
    std::promise<infer_reply> ended;
    port.call(model, version, {{"x", functions::scalar_value(7)}}, {},
              [&](infer_reply r) { ended.set_value(std::move(r)); });
    return ended.get_future().get();
  }

  null_logger log_;
  std::atomic<bool> ready_{true};
  std::atomic<int> queries_{0};
  client::testing::fake_server server_;
};

TEST_F(ClusterPort, FindsDagsAndFunctionsInTheirVersions) {
  const auto port = connected();
  const auto latest = port->metadata("read", 0);
  ASSERT_TRUE(latest.ok()) << latest.error().message;
  EXPECT_EQ(latest->version, 4u);
  EXPECT_TRUE(latest->dag) << "a function of that name is behind the DAG";
  EXPECT_THAT(latest->versions, ElementsAre(1u, 4u));
  ASSERT_EQ(latest->inputs.size(), 1u);
  EXPECT_THAT(latest->inputs[0].shape, ElementsAre(1, -1));
  ASSERT_EQ(latest->outputs.size(), 1u);
  EXPECT_TRUE(latest->outputs[0].list);
  EXPECT_EQ(port->metadata("read", 1)->version, 1u);
  const auto function = port->metadata("add", 0);
  ASSERT_TRUE(function.ok());
  EXPECT_FALSE(function->dag);
  EXPECT_EQ(function->outputs.at(0).type, functions::datatype::int64);
  EXPECT_EQ(port->metadata("read", 9).error().code, errc::not_found);
  EXPECT_EQ(port->metadata("none", 0).error().code, errc::not_found);
}

TEST_F(ClusterPort, AFloodOfNamesIsNotAFloodOfQueries) {
  const auto port = connected();
  (void)port->metadata("read", 0);
  const int before = queries_;
  for (int i = 0; i < 1000; ++i)
    (void)port->metadata(i % 2 == 0 ? "read" : "none", 0);
  EXPECT_LT(queries_ - before, 200);
}

TEST_F(ClusterPort, CallsWithTheVersion) {
  std::promise<std::string> target;
  server_.on_call = [&](client::testing::fake_server& server, wire::route from, const wire::call_request& c) {
    target.set_value(c.target + "@" + std::to_string(c.version));
    server.answer(from, c, c.inputs);
  };
  const auto port = connected();
  const auto reply = call(*port, "read", 4);
  EXPECT_EQ(reply.outcome.code, errc::ok) << reply.outcome.message;
  EXPECT_EQ(target.get_future().get(), "read@4");
  ASSERT_EQ(reply.outputs.size(), 1u);
  EXPECT_EQ(reply.outputs[0].value, functions::scalar_value(7));
}

TEST_F(ClusterPort, TellsReadinessAndMetrics) {
  const auto port = connected();
  EXPECT_TRUE(port->ready().ok());
  ready_ = false;
  EXPECT_EQ(port->ready().error().code, errc::unavailable);
  const auto samples = port->metrics();
  ASSERT_EQ(samples->size(), 1u);
  EXPECT_EQ(samples->at(0).labels.at("node"), "a");
  EXPECT_EQ(samples->at(0).value, 2.5);
}

TEST_F(ClusterPort, IsUnavailableUntilTheClusterAnswers) {
  server_.mute = true;
  client::options options;
  options.endpoint = server_.endpoint();
  options.timeout = 300ms;
  const auto port = make_cluster_port(options, log_);
  EXPECT_EQ(port->ready().error().code, errc::unavailable);
  EXPECT_EQ(port->metadata("read", 0).error().code, errc::unavailable);
  EXPECT_EQ(call(*port, "read", 0).outcome.code, errc::unavailable);
  server_.mute = false;
  for (int i = 0; i < 500 && !port->ready().ok(); ++i)
    std::this_thread::sleep_for(10ms);
  EXPECT_TRUE(port->ready().ok());
}

} // namespace
} // namespace squall::gateway
