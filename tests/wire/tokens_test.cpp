#include "wire/detail/tokens.hpp"

#include "wire/detail/encoder.hpp"

#include <gtest/gtest.h>
#include <msgpack.hpp>

#include <cstring>
#include <random>
#include <sstream>
#include <vector>

namespace squall::wire::detail {
namespace {

using kind = token::kind;

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span{text}); }

/// What is in a document, flat, as msgpack's own parser sees it: the reference.
class reference : public msgpack::null_visitor {
public:
  bool visit_nil() { return say("nil"); }
  bool visit_boolean(bool v) { return say(v ? "true" : "false"); }
  bool visit_positive_integer(std::uint64_t v) { return say("+" + std::to_string(v)); }
  bool visit_negative_integer(std::int64_t v) { return say((v < 0 ? "" : "+") + std::to_string(v)); } // if signed
  bool visit_float32(float v) { return visit_float64(v); }
  bool visit_float64(double v) { return say("r" + std::to_string(v)); }
  bool visit_str(const char* data, std::uint32_t size) { return say("t" + std::string(data, size)); }
  bool visit_bin(const char* data, std::uint32_t size) { return say("b" + std::string(data, size)); }
  bool visit_ext(const char* data, std::uint32_t size) { return say("x" + std::string(data, size)); }
  bool start_array(std::uint32_t count) { return say("[" + std::to_string(count)); }
  bool start_map(std::uint32_t count) { return say("{" + std::to_string(count)); }
  std::vector<std::string> said;

private:
  bool say(std::string what) { return said.push_back(std::move(what)), true; }
};

std::string text_of(const token& t) {
  switch (t.what) {
    case kind::nil:
      return "nil";
    case kind::boolean:
      return t.natural != 0 ? "true" : "false";
    case kind::natural:
      return "+" + std::to_string(t.natural);
    case kind::negative:
      return std::to_string(t.negative);
    case kind::real:
      return "r" + std::to_string(t.real);
    case kind::text:
      return "t" + std::string{t.bytes()};
    case kind::binary:
      return "b" + std::string{t.bytes()};
    case kind::extension:
      return "x" + std::string{t.bytes()};
    case kind::array:
      return "[" + std::to_string(t.size);
    case kind::map:
      return "{" + std::to_string(t.size);
  }
  return "?";
}

std::vector<std::string> read_all(const std::string& document) {
  token_reader reader{bytes_of(document)};
  std::vector<std::string> out;
  token t;
  while (reader.left() > 0) {
    const kind ahead = reader.peek();
    if (!reader.next(t)) {
      out.push_back(reader.complaint());
      break;
    }
    EXPECT_EQ(ahead, t.what);
    out.push_back(text_of(t));
  }
  return out;
}

std::vector<std::string> read_by_msgpack(const std::string& document) {
  reference seen;
  std::size_t offset = 0;
  EXPECT_TRUE(msgpack::parse(document.data(), document.size(), offset, seen));
  return seen.said;
}

