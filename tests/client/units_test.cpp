#include "client/units.hpp"

#include "client/nearest.hpp"

#include <gtest/gtest.h>

#include <array>

namespace squall::client {
namespace {

using namespace std::chrono_literals;

TEST(Units, DurationsAreReadWithTheirUnit) {
  EXPECT_EQ(parse_duration("250us").value(), 250us);
  EXPECT_EQ(parse_duration("40ms").value(), 40ms);
  EXPECT_EQ(parse_duration("1.5s").value(), 1500ms);
  EXPECT_EQ(parse_duration("2m").value(), 120s);
  EXPECT_EQ(parse_duration("1h").value(), 3600s);
  EXPECT_EQ(parse_duration("7ns").value(), 7ns);
  EXPECT_EQ(parse_duration("0").value(), 0ns);
}

TEST(Units, ADurationWithoutAUnitOrSenseIsRefused) {
  for (const char* text : {"40", "ms", "", "-1s", "1 s", "1ss", "1e3s", "nan", "infs", "1.2.3s"})
    EXPECT_EQ(parse_duration(text).error().message,
              std::string{"expected a duration such as 250us, 40ms or 2s, not '"} + text + "'")
        << text;
  EXPECT_EQ(parse_duration("99999999h").error().message, "a duration is at most 10 years, not 99999999h");
}

TEST(Units, SizesAreReadWithAndWithoutUnit) {
  EXPECT_EQ(parse_size("4096").value(), 4096u);
  EXPECT_EQ(parse_size("64KiB").value(), 65536u);
  EXPECT_EQ(parse_size("512MiB").value(), 512ull << 20);
  EXPECT_EQ(parse_size("1.5GiB").value(), 3ull << 29);
  EXPECT_EQ(parse_size("2MB").value(), 2'000'000u);
  EXPECT_FALSE(parse_size("2mb").ok());
  EXPECT_FALSE(parse_size("-2MB").ok());
  EXPECT_FALSE(parse_size("9999999999TiB").ok());
}

TEST(Units, WhatIsPrintedIsShort) {
  EXPECT_EQ(format_duration(0ns), "0");
  EXPECT_EQ(format_duration(740ns), "740ns");
  EXPECT_EQ(format_duration(12345ns), "12.3us");
  EXPECT_EQ(format_duration(40ms), "40ms");
  EXPECT_EQ(format_duration(2500ms), "2.5s");
  EXPECT_EQ(format_duration(93s), "93s");
  EXPECT_EQ(format_duration(999600us), "1s");
  EXPECT_EQ(format_size(0), "0");
  EXPECT_EQ(format_size(1000), "1000");
  EXPECT_EQ(format_size(65536), "64KiB");
  EXPECT_EQ(format_size(5ull << 28), "1.25GiB");
}

TEST(Nearest, FindsTypingErrorsOnly) {
  constexpr std::array<std::string_view, 4> known{"inputs", "outputs", "stages", "name"};
  EXPECT_EQ(nearest("inptus", known), "inputs");
  EXPECT_EQ(nearest("stage", known), "stages");
  EXPECT_EQ(nearest("nmae", known), "name");
  EXPECT_EQ(nearest("zebra", known), "");
  EXPECT_EQ(nearest(std::string(1000, 'x'), known), "");
}

TEST(Nearest, TheMessageListsWhatIsKnown) {
  constexpr std::array<std::string_view, 2> known{"inputs", "outputs"};
  EXPECT_EQ(unknown_name("key", "input", known), "unknown key 'input'; did you mean 'inputs'? keys: inputs, outputs");
  EXPECT_EQ(unknown_name("key", "zebra", known), "unknown key 'zebra'; keys: inputs, outputs");
}

} // namespace
} // namespace squall::client
