#include "functions/builtin/detail/pictures.hpp"
#include "functions/detail/text.hpp"

#include <png.h>
#include <turbojpeg.h>

#include <cstring>

/// Pictures from and to files. Both decoders read bytes of strangers: they run in the model host, check the size before
/// they allocate, and refuse rather than repair.
namespace squall::functions::builtins::detail {

namespace {

struct close_jpeg {
  void operator()(void* handle) const { tjDestroy(handle); }
};
using jpeg_handle = std::unique_ptr<void, close_jpeg>;

error corrupt(std::string_view format, const char* why) {
  return {errc::corrupt, "the " + std::string{format} + " is damaged or truncated: " + why};
}

result<> check_size(std::int64_t width, std::int64_t height, std::int64_t most) {
  if (width >= max_side || height >= max_side || width * height > most)
    return {errc::too_large, "a picture of " + std::to_string(width) + "x" + std::to_string(height) +
                                 " pixels; the limit is " + std::to_string(most) + " pixels and sides below " +
                                 std::to_string(max_side)};
  return {};
}

result<value> decode_jpeg(std::string_view file, std::int64_t most) {
  const jpeg_handle handle{tjInitDecompress()};
  if (!handle)
    return {errc::failed, tjGetErrorStr2(nullptr)};
  const auto* bytes = reinterpret_cast<const unsigned char*>(file.data());
  int width = 0, height = 0, subsampling = 0, colours = 0;
  if (tjDecompressHeader3(handle.get(), bytes, file.size(), &width, &height, &subsampling, &colours) != 0)
    return corrupt("JPEG", tjGetErrorStr2(handle.get()));
  if (width <= 0 || height <= 0) // a file that ends before the frame is not an error to the library
    return corrupt("JPEG", "no frame header");
  if (colours == TJCS_CMYK || colours == TJCS_YCCK)
    return {errc::unsupported, "the JPEG has CMYK colours; convert it to RGB or gray"};
  SQUALL_TRY(check_size(width, height, most));
  cv::Mat picture(height, width, CV_8UC3);
  // Without the first flag the rest of a truncated picture would come out gray; without the second a small file could
  // be decoded for hours.
  constexpr int flags = TJFLAG_STOPONWARNING | TJFLAG_LIMITSCANS;
  if (tjDecompress2(handle.get(), bytes, file.size(), picture.data, width, 0, height, TJPF_BGR, flags) != 0)
    return corrupt("JPEG", tjGetErrorStr2(handle.get()));
  return picture_out(std::move(picture));
}

struct png_reader {
  png_image image{};
  png_reader() { image.version = PNG_IMAGE_VERSION; }
  ~png_reader() { png_image_free(&image); }
  png_reader(const png_reader&) = delete;
  png_reader& operator=(const png_reader&) = delete;
};

result<value> decode_png(std::string_view file, std::int64_t most, std::uint8_t background) {
  png_reader reader;
  auto& image = reader.image;
  if (png_image_begin_read_from_memory(&image, file.data(), file.size()) == 0)
    return corrupt("PNG", image.message);
  SQUALL_TRY(check_size(image.width, image.height, most));
  image.format = PNG_FORMAT_BGR;
  image.flags |= PNG_IMAGE_FLAG_16BIT_sRGB; // 16-bit files without a gamma are not linear light, as libpng would assume
  cv::Mat picture(static_cast<int>(image.height), static_cast<int>(image.width), CV_8UC3);
  const png_color behind{background, background, background};
  if (png_image_finish_read(&image, &behind, picture.data, 0, nullptr) == 0)
    return corrupt("PNG", image.message);
  return picture_out(std::move(picture));
}

result<std::unique_ptr<instance>> make_decode(const settings& s) {
  const auto most = s.integer("max_pixels");
  const auto background = static_cast<std::uint8_t>(s.integer("background"));
  return instance_of([most, background](std::span<const value> inputs, const run_context&) -> outputs {
    SQUALL_ASSIGN(file, only_bytes(inputs[0]));
    const bool jpeg = file.starts_with("\xff\xd8\xff");
    const bool png = file.starts_with("\x89PNG\r\n\x1a\n");
    if (!jpeg && !png)
      return {errc::corrupt, "input 'data' is neither a JPEG nor a PNG (" + std::to_string(file.size()) + " bytes)"};
    auto decoded = jpeg ? decode_jpeg(file, most) : decode_png(file, most, background);
    SQUALL_TRY(decoded);
    return std::vector{std::move(*decoded)};
  });
}

result<value> encode_jpeg(const cv::Mat& picture, int quality) {
  const jpeg_handle handle{tjInitCompress()};
  if (!handle)
    return {errc::failed, tjGetErrorStr2(nullptr)};
  std::string file(tjBufSize(picture.cols, picture.rows, TJSAMP_420), '\0');
  auto* out = reinterpret_cast<unsigned char*>(file.data());
  unsigned long size = file.size();
  if (tjCompress2(handle.get(), picture.data, picture.cols, 0, picture.rows, TJPF_BGR, &out, &size, TJSAMP_420, quality,
                  TJFLAG_NOREALLOC) != 0)
    return {errc::failed, std::string{"JPEG: "} + tjGetErrorStr2(handle.get())};
  return value{bytes_tensor({std::string_view{file}.substr(0, size)})};
}

result<value> encode_png(const cv::Mat& picture) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(picture.cols);
  image.height = static_cast<png_uint_32>(picture.rows);
  image.format = PNG_FORMAT_BGR;
  image.flags = PNG_IMAGE_FLAG_FAST; // a third of the time for a tenth more bytes
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
  std::string file(size, '\0');
  if (png_image_write_to_memory(&image, file.data(), &size, 0, picture.data, 0, nullptr) == 0)
    return {errc::failed, std::string{"PNG: "} + image.message};
  return value{bytes_tensor({std::string_view{file}.substr(0, size)})};
}

result<std::unique_ptr<instance>> make_encode(const settings& s) {
  const bool jpeg = s.text("format") == "jpeg";
  const auto quality = static_cast<int>(s.integer("quality"));
  return instance_of([jpeg, quality](std::span<const value> inputs, const run_context&) -> outputs {
    SQUALL_ASSIGN(picture, picture_in("image", as_tensor(inputs[0])));
    auto encoded = jpeg ? encode_jpeg(picture, quality) : encode_png(picture);
    SQUALL_TRY(encoded);
    return std::vector{std::move(*encoded)};
  });
}

} // namespace

std::vector<builtin> codec_builtins() {
  return {
      {.name = "decode-image",
       .summary = "a picture from a JPEG or PNG file",
       .inputs = {{"data", datatype::bytes, {1}}},
       .outputs = {{"image", datatype::uint8, {-1, -1, 3}}},
       .parameters = {{"max_pixels", parameter_kind::integer, "67108864", "larger pictures are refused", 1, max_pixels},
                      {"background", parameter_kind::integer, "255", "the gray behind transparent pixels", 0, 255}},
       .foreign_bytes = true,
       .make = make_decode},
      {.name = "encode-image",
       .summary = "a JPEG or PNG file of a picture",
       .inputs = {{"image", datatype::uint8, {-1, -1, 3}}},
       .outputs = {{"data", datatype::bytes, {1}}},
       .parameters = {{.name = "format",
                       .kind = parameter_kind::choice,
                       .fallback = "jpeg",
                       .summary = "of the file",
                       .choices = {"jpeg", "png"}},
                      {"quality", parameter_kind::integer, "90", "of a JPEG", 1, 100}},
       .make = make_encode},
  };
}

} // namespace squall::functions::builtins::detail
