#include "kvs/store_service.hpp"

#include "base/random.hpp"
#include "manual_post.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace squall::kvs {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

/// A memory store that counts flushes and can fail them.
class counting_store final : public store {
public:
  result<entry> put(std::string_view key, shared_bytes value, bool durable) override {
    EXPECT_FALSE(durable) << "the service flushes for all";
    return inner->put(key, std::move(value), durable);
  }
  result<entry> put_if(std::string_view key, std::uint64_t expected, shared_bytes value, bool durable) override {
    EXPECT_FALSE(durable) << "the service flushes for all";
    return inner->put_if(key, expected, std::move(value), durable);
  }
  result<> apply(const std::vector<write>& batch, bool durable) override { return inner->apply(batch, durable); }
  result<std::uint64_t> begin(std::string_view key, std::uint64_t total) override {
    ++uploads;
    return inner->begin(key, total);
  }
  result<> append(std::uint64_t u, std::uint64_t offset, shared_bytes piece) override {
    return inner->append(u, offset, std::move(piece));
  }
  result<entry> commit(std::uint64_t u, bool durable) override {
    --uploads;
    return inner->commit(u, durable);
  }
  void abort(std::uint64_t u) override {
    --uploads;
    inner->abort(u);
  }
  result<entry> stat(std::string_view key) override { return inner->stat(key); }
  result<shared_bytes> read(std::string_view key, std::uint64_t o, std::size_t l, std::uint64_t v) override {
    return inner->read(key, o, l, v);
  }
  result<> erase(std::string_view key, bool durable) override { return inner->erase(key, durable); }
  result<std::vector<entry>> list(std::string_view p, std::string_view a, std::size_t l) override {
    return inner->list(p, a, l);
  }
  result<> sync() override {
    ++syncs;
    if (sync_fails)
      return {errc::unavailable, "the disk is full"};
    return {};
  }

  std::unique_ptr<store> inner = open_memory();
  int syncs = 0;
  int uploads = 0;
  bool sync_fails = false;
};

class StoreService : public ::testing::Test {
protected:
  void SetUp() override { service_->start(post_); }

  static functions::value piece(std::string_view text) {
    return {functions::tensor{
        functions::datatype::uint8, {static_cast<std::int64_t>(text.size())}, shared_bytes::copy_of(text)}};
  }

  static wire::store_put put(std::string key, std::string_view text) {
    return {std::move(key), text.size(), 0, 0, true, piece(text), {}};
  }

  static wire::store_put part(std::string key, std::uint64_t upload, std::uint64_t total, std::uint64_t offset) {
    const std::string text(std::min<std::uint64_t>(piece_bytes, total - offset), 'p');
    return {std::move(key), total, offset, upload, true, piece(text), {}};
  }

  template <class Message>
  actors::incoming from(std::uint64_t peer, const Message& m) {
    const request_id request{++last_request_};
    wire::frames f = wire::encode(m, request);
    return {actors::peer_id{peer}, *wire::peek(f.header.span()), std::move(f)};
  }

  std::vector<wire::store_reply> replies(std::vector<actors::incoming> messages) {
    service_->on_messages(messages);
    std::vector<wire::store_reply> out;
    for (const auto& s : post_.outbox)
      out.push_back(wire::decode<wire::store_reply>(s.message, nullptr).value());
    post_.outbox.clear();
    return out;
  }

  template <class Message>
  wire::store_reply ask(const Message& m, std::uint64_t peer = 1) {
    auto out = replies({from(peer, m)});
    EXPECT_EQ(out.size(), 1u);
    return out.empty() ? wire::store_reply{} : out.front();
  }

  /// The answer to a message that is no proper request.
  wire::reply complaint(actors::incoming m) {
    std::vector<actors::incoming> one{std::move(m)};
    service_->on_messages(one);
    EXPECT_EQ(post_.outbox.size(), 1u);
    auto r = wire::decode<wire::reply>(post_.outbox.at(0).message, nullptr);
    post_.outbox.clear();
    return r.value();
  }

  counting_store store_;
  manual_post post_;
  null_logger log_;
  store_service_options options_;
  std::unique_ptr<actors::role_service> service_ = make_store_service(store_, nullptr, log_, options_);
  std::uint64_t last_request_ = 0;
};

