#include "controller/controller_service.hpp"

#include "calls/json.hpp"
#include "controller/node_health.hpp"
#include "tests/support/fake_post.hpp"

#include <gtest/gtest.h>

#include <array>

namespace squall::controller {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::fake_post;
using testing::give;

constexpr actors::peer_id client_peer{100};
constexpr actors::peer_id other_client{101};
constexpr actors::peer_id node_peer{200};
constexpr actors::peer_id second_node{201};
constexpr actors::peer_id store_peer{static_cast<std::uint64_t>(wire::role::store)};

functions::function_spec echo_function() {
  functions::function_spec spec;
  spec.name = "echo";
  spec.inputs = {{"x", functions::datatype::uint8, {-1}, false, false}};
  spec.outputs = {{"x", functions::datatype::uint8, {-1}, false, false}};
  functions::variant_spec variant;
  variant.name = "default";
  variant.target = "noop";
  spec.variants = {variant};
  return spec;
}

/// Code of a user that has not said that it may run twice.
functions::function_spec once_function() {
  auto spec = echo_function();
  spec.variants[0].kind = functions::variant_kind::python;
  spec.variants[0].target = "functions/once";
  return spec;
}

functions::value bytes_value(std::size_t n = 3) {
  return {functions::tensor_of<std::uint8_t>(functions::datatype::uint8, {static_cast<std::int64_t>(n)},
                                             std::vector<std::uint8_t>(n, 7))};
}

/// A controller with an empty store, a client that has said hello, and (by join()) a node.
class ControllerService : public ::testing::Test {
protected:
  void SetUp() override {
    post_.local_roles = {wire::role::store};
    post_.time = time_point{seconds{100}};
    options_.event_log = false;
    options_.epoch = 77;
    options_.on_shutdown = [this] { stopped_ = true; };
    service_ = make_controller_service(options_, wire::arena_map::create(), log_);
    service_->start(post_);
    answer_store();
    hello(client_peer, 1);
  }

  /// Answers everything that was asked of the store: lists are empty, writes succeed.
  void answer_store() {
    for (bool any = true; any;) {
      any = false;
      std::vector<request_id> asked;
      std::erase_if(post_.sent, [&](const fake_post::sent_message& m) {
        if (m.to != store_peer)
          return false;
        asked.push_back(m.head.request);
        return true;
      });
      for (const request_id request : asked) {
        any = true;
        wire::store_reply reply;
        reply.code = store_code_;
        give(*service_, reply, store_peer, request);
      }
    }
  }

  void hello(actors::peer_id peer, std::uint64_t id, bool answers_from_nodes = false, std::uint64_t host = 0) {
    wire::hello message;
    message.client = client_id{id};
    message.host = host;
    message.answers_from_nodes = answers_from_nodes;
    give(*service_, message, peer, request_id{1});
    ASSERT_TRUE(post_.take<wire::welcome>().has_value());
  }

  node_id join(actors::peer_id peer = node_peer, std::string name = "n1") {
    wire::node_hello message;
    message.name = std::move(name);
    message.lanes = {{lane_id{1}, functions::resource_type::cpu}};
    message.instance = peer.value;
    give(*service_, message, peer, request_id{1});
    const auto welcome = post_.take<wire::node_welcome>();
    return welcome ? welcome->body.node : node_id{};
  }

  wire::reply apply(const functions::function_spec& spec, bool replace = false) {
    wire::apply_function message;
    message.spec = spec;
    message.replace = replace;
    give(*service_, message, client_peer, request_id{2});
    answer_store();
    const auto reply = post_.take<wire::reply>();
    return reply ? reply->body : wire::reply{errc::internal, "no reply", {}, {}};
  }

  void call(std::uint64_t id, duration deadline = duration{0}, actors::peer_id from = client_peer, bool again = false) {
    wire::call_request message;
    message.again = again;
    message.call = call_id{id};
    message.target = "echo";
    message.options.deadline = deadline;
    message.inputs = {{"x", bytes_value()}};
    give(*service_, message, from, request_id{id});
  }

