#include "client/detail/outbox.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <thread>
#include <vector>

#include <poll.h>

namespace squall::client::detail {
namespace {

TEST(Outbox, GivesWhatWasPushedInOrder) {
  outbox<int> box;
  for (int i = 0; i < 5; ++i)
    box.push(i);
  std::vector<int> got;
  EXPECT_EQ(box.take([&](int i) { got.push_back(i); }), 5u);
  EXPECT_EQ(got, (std::vector<int>{0, 1, 2, 3, 4}));
  EXPECT_EQ(box.take([&](int) { FAIL(); }), 0u);
}

TEST(Outbox, WhatIsLeftIsDestroyedWithIt) {
  const auto token = std::make_shared<int>(7);
  {
    outbox<std::shared_ptr<int>> box;
    box.push(token);
    EXPECT_EQ(token.use_count(), 2);
  }
  EXPECT_EQ(token.use_count(), 1);
}

TEST(Outbox, ASleeperIsWokenAndOnlyASleeper) {
  outbox<int> box;
  pollfd polled{box.fd(), POLLIN, 0};
  box.push(1);
  EXPECT_EQ(::poll(&polled, 1, 0), 0) << "nobody sleeps, so nobody is woken";
  EXPECT_FALSE(box.prepare_sleep()) << "there is something to take";
  box.take([](int) {});
  EXPECT_TRUE(box.prepare_sleep());
  box.push(2);
  EXPECT_EQ(::poll(&polled, 1, 0), 1);
  box.woken(true);
  EXPECT_EQ(::poll(&polled, 1, 0), 0);
}

TEST(Outbox, ManyProducersKeepEachItsOrderAndNothingIsLost) {
  constexpr std::uint32_t producers = 4;
  constexpr std::uint32_t each = 20'000;
  outbox<std::uint32_t> box;
  std::vector<std::thread> threads;
  for (std::uint32_t p = 0; p < producers; ++p)
    threads.emplace_back([&box, p] {
      for (std::uint32_t i = 0; i < each; ++i)
        box.push(p * each + i);
    });
  std::vector<std::uint32_t> next(producers, 0);
  std::size_t taken = 0;
  while (taken < std::size_t{producers} * each) {
    taken += box.take([&](std::uint32_t value) { EXPECT_EQ(value % each, next[value / each]++); });
    if (!box.prepare_sleep())
      continue;
    pollfd polled{box.fd(), POLLIN, 0};
    if (taken < std::size_t{producers} * each) {
      EXPECT_EQ(::poll(&polled, 1, 10'000), 1) << "a wake-up was lost";
    }
    box.woken(true);
  }
  for (auto& thread : threads)
    thread.join();
}

} // namespace
} // namespace squall::client::detail
