#include "kvs/detail/shared_flush.hpp"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace squall::kvs::detail {
namespace {

TEST(SharedFlush, CostsNothingWhenNothingWasWritten) {
  int flushes = 0;
  shared_flush log{[&] { return ++flushes, result<>{}; }};
  EXPECT_TRUE(log.wait().ok());
  EXPECT_EQ(flushes, 0);
  log.wrote();
  log.wrote();
  EXPECT_TRUE(log.wait().ok());
  EXPECT_TRUE(log.wait().ok());
  EXPECT_EQ(flushes, 1);
}

TEST(SharedFlush, WritesOfAFailedFlushAreNeverReportedDurable) {
  std::atomic<bool> broken{true};
  std::atomic<bool> entered{false};
  std::atomic<bool> go_on{false};
  shared_flush log{[&] {
    entered = true;
    while (!go_on)
      std::this_thread::yield();
    return broken ? result<>{errc::unavailable, "the disk is gone"} : result<>{};
  }};
  log.wrote();
  result<> first{};
  result<> second{};
  std::jthread leader{[&] { first = log.wait(); }};
  while (!entered)
    std::this_thread::yield();
  std::jthread follower{[&] { second = log.wait(); }};
  go_on = true;
  leader.join();
  follower.join();
  EXPECT_EQ(first.error().code, errc::unavailable);
  EXPECT_EQ(second.error().code, errc::unavailable);
  broken = false;
  log.wrote();
  EXPECT_TRUE(log.wait().ok()) << "later writes are not concerned";
}

TEST(SharedFlush, ThreadsShareFlushes) {
  std::atomic<int> flushes{0};
  shared_flush log{[&] {
    std::this_thread::sleep_for(std::chrono::milliseconds{1});
    ++flushes;
    return result<>{};
  }};
  constexpr int threads = 8;
  constexpr int writes = 25;
  {
    std::vector<std::jthread> all;
    for (int t = 0; t < threads; ++t) {
      all.emplace_back([&] {
        for (int i = 0; i < writes; ++i) {
          log.wrote();
          EXPECT_TRUE(log.wait().ok());
        }
      });
    }
  }
  EXPECT_LT(flushes, threads * writes / 2);
  EXPECT_GE(flushes, writes);
}

} // namespace
} // namespace squall::kvs::detail