  /// Calls "echo", whose node then gives out a part of its result.
  void stream(std::uint64_t id, actors::peer_id from) {
    wire::call_request message;
    message.call = call_id{id};
    message.target = "echo";
    message.options.stream = true;
    message.inputs = {{"x", bytes_value()}};
    give(*service_, message, from, request_id{id});
    ASSERT_TRUE(post_.take<wire::start_call>().has_value());
    give_part(id, 0);
    ASSERT_TRUE(post_.take<wire::call_partial>().has_value());
  }
  void give_part(std::uint64_t id, std::uint32_t index) {
    wire::stage_partial part;
    part.call = call_id{id};
    part.index = index;
    part.outputs = {bytes_value()};
    give(*service_, part, node_peer);
  }

  void finish(std::uint64_t id, node_id node, errc code = errc::ok) { finish(call_id{id}, node, code, node_peer); }
  void finish(call_id id, node_id node, errc code, actors::peer_id peer) {
    wire::call_finished message;
    message.call = id;
    message.node = node;
    message.outcome.code = code;
    if (code == errc::ok)
      message.outputs = {bytes_value()};
    give(*service_, message, peer);
  }

  void pass(duration time) {
    const time_point end = post_.time + time;
    while (post_.alarm <= end) {
      post_.time = std::max(post_.time, post_.alarm);
      service_->on_alarm();
    }
    post_.time = end;
  }

  errc ended_with() {
    const auto result = post_.take<wire::call_result>();
    return result ? result->body.outcome.code : errc::internal;
  }

  controller_options options_;
  null_logger log_;
  fake_post post_;
  std::unique_ptr<actors::role_service> service_;
  errc store_code_ = errc::ok;
  bool stopped_ = false;
};

TEST_F(ControllerService, AnswersACallThroughANode) {
  const node_id node = join();
  ASSERT_EQ(apply(echo_function()).code, errc::ok);
  ASSERT_TRUE(post_.take<wire::define_function>().has_value());
  call(5);
  const auto start = post_.take<wire::start_call>();
  ASSERT_TRUE(start.has_value());
  EXPECT_EQ(start->to, node_peer);
  EXPECT_EQ(start->body.context.call, call_id{5});
  ASSERT_EQ(start->body.inputs.size(), 1u);
  EXPECT_EQ(start->body.inputs[0], bytes_value());
  finish(5, node);
  const auto result = post_.take<wire::call_result>();
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->to, client_peer);
  EXPECT_EQ(result->head.request, request_id{5});
  EXPECT_EQ(result->body.outcome.code, errc::ok);
  ASSERT_EQ(result->body.outputs.size(), 1u);
  EXPECT_EQ(result->body.outputs[0].name, "x");
}

TEST_F(ControllerService, TellsAClientThatDoesNotReadThatItsResultWasDropped) {
  const node_id node = join();
  ASSERT_EQ(apply(echo_function()).code, errc::ok);
  call(5);
  post_.most_bytes[client_peer] = 2; // the result has three
  finish(5, node);
  const auto result = post_.take<wire::call_result>();
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->to, client_peer);
  EXPECT_EQ(result->body.outcome.code, errc::overloaded);
  EXPECT_NE(result->body.outcome.message.find("too much waits for the peer"), std::string::npos);
  EXPECT_TRUE(result->body.outputs.empty());
  EXPECT_FALSE(post_.take<wire::call_result>().has_value()) << "once";
  wire::query query;
  query.kind = "metrics";
  give(*service_, query, client_peer, request_id{9});
  const auto metrics = post_.take<wire::reply>();
  ASSERT_TRUE(metrics.has_value());
  const auto at = metrics->body.body.find("squall_results_dropped_total");
  ASSERT_NE(at, std::string::npos);
  EXPECT_NE(metrics->body.body.find("\"value\":1", at), std::string::npos);
}

TEST_F(ControllerService, AStreamWithAHoleIsEndedAndItsClientTold) {
  const node_id node = join();
  ASSERT_EQ(apply(echo_function()).code, errc::ok);
  stream(5, client_peer);
  post_.most_bytes[client_peer] = 2; // it no longer reads
  give_part(5, 1);
  EXPECT_FALSE(post_.take<wire::call_partial>().has_value());
  const auto result = post_.take<wire::call_result>();
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->body.outcome.code, errc::overloaded);
  EXPECT_TRUE(post_.take<wire::drop_call>().has_value()) << "the node need not go on";
  finish(5, node);
  EXPECT_FALSE(post_.take<wire::call_result>().has_value());
}

