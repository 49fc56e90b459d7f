#include "actors/store_client.hpp"

#include "kvs/core/condition.hpp"
#include "kvs/core/layout.hpp"
#include "kvs/store_service.hpp"
#include "manual_post.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace squall::kvs {
namespace {

using namespace std::chrono_literals;
using actors::store_client;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr actors::peer_id the_store{7};
constexpr actors::peer_id the_client{1};

/// A client and a service, with the test as the network between them.
class StoreClient : public ::testing::Test {
protected:
  void SetUp() override { service_->start(service_post_); }

  /// Carries messages both ways until all is quiet; `asked` sees what goes to the store.
  void exchange(const std::function<void(std::vector<actors::incoming>&)>& asked = {}) {
    while (!client_post_.outbox.empty()) {
      auto there = client_post_.take(the_client);
      if (asked)
        asked(there);
      service_->on_messages(there);
      for (const auto& back : service_post_.take(the_store))
        EXPECT_TRUE(client_->on_message(back));
    }
  }

  result<shared_bytes> get(std::string key) {
    result<shared_bytes> out{errc::internal, "no answer"};
    client_->get(std::move(key), [&](auto r) { out = std::move(r); });
    exchange();
    return out;
  }

  result<> put(std::string key, std::string_view value) {
    result<> out{errc::internal, "no answer"};
    client_->put(std::move(key), shared_bytes::copy_of(value), true, [&](auto r) { out = std::move(r); });
    exchange();
    return out;
  }

  std::unique_ptr<store> engine_ = open_memory();
  null_logger log_;
  manual_post service_post_;
  manual_post client_post_;
  std::unique_ptr<actors::role_service> service_ = make_store_service(*engine_, nullptr, log_);
  std::unique_ptr<store_client> client_ = store_client::create(client_post_, the_store, 5s);
};

std::string pattern(std::size_t size) {
  std::string out(size, '\0');
  for (std::size_t i = 0; i < size; ++i)
    out[i] = static_cast<char>((i * 7 + (i >> 16)) & 0xff);
  return out;
}

TEST_F(StoreClient, ValuesOfEverySizeGoThereAndBack) {
  for (const std::size_t size : {0ul, 1ul, piece_bytes, piece_bytes + 1, 11 * piece_bytes + 3}) {
    const std::string value = pattern(size);
    ASSERT_TRUE(put("k", value).ok()) << size;
    const auto back = get("k");
    ASSERT_TRUE(back.ok()) << back.error().message;
    EXPECT_TRUE(back->text() == value) << size;
  }
  EXPECT_EQ(client_->next_alarm(), never);
}

TEST_F(StoreClient, SendsFourPiecesAhead) {
  client_->put("k", shared_bytes::copy_of(pattern(9 * piece_bytes)), true, [](auto) {});
  EXPECT_EQ(client_post_.outbox.size(), 4u);
  std::size_t most = 0;
  exchange([&](const auto& there) { most = std::max(most, there.size()); });
  EXPECT_EQ(most, 4u);
}

TEST_F(StoreClient, ErrorsOfTheStoreComeBack) {
  EXPECT_EQ(get("none").error().code, errc::not_found);
  EXPECT_EQ(put(std::string(2000, 'k'), "v").error().code, errc::invalid_argument);
  const shared_bytes claims{nullptr, std::span<const std::byte>{static_cast<const std::byte*>(nullptr), 300ull << 20}};
  result<> refused{};
  client_->put("k", claims, true, [&](auto r) { refused = r; });
  EXPECT_EQ(refused.error().code, errc::too_large);
}

TEST_F(StoreClient, ReplacesWhatItHasReadAndNothingElse) {
  result<wire::store_entry> written{errc::internal, "no answer"};
  const auto put_if = [&](std::uint64_t expected, std::string_view text) {
    client_->put_if("k", expected, shared_bytes::copy_of(text), [&](auto r) { written = std::move(r); });
    exchange();
  };
  put_if(0, "one");
  ASSERT_TRUE(written.ok()) << written.error().message;
  const std::uint64_t version = written->version;
  put_if(0, "two");
  EXPECT_EQ(written.error().code, errc::already_exists);
  result<store_client::stored_value> found{errc::internal, "no answer"};
  client_->read("k", [&](auto r) { found = std::move(r); });
  exchange();
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found->version, version);
  EXPECT_EQ(found->bytes.text(), "one");
  put_if(version, "two");
  EXPECT_TRUE(written.ok());
  client_->read("none", [&](auto r) { found = std::move(r); });
  exchange();
  EXPECT_EQ(found.error().code, errc::not_found);
}

TEST_F(StoreClient, WhoseTermIsOverWritesNothingMore) {
  client_->set_fence(4);
  EXPECT_TRUE(put("k", "of the fourth").ok()) << "no term was begun";
  ASSERT_TRUE(engine_->put(core::term_key, shared_bytes::take(core::encode_number(4)), true).ok());
  EXPECT_TRUE(put("k", "of the fourth").ok());
  ASSERT_TRUE(engine_->put(core::term_key, shared_bytes::take(core::encode_number(5)), true).ok());
  const auto refused = put("k", "late");
  EXPECT_EQ(refused.error().code, errc::permission_denied);
  EXPECT_THAT(refused.error().message, HasSubstr("another leads in term 5"));
  EXPECT_EQ(put("large", pattern(2 * piece_bytes)).error().code, errc::permission_denied);
  result<> erased{};
  client_->erase("k", [&](auto r) { erased = r; });
  exchange();
  EXPECT_EQ(erased.error().code, errc::permission_denied);
  EXPECT_EQ(get("k")->text(), "of the fourth");
}

