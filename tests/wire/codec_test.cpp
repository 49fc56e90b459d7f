#include "base/random.hpp"
#include "samples.hpp"

#include <gtest/gtest.h>

namespace squall::wire {
namespace {

using namespace testing;
using namespace std::string_literals;

TEST(Codec, EveryMessageComesBackAsItWas) {
  for_each_message([]<class Message>(const char* name) {
    const frames sent = encode(sample<Message>(), request_id{17});
    const auto received = decode<Message>(sent, nullptr);
    ASSERT_TRUE(received.ok()) << name << ": " << received.error().message;
    EXPECT_TRUE(same(sent, encode(*received, request_id{17}))) << name;
    const auto head = peek(sent.header.span());
    ASSERT_TRUE(head.ok()) << name;
    EXPECT_EQ(head->type, Message::type) << name;
    EXPECT_EQ(head->to, Message::to) << name;
    EXPECT_EQ(head->request, request_id{17}) << name;
  });
}

TEST(Codec, PingLooksAsDocumented) { EXPECT_EQ(hex(encode(ping{}, request_id{7}).header), "950103010790"); }

TEST(Codec, ReceiverOfAReplyCanBeNamed) {
  const auto head = peek(encode(pong{}, request_id{1}, {}, role::node).header.span());
  ASSERT_TRUE(head.ok());
  EXPECT_EQ(head->to, role::node);
}

TEST(Codec, LongerStructsAreAcceptedAndShorterOnesTakeDefaults) {
  // query {kind, name}: with a third field, a nested array, that nobody knows; and with only the first.
  const frames longer{raw("\x95\x01\x17\x01\x05\x93\xa1k\xa1n\x92\x01\x81\xa1x\xc0"s), {}};
  auto q = decode<query>(longer, nullptr);
  ASSERT_TRUE(q.ok()) << q.error().message;
  EXPECT_EQ(q->kind + q->name, "kn");
  const frames shorter{raw("\x95\x01\x17\x01\x05\x91\xa1k"s), {}};
  q = decode<query>(shorter, nullptr);
  ASSERT_TRUE(q.ok()) << q.error().message;
  EXPECT_EQ(q->kind + q->name, "k");
}

TEST(Codec, ErrorNamesThePathOfTheField) {
  frames m = encode(sample<start_call>(), request_id{1});
  m.payloads.pop_back();
  m.payloads.pop_back();
  const auto r = decode<start_call>(m, nullptr);
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.error().code, errc::corrupt);
  EXPECT_NE(r.error().message.find("inputs[0]: payload frame 0 is missing"), std::string::npos) << r.error().message;
}

TEST(Codec, TruncatedHeadersAreCorruptAtEveryLength) {
  for_each_message([]<class Message>(const char* name) {
    const frames whole = encode(sample<Message>(), request_id{1});
    for (std::size_t n = 0; n < whole.header.size(); ++n) {
      const auto r = decode<Message>({whole.header.slice(0, n), whole.payloads}, nullptr);
      ASSERT_FALSE(r.ok()) << name << " cut to " << n;
      ASSERT_EQ(r.error().code, errc::corrupt) << name << " cut to " << n;
    }
  });
}

TEST(Codec, AnyBytesGiveAMessageOrAnError) {
  random_source random{20240613};
  for_each_message([&]<class Message>(const char*) {
    const frames whole = encode(sample<Message>(), request_id{1});
    for (int round = 0; round < 400; ++round) {
      std::string bytes{whole.header.text()};
      for (std::uint64_t flips = 1 + random.below(4); flips > 0; --flips)
        bytes[random.below(bytes.size())] = static_cast<char>(random.next());
      static_cast<void>(decode<Message>({raw(bytes), whole.payloads}, nullptr));
      static_cast<void>(peek(raw(bytes).span()));
    }
  });
}

TEST(Codec, TrailingBytesAreRefused) {
  frames m = encode(ping{}, request_id{7});
  m.header = raw(std::string{m.header.text()} + "\xc0");
  EXPECT_EQ(decode<ping>(m, nullptr).error().code, errc::corrupt);
}

TEST(Codec, AnotherTypeIsRefused) {
  EXPECT_EQ(decode<query>(encode(ping{}, request_id{7}), nullptr).error().code, errc::corrupt);
}

TEST(Codec, UnknownEnumNumbersAreRefused) {
  const frames m{raw("\x95\x01\x05\x00\x05\x91\xcc\xc8"s), {}};
  const auto r = decode<reply>(m, nullptr);
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.error().message, "code: 200 is not in 0..14");
}