/// Also where the results themselves are in no shared memory: the client may not have read the partial ones yet.
TEST_F(ControllerService, WhatAStreamGaveOutIsKeptUntilItsClientHasReadIt) {
  const node_id node = join();
  ASSERT_EQ(apply(echo_function()).code, errc::ok);
  hello(other_client, 2, false, wire::host_key());
  for (const errc code : {errc::ok, errc::failed}) {
    const call_id id{code == errc::ok ? 5u : 6u};
    stream(id.value, other_client);
    wire::call_finished finished;
    finished.call = id;
    finished.node = node;
    finished.outcome.code = code;
    finished.outputs = {bytes_value()};
    finished.holders = {node};
    give(*service_, finished, node_peer);
    const auto result = post_.take<wire::call_result>();
    ASSERT_TRUE(result.has_value());
    EXPECT_TRUE(result->body.taken_wanted);
    EXPECT_FALSE(post_.take<wire::release_call>().has_value());
    give(*service_, wire::result_taken{{id}}, other_client);
    const auto released = post_.take<wire::release_call>();
    ASSERT_TRUE(released.has_value());
    EXPECT_EQ(released->body.calls, std::vector<call_id>{id});
  }
}

TEST_F(ControllerService, WhatACancelledStreamGaveOutIsKeptUntilItsClientHasReadIt) {
  join();
  ASSERT_EQ(apply(echo_function()).code, errc::ok);
  hello(other_client, 2, false, wire::host_key());
  stream(5, other_client);
  give(*service_, wire::cancel_request{call_id{5}}, other_client, request_id{6});
  const auto dropped = post_.take<wire::drop_call>();
  ASSERT_TRUE(dropped.has_value());
  EXPECT_TRUE(dropped->body.keep_blocks);
  const auto result = post_.take<wire::call_result>();
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->body.outcome.code, errc::cancelled);
  EXPECT_TRUE(result->body.taken_wanted);
  EXPECT_FALSE(post_.take<wire::release_call>().has_value());
  give(*service_, wire::result_taken{{call_id{5}}}, other_client);
  EXPECT_TRUE(post_.take<wire::release_call>().has_value());
}

TEST_F(ControllerService, TellsHowFarTheClockOfANodeIsOff) {
  const node_id node = join();
  const auto told = [&] {
    wire::query query;
    query.kind = "nodes";
    query.name = "n1";
    give(*service_, query, client_peer, request_id{9});
    const auto reply = post_.take<wire::reply>();
    return reply ? calls::json_document::parse(reply->body.body) : result<calls::json_document>{errc::internal, "none"};
  };
  wire::node_beat beat;
  beat.node = node;
  give(*service_, beat, node_peer);
  const auto before = told();
  ASSERT_TRUE(before.ok());
  EXPECT_TRUE(before->root().find("clock_ahead_ns")->is_null()) << "it has not said";
  beat.wall_clock_ns = (wall_clock() + std::chrono::hours{1}).count();
  beat.round_trip = milliseconds{2};
  give(*service_, beat, node_peer);
  const auto view = told();
  ASSERT_TRUE(view.ok());
  const duration ahead{view->root().find("clock_ahead_ns")->as_int64().value_or(0)};
  EXPECT_LT(std::chrono::abs(ahead - std::chrono::hours{1}), seconds{20});
  EXPECT_EQ(view->root().find("clock_uncertainty_ns")->as_int64().value_or(0), 1'000'000);
}

TEST_F(ControllerService, TellsAClientThatAsksWhichNodesThereAre) {
  EXPECT_FALSE(post_.take<wire::peers>().has_value()) << "the first client did not ask";
  hello(other_client, 2, true);
  auto peers = post_.take<wire::peers>();
  ASSERT_TRUE(peers.has_value());
  EXPECT_EQ(peers->to, other_client);
  EXPECT_TRUE(peers->body.nodes.empty());
  const node_id node = join();
  bool told = false;
  while ((peers = post_.take<wire::peers>())) {
    if (peers->to != other_client)
      continue;
    told = true;
    ASSERT_EQ(peers->body.nodes.size(), 1u);
    EXPECT_EQ(peers->body.nodes[0].node, node);
  }
  EXPECT_TRUE(told);
}