TEST_F(StoreService, PutsGetsDeletesAndLists) {
  const auto written = ask(put("a", "value"));
  ASSERT_EQ(written.code, errc::ok) << written.message;
  ASSERT_EQ(written.entries.size(), 1u);
  const auto got = ask(wire::store_get{"a", 0, 100});
  EXPECT_EQ(got.piece, piece("value"));
  EXPECT_EQ(got.entries.at(0).version, written.entries[0].version);
  EXPECT_EQ(ask(wire::store_get{"a", 2, 2}).piece, piece("lu"));
  const auto stat = ask(wire::store_get{"a", 0, 0});
  EXPECT_EQ(stat.entries.at(0).size_bytes, 5u);
  EXPECT_TRUE(stat.piece.absent());
  EXPECT_EQ(ask(wire::store_list{"", "", 10}).entries.size(), 1u);
  EXPECT_EQ(ask(wire::store_delete{"a"}).code, errc::ok);
  EXPECT_EQ(ask(wire::store_get{"a", 0, 100}).code, errc::not_found);
}

TEST_F(StoreService, FlushesOnceForAllDurableWritesOfABatch) {
  std::vector<actors::incoming> batch;
  for (int i = 0; i < 20; ++i)
    batch.push_back(from(1 + static_cast<std::uint64_t>(i % 3), put("k" + std::to_string(i), "v")));
  batch.push_back(from(1, wire::store_delete{"k3"}));
  EXPECT_EQ(replies(std::move(batch)).size(), 21u);
  EXPECT_EQ(store_.syncs, 1);
  auto fast = put("k", "v");
  fast.durable = false;
  EXPECT_EQ(ask(fast).code, errc::ok);
  EXPECT_EQ(store_.syncs, 1) << "nobody asked for it";
}

TEST_F(StoreService, AFailedFlushIsNotAcknowledged) {
  store_.sync_fails = true;
  const auto refused = ask(put("a", "v"));
  EXPECT_EQ(refused.code, errc::unavailable);
  EXPECT_TRUE(refused.entries.empty());
}

TEST_F(StoreService, AValueInPiecesShowsWithItsLast) {
  constexpr std::uint64_t total = 2 * piece_bytes + 10;
  EXPECT_EQ(ask(part("big", 7, total, 0)).code, errc::ok);
  EXPECT_EQ(ask(part("big", 7, total, piece_bytes)).entries.size(), 0u);
  EXPECT_EQ(ask(wire::store_get{"big", 0, 1}).code, errc::not_found);
  EXPECT_EQ(store_.syncs, 0);
  const auto last = ask(part("big", 7, total, 2 * piece_bytes));
  EXPECT_EQ(last.entries.at(0).size_bytes, total);
  EXPECT_EQ(store_.syncs, 1);
  EXPECT_EQ(store_.uploads, 0);
  EXPECT_EQ(ask(part("big", 7, total, piece_bytes)).code, errc::not_found);
}

TEST_F(StoreService, ABadPieceEndsItsUpload) {
  constexpr std::uint64_t total = 3 * piece_bytes;
  ask(part("big", 7, total, 0));
  EXPECT_EQ(ask(part("big", 7, total, 2 * piece_bytes)).code, errc::invalid_argument);
  EXPECT_EQ(store_.uploads, 0);
  ask(part("big", 8, total, 0));
  EXPECT_THAT(ask(part("other", 8, total, piece_bytes)).message,
              HasSubstr("upload 8 is for key 'big', not for 'other'"));
  auto odd = part("big", 9, total, 0);
  odd.piece = {functions::tensor{functions::datatype::fp32, {1}, shared_bytes::copy_of("1234")}};
  EXPECT_EQ(ask(odd).code, errc::invalid_argument);
  EXPECT_EQ(store_.uploads, 0);
}

TEST_F(StoreService, TheFirstPieceAgainStartsOver) {
  constexpr std::uint64_t total = 2 * piece_bytes;
  ask(part("big", 7, total, 0));
  EXPECT_EQ(ask(part("big", 7, total, 0)).code, errc::ok);
  EXPECT_EQ(store_.uploads, 1);
  EXPECT_EQ(ask(part("big", 7, total, piece_bytes)).entries.size(), 1u);
}

TEST_F(StoreService, UploadsAreBoundedAndThePeersOwn) {
  for (std::uint64_t i = 1; i <= 64; ++i)
    EXPECT_EQ(ask(part("k", i, 2 * piece_bytes, 0), i % 2).code, errc::ok);
  const auto refused = ask(part("k", 65, 2 * piece_bytes, 0));
  EXPECT_EQ(refused.code, errc::overloaded);
  EXPECT_GT(refused.retry_after, 0ns);
  EXPECT_EQ(ask(part("k", 3, 2 * piece_bytes, piece_bytes), 0).code, errc::not_found) << "of another peer";
  service_->on_peer_lost(actors::peer_id{1});
  EXPECT_EQ(store_.uploads, 32);
  EXPECT_EQ(ask(part("k", 65, 2 * piece_bytes, 0)).code, errc::ok);
}

