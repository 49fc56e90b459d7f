#include "tests/executors/node_world.hpp"

/// Results that a node sends straight to clients.
namespace squall::executors {
namespace {

using namespace testing;

constexpr client_id a_client{42};
constexpr actors::peer_id client_peer{500};

class NodeAnswers : public NodeTest {
protected:
  void SetUp() override {
    NodeTest::SetUp();
    dag_ = add_dag_of("light");
    add_machine();
    auto welcome = welcome_for(0);
    welcome.prices.cpu = 2'000'000;
    give(0, welcome);
    on_peer_message_ = [this](const fake_post::sent_message& s) { to_client_.push_back(s); };
  }

  void say_hello(actors::peer_id from, client_id as = a_client) {
    wire::hello hello;
    hello.client = as;
    auto one = incoming_of(hello, from, request_id{1}, wire::role::node);
    role(0).on_messages({&one, 1});
  }

  void start_for(client_id client, std::uint64_t call = 1) {
    auto context = context_of(call, dag_);
    context.answer_to = client;
    context.expected = 7ms;
    start(0, context, {number(3)});
    settle();
  }

  dag_id dag_;
  std::vector<fake_post::sent_message> to_client_;
};

TEST_F(NodeAnswers, AClientThatSaidHelloGetsItsResultFromTheExitNode) {
  say_hello(client_peer);
  start_for(a_client);
  ASSERT_EQ(to_client_.size(), 1U);
  EXPECT_EQ(to_client_[0].to, client_peer);
  EXPECT_EQ(to_client_[0].head.request, request_id{1}) << "the call's id";
  const auto result = wire::decode<wire::call_result>(to_client_[0].message, nullptr);
  ASSERT_TRUE(result.ok()) << result.error().message;
  EXPECT_EQ(result->call, call_id{1});
  EXPECT_EQ(result->outcome.code, errc::ok);
  EXPECT_EQ(result->outcome.promise.expected, duration{7ms});
  ASSERT_EQ(result->outputs.size(), 1U);
  EXPECT_EQ(result->outputs[0].value, number(3));
  EXPECT_EQ(result->outcome.receipt.cost, result->outcome.receipt.cpu.count() * 2);
  EXPECT_FALSE(finished(1)) << "the outputs do not go to the controller as well";
  EXPECT_TRUE(answered_.empty()) << "more may come for the same message";
  pass(node_role::answered_patience);
  ASSERT_EQ(answered_.size(), 1U);
  EXPECT_EQ(answered_[0].node, node_id{1});
  ASSERT_EQ(answered_[0].calls.size(), 1U);
  EXPECT_EQ(answered_[0].calls[0].outcome, result->outcome);
  expect_memory_free();
}

TEST_F(NodeAnswers, TheControllerHearsOfManyAnswersInOneMessage) {
  say_hello(client_peer);
  std::vector<actors::incoming> messages;
  for (std::uint64_t i = 1; i <= 300; ++i) {
    wire::start_call message;
    message.context = context_of(i, dag_);
    message.context.answer_to = a_client;
    message.inputs = {number(1)};
    messages.push_back(incoming_of(message, machines_[0]->controller_connection, request_id{}, wire::role::node));
  }
  role(0).on_messages(messages);
  settle();
  EXPECT_EQ(to_client_.size(), 300U);
  pass(node_role::answered_patience);
  ASSERT_EQ(answered_.size(), 2U) << "256 at most in one";
  EXPECT_EQ(answered_[0].calls.size() + answered_[1].calls.size(), 300U);
}

TEST_F(NodeAnswers, WithoutAConnectionTheControllerPassesTheResultOn) {
  start_for(a_client);
  EXPECT_TRUE(finished(1));
  say_hello(client_peer);
  role(0).on_peer_lost(client_peer);
  start_for(a_client, 2);
  EXPECT_TRUE(finished(2));
  say_hello(client_peer);
  start_for(client_id{}, 3);
  EXPECT_TRUE(finished(3)) << "the controller wants to answer itself";
  EXPECT_TRUE(to_client_.empty());
  EXPECT_TRUE(answered_.empty());
}

TEST_F(NodeAnswers, AFullConnectionIsNoReasonToLoseAResult) {
  say_hello(client_peer);
  machines_[0]->post.failing[client_peer] = errc::overloaded;
  start_for(a_client);
  EXPECT_TRUE(finished(1));
  EXPECT_TRUE(answered_.empty());
}

TEST_F(NodeAnswers, AnotherConnectionCannotTakeAClientsResults) {
  say_hello(client_peer);
  say_hello(actors::peer_id{501});
  start_for(a_client);
  ASSERT_EQ(to_client_.size(), 1U);
  EXPECT_EQ(to_client_[0].to, client_peer);
}

} // namespace
} // namespace squall::executors