TEST_F(ControllerService, TheExitNodeMayAnswerAClientThatAsked) {
  const node_id node = join();
  ASSERT_EQ(apply(echo_function()).code, errc::ok);
  hello(other_client, 2, true);
  call(5, duration{0}, other_client);
  auto start = post_.take<wire::start_call>();
  ASSERT_TRUE(start.has_value());
  EXPECT_EQ(start->body.context.answer_to, client_id{2});
  wire::calls_answered answered;
  answered.node = node;
  answered.calls = {{call_id{5}, {}, {node}}, {call_id{99}, {}, {node}}};
  give(*service_, answered, node_peer);
  EXPECT_FALSE(post_.take<wire::call_result>().has_value()) << "it has its result";
  const auto released = post_.take<wire::release_call>();
  ASSERT_TRUE(released.has_value());
  EXPECT_EQ(released->body.calls.size(), 2u) << "also of the call that ended otherwise meanwhile";
  call(6, duration{0}, other_client);
  EXPECT_TRUE(post_.take<wire::start_call>().has_value());
}

TEST_F(ControllerService, AnswersByItselfWhatIsPromisedOrNotAskedFor) {
  join();
  ASSERT_EQ(apply(echo_function()).code, errc::ok);
  call(5);
  EXPECT_EQ(post_.take<wire::start_call>()->body.context.answer_to, client_id{}) << "this client did not ask";
  hello(other_client, 2, true);
  call(6, seconds{1}, other_client);
  EXPECT_EQ(post_.take<wire::start_call>()->body.context.answer_to, client_id{}) << "it has a latency SLO";
}

TEST_F(ControllerService, BelievesNoStrangerThatCallsWereAnswered) {
  const node_id node = join();
  ASSERT_EQ(apply(echo_function()).code, errc::ok);
  hello(other_client, 2, true);
  call(5, duration{0}, other_client);
  wire::calls_answered answered;
  answered.node = node;
  answered.calls = {{call_id{5}, {}, {}}};
  give(*service_, answered, client_peer);
  call(5, duration{0}, other_client);
  EXPECT_EQ(ended_with(), errc::already_exists) << "it still runs";
}

TEST_F(ControllerService, RefusesCallsBeforeHello) {
  call(5, duration{0}, other_client);
  const auto reply = post_.take<wire::reply>();
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(reply->body.code, errc::invalid_argument);
}

TEST_F(ControllerService, RefusesAnUnknownNameAndSuggestsTheNearest) {
  ASSERT_EQ(apply(echo_function()).code, errc::ok);
  wire::call_request message;
  message.call = call_id{1};
  message.target = "ehco";
  give(*service_, message, client_peer, request_id{9});
  const auto result = post_.take<wire::call_result>();
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->body.outcome.code, errc::not_found);
  EXPECT_NE(result->body.outcome.message.find("'echo'"), std::string::npos) << result->body.outcome.message;
}

TEST_F(ControllerService, RefusesACallWithoutANodeThatCouldRunIt) {
  ASSERT_EQ(apply(echo_function()).code, errc::ok);
  call(1);
  EXPECT_EQ(ended_with(), errc::unavailable);
}

TEST_F(ControllerService, RefusesAnIdThatRuns) {
  join();
  ASSERT_EQ(apply(echo_function()).code, errc::ok);
  call(1);
  call(1);
  EXPECT_EQ(ended_with(), errc::already_exists);
}

/// Its nodes would take what is said of the second for late words about the first.
TEST_F(ControllerService, RefusesAnIdThatHasEnded) {
  const node_id node = join();
  ASSERT_EQ(apply(echo_function()).code, errc::ok);
  call(1);
  ASSERT_TRUE(post_.take<wire::start_call>().has_value());
  finish(1, node);
  EXPECT_EQ(ended_with(), errc::ok);
  call(1);
  EXPECT_EQ(ended_with(), errc::already_exists);
  EXPECT_FALSE(post_.take<wire::start_call>().has_value());
}

