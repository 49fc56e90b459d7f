#include "controller/durable.hpp"

#include "controller/controller_service.hpp"
#include "kvs/core/condition.hpp"
#include "kvs/core/layout.hpp"
#include "kvs/store.hpp"
#include "kvs/store_service.hpp"
#include "tests/support/fake_post.hpp"

#include <gtest/gtest.h>

/// Calls that outlive the controller: one controller after the other, over one store.
namespace squall::controller {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;
using testing::fake_post;
using testing::give;

constexpr actors::peer_id client_peer{100};
constexpr actors::peer_id other_client{101};
constexpr actors::peer_id node_peer{200};
constexpr actors::peer_id store_peer{static_cast<std::uint64_t>(wire::role::store)};

functions::function_spec function(const std::string& name, bool repeatable) {
  functions::function_spec spec;
  spec.name = name;
  spec.inputs = {{"x", functions::datatype::uint8, {-1}, false, false}};
  spec.outputs = {{"x", functions::datatype::uint8, {-1}, false, false}};
  functions::variant_spec variant;
  variant.name = "default";
  variant.target = "noop";
  if (!repeatable) {
    variant.kind = functions::variant_kind::python;
    variant.target = "functions/" + name;
  }
  spec.variants = {variant};
  return spec;
}

functions::value bytes_value(std::uint8_t fill) {
  return {functions::tensor_of<std::uint8_t>(functions::datatype::uint8, {3}, std::vector<std::uint8_t>(3, fill))};
}

/// The store, as its controllers reach it.
class store_place {
public:
  store_place() { service_->start(post_); }
  /// Answers what a controller asked; how many messages there were.
  std::size_t answer(fake_post& asker, actors::role_service& controller) {
    std::vector<fake_post::sent_message> asked;
    std::erase_if(asker.sent, [&](fake_post::sent_message& m) {
      if (m.to != store_peer)
        return false;
      asked.push_back(std::move(m));
      return true;
    });
    for (auto& m : asked) {
      actors::incoming one{actors::peer_id{1}, m.head, std::move(m.message)};
      service_->on_messages({&one, 1});
      for (auto& back : std::exchange(post_.sent, {})) {
        actors::incoming reply{store_peer, back.head, std::move(back.message)};
        controller.on_messages({&reply, 1});
      }
    }
    return asked.size();
  }
  kvs::store& engine() { return *store_; }

private:
  std::unique_ptr<kvs::store> store_ = kvs::open_memory();
  null_logger log_;
  fake_post post_;
  std::unique_ptr<actors::role_service> service_ = kvs::make_store_service(*store_, nullptr, log_);
};

/// A controller in its term, with a client that has said hello.
class leader {
public:
  leader(store_place& store, std::uint64_t term) : store_(store) {
    post.local_roles = {wire::role::store};
    post.time = time_point{seconds{100}};
    controller_options options;
    options.event_log = false;
    options.epoch = 70 + term;
    options.term = term;
    EXPECT_TRUE(store.engine().put(kvs::core::term_key, shared_bytes::take(kvs::core::encode_number(term)), true).ok());
    service = make_controller_service(options, wire::arena_map::create(), log_);
    service->start(post);
    settle();
    hello(client_peer, 1);
  }

  void settle() {
    while (store_.answer(post, *service) > 0) {
    }
  }
  void hello(actors::peer_id peer, std::uint64_t id) {
    wire::hello message;
    message.client = client_id{id};
    give(*service, message, peer, request_id{1});
    EXPECT_TRUE(post.take<wire::welcome>().has_value());
  }
  node_id join() {
    wire::node_hello message;
    message.name = "n1";
    message.lanes = {{lane_id{1}, functions::resource_type::cpu}};
    message.instance = 5;
    give(*service, message, node_peer, request_id{1});
    const auto welcome = post.take<wire::node_welcome>();
    return welcome ? welcome->body.node : node_id{};
  }
  void apply(const functions::function_spec& spec) {
    wire::apply_function message;
    message.spec = spec;
    give(*service, message, client_peer, request_id{2});
    settle();
    const auto reply = post.take<wire::reply>();
    ASSERT_TRUE(reply && reply->body.code == errc::ok);
  }
  void call(const std::string& target, std::uint64_t id, bool again = false, actors::peer_id from = client_peer) {
    wire::call_request message;
    message.call = call_id{id};
    message.target = target;
    message.options.durable = true;
    message.inputs = {{"x", bytes_value(7)}};
    message.again = again;
    give(*service, message, from, request_id{id});
  }
  void finish(call_id id, node_id node) {
    wire::call_finished message;
    message.call = id;
    message.node = node;
    message.outputs = {bytes_value(9)};
    give(*service, message, node_peer);
  }
  std::optional<wire::call_result> result() {
    auto found = post.take<wire::call_result>();
    return found ? std::optional{std::move(found->body)} : std::nullopt;
  }

