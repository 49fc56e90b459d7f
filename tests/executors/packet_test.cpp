#include "executors/packet.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/socket.h>
#include <unistd.h>

namespace squall::executors {
namespace {

wire::frames message(std::size_t header, const std::vector<std::size_t>& payloads) {
  wire::frames frames{shared_bytes::take(std::string(header, 'h')), {}};
  for (const auto size : payloads)
    frames.payloads.push_back(shared_bytes::take(std::string(size, 'p')));
  return frames;
}

std::string bytes_of(const wire::frames& frames) {
  const auto prefix = packet_prefix(frames).value();
  std::string bytes(reinterpret_cast<const char*>(prefix.data()), prefix.size());
  bytes += frames.header.text();
  for (const auto& payload : frames.payloads)
    bytes += payload.text();
  return bytes;
}

/// Feeds `bytes` in pieces of at most `step`.
result<> feed(packet_reader& reader, std::string_view bytes, std::size_t step) {
  while (!bytes.empty()) {
    const auto room = reader.room();
    const auto size = std::min({step, bytes.size(), room.size()});
    std::memcpy(room.data(), bytes.data(), size);
    bytes.remove_prefix(size);
    SQUALL_TRY(reader.advance(size));
  }
  return {};
}

void expect_equal(const wire::frames& a, const wire::frames& b) {
  EXPECT_EQ(a.header, b.header);
  EXPECT_TRUE(a.payloads == b.payloads);
}

TEST(PacketReader, PutsPacketsTogetherFromPiecesOfAnySize) {
  const auto small = message(5, {});
  const auto medium = message(100, {0, 7, 0, 3000});
  const auto large = message(10, {200'000, 1, 70'000});
  const auto bytes = bytes_of(small) + bytes_of(medium) + bytes_of(large) + bytes_of(small);
  for (const std::size_t step : {std::size_t{1}, std::size_t{7}, std::size_t{4096}, bytes.size()}) {
    packet_reader reader;
    ASSERT_TRUE(feed(reader, bytes, step).ok());
    for (const auto* expected : {&small, &medium, &large, &small}) {
      const auto packet = reader.next();
      ASSERT_TRUE(packet);
      expect_equal(*packet, *expected);
    }
    EXPECT_FALSE(reader.next());
  }
}

TEST(PacketReader, PayloadsAreAlignedForAnyElement) {
  packet_reader reader;
  ASSERT_TRUE(feed(reader, bytes_of(message(3, {5, 64})), 1000).ok());
  const auto packet = reader.next();
  for (const auto& payload : packet->payloads)
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(payload.data()) % 16, 0U);
}

TEST(PacketReader, RefusesSizesBeyondItsLimitsBeforeItTakesMemory) {
  const packet_limits limits{.header_bytes = 100, .payloads = 2, .payload_bytes = 50, .total_bytes = 120};
  const auto code = [&](const wire::frames& frames) {
    packet_reader reader(limits);
    const auto fed = feed(reader, bytes_of(frames), 1000);
    return fed.ok() ? errc::ok : fed.error().code;
  };
  EXPECT_EQ(code(message(100, {20})), errc::ok);
  EXPECT_EQ(code(message(101, {})), errc::corrupt);
  EXPECT_EQ(code(message(1, {1, 1, 1})), errc::corrupt);
  EXPECT_EQ(code(message(1, {51})), errc::corrupt);
  EXPECT_EQ(code(message(100, {20, 20})), errc::corrupt);
  packet_reader reader;
  EXPECT_EQ(feed(reader, "any text that somebody may send", 1000).error().code, errc::corrupt);
}

TEST(PacketWriter, RefusesWhatTheOtherSideWouldRefuse) {
  packet_writer writer;
  EXPECT_EQ(writer.add(message((1 << 20) + 1, {})).error().code, errc::too_large);
  EXPECT_TRUE(writer.empty());
}

TEST(PacketWriter, GoesOnWhereItStopped) {
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
  packet_writer writer;
  const auto large = message(10, {3'000'000, 5});
  for (int i = 0; i < 3; ++i)
    ASSERT_TRUE(writer.add(large).ok());
  packet_reader reader;
  int packets = 0;
  int stops = 0;
  while (packets < 3) {
    const auto written = writer.write_to(ends[0]);
    ASSERT_TRUE(written.ok());
    stops += *written ? 0 : 1;
    const auto room = reader.room();
    const auto got = read(ends[1], room.data(), room.size());
    if (got > 0 && !reader.advance(static_cast<std::size_t>(got)).ok())
      FAIL();
    while (const auto packet = reader.next()) {
      expect_equal(*packet, large);
      ++packets;
    }
  }
  EXPECT_GT(stops, 0);
  EXPECT_TRUE(writer.empty());
  EXPECT_EQ(writer.unsent_bytes(), 0U);
  close(ends[1]);
  ASSERT_TRUE(writer.add(message(1, {})).ok());
  EXPECT_EQ(writer.write_to(ends[0]).error().code, errc::unavailable);
  close(ends[0]);
}

} // namespace
} // namespace squall::executors