/// Nobody else knows of a call that was refused.
TEST_F(ControllerService, TakesTheIdOfARefusedCallAgain) {
  ASSERT_EQ(apply(echo_function()).code, errc::ok);
  call(1);
  EXPECT_EQ(ended_with(), errc::unavailable);
  join();
  call(1);
  EXPECT_TRUE(post_.take<wire::start_call>().has_value());
}

TEST_F(ControllerService, EndsACallThatMayNotRunTwiceWhenItsNodeIsLost) {
  join();
  ASSERT_EQ(apply(once_function()).code, errc::ok);
  call(1);
  service_->on_peer_lost(node_peer);
  const auto result = post_.take<wire::call_result>();
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->body.outcome.code, errc::unavailable);
  EXPECT_NE(result->body.outcome.message.find("'n1'"), std::string::npos) << result->body.outcome.message;
}

TEST_F(ControllerService, PlacesACallAgainWhenItsNodeIsLost) {
  const std::array peers{node_peer, second_node};
  const std::array nodes{join(), join(second_node, "n2")};
  ASSERT_EQ(apply(echo_function()).code, errc::ok);
  call(1);
  const auto first = post_.take<wire::start_call>();
  ASSERT_TRUE(first.has_value());
  const std::size_t lost = first->to == node_peer ? 0 : 1;
  service_->on_peer_lost(peers[lost]);
  EXPECT_FALSE(post_.take<wire::call_result>().has_value());
  const auto second = post_.take<wire::start_call>();
  ASSERT_TRUE(second.has_value());
  EXPECT_EQ(second->to, peers[1 - lost]);
  EXPECT_NE(second->body.context.call, call_id{1})
      << "what is left of the first attempt must not be taken for the second";
  ASSERT_EQ(second->body.inputs.size(), 1U);
  EXPECT_EQ(second->body.inputs[0], bytes_value());
  finish(call_id{1}, nodes[1 - lost], errc::failed, peers[1 - lost]); // of the first attempt: nobody hears it
  EXPECT_FALSE(post_.take<wire::call_result>().has_value());
  finish(second->body.context.call, nodes[1 - lost], errc::ok, peers[1 - lost]);
  const auto result = post_.take<wire::call_result>();
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->body.call, call_id{1});
  EXPECT_EQ(result->head.request, request_id{1});
  EXPECT_EQ(result->body.outcome.code, errc::ok);
}

TEST_F(ControllerService, ACallWhoseNodeWasLostWaitsForAnother) {
  join();
  ASSERT_EQ(apply(echo_function()).code, errc::ok);
  call(1);
  ASSERT_TRUE(post_.take<wire::start_call>().has_value());
  service_->on_peer_lost(node_peer);
  pass(seconds{1});
  EXPECT_FALSE(post_.take<wire::call_result>().has_value());
  const node_id node = join(second_node, "n2");
  const auto again = post_.take<wire::start_call>();
  ASSERT_TRUE(again.has_value());
  finish(again->body.context.call, node, errc::ok, second_node);
  EXPECT_EQ(ended_with(), errc::ok);
}

TEST_F(ControllerService, NobodyWaitsForANodeBeyondTheDeadline) {
  join();
  ASSERT_EQ(apply(echo_function()).code, errc::ok);
  call(1, seconds{2});
  service_->on_peer_lost(node_peer);
  pass(seconds{1});
  EXPECT_FALSE(post_.take<wire::call_result>().has_value());
  pass(seconds{2});
  EXPECT_EQ(ended_with(), errc::deadline_exceeded);
}

TEST_F(ControllerService, ACallThatWaitsForANodeCanBeWithdrawn) {
  join();
  ASSERT_EQ(apply(echo_function()).code, errc::ok);
  call(1);
  ASSERT_TRUE(post_.take<wire::start_call>().has_value());
  service_->on_peer_lost(node_peer);
  give(*service_, wire::cancel_request{call_id{1}}, client_peer, request_id{8});
  EXPECT_EQ(ended_with(), errc::cancelled);
  join(second_node, "n2");
  EXPECT_FALSE(post_.take<wire::start_call>().has_value());
}