  fake_post post;
  std::unique_ptr<actors::role_service> service;

private:
  store_place& store_;
  null_logger log_;
};

class DurableCalls : public ::testing::Test {
protected:
  std::vector<std::string> kept() {
    std::vector<std::string> keys;
    const auto entries = store_.engine().list(durable_prefix, "", 100);
    for (const auto& entry : *entries)
      keys.push_back(entry.key);
    return keys;
  }
  store_place store_;
};

TEST_F(DurableCalls, KeysNameTheirCalls) {
  EXPECT_EQ(durable_call(durable_key(call_id{~0ull})), call_id{~0ull});
  EXPECT_EQ(durable_call("calls/durable/"), call_id{});
  EXPECT_EQ(durable_call("calls/durable/12x"), call_id{});
  EXPECT_EQ(durable_call("catalogue/dag/1"), call_id{});
}

TEST_F(DurableCalls, AreInTheStoreBeforeTheyRunAndTheirResultsBeforeTheyAreTold) {
  leader one{store_, 1};
  const node_id node = one.join();
  one.apply(function("echo", true));
  one.call("echo", 5);
  EXPECT_FALSE(one.post.take<wire::start_call>().has_value()) << "not before it is written down";
  one.settle();
  EXPECT_EQ(kept(), std::vector<std::string>{"calls/durable/5"});
  const auto start = one.post.take<wire::start_call>();
  ASSERT_TRUE(start.has_value());
  EXPECT_EQ(start->body.inputs.at(0), bytes_value(7));
  one.finish(start->body.context.call, node);
  EXPECT_FALSE(one.result().has_value()) << "not before it is written down";
  one.settle();
  const auto result = one.result();
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->call, call_id{5});
  EXPECT_EQ(result->outputs.at(0).value, bytes_value(9));
  EXPECT_TRUE(result->taken_wanted);
  EXPECT_EQ(kept().size(), 1u);
  give(*one.service, wire::result_taken{{call_id{5}}}, other_client);
  give(*one.service, wire::result_taken{{call_id{5}}}, client_peer);
  one.settle();
  EXPECT_TRUE(kept().empty());
}

TEST_F(DurableCalls, AreRunAgainByTheNextLeader) {
  {
    leader one{store_, 1};
    one.join();
    one.apply(function("echo", true));
    one.call("echo", 5);
    one.settle();
    ASSERT_TRUE(one.post.take<wire::start_call>().has_value());
  }
  leader two{store_, 2};
  const node_id node = two.join();
  const auto start = two.post.take<wire::start_call>();
  ASSERT_TRUE(start.has_value()) << "nobody needs to ask for it";
  EXPECT_NE(start->body.context.call, call_id{5}) << "what is left of the first attempt is about another";
  EXPECT_EQ(start->body.inputs.at(0), bytes_value(7));
  two.call("echo", 5, true);
  EXPECT_FALSE(two.post.take<wire::start_call>().has_value()) << "it runs already";
  two.finish(start->body.context.call, node);
  two.settle();
  const auto result = two.result();
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->call, call_id{5});
  EXPECT_EQ(result->outcome.code, errc::ok);
}

