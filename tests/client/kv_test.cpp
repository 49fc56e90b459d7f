#include "client/cluster.hpp"
#include "tests/client/fake_server.hpp"

#include <gtest/gtest.h>

namespace squall::client {
namespace {

using namespace std::chrono_literals;
using testing::fake_server;

std::unique_ptr<cluster> connect(const fake_server& server) {
  options o;
  o.endpoint = server.endpoint();
  o.timeout = 3s;
  return cluster::connect(o).value();
}

std::string pattern(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i)
    text[i] = static_cast<char>(i * 31 + i / 255);
  return text;
}

TEST(Kv, ValuesComeBack) {
  const fake_server server;
  const auto cluster = connect(server);
  for (const std::size_t size :
       std::vector<std::size_t>{0, 1, 1000, (1u << 20) - 1, 1u << 20, (1u << 20) + 1, 9'999'999}) {
    const std::string text = pattern(size);
    ASSERT_TRUE(cluster->kv().put("k", shared_bytes::copy_of(text)).ok()) << size;
    EXPECT_EQ(server.record().values.at("k"), text);
    EXPECT_EQ(cluster->kv().get("k").value().text(), text) << size;
    EXPECT_EQ(cluster->kv().stat("k").value().size_bytes, size);
  }
}

TEST(Kv, PiecesReportTheirProgress) {
  const fake_server server;
  const auto cluster = connect(server);
  const std::string text = pattern(5'000'000);
  std::vector<std::uint64_t> put, got;
  const auto note = [](std::vector<std::uint64_t>& into) {
    return [&into](std::uint64_t done, std::uint64_t total) {
      EXPECT_EQ(total, 5'000'000u);
      into.push_back(done);
    };
  };
  ASSERT_TRUE(cluster->kv().put("k", shared_bytes::copy_of(text), {.durable = false, .progress = note(put)}).ok());
  ASSERT_TRUE(cluster->kv().get("k", note(got)).ok());
  const std::vector<std::uint64_t> steps{1u << 20, 2u << 20, 3u << 20, 4u << 20, 5'000'000};
  EXPECT_EQ(put, steps);
  EXPECT_EQ(got, steps);
}

TEST(Kv, WhatIsNotThereIsNotFound) {
  const fake_server server;
  const auto cluster = connect(server);
  EXPECT_EQ(cluster->kv().get("k").error(), (error{errc::not_found, "no key 'k'", {}}));
  EXPECT_EQ(cluster->kv().stat("k").error().code, errc::not_found);
  EXPECT_EQ(cluster->kv().erase("k").error().code, errc::not_found);
  ASSERT_TRUE(cluster->kv().put("k", shared_bytes::copy_of("v")).ok());
  EXPECT_TRUE(cluster->kv().erase("k").ok());
  EXPECT_EQ(cluster->kv().get("k").error().code, errc::not_found);
}

TEST(Kv, ListsPageByPage) {
  fake_server server;
  for (int i = 0; i < 2500; ++i)
    server.put_value("a/" + std::to_string(10000 + i), "v");
  server.put_value("b", "v");
  const auto cluster = connect(server);
  const auto all = cluster->kv().list("a/").value();
  ASSERT_EQ(all.size(), 2500u);
  EXPECT_EQ(all.front().key, "a/10000");
  EXPECT_EQ(all.back().key, "a/12499");
  EXPECT_EQ(cluster->kv().list("a/", "a/12490").value().size(), 9u);
  EXPECT_EQ(cluster->kv().list("a/", {}, 7).value().size(), 7u);
  EXPECT_TRUE(cluster->kv().list("c").value().empty());
}

TEST(Kv, AValueBeyondTheLimitIsTooLarge) {
  const fake_server server;
  const auto cluster = connect(server);
  const auto put = cluster->kv().put("k", shared_bytes::take(std::string(300u << 20, 'x')));
  EXPECT_EQ(put.error().code, errc::too_large);
  EXPECT_EQ(put.error().message, "the value of 'k' has 314572800 bytes; the limit is 268435456");
  EXPECT_EQ(server.record().store_pieces, 0u);
}

TEST(Kv, AStoreWithItsOwnEndpointIsAskedThere) {
  const fake_server store;
  fake_server server;
  server.welcome.store_endpoint = store.endpoint();
  const auto cluster = connect(server);
  ASSERT_TRUE(cluster->kv().put("k", shared_bytes::copy_of("v")).ok());
  EXPECT_EQ(store.record().values.at("k"), "v");
  EXPECT_TRUE(server.record().values.empty());
  EXPECT_EQ(store.record().hellos.size(), 1u);
}

TEST(Kv, AStoreThatComesBackIsFoundAgainAndTheControllerStays) {
  auto store = std::make_unique<fake_server>();
  const std::string endpoint = store->endpoint();
  fake_server server;
  server.welcome.store_endpoint = endpoint;
  const auto cluster = connect(server);
  ASSERT_TRUE(cluster->kv().put("k", shared_bytes::copy_of("v")).ok());
  store.reset();
  EXPECT_EQ(cluster->kv().get("k").error().code, errc::unavailable);
  EXPECT_TRUE(cluster->call("echo", {}).get().ok());
  store = std::make_unique<fake_server>(endpoint);
  bool again = false;
  for (int i = 0; i < 100 && !again; ++i) {
    again = cluster->kv().put("k", shared_bytes::copy_of("v")).ok();
    std::this_thread::sleep_for(again ? 0ms : 50ms);
  }
  EXPECT_TRUE(again);
  EXPECT_EQ(server.record().hellos.size(), 1u);
}

} // namespace
} // namespace squall::client
