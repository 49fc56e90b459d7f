#include "kvs/store.hpp"

#include "base/random.hpp"
#include "scratch_folder.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace squall::kvs {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// What every engine must do.
class Store : public ::testing::TestWithParam<std::string> {
protected:
  void SetUp() override {
    if (GetParam() == "memory") {
      engine_ = open_memory();
      return;
    }
    auto opened = open_rocksdb(folder_.store());
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    engine_ = std::move(opened).value();
  }

  store& engine() { return *engine_; }

  std::string text_of(std::string_view key) {
    auto value = read_all(engine(), key);
    return value.ok() ? std::string{value->text()} : "error: " + std::string{to_string(value.error().code)};
  }

  std::vector<std::string> keys(std::string_view prefix, std::string_view after = "", std::size_t limit = 100) {
    const auto entries = engine().list(prefix, after, limit);
    EXPECT_TRUE(entries.ok());
    std::vector<std::string> out;
    for (const entry& e : *entries)
      out.push_back(e.key);
    return out;
  }

  static shared_bytes bytes(std::string_view text) { return shared_bytes::copy_of(text); }

  /// Bytes that differ from place to place, so that a piece in the wrong place shows.
  static std::string pattern(std::size_t size, std::uint64_t seed) {
    std::string out(size, '\0');
    for (std::size_t i = 0; i < size; ++i)
      out[i] = static_cast<char>((i * 31 + (i >> 12) + seed) & 0xff);
    return out;
  }

private:
  scratch_folder folder_;
  std::unique_ptr<store> engine_;
};

INSTANTIATE_TEST_SUITE_P(Engines, Store, ::testing::Values("memory", "rocksdb"),
                         [](const auto& of) { return of.param; });

TEST_P(Store, TheLastWriterWins) {
  const auto first = engine().put("k", bytes("one"), true);
  const auto second = engine().put("k", bytes("two!"), false);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(text_of("k"), "two!");
  EXPECT_GT(second->version, first->version);
  EXPECT_EQ(engine().stat("k").value(), (entry{"k", 4, second->version}));
}

TEST_P(Store, AMissingKeyIsNamed) {
  const auto missing = engine().stat("models/x");
  EXPECT_EQ(missing.error().code, errc::not_found);
  EXPECT_EQ(missing.error().message, "there is no key 'models/x'");
  EXPECT_EQ(engine().read("models/x", 0, 1, 0).error().code, errc::not_found);
}

TEST_P(Store, OnlyWhoKnowsWhatIsThereReplacesIt) {
  const auto first = engine().put_if("k", 0, bytes("one"), true);
  ASSERT_TRUE(first.ok()) << first.error().message;
  const auto blind = engine().put_if("k", 0, bytes("two"), true);
  ASSERT_FALSE(blind.ok());
  EXPECT_EQ(blind.error().code, errc::already_exists);
  EXPECT_THAT(blind.error().message, HasSubstr("'k' has version"));
  EXPECT_EQ(engine().put_if("k", first->version + 1, bytes("two"), true).error().code, errc::already_exists);
  EXPECT_EQ(text_of("k"), "one");
  const auto second = engine().put_if("k", first->version, bytes("two"), false);
  ASSERT_TRUE(second.ok());
  EXPECT_GT(second->version, first->version);
  EXPECT_EQ(text_of("k"), "two");
  ASSERT_TRUE(engine().erase("k", false).ok());
  EXPECT_EQ(engine().put_if("k", second->version, bytes("x"), false).error().code, errc::already_exists);
  EXPECT_TRUE(engine().put_if("k", 0, bytes("again"), false).ok());
  EXPECT_EQ(engine().put_if("big", 0, bytes(std::string(piece_bytes + 1, 'x')), false).error().code, errc::too_large);
}