TEST_F(DurableCalls, ThatEndedAreAnsweredByTheNextLeaderAndNotRunAgain) {
  {
    leader one{store_, 1};
    const node_id node = one.join();
    one.apply(function("echo", true));
    one.call("echo", 5);
    one.settle();
    const auto start = one.post.take<wire::start_call>();
    one.finish(start->body.context.call, node);
    one.settle(); // and it dies before the client has taken the result
  }
  leader two{store_, 2};
  two.join();
  EXPECT_FALSE(two.post.take<wire::start_call>().has_value());
  two.hello(other_client, 2);
  two.call("echo", 5, true, other_client);
  two.settle();
  const auto strange = two.result();
  ASSERT_TRUE(strange.has_value());
  EXPECT_EQ(strange->outcome.code, errc::already_exists) << "it is another client's";
  two.call("echo", 5, true);
  two.settle();
  const auto result = two.result();
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->outputs.at(0).value, bytes_value(9));
}

TEST_F(DurableCalls, ThatMayNotRunTwiceEndWithAnErrorThatSaysSo) {
  {
    leader one{store_, 1};
    one.join();
    one.apply(function("once", false));
    one.call("once", 5);
    one.settle();
    ASSERT_TRUE(one.post.take<wire::start_call>().has_value());
  }
  leader two{store_, 2};
  two.join();
  EXPECT_FALSE(two.post.take<wire::start_call>().has_value());
  two.call("once", 5, true);
  two.settle();
  const auto result = two.result();
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->outcome.code, errc::unavailable);
  EXPECT_NE(result->outcome.message.find("may have run or not"), std::string::npos) << result->outcome.message;
  two.call("once", 6, true);
  two.settle();
  EXPECT_TRUE(two.post.take<wire::start_call>().has_value()) << "of this one nothing was written down: it never began";
}

TEST_F(DurableCalls, TheResultOfALeaderThatWasReplacedIsNotTold) {
  leader one{store_, 1};
  const node_id node = one.join();
  one.apply(function("echo", true));
  one.call("echo", 5);
  one.settle();
  const auto start = one.post.take<wire::start_call>();
  leader two{store_, 2};
  one.finish(start->body.context.call, node);
  one.settle();
  EXPECT_FALSE(one.result().has_value()) << "the next one answers";
  EXPECT_EQ(kept().size(), 1u);
  one.call("echo", 6);
  one.settle();
  const auto refused = one.result();
  ASSERT_TRUE(refused.has_value());
  EXPECT_EQ(refused->outcome.code, errc::permission_denied);
}

TEST_F(DurableCalls, GoOnWithoutTheirClientAndAreKeptForIt) {
  leader one{store_, 1};
  const node_id node = one.join();
  one.apply(function("echo", true));
  one.call("echo", 5);
  one.settle();
  const auto start = one.post.take<wire::start_call>();
  one.service->on_peer_lost(client_peer);
  EXPECT_FALSE(one.post.take<wire::drop_call>().has_value());
  one.finish(start->body.context.call, node);
  one.settle();
  EXPECT_FALSE(one.result().has_value());
  one.hello(other_client, 1); // the same client, on another connection
  one.call("echo", 5, true, other_client);
  one.settle();
  const auto result = one.result();
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->outcome.code, errc::ok);
}

TEST_F(DurableCalls, ThatAreRefusedLeaveNothingBehind) {
  leader one{store_, 1};
  one.apply(function("echo", true));
  one.call("echo", 5); // there is no node
  one.settle();
  const auto result = one.result();
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->outcome.code, errc::unavailable);
  EXPECT_TRUE(kept().empty());
}

TEST_F(DurableCalls, ResultsThatNobodyTakesAreKeptForAWhile) {
  leader one{store_, 1};
  const node_id node = one.join();
  one.apply(function("echo", true));
  one.call("echo", 5);
  one.settle();
  one.finish(one.post.take<wire::start_call>()->body.context.call, node);
  one.settle();
  one.post.time += durable_kept - seconds{20};
  one.service->on_alarm();
  one.settle();
  EXPECT_EQ(kept().size(), 1u);
  one.hello(other_client, 2); // somebody is there, so that it looks
  one.post.time += minutes{1};
  one.service->on_alarm();
  one.settle();
  EXPECT_TRUE(kept().empty());
}

} // namespace
} // namespace squall::controller
