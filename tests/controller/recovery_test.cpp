#include "controller/controller_service.hpp"
#include "tests/support/fake_post.hpp"

#include <gtest/gtest.h>

/// A controller that follows another one: what a node says that it holds.
namespace squall::controller {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::fake_post;
using testing::give;

constexpr actors::peer_id client_peer{100};
constexpr actors::peer_id node_peer{200};
constexpr actors::peer_id store_peer{static_cast<std::uint64_t>(wire::role::store)};
constexpr std::uint64_t first_epoch = 77;

functions::value bytes_value() {
  return {functions::tensor_of<std::uint8_t>(functions::datatype::uint8, {3}, std::vector<std::uint8_t>(3, 7))};
}

class Recovery : public ::testing::Test {
protected:
  /// A controller over an empty store, with a client that has said hello and a function that must not run twice.
  void begin(std::uint64_t epoch, bool follows) {
    service_.reset();
    post_ = std::make_unique<fake_post>();
    post_->local_roles = {wire::role::store};
    post_->time = time_point{seconds{100}};
    controller_options options;
    options.event_log = false;
    options.epoch = epoch;
    options.follows = follows;
    options.term = follows ? 2 : 1;
    options.first_node = epoch * 1000;
    service_ = make_controller_service(options, wire::arena_map::create(), log_);
    service_->start(*post_);
    answer_store();
    wire::hello hello;
    hello.client = client_id{1};
    give(*service_, hello, client_peer, request_id{1});
    wire::apply_function apply;
    apply.spec.name = "once";
    apply.spec.inputs = {{"x", functions::datatype::uint8, {-1}, false, false}};
    apply.spec.outputs = {{"x", functions::datatype::uint8, {-1}, false, false}};
    functions::variant_spec& variant = apply.spec.variants.emplace_back();
    variant.name = "default";
    variant.kind = functions::variant_kind::python;
    variant.target = "functions/once";
    give(*service_, apply, client_peer, request_id{2});
    answer_store();
  }

  void answer_store() {
    for (bool any = true; any;) {
      any = false;
      std::vector<request_id> asked;
      std::erase_if(post_->sent, [&](const fake_post::sent_message& m) {
        if (m.to != store_peer)
          return false;
        asked.push_back(m.head.request);
        return true;
      });
      for (const request_id request : asked) {
        any = true;
        give(*service_, wire::store_reply{}, store_peer, request);
      }
    }
  }

  wire::node_welcome join(node_id held = {}, std::uint64_t held_epoch = 0, actors::peer_id peer = node_peer) {
    wire::node_hello hello;
    hello.name = "n" + std::to_string(peer.value);
    hello.lanes = {{lane_id{1}, functions::resource_type::cpu}};
    hello.instance = peer.value;
    hello.held = held;
    hello.held_epoch = held_epoch;
    give(*service_, hello, peer, request_id{1});
    const auto welcome = post_->take<wire::node_welcome>();
    return welcome ? welcome->body : wire::node_welcome{};
  }

  void ask(std::uint64_t id, bool again) {
    wire::call_request message;
    message.call = call_id{id};
    message.target = "once";
    message.again = again;
    message.options.deadline = seconds{60};
    message.inputs = {{"x", bytes_value()}};
    give(*service_, message, client_peer, request_id{id});
  }

  /// What the first controller told its node of call 5.
  wire::call_context admitted() {
    begin(first_epoch, false);
    node_ = join().node;
    ask(5, false);
    const auto start = post_->take<wire::start_call>();
    EXPECT_TRUE(start.has_value());
    return start ? start->body.context : wire::call_context{};
  }

  void report(std::vector<wire::held_call> calls, std::uint64_t epoch, bool last = true) {
    wire::plans_held message;
    message.node = node_;
    message.epoch = epoch;
    message.last = last;
    message.peers = {node_};
    message.calls = std::move(calls);
    give(*service_, message, node_peer);
  }
  static wire::held_call held(wire::call_context context, bool finished = false) {
    wire::held_call call;
    call.context = std::move(context);
    call.finished = finished;
    return call;
  }
  void finish(call_id id) {
    wire::call_finished message;
    message.call = id;
    message.node = node_;
    message.outputs = {bytes_value()};
    give(*service_, message, node_peer);
  }
  std::optional<wire::call_result> result() {
    const auto got = post_->take<wire::call_result>();
    return got ? std::optional{got->body} : std::nullopt;
  }
  bool dropped(call_id id) {
    while (const auto drop = post_->take<wire::drop_call>())
      if (drop->body.call == id && drop->to == node_peer)
        return true;
    return false;
  }
  void pass(duration time) {
    const time_point end = post_->time + time;
    // The node and the client stay; the store does not matter.
    while (post_->alarm <= end) {
      post_->time = std::max(post_->time, post_->alarm);
      wire::node_beat beat;
      beat.node = node_;
      give(*service_, beat, node_peer);
      give(*service_, wire::ping{}, client_peer, request_id{9});
      service_->on_alarm();
      answer_store();
    }
    post_->time = end;
  }
  std::string ledger() {
    wire::query message;
    message.kind = "ledger";
    give(*service_, message, client_peer, request_id{3});
    std::string body;
    while (const auto reply = post_->take<wire::reply>())
      body = reply->body.body;
    return body;
  }