TEST_P(Store, OfManyWhoReplaceTheSameOneWins) {
  ASSERT_TRUE(engine().put_if("k", 0, bytes("0"), false).ok());
  constexpr int threads = 4;
  constexpr int rounds = 200;
  std::atomic<int> won{0};
  std::vector<std::thread> all;
  for (int t = 0; t < threads; ++t)
    all.emplace_back([&] {
      for (int i = 0; i < rounds; ++i) {
        const auto seen = engine().stat("k");
        std::string text = text_of("k");
        while (text.starts_with("error")) // replaced while it was read
          text = text_of("k");
        if (engine().put_if("k", seen->version, bytes(std::to_string(std::stoi(text) + 1)), false).ok())
          ++won;
      }
    });
  for (auto& one : all)
    one.join();
  EXPECT_GE(won, rounds);
  EXPECT_EQ(std::stoi(text_of("k")), won) << "each of those that won replaced another";
}

TEST_P(Store, ErasingIsIdempotent) {
  ASSERT_TRUE(engine().put("k", bytes("v"), false).ok());
  EXPECT_TRUE(engine().erase("k", true).ok());
  EXPECT_TRUE(engine().erase("k", true).ok());
  EXPECT_EQ(text_of("k"), "error: not_found");
}

TEST_P(Store, KeysAreAnyBytesWithinTheLimit) {
  const std::string odd{"\0\xff k", 4};
  ASSERT_TRUE(engine().put(odd, bytes("v"), false).ok());
  EXPECT_EQ(text_of(odd), "v");
  EXPECT_TRUE(engine().put(std::string(max_key_bytes, 'x'), bytes("v"), false).ok());
  EXPECT_EQ(engine().put("", bytes("v"), false).error().code, errc::invalid_argument);
  const auto longer = engine().put(std::string(max_key_bytes + 1, 'x'), bytes("v"), false);
  EXPECT_EQ(longer.error().code, errc::invalid_argument);
  EXPECT_THAT(longer.error().message, HasSubstr("the limit is 1024"));
}

TEST_P(Store, AnEmptyValueIsAValue) {
  ASSERT_TRUE(engine().put("k", {}, false).ok());
  EXPECT_EQ(text_of("k"), "");
  EXPECT_EQ(engine().stat("k")->size_bytes, 0u);
  const auto upload = engine().begin("u", 0);
  ASSERT_TRUE(engine().commit(*upload, false).ok());
  EXPECT_EQ(text_of("u"), "");
}

TEST_P(Store, ValuesOfEverySizeComeBack) {
  for (const std::size_t size :
       {1ul, 4096ul, 4097ul, piece_bytes - 1, piece_bytes, piece_bytes + 1, 3 * piece_bytes + 17, 9 * piece_bytes}) {
    const std::string value = pattern(size, size);
    ASSERT_TRUE(engine().put("k", bytes(value), false).ok());
    EXPECT_TRUE(text_of("k") == value) << size;
  }
}

TEST_P(Store, ReadsAcrossPieces) {
  const std::string value = pattern(2 * piece_bytes + 100, 3);
  ASSERT_TRUE(engine().put("k", bytes(value), false).ok());
  for (const auto& [offset, length] : std::vector<std::pair<std::uint64_t, std::size_t>>{{0, 10},
                                                                                         {piece_bytes - 5, 10},
                                                                                         {piece_bytes + 1, piece_bytes},
                                                                                         {2 * piece_bytes + 90, 50},
                                                                                         {17, 8 * piece_bytes}}) {
    const auto part = engine().read("k", offset, length, 0);
    ASSERT_TRUE(part.ok());
    EXPECT_TRUE(part->text() == std::string_view{value}.substr(offset, std::min(length, piece_bytes))) << offset;
  }
  EXPECT_TRUE(engine().read("k", value.size(), 10, 0)->empty());
  EXPECT_TRUE(engine().read("k", ~0ull, 10, 0)->empty());
}

