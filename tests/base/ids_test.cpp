#include "base/ids.hpp"

#include "base/hash.hpp"

#include <gtest/gtest.h>

#include <set>
#include <type_traits>

namespace squall {
namespace {

TEST(Ids, OneKindIsNotAnother) {
  static_assert(!std::is_convertible_v<node_id, call_id>);
  static_assert(!std::is_convertible_v<std::uint64_t, node_id>);
  EXPECT_LT(node_id{1}, node_id{2});
  EXPECT_FALSE(node_id{});
  EXPECT_EQ(to_string(node_id{17}), "17");
}

TEST(Ids, ConsecutiveIdsHashApart) {
  std::set<std::size_t> low_bits;
  for (std::uint64_t i = 0; i < 64; ++i)
    low_bits.insert(std::hash<node_id>{}(node_id{i}) & 1023);
  EXPECT_GT(low_bits.size(), 55U);
}

TEST(Fnv1a, IsThePublishedHash) {
  fnv1a empty;
  EXPECT_EQ(empty.value(), 0xcbf29ce484222325ULL);
  fnv1a foobar;
  foobar.add("foobar");
  EXPECT_EQ(foobar.value(), 0x85944171f73967e8ULL);
}

} // namespace
} // namespace squall