TEST(Codec, NestingIsBounded) {
  const frames m{raw("\x95\x01\x03\x01\x07\x91" + std::string(100'000, '\x91') + "\xc0"), {}};
  const auto r = decode<ping>(m, nullptr);
  ASSERT_FALSE(r.ok());
  EXPECT_NE(r.error().message.find("deeper than 32"), std::string::npos) << r.error().message;
}

TEST(Codec, CountsThatNobodyBackedAllocateNothing) {
  // release_call with an array that claims 2^32-1 ids.
  const frames m{raw("\x95\x01\x2b\x02\x07\x91\xdd\xff\xff\xff\xff\x01"s), {}};
  EXPECT_EQ(decode<release_call>(m, nullptr).error().code, errc::corrupt);
}

TEST(Codec, SmallHeadersThatDecodeToHugeStructsAreRefused) {
  // node_welcome with 900,000 empty functions.
  const frames m{
      raw("\x95\x01\x21\x02\x07\x96\x01\x01\x01\xa0\x01\xdd\x00\x0d\xbb\xa0"s + std::string(900'000, '\x90')), {}};
  const auto r = decode<node_welcome>(m, nullptr);
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.error().code, errc::too_large) << r.error().message;
}

TEST(Codec, LimitsAreChecked) {
  const frames big_header{raw(std::string(max_header_bytes + 1, '\x90')), {}};
  EXPECT_EQ(decode<ping>(big_header, nullptr).error().code, errc::too_large);
  frames many = encode(ping{}, request_id{7});
  many.payloads.resize(max_payload_frames + 1);
  EXPECT_EQ(decode<ping>(many, nullptr).error().code, errc::too_large);
}

TEST(Codec, OtherVersionsAreUnsupportedAndTheRangeIsNamed) {
  envelope_head head;
  const auto r = peek(raw("\x95\x09\x03\x01\x07\x90"s).span(), head);
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.error().code, errc::unsupported);
  EXPECT_EQ(r.error().message, "the message is of protocol version 9, spoken here: 1 to 1");
  EXPECT_EQ(head.request, request_id{7});
  EXPECT_EQ(decode<ping>({raw("\x95\x09\x03\x01\x07\x90"s), {}}, nullptr).error().code, errc::unsupported);
}

TEST(Codec, PeekLooksAtFourElementsOnly) {
  const auto head = peek(raw("\x95\x01\x03\x01\x07 and then anything"s).span());
  ASSERT_TRUE(head.ok());
  EXPECT_EQ(head->request, request_id{7});
  for (const std::string& bad :
       {""s, "\x93\x01\x03\x01"s, "\x95\x01\x03\x01"s, "\x95\xa1x\x03\x01\x07"s, "\x81\x01\x02"s, "\xc1"s,
        "\x95\x01\xce\x00\x01\x00\x00\x01\x07\x90"s, "\x95\x91\x01\x01\x01\x01"s})
    EXPECT_EQ(peek(raw(bad).span()).error().code, errc::corrupt) << hex(raw(bad));
}

// -- values
// --------------------------------------------------------------------------------------------------------------

frames put_of(const std::string& value, std::vector<shared_bytes> payloads) {
  // store_put, all fields, `value` last
  return {raw("\x95\x01\x40\x03\x05\x96\xa1k\x04\x00\x00\xc3"s + value), std::move(payloads)};
}

TEST(Codec, TensorsTravelInPayloadFrames) {
  const auto r = decode<store_put>(put_of("\x93\x02\x91\x04\x00"s, {raw("abcd")}), nullptr);
  ASSERT_TRUE(r.ok()) << r.error().message;
  ASSERT_NE(r->piece.as_tensor(), nullptr);
  EXPECT_EQ(r->piece.as_tensor()->data.text(), "abcd");
}

TEST(Codec, TensorsWhoseBytesDoNotFitTheirShapeAreCorrupt) {
  const std::vector<shared_bytes> four{raw("abcd")};
  for (const std::string& bad : {"\x93\x02\x91\x05\x00"s,                                     // 5 elements, 4 bytes
                                 "\x93\x02\x91\xff\x00"s,                                     // a free dimension
                                 "\x93\x02\x92\xcf\x7f\xff\xff\xff\xff\xff\xff\xff\x02\x00"s, // overflow
                                 "\x93\x0f\x91\x04\x00"s,                                     // no such datatype
                                 "\x93\x0e\x91\x01\x00"s,             // BYTES without its length
                                 "\x93\x02\x91\x04\x01"s,             // no such frame
                                 "\x93\x02\x91\x04\xc0"s,             // no bytes at all
                                 "\x93\x02\x91\x04\x93\x01\x02\x03"s, // an arena, from a peer that may not
                                 "\x92\x02\x91\x04"s, "\x91\x00"s, "\x07"s, "\xa1x"s}) {
    const auto r = decode<store_put>(put_of(bad, four), nullptr);
    ASSERT_FALSE(r.ok()) << hex(raw(bad));
    EXPECT_EQ(r.error().code, errc::corrupt) << hex(raw(bad));
    EXPECT_TRUE(r.error().message.starts_with("piece")) << r.error().message;
  }
}

TEST(Codec, AFrameIsMentionedOnce) {
  const std::string twice = "\x92\x00\x92\x93\x02\x91\x04\x00\x93\x02\x91\x04\x00"s;
  const auto r = decode<store_put>(put_of(twice, {raw("abcd")}), nullptr);
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.error().message, "piece[1]: payload frame 0 is out of order");
}

TEST(Codec, ConstantsOfADagCarryTheirBytes) {
  apply_dag m;
  m.spec.stages.resize(1);
  m.spec.stages[0].inputs.push_back(
      {"x", {functions::binding::source::constant, "", "", functions::scalar_value(2.5)}});
  const frames sent = encode(m, request_id{1});
  EXPECT_EQ(sent.payloads.size(), 1U);
  const auto received = decode<apply_dag>(sent, nullptr);
  ASSERT_TRUE(received.ok()) << received.error().message;
  EXPECT_EQ(received->spec, m.spec);
}

TEST(Codec, FailuresTravelAsReplies) {
  const auto r =
      decode<reply>(encode_failure({errc::overloaded, "full", std::chrono::seconds{1}}, request_id{3}), nullptr);
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(r->code, errc::overloaded);
  EXPECT_EQ(r->message, "full");
  EXPECT_EQ(r->retry_after, std::chrono::seconds{1});
}

} // namespace
} // namespace squall::wire
