#include "calls/binary.hpp"

#include "base/random.hpp"
#include "calls/placing.hpp"
#include "calls/queueing.hpp"

#include <gtest/gtest.h>

namespace squall::calls {
namespace {

using functions::datatype;
using functions::tensor;
using functions::value;
using functions::value_list;

struct everything {
  bool flag = false;
  std::uint8_t small = 0;
  std::int32_t negative = 0;
  std::uint64_t large = 0;
  float single = 0;
  double real = 0;
  errc code = errc::ok;
  duration span{0};
  time_point moment;
  call_id id;
  std::string text;
  shared_bytes bytes;
  std::vector<std::string> words;
  std::map<std::string, std::uint32_t> counts;
  std::optional<node_id> maybe;
  std::variant<double, std::string> either;
  value data;

  friend bool operator==(const everything&, const everything&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("flag", s.flag);
    v("small", s.small);
    v("negative", s.negative);
    v("large", s.large);
    v("single", s.single);
    v("real", s.real);
    v("code", s.code);
    v("span_ns", s.span);
    v("moment", s.moment);
    v("id", s.id);
    v("text", s.text);
    v("bytes", s.bytes);
    v("words", s.words);
    v("counts", s.counts);
    v("maybe", s.maybe);
    v("either", s.either);
    v("data", s.data);
  }
};

everything sample() {
  everything e;
  e.flag = true;
  e.small = 200;
  e.negative = -70000;
  e.large = ~std::uint64_t{0};
  e.single = 1.5F;
  e.real = -0.1;
  e.code = errc::overloaded;
  e.span = duration{-5};
  e.moment = never;
  e.id = call_id{1ULL << 63};
  e.text = "caf\xc3\xa9";
  e.bytes = shared_bytes::copy_of(std::string_view{"\0\1\2", 3});
  e.words = {"", "two"};
  e.counts = {{"a", 1}, {"b", 2}};
  e.maybe = node_id{7};
  e.either = std::string{"text"};
  const value scalar{functions::tensor_of<float>(datatype::fp32, {2}, {1.0F, 2.0F})};
  e.data.data = value_list{scalar, value{}, value{value_list{scalar}}};
  return e;
}

TEST(Binary, EveryKindOfFieldComesBack) {
  const everything written = sample();
  const auto read = from_binary<everything>(to_binary(written));
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_EQ(*read, written);
}

TEST(Binary, NumbersAreVarintsAndZigzag) {
  binary_writer out;
  out.write(std::uint32_t{300});
  out.write(std::int32_t{-1});
  out.write(duration{64});
  const std::vector<std::byte> expected{std::byte{0xac}, std::byte{0x02}, std::byte{0x01}, std::byte{0x80},
                                        std::byte{0x01}};
  EXPECT_EQ(std::vector<std::byte>(out.bytes().begin(), out.bytes().end()), expected);
}

TEST(Binary, EveryTruncationIsAnErrorThatNamesTheOffset) {
  const auto bytes = to_binary(sample());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const auto read = from_binary<everything>(std::span{bytes}.first(size));
    ASSERT_FALSE(read.ok()) << size;
    EXPECT_EQ(read.error().code, errc::corrupt);
    EXPECT_NE(read.error().message.find("everything: at byte "), std::string::npos) << read.error().message;
  }
}

TEST(Binary, BytesLeftOverAreAnError) {
  auto bytes = to_binary(sample());
  bytes.push_back(std::byte{0});
  const auto read = from_binary<everything>(bytes);
  ASSERT_FALSE(read.ok());
  EXPECT_NE(read.error().message.find("belong to nothing"), std::string::npos);
}

TEST(Binary, ACountThatPassesTheBytesLeftAllocatesNothing) {
  binary_writer out;
  out.varint(std::uint64_t{1} << 60);
  EXPECT_FALSE((from_binary<std::vector<everything>>(out.bytes()).ok()));
  EXPECT_FALSE(from_binary<std::string>(out.bytes()).ok());
  EXPECT_FALSE((from_binary<std::map<std::string, std::string>>(out.bytes()).ok()));
}

TEST(Binary, NumbersThatDoNotFitAreErrors) {
  EXPECT_FALSE(from_binary<std::uint8_t>(to_binary(std::uint32_t{256})).ok());
  EXPECT_FALSE(from_binary<std::int8_t>(to_binary(std::int32_t{-129})).ok());
  EXPECT_FALSE(from_binary<errc>(to_binary(std::uint32_t{256})).ok());
  EXPECT_FALSE(from_binary<bool>(to_binary(std::uint8_t{2})).ok());
  const std::vector<std::byte> eleven(11, std::byte{0xff});
  EXPECT_FALSE(from_binary<std::uint64_t>(eleven).ok());
}

TEST(Binary, DeepNestingIsAnErrorNotAnOverflow) {
  // A list of a list of a list..., two bytes a level: alternative 2, one element.
  std::vector<std::byte> bytes;
  for (int i = 0; i < 100'000; ++i) {
    bytes.push_back(std::byte{2});
    bytes.push_back(std::byte{1});
  }
  bytes.push_back(std::byte{0});
  const auto read = from_binary<value>(bytes);
  ASSERT_FALSE(read.ok());
  EXPECT_NE(read.error().message.find("nests too deeply"), std::string::npos);
}

TEST(Binary, AMapWhoseKeysDoNotAscendIsAnError) {
  binary_writer out;
  out.varint(2);
  for (const char* key : {"b", "a"}) {
    out.write(std::string{key});
    out.write(std::uint32_t{1});
  }
  EXPECT_FALSE((from_binary<std::map<std::string, std::uint32_t>>(out.bytes()).ok()));
}

TEST(Binary, RandomBytesGiveAValueOrAnError) {
  random_source random{1};
  for (int round = 0; round < 20'000; ++round) {
    std::vector<std::byte> bytes(random.below(64));
    for (auto& b : bytes)
      b = static_cast<std::byte>(random.next());
    (void)from_binary<everything>(bytes);
    (void)from_binary<placing::event>(bytes);
    (void)from_binary<queueing::command>(bytes);
    (void)from_binary<functions::predicate>(bytes);
  }
}

TEST(Binary, ADamagedByteGivesAValueOrAnError) {
  const auto bytes = to_binary(sample());
  for (std::size_t at = 0; at < bytes.size(); ++at)
    for (int bit = 0; bit < 8; ++bit) {
      auto damaged = bytes;
      damaged[at] ^= static_cast<std::byte>(1 << bit);
      if (const auto read = from_binary<everything>(damaged); read.ok()) {
        // What was read is a value like any other: it writes and reads again. (As bytes: a damaged number may be NaN.)
        EXPECT_EQ(to_binary(*from_binary<everything>(to_binary(*read))), to_binary(*read));
      }
    }
}

TEST(Binary, TheNameOfATypeHasNoNamespace) {
  EXPECT_EQ(type_name<placing::call_arrived>(), "call_arrived");
  EXPECT_EQ(type_name<queueing::tick>(), "tick");
  EXPECT_EQ(type_name<everything>(), "everything");
}

} // namespace
} // namespace squall::calls
