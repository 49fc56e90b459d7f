// Every file of transcripts/ is run and compared exactly. `policy_transcript_test --update` writes them anew: read the
// diff before you commit it.
#include "tests/policy/transcript.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace squall::policy {
namespace {

bool update = false;

std::vector<std::string> transcripts() {
  std::vector<std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator{SQUALL_TRANSCRIPTS})
    if (entry.path().extension() == ".txt")
      out.push_back(entry.path().stem().string());
  std::sort(out.begin(), out.end());
  return out;
}

class Transcript : public testing::TestWithParam<std::string> {};

TEST_P(Transcript, SaysWhatTheCoreDecides) {
  const auto path = std::filesystem::path{SQUALL_TRANSCRIPTS} / (GetParam() + ".txt");
  std::ostringstream text;
  text << std::ifstream{path}.rdbuf();
  const auto written = run_transcript(text.str());
  ASSERT_TRUE(written.ok()) << path << ": " << written.error().message;
  if (update) {
    std::ofstream{path} << *written;
    return;
  }
  const std::string difference = first_difference(text.str(), *written);
  EXPECT_TRUE(difference.empty()) << path.string() << ": " << difference;
}

INSTANTIATE_TEST_SUITE_P(All, Transcript, testing::ValuesIn(transcripts()), [](const auto& info) {
  std::string name = info.param;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c == '-' || c == '.'; }, '_');
  return name;
});

} // namespace
} // namespace squall::policy

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  squall::policy::update = argc > 1 && std::string_view{argv[1]} == "--update";
  return RUN_ALL_TESTS();
}