TEST_F(ControllerService, ACallThatBreaksEveryNodeIsTriedThreeTimes) {
  const node_id node = join();
  ASSERT_EQ(apply(echo_function()).code, errc::ok);
  call(1);
  for (int attempt = 1; attempt <= 3; ++attempt) {
    const auto start = post_.take<wire::start_call>();
    ASSERT_TRUE(start.has_value()) << attempt;
    finish(start->body.context.call, node, errc::unavailable, node_peer);
  }
  EXPECT_FALSE(post_.take<wire::start_call>().has_value());
  EXPECT_EQ(ended_with(), errc::unavailable);
}

TEST_F(ControllerService, AFailureOfTheFunctionIsNotTriedAgain) {
  const node_id node = join();
  ASSERT_EQ(apply(echo_function()).code, errc::ok);
  call(1);
  ASSERT_TRUE(post_.take<wire::start_call>().has_value());
  finish(1, node, errc::failed);
  EXPECT_EQ(ended_with(), errc::failed);
}

TEST_F(ControllerService, ACallThatIsSentAgainGoesOnForTheNewConnection) {
  const node_id node = join();
  ASSERT_EQ(apply(once_function()).code, errc::ok);
  call(1);
  ASSERT_TRUE(post_.take<wire::start_call>().has_value());
  hello(other_client, 1); // the same client on another connection
  call(1, duration{0}, other_client, true);
  EXPECT_FALSE(post_.take<wire::start_call>().has_value());
  EXPECT_FALSE(post_.take<wire::call_result>().has_value());
  service_->on_peer_lost(client_peer);
  finish(1, node);
  const auto result = post_.take<wire::call_result>();
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->to, other_client);
  EXPECT_EQ(result->body.outcome.code, errc::ok);
}

TEST_F(ControllerService, ACallThatMayHaveRunIsRunAgainOnlyIfThatIsSafe) {
  join();
  ASSERT_EQ(apply(once_function()).code, errc::ok);
  call(1, duration{0}, client_peer, true);
  EXPECT_EQ(ended_with(), errc::unavailable);
  auto safe = once_function();
  safe.version = 2;
  safe.repeatable = true;
  ASSERT_EQ(apply(safe).code, errc::ok);
  call(2, duration{0}, client_peer, true);
  EXPECT_TRUE(post_.take<wire::start_call>().has_value());
}

TEST_F(ControllerService, ADrainedNodeGetsNothingNewAndLeavesWhenItHasFinished) {
  const std::array peers{node_peer, second_node};
  const std::array nodes{join(), join(second_node, "n2")};
  ASSERT_EQ(apply(echo_function()).code, errc::ok);
  call(1);
  const auto first = post_.take<wire::start_call>();
  ASSERT_TRUE(first.has_value());
  const std::size_t busy = first->to == node_peer ? 0 : 1;
  give(*service_, wire::drain{busy == 0 ? "n1" : "n2"}, client_peer, request_id{7});
  EXPECT_EQ(post_.take<wire::reply>()->body.code, errc::ok);
  EXPECT_FALSE(post_.take<wire::node_drain>().has_value()) << "it still runs a call";
  for (std::uint64_t id = 2; id < 5; ++id) {
    call(id);
    const auto start = post_.take<wire::start_call>();
    ASSERT_TRUE(start.has_value());
    EXPECT_EQ(start->to, peers[1 - busy]);
  }
  finish(call_id{1}, nodes[busy], errc::ok, peers[busy]);
  EXPECT_EQ(ended_with(), errc::ok);
  const auto go = post_.take<wire::node_drain>();
  ASSERT_TRUE(go.has_value());
  EXPECT_EQ(go->to, peers[busy]);
  EXPECT_TRUE(go->body.stay_away);
}

