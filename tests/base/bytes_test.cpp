#include "base/bytes.hpp"

#include <gtest/gtest.h>

namespace squall {
namespace {

TEST(SharedBytes, CopiesShareTheMemory) {
  const auto a = shared_bytes::copy_of("hello");
  const auto b = a; // NOLINT(performance-unnecessary-copy-initialization)
  EXPECT_EQ(a.data(), b.data());
  EXPECT_EQ(a, b);
}

TEST(SharedBytes, ASliceKeepsTheWholeAlive) {
  shared_bytes slice;
  {
    const auto whole = shared_bytes::take(std::string(1000, 'x') + "tail");
    slice = whole.slice(1000, 4);
  }
  EXPECT_EQ(slice.text(), "tail");
}

TEST(SharedBytes, TheOwnerIsToldWhenTheLastUserIsDone) {
  bool told = false;
  {
    const char text[] = "abc";
    shared_bytes last;
    {
      const std::shared_ptr<const void> owner{text, [&](const void*) { told = true; }};
      last = shared_bytes{owner, std::as_bytes(std::span{text, 3})};
    }
    EXPECT_FALSE(told);
  }
  EXPECT_TRUE(told);
}

TEST(SharedBytes, NothingIsEmpty) {
  EXPECT_TRUE(shared_bytes::copy_of("").empty());
  EXPECT_EQ(shared_bytes{}, shared_bytes::take(std::string{}));
}

} // namespace
} // namespace squall
