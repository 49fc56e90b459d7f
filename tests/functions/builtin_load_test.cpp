#include "running.hpp"

#include <chrono>
#include <thread>

namespace squall::functions::builtins {
namespace {

using namespace testing;
using namespace std::chrono_literals;

const value x{tensor_of<std::uint8_t>(datatype::uint8, {3}, {1, 2, 3})};

TEST(LoadShapes, HandTheirInputOn) {
  for (const auto* name : {"noop", "sleep", "prime", "bloat"})
    EXPECT_EQ(outputs_of(name, {x})[0], x) << name;
  const value picture = floats({1, 2}, {1, 2});
  EXPECT_EQ(outputs_of("noop", {picture})[0], picture) << "whatever its datatype";
  EXPECT_EQ(shape_of(outputs_of("sleep", {}, {{"milliseconds", "0"}})[0]), (shape{0})) << "nothing came in";
}

TEST(Sleep, TakesAsLongAsItIsTold) {
  const auto begin = std::chrono::steady_clock::now();
  outputs_of("sleep", {}, {{"milliseconds", "20.5"}});
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 20500us);
}

TEST(Sleep, EndsWhenItIsCancelled) {
  std::atomic<bool> cancelled = false;
  std::thread other{[&] {
    std::this_thread::sleep_for(10ms);
    cancelled = true;
  }};
  const auto ran = run("sleep", {}, {{"milliseconds", "60000"}}, {&cancelled, {}});
  other.join();
  EXPECT_EQ(ran.error().code, errc::cancelled);
  EXPECT_EQ(message(ran), "builtin 'sleep': cancelled while it ran");
}

TEST(Sleep, EndsAtTheDeadline) {
  const auto ran = run("sleep", {}, {{"milliseconds", "60000"}}, {nullptr, duration{5ms}});
  EXPECT_EQ(ran.error().code, errc::deadline_exceeded);
}

TEST(Prime, CountsPrimes) {
  const auto count = [](const char* n) { return numbers<std::int64_t>(outputs_of("prime", {}, {{"n", n}})[1])[0]; };
  EXPECT_EQ(count("0"), 0);
  EXPECT_EQ(count("2"), 1);
  EXPECT_EQ(count("10"), 4);
  EXPECT_EQ(count("25"), 9);
  EXPECT_EQ(count("10000"), 1229);
}

TEST(LoadShapes, EndWhenTheyAreCancelled) {
  const std::atomic<bool> cancelled = true;
  EXPECT_EQ(run("prime", {}, {{"n", "1000000000"}}, {&cancelled, {}}).error().code, errc::cancelled);
  EXPECT_EQ(run("bloat", {}, {{"mib", "4096"}}, {&cancelled, {}}).error().code, errc::cancelled);
}

TEST(Bloat, TouchesItsMemory) {
  // Page n of a MiB holds n; the sum proves that each was written.
  EXPECT_EQ(numbers<std::int64_t>(outputs_of("bloat", {}, {{"mib", "2"}})[1])[0], 2 * 255 * 256 / 2);
}

} // namespace
} // namespace squall::functions::builtins