TEST(Tokens, AreWhatMsgpacksOwnParserFinds) {
  std::mt19937_64 random{7};
  for (int round = 0; round < 2'000; ++round) {
    std::stringstream out;
    msgpack::packer packer{out};
    packer.pack_array(40);
    for (int i = 0; i < 40; ++i) {
      const auto n = random() >> random() % 64;
      const std::string text(n % (i == 0 ? 70'000 : 300), 'a');
      const auto size = static_cast<std::uint32_t>(text.size());
      switch (random() % 12) {
        case 0:
          packer.pack_nil();
          break;
        case 1:
          n % 2 != 0 ? packer.pack_true() : packer.pack_false();
          break;
        case 2:
          packer.pack_uint64(n);
          break;
        case 3:
          packer.pack_int64(static_cast<std::int64_t>(random()) >> random() % 64);
          break;
        case 4:
          packer.pack_fix_int64(static_cast<std::int64_t>(n)); // positive and of a signed kind
          break;
        case 5:
          packer.pack_double(static_cast<double>(n));
          break;
        case 6:
          packer.pack_float(static_cast<float>(n));
          break;
        case 7:
          packer.pack_str(size).pack_str_body(text.data(), size);
          break;
        case 8:
          packer.pack_bin(size).pack_bin_body(text.data(), size);
          break;
        case 9:
          packer.pack_ext(size, 5).pack_ext_body(text.data(), size);
          break;
        case 10:
          packer.pack_array(1);
          packer.pack_uint64(n);
          break;
        default:
          packer.pack_map(1);
          packer.pack_uint64(n);
          packer.pack_nil();
      }
    }
    const std::string document = out.str();
    ASSERT_EQ(read_all(document), read_by_msgpack(document)) << "round " << round;
  }
}

TEST(HeaderWriter, WritesWhatMsgpacksOwnPackerWrites) {
  std::mt19937_64 random{11};
  for (int round = 0; round < 2'000; ++round) {
    std::stringstream out;
    msgpack::packer packer{out};
    header_writer ours;
    for (int i = 0; i < 300; ++i) {
      const auto n = random() >> random() % 64;
      const auto signed_n = static_cast<std::int64_t>(random()) >> random() % 64;
      const std::string text(n % (i == 0 ? 70'000 : 300), 'a');
      switch (random() % 8) {
        case 0:
          packer.pack_nil();
          ours.nil();
          break;
        case 1:
          n % 2 != 0 ? packer.pack_true() : packer.pack_false();
          ours.boolean(n % 2 != 0);
          break;
        case 2:
          packer.pack_uint64(n);
          ours.natural(n);
          break;
        case 3:
          packer.pack_int64(signed_n);
          ours.integer(signed_n);
          break;
        case 4:
          packer.pack_double(static_cast<double>(signed_n) / 3);
          ours.real(static_cast<double>(signed_n) / 3);
          break;
        case 5:
          packer.pack_str(static_cast<std::uint32_t>(text.size()));
          packer.pack_str_body(text.data(), static_cast<std::uint32_t>(text.size()));
          ours.text(text);
          break;
        case 6:
          packer.pack_array(static_cast<std::uint32_t>(n));
          ours.array(static_cast<std::uint32_t>(n));
          break;
        default:
          packer.pack_map(static_cast<std::uint32_t>(n));
          ours.map(static_cast<std::uint32_t>(n));
      }
    }
    ASSERT_EQ(ours.bytes().text(), out.str()) << "round " << round;
  }
}

TEST(Tokens, LargeCountsAreReadWhenTheirElementsAreThere) {
  for (const std::size_t count : {15, 16, 65'535, 65'536}) {
    std::stringstream out;
    msgpack::packer packer{out};
    packer.pack_map(static_cast<std::uint32_t>(count));
    for (std::size_t i = 0; i < 2 * count; ++i)
      packer.pack_nil();
    EXPECT_EQ(read_all(out.str()).size(), 2 * count + 1);
    EXPECT_EQ(read_all(out.str()).front(), "{" + std::to_string(count));
  }
}

TEST(Tokens, AnElementThatIsCutShortIsNone) {
  using namespace std::string_literals;
  for (const std::string& whole :
       {"\xcd\x01\x02"s, "\xa3xyz"s, "\xdb\0\0\0\1x"s, "\xc7\1\5x"s, "\xd8\0"s + std::string(16, 'x'),
        "\xcb"
        "12345678"s,
        "\x92\1\2"s, "\xde\0\1\1\2"s, "\xd3\1\2\3\4\5\6\7\10"s})
    for (std::size_t n = 1; n < whole.size(); ++n) {
      const std::string cut = whole.substr(0, n);
      token_reader reader{bytes_of(cut)};
      token t;
      EXPECT_FALSE(reader.next(t)) << n << " of " << whole.size();
      EXPECT_EQ(reader.left(), n) << "nothing is taken";
      EXPECT_EQ(reader.complaint(), "the header ends too early, at byte 0");
    }
  const std::string unused = "\xc1";
  token_reader reader{bytes_of(unused)};
  token t;
  EXPECT_FALSE(reader.next(t));
  EXPECT_EQ(reader.complaint(), "no valid msgpack at byte 0");
}

} // namespace
} // namespace squall::wire::detail
