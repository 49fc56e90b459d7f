#include "base/random.hpp"
#include "running.hpp"

#include <png.h>
#include <turbojpeg.h>

#include <cstdlib>

namespace squall::functions::builtins {
namespace {

using namespace testing;

std::string file_of(const value& image, const char* format, const char* quality = "90") {
  return text(outputs_of("encode-image", {image}, {{"format", format}, {"quality", quality}})[0]);
}

result<std::vector<value>> decode(std::string_view file, const parameter_map& parameters = {}) {
  return run("decode-image", {texts({file})}, parameters);
}

/// A PNG with libpng's own writer, from pixels in any of its formats.
template <class T>
std::string png_of(std::uint32_t format, std::uint32_t width, std::uint32_t height, const std::vector<T>& pixels,
                   const std::vector<std::uint8_t>& map = {}) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = width;
  image.height = height;
  image.format = format;
  image.colormap_entries = static_cast<std::uint32_t>(map.size() / 3);
  std::string file(1 << 16, '\0');
  png_alloc_size_t size = file.size();
  const auto* colours = map.empty() ? nullptr : map.data();
  EXPECT_NE(png_image_write_to_memory(&image, file.data(), &size, 0, pixels.data(), 0, colours), 0) << image.message;
  file.resize(size);
  return file;
}

/// A JPEG by libjpeg-turbo's own writer.
std::string jpeg_of(int format, int subsampling, int width, int height, const std::vector<std::uint8_t>& pixels,
                    int flags = 0) {
  auto* handle = tjInitCompress();
  unsigned char* out = nullptr;
  unsigned long size = 0;
  EXPECT_EQ(tjCompress2(handle, pixels.data(), width, 0, height, format, &out, &size, subsampling, 95, flags), 0)
      << tjGetErrorStr2(handle);
  std::string file(reinterpret_cast<char*>(out), size);
  tjFree(out);
  tjDestroy(handle);
  return file;
}

std::vector<int> colour_at(const value& image, int x, int y) {
  return {pixel(image, x, y, 0), pixel(image, x, y, 1), pixel(image, x, y, 2)};
}

TEST(Pictures, SurviveAPngUnchanged) {
  const auto image = gradient(37, 23);
  const auto decoded = decode(file_of(image, "png"));
  ASSERT_TRUE(decoded.ok()) << message(decoded);
  EXPECT_EQ((*decoded)[0], image);
}

TEST(Pictures, SurviveAJpegNearly) {
  const auto image = gradient(64, 48);
  const auto decoded = decode(file_of(image, "jpeg", "95"));
  ASSERT_TRUE(decoded.ok()) << message(decoded);
  ASSERT_EQ(shape_of((*decoded)[0]), (shape{48, 64, 3}));
  for (int y = 0; y < 48; ++y)
    for (int x = 0; x < 64; ++x)
      for (int c = 0; c < 3; ++c)
        ASSERT_NEAR(pixel((*decoded)[0], x, y, c), pixel(image, x, y, c), 8) << x << " " << y << " " << c;
}

TEST(Decoding, TakesGrayPaletteAlphaAndSixteenBitPngs) {
  const auto gray = decode(png_of<std::uint8_t>(PNG_FORMAT_GRAY, 2, 1, {10, 200}));
  ASSERT_TRUE(gray.ok()) << message(gray);
  EXPECT_EQ(colour_at((*gray)[0], 1, 0), (std::vector{200, 200, 200}));

  const auto palette = decode(png_of<std::uint8_t>(PNG_FORMAT_RGB_COLORMAP, 2, 1, {1, 0}, {255, 0, 0, 0, 0, 255}));
  ASSERT_TRUE(palette.ok()) << message(palette);
  EXPECT_EQ(colour_at((*palette)[0], 0, 0), (std::vector{255, 0, 0})) << "blue first";
  EXPECT_EQ(colour_at((*palette)[0], 1, 0), (std::vector{0, 0, 255}));

  const auto transparent = png_of<std::uint8_t>(PNG_FORMAT_RGBA, 2, 1, {1, 2, 3, 255, 9, 9, 9, 0});
  const auto on_white = decode(transparent);
  ASSERT_TRUE(on_white.ok()) << message(on_white);
  EXPECT_EQ(colour_at((*on_white)[0], 0, 0), (std::vector{3, 2, 1}));
  EXPECT_EQ(colour_at((*on_white)[0], 1, 0), (std::vector{255, 255, 255}));
  EXPECT_EQ(colour_at((*decode(transparent, {{"background", "7"}}))[0], 1, 0), (std::vector{7, 7, 7}));

  const auto deep = decode(png_of<std::uint16_t>(PNG_FORMAT_LINEAR_Y, 2, 1, {0, 65535}));
  ASSERT_TRUE(deep.ok()) << message(deep);
  EXPECT_EQ(colour_at((*deep)[0], 1, 0), (std::vector{255, 255, 255}));
}

TEST(Decoding, TakesGrayAndProgressiveJpegs) {
  const std::vector<std::uint8_t> pixels(16 * 16 * 3, 128);
  const auto gray = decode(jpeg_of(TJPF_BGR, TJSAMP_GRAY, 16, 16, pixels));
  ASSERT_TRUE(gray.ok()) << message(gray);
  EXPECT_EQ(colour_at((*gray)[0], 3, 3), (std::vector{128, 128, 128}));
  const auto progressive = decode(jpeg_of(TJPF_BGR, TJSAMP_444, 16, 16, pixels, TJFLAG_PROGRESSIVE));
  ASSERT_TRUE(progressive.ok()) << message(progressive);
  EXPECT_EQ(colour_at((*progressive)[0], 3, 3), (std::vector{128, 128, 128}));
}

TEST(Decoding, RefusesCmyk) {
  const auto refused = decode(jpeg_of(TJPF_CMYK, TJSAMP_444, 16, 16, std::vector<std::uint8_t>(16 * 16 * 4, 100)));
  EXPECT_EQ(message(refused), "builtin 'decode-image': the JPEG has CMYK colours; convert it to RGB or gray");
  EXPECT_EQ(refused.error().code, errc::unsupported);
}

TEST(Decoding, RefusesWhatIsNoPicture) {
  for (const auto* bytes : {"", "x", "GIF89a........", "\x89PNG", "\xff\xd8"}) {
    const auto refused = decode(bytes);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, errc::corrupt);
    EXPECT_EQ(message(refused), "builtin 'decode-image': input 'data' is neither a JPEG nor a PNG (" +
                                    std::to_string(std::string_view{bytes}.size()) + " bytes)");
  }
}