TEST_F(ControllerService, AControllerThatEndsWaitsForItsCallsAndTakesNoMore) {
  const node_id node = join();
  ASSERT_EQ(apply(echo_function()).code, errc::ok);
  call(1);
  bool done = false;
  service_->drain([&] { done = true; });
  EXPECT_FALSE(done);
  call(2);
  const auto refused = post_.take<wire::call_result>();
  ASSERT_TRUE(refused.has_value());
  EXPECT_EQ(refused->body.outcome.code, errc::unavailable);
  EXPECT_GT(refused->body.outcome.retry_after, duration{0});
  finish(1, node);
  EXPECT_EQ(ended_with(), errc::ok);
  EXPECT_TRUE(done);
}

TEST_F(ControllerService, LosesANodeThatIsSilent) {
  join();
  ASSERT_EQ(apply(once_function()).code, errc::ok);
  call(1, seconds{50});
  pass(seconds{2});
  give(*service_, wire::ping{}, client_peer, request_id{3}); // the client is not silent
  EXPECT_FALSE(post_.take<wire::call_result>().has_value());
  pass(seconds{3});
  EXPECT_EQ(ended_with(), errc::unavailable);
}

TEST_F(ControllerService, TellsAForgottenNodeToSayHelloAgain) {
  wire::node_beat beat;
  beat.node = node_id{17};
  give(*service_, beat, node_peer, request_id{4});
  const auto reply = post_.take<wire::reply>();
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(reply->body.code, errc::not_found);
}

TEST_F(ControllerService, AbandonsACallPastItsDeadline) {
  join();
  ASSERT_EQ(apply(echo_function()).code, errc::ok);
  call(1, milliseconds{100});
  pass(seconds{1});
  EXPECT_TRUE(post_.take<wire::drop_call>().has_value());
  EXPECT_EQ(ended_with(), errc::deadline_exceeded);
}

TEST_F(ControllerService, CancelsACall) {
  join();
  ASSERT_EQ(apply(echo_function()).code, errc::ok);
  call(1);
  give(*service_, wire::cancel_request{call_id{1}}, client_peer, request_id{8});
  EXPECT_TRUE(post_.take<wire::drop_call>().has_value());
  EXPECT_EQ(ended_with(), errc::cancelled);
}

TEST_F(ControllerService, LetsNoClientCancelTheCallOfAnother) {
  join();
  hello(other_client, 2);
  ASSERT_EQ(apply(echo_function()).code, errc::ok);
  call(1);
  give(*service_, wire::cancel_request{call_id{1}}, other_client, request_id{8});
  EXPECT_FALSE(post_.take<wire::drop_call>().has_value());
  const auto reply = post_.take<wire::reply>();
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(reply->body.code, errc::not_found);
}

TEST_F(ControllerService, DropsTheCallsOfAClientThatIsGone) {
  join();
  ASSERT_EQ(apply(echo_function()).code, errc::ok);
  call(1);
  service_->on_peer_lost(client_peer);
  EXPECT_TRUE(post_.take<wire::drop_call>().has_value());
}

TEST_F(ControllerService, DropsALateAnswerAndReleasesItsBlocks) {
  const node_id node = join();
  ASSERT_EQ(apply(echo_function()).code, errc::ok);
  call(1, milliseconds{100});
  pass(seconds{1});
  EXPECT_EQ(ended_with(), errc::deadline_exceeded);
  post_.sent.clear();
  wire::call_finished late;
  late.call = call_id{1};
  late.node = node;
  late.holders = {node};
  give(*service_, late, node_peer);
  EXPECT_FALSE(post_.take<wire::call_result>().has_value());
  EXPECT_TRUE(post_.take<wire::release_call>().has_value());
}

TEST_F(ControllerService, RegistersNothingThatTheStoreDidNotTake) {
  store_code_ = errc::unavailable;
  EXPECT_EQ(apply(echo_function()).code, errc::unavailable);
  store_code_ = errc::ok;
  call(1);
  EXPECT_EQ(ended_with(), errc::not_found);
}

