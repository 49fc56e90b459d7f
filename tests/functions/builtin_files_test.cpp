#include "running.hpp"

namespace squall::functions::builtins {
namespace {

using namespace testing;

std::vector<std::int32_t> features(std::string_view file) {
  const auto out = outputs_of("file-features", {texts({file})})[0];
  EXPECT_EQ(shape_of(out), (shape{1, 2048}));
  return numbers<std::int32_t>(out);
}

TEST(FileFeatures, OfAShortFileAreItsBytesOnBothEnds) {
  const auto f = features(" \n\tab\xff \r\n");
  EXPECT_EQ(f[0], 'a');
  EXPECT_EQ(f[2], 255);
  EXPECT_EQ(f[3], ' ') << "only leading white space is stripped at the head";
  EXPECT_EQ(f[6], 256);
  EXPECT_EQ(f[1023], 256);
  EXPECT_EQ(f[1024], 256);
  EXPECT_EQ(f[2047], 255);
  EXPECT_EQ(f[2045], 'a');
  EXPECT_EQ(f[2044], '\t') << "only trailing white space is stripped at the tail";
}

TEST(FileFeatures, OfALongFileAreItsFirstAndLastKibibyte) {
  std::string file(10'000, 'm');
  file[0] = 'f';
  file[1023] = 'g';
  file[9999] = 'l';
  file[9999 - 1023] = 'k';
  const auto f = features(file);
  EXPECT_EQ(f[0], 'f');
  EXPECT_EQ(f[1023], 'g');
  EXPECT_EQ(f[1024], 'k');
  EXPECT_EQ(f[2047], 'l');
}

TEST(FileFeatures, StripOnlyWithinTheBlocksOfFourKibibytes) {
  const std::string spaces(4096, ' ');
  const auto blank = features(spaces + "text" + spaces);
  EXPECT_EQ(blank, std::vector<std::int32_t>(2048, 256));
  EXPECT_EQ(features(""), std::vector<std::int32_t>(2048, 256));
  const auto inner = features(std::string(4095, ' ') + "xyz");
  EXPECT_EQ(inner[0], 'x');
  EXPECT_EQ(inner[1], 256) << "the head ends after 4096 bytes";
}

TEST(FileMagic, NamesTheTypeAndWhetherItIsTrusted) {
  const parameter_map trusted = {{"trusted", "inline:application/pdf pdf 0.97\n\nimage/png\n"}};
  const auto pdf = outputs_of("file-magic", {texts({"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"})}, trusted);
  EXPECT_EQ(text(pdf[0]), "pdf");
  EXPECT_EQ(first_number(pdf[1]).value(), 1);
  EXPECT_FLOAT_EQ(numbers(pdf[2])[0], 0.97F);
  EXPECT_EQ(text(pdf[3]), "application/pdf");

  const auto png =
      outputs_of("file-magic",
                 {texts({std::string_view{"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x8\2\0\0\0", 29}})}, trusted);
  EXPECT_EQ(text(png[0]), "image/png");
  EXPECT_EQ(numbers(png[2])[0], 1);

  const auto plain = outputs_of("file-magic", {texts({"just words\n"})}, trusted);
  EXPECT_EQ(text(plain[0]), "text/plain");
  EXPECT_EQ(first_number(plain[1]).value(), 0);
  EXPECT_EQ(numbers(plain[2])[0], 0);
  EXPECT_TRUE(run("file-magic", {texts({""})}).ok());
}

TEST(FileMagic, RefusesAMalformedList) {
  EXPECT_EQ(message(run("file-magic", {texts({""})}, {{"trusted", "inline:a b 0.5\na b sure"}})),
            "builtin 'file-magic': parameter 'trusted', line 2: 'sure' is not a score from 0 to 1");
  EXPECT_EQ(message(run("file-magic", {texts({""})}, {{"trusted", "inline:a b 0.5 c"}})),
            "builtin 'file-magic': parameter 'trusted', line 1: more than a MIME type, a label and a score");
}

} // namespace
} // namespace squall::functions::builtins