TEST(Decoding, RefusesPicturesBeyondTheLimitBeforeItAllocates) {
  const auto file = file_of(gradient(20, 10), "png");
  EXPECT_EQ(message(decode(file, {{"max_pixels", "199"}})),
            "builtin 'decode-image': a picture of 20x10 pixels; the limit is 199 pixels and sides below 32768");
  EXPECT_TRUE(decode(file, {{"max_pixels", "200"}}).ok());

  auto huge = png_of<std::uint8_t>(PNG_FORMAT_GRAY, 2, 1, {10, 200});
  // The extents lie at 16 and 20, big-endian; the checksum of the header must fit them.
  const auto put = [&](std::size_t at, std::uint32_t n) {
    for (std::size_t i = 0; i < 4; ++i)
      huge[at + i] = static_cast<char>(n >> (24 - 8 * i));
  };
  put(16, 30'000);
  put(20, 30'000);
  std::uint32_t crc = 0xffffffffU;
  for (std::size_t i = 12; i < 29; ++i) {
    crc ^= static_cast<unsigned char>(huge[i]);
    for (int k = 0; k < 8; ++k)
      crc = crc & 1 ? 0xedb88320U ^ (crc >> 1) : crc >> 1;
  }
  put(29, ~crc);
  EXPECT_EQ(
      message(decode(huge)),
      "builtin 'decode-image': a picture of 30000x30000 pixels; the limit is 67108864 pixels and sides below 32768");

  auto jpeg = file_of(gradient(16, 16), "jpeg");
  const auto frame = jpeg.find("\xff\xc0");
  ASSERT_NE(frame, std::string::npos);
  jpeg.replace(frame + 5, 4, "\x75\x30\x75\x30"); // 30000 x 30000
  EXPECT_EQ(decode(jpeg).error().code, errc::too_large) << message(decode(jpeg));
}

/// Every truncation is an error, or (when only the end mark is missing) the whole picture.
void expect_no_truncation_passes(const std::string& file) {
  const auto whole = decode(file);
  ASSERT_TRUE(whole.ok()) << message(whole);
  for (std::size_t size = 0; size < file.size(); size += 64) {
    const auto cut = decode(std::string_view{file}.substr(0, size));
    if (cut.ok()) {
      EXPECT_EQ(*cut, *whole) << size << " of " << file.size();
      EXPECT_GT(size + 64, file.size());
    } else {
      EXPECT_EQ(cut.error().code, errc::corrupt) << message(cut);
    }
  }
}

TEST(Decoding, NoTruncatedPictureIsTakenForAWholeOne) {
  random_source random{7};
  const auto noise = picture(96, 64, [&](int, int, int) { return random.below(256); });
  expect_no_truncation_passes(file_of(noise, "png"));
  expect_no_truncation_passes(file_of(noise, "jpeg"));
  EXPECT_TRUE(message(decode(file_of(noise, "png").substr(0, 6000)))
                  .starts_with("builtin 'decode-image': the PNG is damaged or truncated: "));
  EXPECT_TRUE(message(decode(file_of(noise, "jpeg").substr(0, 2000)))
                  .starts_with("builtin 'decode-image': the JPEG is damaged or truncated: "));
}

TEST(Decoding, DamagedPicturesNeverCrash) {
  random_source random{11};
  for (const auto* format : {"png", "jpeg"}) {
    const auto file = file_of(gradient(48, 40), format);
    for (int round = 0; round < 500; ++round) {
      auto damaged = file;
      for (std::uint64_t flips = 1 + random.below(4); flips > 0; --flips)
        damaged[random.below(damaged.size())] = static_cast<char>(random.below(256));
      const auto decoded = decode(damaged);
      EXPECT_FALSE(message(decoded).empty());
    }
  }
}

} // namespace
} // namespace squall::functions::builtins