TEST_F(ControllerService, CallsInLineRunTheVersionThatTheyWereMadeOf) {
  const node_id node = join();
  ASSERT_EQ(apply(echo_function()).code, errc::ok);
  post_.sent.clear();
  for (std::uint64_t id = 11; id <= 20; ++id)
    call(id);
  std::vector<call_id> started;
  const auto take_started = [&] {
    started.clear();
    while (const auto start = post_.take<wire::start_call>())
      started.push_back(start->body.context.call);
  };
  take_started();
  ASSERT_LT(started.size(), 10u) << "nobody stands in line";

  auto other = echo_function();
  other.variants[0].memory_bytes = 1 << 20;
  ASSERT_EQ(apply(other, true).code, errc::ok);
  std::size_t ended = 0;
  for (; !started.empty(); take_started())
    for (const call_id id : std::vector{started}) {
      finish(id, node, errc::ok, node_peer);
      const auto result = post_.take<wire::call_result>();
      ASSERT_TRUE(result.has_value());
      EXPECT_EQ(result->body.outcome.code, errc::ok) << result->body.outcome.message;
      ++ended;
    }
  EXPECT_EQ(ended, 10u);
  EXPECT_TRUE(post_.take<wire::forget_dag>().has_value()) << "the old version is of no use any more";
  EXPECT_TRUE(post_.take<wire::forget_function>().has_value());
}

TEST_F(ControllerService, SwitchesPoliciesAndNamesUnknownOnes) {
  give(*service_, wire::set_policy{"rr"}, client_peer, request_id{3});
  EXPECT_EQ(post_.take<wire::reply>()->body.code, errc::ok);
  give(*service_, wire::set_policy{"magic"}, client_peer, request_id{4});
  const auto reply = post_.take<wire::reply>();
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(reply->body.code, errc::invalid_argument);
  EXPECT_NE(reply->body.message.find("balance"), std::string::npos) << reply->body.message;
  give(*service_, wire::query{"policy", ""}, client_peer, request_id{5});
  EXPECT_EQ(post_.take<wire::reply>()->body.body, R"({"name":"rr","share":null,"shadow":null})");
}

TEST_F(ControllerService, SpeaksOnlyCommonVersions) {
  wire::hello message;
  message.oldest = 99;
  message.newest = 100;
  give(*service_, message, other_client, request_id{1});
  const auto reply = post_.take<wire::reply>();
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(reply->body.code, errc::unsupported);
  EXPECT_NE(reply->body.message.find("99"), std::string::npos);
}

TEST_F(ControllerService, AnswersEveryQuery) {
  join();
  ASSERT_EQ(apply(echo_function()).code, errc::ok);
  for (const char* kind : {"functions", "dags", "nodes", "calls", "policy", "status", "metrics"}) {
    give(*service_, wire::query{kind, ""}, client_peer, request_id{6});
    const auto reply = post_.take<wire::reply>();
    ASSERT_TRUE(reply.has_value()) << kind;
    EXPECT_EQ(reply->body.code, errc::ok) << kind << ": " << reply->body.message;
    EXPECT_FALSE(reply->body.body.empty()) << kind;
  }
  give(*service_, wire::query{"everything", ""}, client_peer, request_id{6});
  EXPECT_EQ(post_.take<wire::reply>()->body.code, errc::invalid_argument);
}

TEST_F(ControllerService, DescribesAnEndedCall) {
  const node_id node = join();
  ASSERT_EQ(apply(echo_function()).code, errc::ok);
  call(5);
  wire::call_finished message;
  message.call = call_id{5};
  message.node = node;
  message.outputs = {bytes_value()};
  calls::stage_trace trace;
  trace.node = node;
  trace.executed = milliseconds{3};
  message.outcome.trace = {trace};
  give(*service_, message, node_peer);
  give(*service_, wire::query{"calls", "5"}, client_peer, request_id{6});
  const auto reply = post_.take<wire::reply>();
  ASSERT_TRUE(reply.has_value());
  EXPECT_NE(reply->body.body.find(R"("executed_ns":3000000)"), std::string::npos) << reply->body.body;
  EXPECT_NE(reply->body.body.find(R"("node":"n1")"), std::string::npos) << reply->body.body;
}

TEST_F(ControllerService, StopsWhenAClientAsks) {
  join();
  give(*service_, wire::shutdown{}, client_peer, request_id{6});
  EXPECT_TRUE(stopped_);
  EXPECT_TRUE(post_.take<wire::node_leave>().has_value());
}

} // namespace
} // namespace squall::controller