TEST_P(Store, AReaderLearnsThatItsVersionIsGone) {
  const auto first = engine().put("k", bytes(pattern(2 * piece_bytes, 1)), false);
  const auto before = engine().read("k", 0, piece_bytes, first->version);
  ASSERT_TRUE(before.ok());
  ASSERT_TRUE(engine().put("k", bytes(pattern(2 * piece_bytes, 2)), false).ok());
  EXPECT_EQ(engine().read("k", piece_bytes, piece_bytes, first->version).error().code, errc::data_loss);
  EXPECT_TRUE(before->text() == std::string_view{pattern(2 * piece_bytes, 1)}.substr(0, piece_bytes))
      << "bytes that were read stay";
}

TEST_P(Store, AnUploadShowsNothingBeforeItsEnd) {
  ASSERT_TRUE(engine().put("k", bytes("old"), false).ok());
  const std::string value = pattern(2 * piece_bytes + 5, 9);
  const auto upload = engine().begin("k", value.size());
  ASSERT_TRUE(upload.ok());
  for (std::size_t offset = 0; offset < value.size(); offset += piece_bytes) {
    EXPECT_EQ(text_of("k"), "old");
    EXPECT_EQ(engine().commit(*upload, true).error().code, errc::invalid_argument);
    ASSERT_TRUE(engine().append(*upload, offset, bytes(std::string_view{value}.substr(offset, piece_bytes))).ok());
  }
  EXPECT_EQ(text_of("k"), "old");
  ASSERT_TRUE(engine().commit(*upload, true).ok());
  EXPECT_TRUE(text_of("k") == value);
  EXPECT_EQ(engine().commit(*upload, true).error().code, errc::not_found);
}

TEST_P(Store, PiecesMustFollowEachOther) {
  const auto upload = engine().begin("k", 2 * piece_bytes);
  const shared_bytes piece = bytes(pattern(piece_bytes, 1));
  EXPECT_EQ(engine().append(*upload, piece_bytes, piece).error().code, errc::invalid_argument);
  EXPECT_EQ(engine().append(*upload, 0, bytes("short")).error().code, errc::invalid_argument);
  EXPECT_EQ(engine().append(*upload, 0, {}).error().code, errc::invalid_argument);
  EXPECT_TRUE(engine().append(*upload, 0, piece).ok());
  EXPECT_EQ(engine().append(*upload, 0, piece).error().code, errc::invalid_argument);
  EXPECT_TRUE(engine().append(*upload, piece_bytes, piece).ok());
  EXPECT_EQ(engine().append(*upload, 2 * piece_bytes, piece).error().code, errc::invalid_argument);
  EXPECT_EQ(engine().append(*upload + 1000, 0, piece).error().code, errc::not_found);
}

TEST_P(Store, AnAbortedUploadIsGone) {
  const auto upload = engine().begin("k", piece_bytes);
  ASSERT_TRUE(engine().append(*upload, 0, bytes(pattern(piece_bytes, 1))).ok());
  engine().abort(*upload);
  engine().abort(*upload);
  EXPECT_EQ(engine().commit(*upload, false).error().code, errc::not_found);
  EXPECT_EQ(text_of("k"), "error: not_found");
}

TEST_P(Store, ValuesAndUploadsOverTheLimitAreRefused) {
  const auto refused = engine().begin("big", 300ull << 20);
  EXPECT_EQ(refused.error().code, errc::too_large);
  EXPECT_THAT(refused.error().message, HasSubstr("'big' has 314572800 bytes; the limit is 268435456 (256 MiB)"));
  // A view that claims the size is enough: nothing may read it.
  const shared_bytes claims{nullptr, std::span<const std::byte>{static_cast<const std::byte*>(nullptr), 300ull << 20}};
  EXPECT_EQ(engine().put("big", claims, false).error().code, errc::too_large);
  EXPECT_EQ(engine().apply({{"a", bytes("1"), false}, {"big", claims, false}}, false).error().code, errc::too_large);
  EXPECT_EQ(text_of("a"), "error: not_found");
}

