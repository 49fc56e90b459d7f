#include "kvs/core/layout.hpp"

#include "kvs/core/limits.hpp"

#include <gtest/gtest.h>

namespace squall::kvs::core {
namespace {

TEST(Layout, ARecordWithItsValueComesBackAsItWas) {
  const auto back_bytes = encode({7, 5, 0, "hello"});
  const auto back = decode_record(back_bytes);
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->version, 7u);
  EXPECT_EQ(back->size_bytes, 5u);
  EXPECT_EQ(back->pieces, 0u);
  EXPECT_EQ(back->inline_value, "hello");
}

TEST(Layout, RecordsHaveGoldenBytes) {
  const std::string expected{"\x01\0\0\0\0\0\0\1\2\0\0\0\0\0\0\0\x3\0\0\0\0\0\0\0\0abc", 28};
  EXPECT_EQ(encode({0x102, 3, 0, "abc"}), expected);
}

TEST(Layout, DamagedRecordsAreRefused) {
  const std::string good = encode({7, 5, 0, "hello"});
  for (std::size_t size = 0; size < good.size(); ++size)
    EXPECT_EQ(decode_record(good.substr(0, size)).error().code, errc::corrupt) << size;
  std::string other_format = good;
  other_format[0] = 2;
  EXPECT_EQ(decode_record(other_format).error().code, errc::corrupt);
  EXPECT_EQ(decode_record(encode({7, 5, 3, "hello"})).error().code, errc::corrupt) << "a value beside pieces";
  EXPECT_EQ(decode_record(encode({7, max_value_bytes + 1, 3, {}})).error().code, errc::corrupt);
}

TEST(Layout, KeysOfUsersCannotBeOurs) {
  EXPECT_EQ(record_key("s.format"), "ks.format");
  EXPECT_EQ(user_key(record_key("any\xff")), "any\xff");
  EXPECT_LT(record_key(std::string(max_key_bytes, '\xff')), past_record_keys);
  EXPECT_EQ(pieces_of_upload_key(upload_key(300)), 300u);
  EXPECT_EQ(pieces_of_upload_key("k12345678"), std::nullopt);
}

TEST(Layout, PiecesOfLaterValuesLieBehindEarlierOnes) {
  EXPECT_LT(piece_key(1, 255), piece_key(1, 256));
  EXPECT_LT(piece_key(255, 9), piece_key(256, 0));
}

TEST(Layout, CountsPieces) {
  EXPECT_EQ(piece_count(0), 0u);
  EXPECT_EQ(piece_count(1), 1u);
  EXPECT_EQ(piece_count(piece_bytes), 1u);
  EXPECT_EQ(piece_count(piece_bytes + 1), 2u);
  EXPECT_EQ(piece_count(max_value_bytes), 256u);
}

} // namespace
} // namespace squall::kvs::core
