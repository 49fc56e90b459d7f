#include "cluster/log.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <regex>
#include <string>

namespace squall::cluster {
namespace {

std::string logged(const log_options& options, const std::function<void(logger&)>& use) {
  testing::internal::CaptureStderr();
  const auto log = make_logger(options);
  use(*log);
  return testing::internal::GetCapturedStderr();
}

TEST(Log, TextNamesTimeLevelProcessAndFields) {
  const auto text = logged({log_level::info, false, "node-1"}, [](logger& log) {
    log.warn("bridge", "a connection is down", {{"peer", "17"}, {"why", "reset"}});
  });
  EXPECT_TRUE(std::regex_match(
      text, std::regex{R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z warn  node-1 bridge: a connection is down )"
                       R"(peer=17 why=reset\n)"}))
      << text;
}

TEST(Log, LinesBelowTheLevelAreDropped) {
  const auto text = logged({log_level::warn, false, "n"}, [](logger& log) {
    log.debug("c", "one");
    log.info("c", "two");
    log.error("c", "three");
  });
  EXPECT_EQ(text.find("one"), std::string::npos);
  EXPECT_EQ(text.find("two"), std::string::npos);
  EXPECT_NE(text.find(" error n c: three\n"), std::string::npos) << text;
}

TEST(Log, JsonIsOneObjectALineWhateverTheTextHolds) {
  const auto text = logged({log_level::info, true, "the \"first\""}, [](logger& log) {
    log.info("store", "two\nlines {} %v \\", {{"key", "\x01\"quoted\""}});
  });
  ASSERT_EQ(text.back(), '\n');
  EXPECT_EQ(std::ranges::count(text, '\n'), 1) << text;
  EXPECT_NE(text.find(R"("level":"info")"), std::string::npos) << text;
  EXPECT_NE(text.find(R"("msg":"two\nlines {} %v \\")"), std::string::npos) << text;
  EXPECT_NE(text.find(R"("process":"the \"first\"")"), std::string::npos) << text;
  EXPECT_NE(text.find(R"("key":"\u0001\"quoted\"")"), std::string::npos) << text;
  EXPECT_TRUE(text.starts_with("{\"ts\":\"") && text.ends_with("}\n")) << text;
}

TEST(Log, ALineThatRepeatsTooFastIsHeldBack) {
  const auto text = logged({log_level::info, false, "n"}, [](logger& log) {
    for (int i = 0; i < 100; ++i)
      log.info("c", "again");
    log.info("c", "another");
  });
  // A second may end in between.
  EXPECT_LE(std::ranges::count(text, '\n'), 2 * 10 + 2) << text;
  EXPECT_GE(std::ranges::count(text, '\n'), 10 + 1) << text;
  EXPECT_NE(text.find("another"), std::string::npos);
}

} // namespace
} // namespace squall::cluster