TEST_P(Store, ABatchIsAppliedAsAWhole) {
  ASSERT_TRUE(engine().put("old", bytes("x"), false).ok());
  const std::string large = pattern(3 * piece_bytes, 1);
  std::vector<write> batch{{"a", bytes("1"), false},
                           {"old", {}, true},
                           {"b", bytes(large), false},
                           {"c", bytes(large), false},
                           {"a", bytes("2"), false},
                           {"d", bytes("3"), false},
                           {"d", {}, true}};
  ASSERT_TRUE(engine().apply(batch, true).ok());
  EXPECT_EQ(text_of("a"), "2");
  EXPECT_TRUE(text_of("b") == large);
  EXPECT_TRUE(text_of("c") == large);
  EXPECT_EQ(text_of("d"), "error: not_found");
  EXPECT_EQ(text_of("old"), "error: not_found");
  batch = {{"a", bytes("3"), false}, {"", bytes("bad"), false}};
  EXPECT_EQ(engine().apply(batch, true).error().code, errc::invalid_argument);
  EXPECT_EQ(text_of("a"), "2");
  EXPECT_TRUE(engine().apply({}, true).ok());
}

TEST_P(Store, ListsInPages) {
  for (const char* key : {"a/1", "a/2", "a/3", "ab", "b"})
    ASSERT_TRUE(engine().put(key, bytes(key), false).ok());
  EXPECT_THAT(keys(""), ElementsAre("a/1", "a/2", "a/3", "ab", "b"));
  EXPECT_THAT(keys("a/"), ElementsAre("a/1", "a/2", "a/3"));
  EXPECT_THAT(keys("a/", "", 2), ElementsAre("a/1", "a/2"));
  EXPECT_THAT(keys("a/", "a/2", 2), ElementsAre("a/3"));
  EXPECT_THAT(keys("a/", "a/25"), ElementsAre("a/3"));
  EXPECT_THAT(keys("a/", "A"), ElementsAre("a/1", "a/2", "a/3"));
  EXPECT_THAT(keys("a/", "z"), ElementsAre());
  EXPECT_THAT(keys("zz"), ElementsAre());
  EXPECT_EQ(engine().list("ab", "", 1)->front().size_bytes, 2u);
}

TEST_P(Store, AgreesWithAModelUnderRandomUse) {
  std::map<std::string, std::string> model;
  random_source random{20240501};
  for (int i = 0; i < 400; ++i) {
    const std::string key = "k" + std::to_string(random.below(12));
    const std::string value = pattern(random.below(3) == 0 ? random.below(3 * piece_bytes) : random.below(9000),
                                      static_cast<std::uint64_t>(i));
    if (random.below(4) == 0) {
      ASSERT_TRUE(engine().erase(key, false).ok());
      model.erase(key);
    } else {
      ASSERT_TRUE(engine().put(key, bytes(value), false).ok());
      model[key] = value;
    }
    const std::string other = "k" + std::to_string(random.below(12));
    const bool there = model.contains(other);
    ASSERT_TRUE(text_of(other) == (there ? model[other] : "error: not_found")) << other << " after " << i;
  }
  ASSERT_EQ(keys("").size(), model.size());
}

TEST_P(Store, SeveralThreadsWriteAndRead) {
  constexpr int rounds = 200;
  std::vector<std::jthread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < rounds; ++i) {
        const std::string value = std::string(t % 2 == 0 ? 10 : 5000, static_cast<char>('a' + t));
        if (!engine().put("shared", shared_bytes::copy_of(value), i % 20 == 0).ok())
          ++wrong;
        const auto seen = read_all(engine(), "shared");
        // It may be replaced faster than it is read; what is read is one value, never parts of two.
        if (seen.ok() ? seen->text().find_first_not_of(seen->text()[0]) != std::string_view::npos
                      : seen.error().code != errc::data_loss)
          ++wrong;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(wrong, 0);
}

} // namespace
} // namespace squall::kvs
