#include "wire/bundle.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace squall::wire {
namespace {

frames some(std::string header, std::vector<std::string> payloads = {}) {
  frames out{shared_bytes::take(std::move(header)), {}};
  for (auto& p : payloads)
    out.payloads.push_back(shared_bytes::take(std::move(p)));
  return out;
}

std::vector<frames> contents(const shared_bytes& frame, bool* cut = nullptr) {
  bundle_reader reader;
  reader.open(frame);
  std::vector<frames> out;
  for (;;) {
    frames one;
    const auto got = reader.next(one);
    if (cut != nullptr)
      *cut = !got.ok();
    if (!got.ok() || !*got)
      return out;
    out.push_back(one);
  }
}

shared_bytes frame_of(const bundle_writer& from) {
  return shared_bytes::copy_of(from.frame().data(), from.frame().size());
}

void expect_same(const frames& a, const frames& b) {
  EXPECT_EQ(a.header, b.header);
  EXPECT_EQ(a.payloads, b.payloads);
}

TEST(Bundle, GivesBackWhatWasPutInInOrder) {
  std::mt19937 random{11};
  const auto bytes = [&](std::size_t most) {
    return std::string(random() % (most + 1), static_cast<char>('a' + random() % 26));
  };
  for (int round = 0; round < 200; ++round) {
    bundle_writer writer;
    std::vector<frames> given;
    while (!writer.full()) {
      given.push_back(some("h" + bytes(300)));
      for (auto n = random() % 3; n > 0; --n)
        given.back().payloads.push_back(shared_bytes::take(bytes(100)));
      ASSERT_TRUE(bundle_writer::fits(given.back()));
      writer.add(given.back());
    }
    ASSERT_TRUE(bundle_reader::is_bundle(writer.frame()));
    const auto got = contents(frame_of(writer));
    ASSERT_EQ(got.size(), given.size());
    for (std::size_t i = 0; i < got.size(); ++i)
      expect_same(got[i], given[i]);
  }
}

TEST(Bundle, IsFullByCountAndByBytesAndTakesNothingLarge) {
  bundle_writer many;
  for (int i = 0; i < 32; ++i) {
    EXPECT_FALSE(many.full()) << i;
    many.add(some("x"));
  }
  EXPECT_TRUE(many.full());
  bundle_writer large;
  int count = 0;
  for (; !large.full(); ++count)
    large.add(some(std::string(2000, 'x')));
  EXPECT_EQ(count, 9) << "16 KiB";
  large.clear();
  EXPECT_TRUE(large.empty());
  EXPECT_FALSE(large.full());
  EXPECT_TRUE(bundle_writer::fits(some(std::string(1000, 'x'), {std::string(1048, 'x')})));
  EXPECT_FALSE(bundle_writer::fits(some(std::string(1000, 'x'), {std::string(1049, 'x')})));
}

TEST(Bundle, EveryCutIsEitherBetweenMessagesOrSeen) {
  bundle_writer writer;
  const std::vector<frames> given{some("first", {"one", ""}), some("second"), some("third", {"two"})};
  std::vector<std::size_t> whole{6}; // lengths at which a message ends
  for (const auto& one : given) {
    writer.add(one);
    whole.push_back(writer.frame().size());
  }
  const auto frame = frame_of(writer);
  for (std::size_t size = 7; size < frame.size(); ++size) {
    bool cut = false;
    const auto got = contents(frame.slice(0, size), &cut);
    const auto at = std::find(whole.begin(), whole.end(), size);
    EXPECT_EQ(cut, at == whole.end()) << size;
    const auto complete = std::upper_bound(whole.begin(), whole.end(), size) - whole.begin() - 1;
    ASSERT_EQ(got.size(), static_cast<std::size_t>(complete)) << size;
    for (std::size_t i = 0; i < got.size(); ++i)
      expect_same(got[i], given[i]);
  }
}

TEST(Bundle, SizesThatPassTheEndAndEmptyHeadersAreRefused) {
  const auto with = [](std::vector<unsigned char> tail) {
    std::vector<unsigned char> all{0x95, 1, 7, 0, 0, 0x90};
    all.insert(all.end(), tail.begin(), tail.end());
    return shared_bytes::copy_of(all.data(), all.size());
  };
  for (const auto& bad :
       {with({0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 'x'}), with({0, 0, 0, 0, 0, 0, 0, 0}),
        with({1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 'x'}), with({1, 0, 0, 0, 1, 0, 0, 0, 'x', 2, 0, 0, 0, 'y'})}) {
    ASSERT_TRUE(bundle_reader::is_bundle(bad.span()));
    bool cut = false;
    EXPECT_TRUE(contents(bad, &cut).empty());
    EXPECT_TRUE(cut);
  }
}

TEST(Bundle, ItsMarksAreHeadersOfTheProtocol) {
  const auto head = peek(takes_bundles());
  ASSERT_TRUE(head.ok());
  EXPECT_EQ(head->type, message_type::takes_bundles);
  EXPECT_FALSE(head->request) << "who does not know it does not answer";
  bundle_writer writer;
  writer.add(some("x"));
  const auto mark = peek(writer.frame());
  ASSERT_TRUE(mark.ok());
  EXPECT_EQ(mark->type, message_type::bundle);
  EXPECT_TRUE(is_takes_bundles(takes_bundles()));
  EXPECT_FALSE(is_takes_bundles(writer.frame()));
  EXPECT_FALSE(bundle_reader::is_bundle(takes_bundles()));
}

TEST(SmallCopies, AreWholeAndLieWhereElementsOfAnyTypeCanBeRead) {
  detail::small_copies copies{512};
  std::vector<shared_bytes> kept;
  std::vector<std::string> texts;
  for (std::size_t size = 0; size < 300; ++size) {
    texts.emplace_back(size, static_cast<char>('a' + size % 26));
    kept.push_back(copies.copy(std::as_bytes(std::span{texts.back()})));
  }
  for (std::size_t i = 0; i < kept.size(); ++i) {
    EXPECT_EQ(kept[i].text(), texts[i]);
    const auto address = reinterpret_cast<std::uintptr_t>(kept[i].data());
    EXPECT_EQ(address % (i <= 128 ? 16 : 8), 0U) << i;
  }
  EXPECT_EQ(kept[1].owner(), kept[2].owner()) << "small ones share memory";
  EXPECT_NE(kept[200].owner(), kept[201].owner()) << "large ones do not";
}

} // namespace
} // namespace squall::wire
