#include "bench/direct/scoring.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

namespace squall::bench {
namespace {

TEST(Scoring, CountsEditsInCharactersNotBytes) {
  EXPECT_EQ(edit_distance("", ""), 0U);
  EXPECT_EQ(edit_distance("abc", ""), 3U);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3U);
  EXPECT_EQ(edit_distance("na\u00efve", "naive"), 1U);
  EXPECT_EQ(length("\u65e5\u672c"), 2U);
}

TEST(Scoring, ALineThatIsNotFoundIsWhollyWrong) {
  score total;
  const std::vector<text_line> truth = {
      {"first", {0, 0, 100, 10}}, {"second", {0, 20, 100, 30}}, {"third", {0, 40, 100, 50}}};
  const std::vector<text_line> read = {
      {"firsd", {0, 0, 90, 12}}, {"third", {2, 38, 100, 52}}, {"noise", {200, 200, 210, 210}}};
  total.add_page(truth, read);
  EXPECT_EQ(total.units, 3U);
  EXPECT_EQ(total.exact, 1U);
  EXPECT_EQ(total.edits, 1U + 6U);
  EXPECT_DOUBLE_EQ(total.cer(), 7.0 / 16);
}

TEST(Scoring, ABoxCountsForOneLineOnly) {
  score total;
  total.add_page({{"same", {0, 0, 10, 10}}, {"same", {0, 0, 10, 10}}}, {{"same", {0, 0, 10, 10}}});
  EXPECT_EQ(total.exact, 1U);
}

TEST(Scoring, TruthIsReadAndItsMistakesAreNamed) {
  const std::filesystem::path folder = ::testing::TempDir();
  std::ofstream(folder / "truth.json") << R"([{"file": "a.png", "text": "words", "level": 2},
    {"file": "/usr/bin/env", "label": "elf"},
    {"file": "p.png", "width": 9, "lines": [{"text": "t", "box": [1, 2, 3, 4]}]}])";
  const auto items = read_truth(folder);
  ASSERT_TRUE(items.ok()) << items.error().message;
  EXPECT_EQ((*items)[0].file, folder / "a.png");
  EXPECT_EQ((*items)[0].text, "words");
  EXPECT_EQ((*items)[1].file, "/usr/bin/env");
  EXPECT_EQ((*items)[2].lines.at(0).box[3], 4);
  std::ofstream(folder / "truth.json") << R"([{"file": "a.png", "text": "words"}, {"file": "b.png"}])";
  EXPECT_THAT(read_truth(folder).error().message, ::testing::HasSubstr("entry 1 has no file with a text"));
}

} // namespace
} // namespace squall::bench