TEST_F(StoreClient, ErasesAndListsThroughPages) {
  for (int i = 0; i < 2500; ++i)
    ASSERT_TRUE(engine_->put("p/" + std::to_string(10000 + i), {}, false).ok());
  std::size_t found = 0;
  client_->list("p/", [&](auto r) { found = r.value().size(); });
  exchange();
  EXPECT_EQ(found, 2500u);
  client_->list("nothing", [&](auto r) { found = r.value().size(); });
  exchange();
  EXPECT_EQ(found, 0u);
  result<> erased{errc::internal, ""};
  client_->erase("p/10000", [&](auto r) { erased = r; });
  exchange();
  EXPECT_TRUE(erased.ok());
  EXPECT_EQ(engine_->stat("p/10000").error().code, errc::not_found);
}

TEST_F(StoreClient, AValueThatIsReplacedWhileItIsReadIsReadAgain) {
  ASSERT_TRUE(put("k", std::string(8 * piece_bytes, 'a')).ok());
  int changes = 0;
  result<shared_bytes> got{errc::internal, "no answer"};
  client_->get("k", [&](auto r) { got = std::move(r); });
  exchange([&](const auto& there) {
    if (there.size() > 1 && changes++ == 0) {
      ASSERT_TRUE(engine_->put("k", shared_bytes::copy_of(std::string(5 * piece_bytes, 'b')), false).ok());
    }
  });
  ASSERT_TRUE(got.ok()) << got.error().message;
  EXPECT_TRUE(got->text() == std::string(5 * piece_bytes, 'b'));
}

TEST_F(StoreClient, AValueThatKeepsChangingIsAnError) {
  ASSERT_TRUE(put("k", std::string(8 * piece_bytes, 'a')).ok());
  result<shared_bytes> got{errc::internal, "no answer"};
  client_->get("k", [&](auto r) { got = std::move(r); });
  exchange([&](const auto&) {
    ASSERT_TRUE(engine_->put("k", shared_bytes::copy_of(std::string(8 * piece_bytes, 'b')), false).ok());
  });
  EXPECT_EQ(got.error().code, errc::data_loss);
  EXPECT_EQ(client_->next_alarm(), never);
}

TEST_F(StoreClient, UnansweredRequestsTimeOutAndLateAnswersAreDropped) {
  result<shared_bytes> got{errc::internal, "no answer"};
  int calls = 0;
  client_->get("k", [&](auto r) { got = std::move(r), ++calls; });
  EXPECT_EQ(client_->next_alarm(), client_post_.clock + 5s);
  client_post_.clock += 5s - 1ns;
  client_->on_alarm();
  EXPECT_EQ(calls, 0);
  client_post_.clock += 1ns;
  client_->on_alarm();
  EXPECT_EQ(got.error().code, errc::unavailable);
  EXPECT_THAT(got.error().message, HasSubstr("did not answer within 5000 ms"));
  exchange();
  EXPECT_EQ(calls, 1);
}

TEST_F(StoreClient, AResetFailsWhatIsPendingAndGoesOnElsewhere) {
  std::vector<errc> ends;
  client_->get("a", [&](auto r) {
    ends.push_back(r.ok() ? errc::ok : r.error().code);
    client_->put("b", shared_bytes::copy_of("asked again"), true,
                 [&](auto again) { ends.push_back(again.ok() ? errc::ok : again.error().code); });
  });
  client_post_.outbox.clear();
  client_->reset(actors::peer_id{8});
  EXPECT_THAT(ends, ElementsAre(errc::unavailable));
  ASSERT_EQ(client_post_.outbox.size(), 1u);
  EXPECT_EQ(client_post_.outbox[0].to, actors::peer_id{8});
  auto there = client_post_.take(the_client);
  service_->on_messages(there);
  const auto back = service_post_.take(the_store);
  EXPECT_TRUE(client_->on_message(back.at(0)));
  EXPECT_EQ(ends.size(), 1u) << "an answer of the store that we left";
  auto moved = back.at(0);
  moved.from = actors::peer_id{8};
  EXPECT_TRUE(client_->on_message(moved));
  EXPECT_THAT(ends, ElementsAre(errc::unavailable, errc::ok));
}

TEST_F(StoreClient, AFullPeerIsAnAnswer) {
  client_post_.refuse = error{errc::overloaded, "the store's queue is full", 10ms};
  EXPECT_EQ(put("k", pattern(3 * piece_bytes)).error().code, errc::overloaded);
  EXPECT_EQ(client_->next_alarm(), never);
}

TEST_F(StoreClient, LeavesOtherMessagesAlone) {
  actors::incoming other;
  other.from = the_store;
  other.head.request = request_id{5};
  EXPECT_FALSE(client_->on_message(other));
}

TEST_F(StoreClient, ALyingStoreIsCorruptAndNotACrash) {
  for (const wire::store_reply& lie :
       {wire::store_reply{}, wire::store_reply{errc::ok, "", {}, {{"k", 10, 1}}, {}, false},
        wire::store_reply{errc::ok, "", {}, {{"k", ~0ull, 1}}, {}, false}}) {
    result<shared_bytes> got{errc::internal, "no answer"};
    client_->get("k", [&](auto r) { got = std::move(r); });
    const request_id request = client_post_.take(the_client).at(0).head.request;
    auto f = wire::encode(lie, request);
    client_->on_message({the_store, *wire::peek(f.header.span()), f});
    EXPECT_EQ(got.error().code, errc::corrupt);
  }
}

} // namespace
} // namespace squall::kvs