  null_logger log_;
  std::unique_ptr<fake_post> post_;
  std::unique_ptr<actors::role_service> service_;
  node_id node_;
};

TEST_F(Recovery, WhoAsksAgainGetsTheResultOfTheCallThatWentOn) {
  const auto context = admitted();
  EXPECT_EQ(context.claim.owner, client_id{1});
  begin(78, true);
  const auto welcome = join(node_, first_epoch);
  EXPECT_TRUE(welcome.keeps);
  EXPECT_EQ(welcome.node, node_);
  ask(5, true);
  const auto wait = result();
  ASSERT_TRUE(wait.has_value());
  EXPECT_EQ(wait->outcome.code, errc::unavailable);
  EXPECT_GT(wait->outcome.retry_after, duration{0}) << "the client comes again soon";
  ask(6, false);
  EXPECT_GT(result()->outcome.retry_after, duration{0}) << "nothing is begun before it is known what runs";
  report({held(context)}, 78);
  ask(5, true);
  EXPECT_FALSE(result().has_value());
  finish(call_id{5});
  const auto got = result();
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->outcome.code, errc::ok);
  EXPECT_EQ(got->call, call_id{5});
  EXPECT_EQ(got->outputs.at(0).value, bytes_value());
  EXPECT_FALSE(post_->take<wire::start_call>().has_value()) << "it runs once";
  ask(6, false);
  EXPECT_TRUE(post_->take<wire::start_call>().has_value());
}

TEST_F(Recovery, AResultThatIsThereFirstWaitsForItsClient) {
  const auto context = admitted();
  begin(78, true);
  join(node_, first_epoch);
  finish(call_id{5}); // even before the report is complete
  report({}, 78, false);
  report({held(context, true)}, 78);
  EXPECT_FALSE(result().has_value());
  ask(5, true);
  EXPECT_EQ(result()->outcome.code, errc::ok);
  EXPECT_FALSE(post_->take<wire::start_call>().has_value());
}

TEST_F(Recovery, TheSameControllerTakesNothingBack) {
  const auto context = admitted();
  const auto welcome = join(node_, first_epoch);
  EXPECT_FALSE(welcome.keeps);
  EXPECT_NE(welcome.node, node_);
}

TEST_F(Recovery, AReportToAnotherControllerIsVoid) {
  const auto context = admitted();
  begin(78, true);
  join(node_, first_epoch);
  report({held(context)}, first_epoch);
  ask(5, true);
  EXPECT_GT(result()->outcome.retry_after, duration{0});
  pass(seconds{4}); // it is not waited for longer
  ask(5, true);
  const auto end = result();
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->outcome.code, errc::unavailable);
  EXPECT_NE(end->outcome.message.find("may have run"), std::string::npos) << end->outcome.message;
  EXPECT_EQ(end->outcome.retry_after, duration{0});
}

TEST_F(Recovery, WhatCannotGoOnIsDroppedAtItsNode) {
  auto context = admitted();
  begin(78, true);
  join(node_, first_epoch);
  auto unknown = context, damaged = context, elsewhere = context;
  unknown.call = call_id{11};
  unknown.dag = dag_id{12345};
  damaged.call = call_id{12};
  damaged.plan.stages.clear();
  elsewhere.call = call_id{13};
  elsewhere.plan.stages.front().spread.push_back(node_id{99});
  report({held(unknown), held(damaged), held(elsewhere)}, 78);
  for (const std::uint64_t id : {11, 12, 13})
    EXPECT_TRUE(dropped(call_id{id})) << id;
  ask(11, true);
  EXPECT_NE(result()->outcome.message.find("may have run"), std::string::npos);
}

TEST_F(Recovery, OfSeveralAttemptsTheLatestCounts) {
  auto context = admitted();
  begin(78, true);
  join(node_, first_epoch);
  auto again = context;
  again.call = call_id{500};
  again.claim.origin = call_id{5};
  again.claim.attempt = 2;
  report({held(context), held(again), held(again)}, 78);
  EXPECT_TRUE(dropped(call_id{5}));
  ask(5, true);
  finish(call_id{500});
  const auto got = result();
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->call, call_id{5});
}

TEST_F(Recovery, WhatNobodyAsksForIsCancelled) {
  const auto context = admitted();
  begin(78, true);
  join(node_, first_epoch);
  report({held(context)}, 78);
  pass(seconds{11});
  EXPECT_FALSE(dropped(call_id{5}));
  pass(seconds{2});
  EXPECT_TRUE(dropped(call_id{5}));
}

TEST_F(Recovery, APromiseOfTheFormerControllerIsSettledHere) {
  auto context = admitted();
  context.claim.promised = true;
  context.claim.assurance_ppm = calls::firm_ppm;
  auto late = context;
  context.claim.finish = seconds{30};
  late.call = call_id{6};
  late.claim.finish = milliseconds{10};
  late.age = seconds{1};
  begin(78, true);
  join(node_, first_epoch);
  report({held(context), held(late)}, 78);
  for (const std::uint64_t id : {5, 6}) {
    ask(id, true);
    finish(call_id{id});
  }
  const std::string said = ledger();
  EXPECT_NE(said.find("\"kept\":1"), std::string::npos) << said;
  EXPECT_NE(said.find("\"broken\":1"), std::string::npos) << said;
  EXPECT_NE(said.find("controller lost"), std::string::npos) << said;
}

} // namespace
} // namespace squall::controller
