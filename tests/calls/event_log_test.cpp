#include "calls/event_log.hpp"

#include "base/random.hpp"
#include "calls/placing.hpp"

#include <gtest/gtest.h>

namespace squall::calls {
namespace {

using placing::event;

std::vector<std::byte> bytes_of(std::string_view text) {
  const auto view = std::as_bytes(std::span{text});
  return {view.begin(), view.end()};
}

/// A segment with a snapshot and `count` facts, one a microsecond.
std::vector<std::byte> segment(int count) {
  log_encoder out;
  out.begin({log_core::scheduler, {}, 5});
  EXPECT_TRUE(out.snapshot(from_ns(1000), bytes_of("state")));
  for (int i = 0; i < count; ++i)
    out.fact(from_ns(1000 + 1000 * i), static_cast<std::uint64_t>(i),
             event{placing::cancel_requested{call_id{static_cast<std::uint64_t>(i)}}});
  out.flush();
  return out.take();
}

TEST(EventLog, WhatIsWrittenIsRead) {
  const auto bytes = segment(10'000);
  auto log = log_decoder<event>::open(bytes);
  ASSERT_TRUE(log.ok()) << log.error().message;
  EXPECT_EQ(log->header(), (log_header{log_core::scheduler, {}, 5}));
  const auto first = log->next();
  ASSERT_TRUE(first.ok() && first->has_value());
  const auto& snapshot = std::get<log_snapshot>(**first);
  EXPECT_EQ(snapshot.at, from_ns(1000));
  EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(snapshot.saved.data()), snapshot.saved.size()), "state");
  for (int i = 0; i < 10'000; ++i) {
    const auto entry = log->next();
    ASSERT_TRUE(entry.ok() && entry->has_value());
    const auto& fact = std::get<log_fact<event>>(**entry);
    EXPECT_EQ(fact.at, from_ns(1000 + 1000 * i));
    EXPECT_EQ(fact.commands, static_cast<std::uint64_t>(i));
    EXPECT_EQ(std::get<placing::cancel_requested>(fact.event).id, call_id{static_cast<std::uint64_t>(i)});
  }
  EXPECT_FALSE(log->next()->has_value());
  EXPECT_FALSE(log->truncated());
}

TEST(EventLog, TheFormatIsTheOneOfTheDocument) {
  // Golden bytes: a change here is a change of the format, which needs a new version number.
  const auto bytes = segment(1);
  std::string hex;
  for (const std::byte b : bytes) {
    constexpr std::string_view digits = "0123456789abcdef";
    hex += digits[static_cast<std::size_t>(b >> 4)];
    hex += digits[static_cast<std::size_t>(b & std::byte{15})];
  }
  EXPECT_EQ(hex,
            "53514c4f4700"
            "0700"
            "01"
            "0000000000000000"
            "0500000000000000" // magic, version, core, node, opened
            "08000000"
            "480a8ffd1b40138b" // length, checksum
            "01"
            "d00f"
            "7374617465" // snapshot, 1000 ns, "state"
            "0c000000"
            "6107ec24e11bf2cb" //
            "02"
            "00"
            "0000000000000000"
            "08"
            "00"); // facts, +0 ns, digest, cancel_requested, call 0
}

TEST(EventLog, ACutOffTailEndsTheLogQuietly) {
  const auto whole = segment(3);
  for (std::size_t size = log_header_size; size < whole.size(); ++size) {
    auto log = log_decoder<event>::open(std::span{whole}.first(size));
    ASSERT_TRUE(log.ok());
    for (;;) {
      const auto entry = log->next();
      ASSERT_TRUE(entry.ok()) << entry.error().message;
      if (!entry->has_value())
        break;
    }
    const bool at_a_boundary = size == log_header_size || size == log_header_size + log_record_header_size + 8;
    EXPECT_EQ(log->truncated(), !at_a_boundary) << size;
  }
}

TEST(EventLog, DamageIsAnErrorWithItsOffset) {
  auto bytes = segment(3);
  bytes[log_header_size + log_record_header_size + 2] ^= std::byte{1};
  auto log = log_decoder<event>::open(bytes);
  const auto entry = log->next();
  ASSERT_FALSE(entry.ok());
  EXPECT_EQ(entry.error().message, "event log: at byte 25 it holds a record whose checksum does not match");
}

TEST(EventLog, AnotherVersionIsRefusedWithBothNumbers) {
  auto bytes = segment(0);
  bytes[6] = std::byte{9};
  const auto log = log_decoder<event>::open(bytes);
  ASSERT_FALSE(log.ok());
  EXPECT_EQ(log.error().code, errc::unsupported);
  EXPECT_EQ(log.error().message, "event log: is of format version 9, this program reads version 7");
}

TEST(EventLog, AnyBytesGiveEntriesOrAnError) {
  const auto whole = segment(20);
  random_source random{7};
  for (int round = 0; round < 5'000; ++round) {
    auto bytes = whole;
    for (int k = 0; k < 3; ++k)
      bytes[random.below(bytes.size())] = static_cast<std::byte>(random.next());
    auto log = log_decoder<event>::open(bytes);
    for (int entries = 0; log.ok() && entries < 100; ++entries)
      if (const auto entry = log->next(); !entry.ok() || !entry->has_value())
        break;
  }
}

TEST(EventLog, ALaterSnapshotRestartsTheClockOfTheSegment) {
  log_encoder out;
  out.begin({});
  ASSERT_TRUE(out.snapshot(from_ns(100), {}));
  out.fact(from_ns(150), 0, event{placing::tick{}});
  ASSERT_TRUE(out.snapshot(from_ns(1000), {}));
  out.fact(from_ns(1001), 0, event{placing::tick{}});
  out.flush();
  const auto bytes = out.take();
  EXPECT_EQ(bytes.size(), out.segment_size());
  auto log = log_decoder<event>::open(bytes);
  std::vector<std::int64_t> times;
  for (auto entry = log->next(); entry->has_value(); entry = log->next())
    std::visit([&](const auto& e) { times.push_back(to_ns(e.at)); }, **entry);
  EXPECT_EQ(times, (std::vector<std::int64_t>{100, 150, 1000, 1001}));
}

TEST(EventLog, EqualCommandsHaveEqualDigests) {
  const std::vector<placing::command> one{placing::refuse{call_id{1}, errc::overloaded, "full", duration{5}}};
  auto two = one;
  EXPECT_EQ(digest(one), digest(two));
  std::get<placing::refuse>(two[0]).message = "Full";
  EXPECT_NE(digest(one), digest(two));
  EXPECT_NE(digest(one), digest(std::vector<placing::command>{}));
}

} // namespace
} // namespace squall::calls
