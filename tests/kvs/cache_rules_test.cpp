#include "kvs/core/cache_rules.hpp"

#include "base/random.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace squall::kvs::core {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(LruByBytes, TheObjectUnusedForLongestGoesFirst) {
  lru_by_bytes cache{100};
  EXPECT_THAT(cache.add("a", 40).value(), IsEmpty());
  EXPECT_THAT(cache.add("b", 40).value(), IsEmpty());
  EXPECT_TRUE(cache.use("a"));
  EXPECT_THAT(cache.add("c", 30).value(), ElementsAre("b"));
  EXPECT_THAT(cache.add("d", 100).value(), ElementsAre("a", "c"));
  EXPECT_EQ(cache.used_bytes(), 100u);
  EXPECT_FALSE(cache.use("a"));
}

TEST(LruByBytes, PinnedObjectsStay) {
  lru_by_bytes cache{100};
  ASSERT_TRUE(cache.add("a", 60).ok());
  ASSERT_TRUE(cache.add("b", 30).ok());
  cache.pin("a");
  cache.pin("a");
  EXPECT_EQ(cache.add("c", 50).error().code, errc::overloaded);
  EXPECT_TRUE(cache.holds("b")) << "nothing changes when there is no room";
  cache.unpin("a");
  EXPECT_THAT(cache.add("c", 40).value(), ElementsAre("b"));
  cache.unpin("a");
  EXPECT_THAT(cache.add("d", 50).value(), ElementsAre("a"));
}

TEST(LruByBytes, ObjectsChangeTheirSize) {
  lru_by_bytes cache{100};
  ASSERT_TRUE(cache.add("a", 10).ok());
  ASSERT_TRUE(cache.add("b", 10).ok());
  EXPECT_THAT(cache.add("a", 95).value(), ElementsAre("b"));
  EXPECT_EQ(cache.used_bytes(), 95u);
  EXPECT_EQ(cache.add("a", 101).error().code, errc::too_large);
  EXPECT_EQ(cache.used_bytes(), 95u);
  cache.remove("a");
  cache.remove("a");
  EXPECT_EQ(cache.used_bytes(), 0u);
}

TEST(LruByBytes, NeverHoldsMoreThanItMay) {
  lru_by_bytes cache{1000};
  std::map<std::string, std::uint64_t> model;
  random_source random{3};
  for (int i = 0; i < 5000; ++i) {
    const std::string name = std::to_string(random.below(40));
    const std::uint64_t bytes = random.below(300);
    auto going = cache.add(name, bytes);
    ASSERT_TRUE(going.ok());
    for (const std::string& old : *going)
      ASSERT_EQ(model.erase(old), 1u);
    model[name] = bytes;
    std::uint64_t sum = 0;
    for (const auto& [held, size] : model)
      sum += size;
    ASSERT_EQ(cache.used_bytes(), sum);
    ASSERT_LE(sum, 1000u);
  }
}

} // namespace
} // namespace squall::kvs::core