TEST_F(StoreService, IdleUploadsTimeOut) {
  ask(part("a", 1, 3 * piece_bytes, 0));
  post_.clock += 30s;
  ask(part("b", 2, 3 * piece_bytes, 0));
  EXPECT_EQ(post_.alarm, post_.clock + 30s);
  post_.clock += 30s;
  service_->on_alarm();
  EXPECT_EQ(store_.uploads, 1);
  EXPECT_EQ(ask(part("a", 1, 3 * piece_bytes, piece_bytes)).code, errc::not_found);
  post_.clock += 30s;
  service_->on_alarm();
  EXPECT_EQ(store_.uploads, 0);
  EXPECT_EQ(post_.alarm, never);
}

TEST_F(StoreService, ValuesOverTheLimitAreRefusedWithTheFirstPiece) {
  const auto refused = ask(part("big", 1, 300ull << 20, 0));
  EXPECT_EQ(refused.code, errc::too_large);
  EXPECT_THAT(refused.message, HasSubstr("the limit is 268435456 (256 MiB)"));
  EXPECT_EQ(ask(put(std::string(2000, 'k'), "v")).code, errc::invalid_argument);
  auto lie = put("k", "v");
  lie.total_bytes = 5;
  EXPECT_EQ(ask(lie).code, errc::invalid_argument);
}

TEST_F(StoreService, AnEmptyValueCanBePutInBothWays) {
  EXPECT_EQ(ask(wire::store_put{"a", 0, 0, 0, true, {}, {}}).code, errc::ok);
  EXPECT_EQ(ask(wire::store_put{"b", 0, 0, 4, true, {}, {}}).code, errc::ok);
  EXPECT_EQ(ask(wire::store_get{"b", 0, 10}).entries.at(0).size_bytes, 0u);
  EXPECT_EQ(store_.uploads, 0);
}

TEST_F(StoreService, PagesOfAListFitIntoAMessage) {
  for (int i = 0; i < 1200; ++i)
    ask(put(std::string(1000, 'k') + std::to_string(10000 + i), ""));
  std::string after;
  std::size_t found = 0;
  for (bool more = true; more;) {
    const auto page = ask(wire::store_list{"k", after, 100'000});
    ASSERT_FALSE(page.entries.empty());
    ASSERT_LE(wire::encode(page, request_id{1}).header.size(), wire::max_header_bytes);
    found += page.entries.size();
    after = page.entries.back().key;
    more = page.more;
  }
  EXPECT_EQ(found, 1200u);
  EXPECT_EQ(ask(wire::store_list{"k", "", 0}).entries.size(), 1u) << "at least one";
}

TEST_F(StoreService, SaysHelloAndPong) {
  std::vector<actors::incoming> messages{from(1, wire::hello{}), from(1, wire::ping{})};
  service_->on_messages(messages);
  ASSERT_EQ(post_.outbox.size(), 2u);
  EXPECT_EQ(wire::decode<wire::welcome>(post_.outbox[0].message, nullptr)->software, "squall store");
  EXPECT_TRUE(wire::decode<wire::pong>(post_.outbox[1].message, nullptr).ok());
  post_.outbox.clear();
  wire::hello future;
  future.oldest = 9;
  future.newest = 12;
  const auto refused = complaint(from(1, future));
  EXPECT_EQ(refused.code, errc::unsupported);
  EXPECT_THAT(refused.message, HasSubstr("9 to 12"));
}

TEST_F(StoreService, GarbageGetsAComplaintAndHarmsNobody) {
  EXPECT_EQ(complaint(from(1, wire::shutdown{})).code, errc::invalid_argument);
  auto broken = from(1, put("a", "v"));
  broken.message.payloads.clear();
  EXPECT_EQ(complaint(broken).code, errc::corrupt);
  auto silent = from(1, wire::shutdown{});
  silent.head.request = {};
  EXPECT_TRUE(replies({silent}).empty());
  EXPECT_EQ(ask(put("a", "v")).code, errc::ok);
}

TEST_F(StoreService, SurvivesRandomDamageToItsMessages) {
  random_source random{11};
  for (int i = 0; i < 3000; ++i) {
    auto m =
        i % 2 == 0 ? from(1, part("big", random.below(4), 2 * piece_bytes, 0)) : from(2, wire::store_list{"a", "b", 5});
    std::string header{m.message.header.text()};
    for (std::uint64_t n = 1 + random.below(3); n > 0; --n)
      header[random.below(header.size())] = static_cast<char>(random.below(256));
    m.message.header = shared_bytes::copy_of(
        std::string_view{header}.substr(0, random.below(4) == 0 ? random.below(header.size()) : header.size()));
    std::vector<actors::incoming> one{m};
    service_->on_messages(one);
    EXPECT_LE(post_.outbox.size(), 1u);
    post_.outbox.clear();
  }
  EXPECT_EQ(ask(put("a", "v")).code, errc::ok);
}

} // namespace
} // namespace squall::kvs
