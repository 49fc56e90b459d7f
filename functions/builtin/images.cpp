#include "functions/builtin/detail/pictures.hpp"

#include <opencv2/imgproc.hpp>

#include <algorithm>
#include <cmath>

namespace squall::functions::builtins::detail {

namespace {

const port image_in = {"image", datatype::uint8, {-1, -1, 3}};
const port crops = {"crops", datatype::uint8, {-1, -1, 3}, true};

cv::InterpolationFlags interpolation(std::string_view mode) {
  if (mode == "nearest")
    return cv::INTER_NEAREST;
  if (mode == "cubic")
    return cv::INTER_CUBIC;
  return mode == "area" ? cv::INTER_AREA : cv::INTER_LINEAR;
}

/// A missing side follows from the other one.
cv::Size resized(const cv::Mat& picture, std::int64_t width, std::int64_t height) {
  const auto ratio = static_cast<double>(picture.cols) / picture.rows;
  if (width == 0)
    width = std::clamp<std::int64_t>(std::llround(static_cast<double>(height) * ratio), 1, max_side);
  if (height == 0)
    height = std::clamp<std::int64_t>(std::llround(static_cast<double>(width) / ratio), 1, max_side);
  return {static_cast<int>(width), static_cast<int>(height)};
}

result<std::unique_ptr<instance>> make_resize(const settings& s) {
  const auto width = s.integer("width");
  const auto height = s.integer("height");
  const auto mode = interpolation(s.text("mode"));
  if (width == 0 && height == 0)
    return invalid("parameters 'width' and 'height' are both 0; give one, or both");
  return instance_of([=](std::span<const value> inputs, const run_context&) -> outputs {
    SQUALL_ASSIGN(picture, picture_in("image", as_tensor(inputs[0])));
    const auto size = resized(picture, width, height);
    if (std::int64_t{size.width} * size.height > max_pixels)
      return {errc::too_large, "a result of " + std::to_string(size.width) + "x" + std::to_string(size.height) +
                                   " pixels; the limit is " + std::to_string(max_pixels)};
    cv::Mat out;
    cv::resize(picture, out, size, 0, 0, mode);
    return std::vector{picture_out(std::move(out))};
  });
}

result<std::unique_ptr<instance>> make_normalise(const settings& s) {
  const auto& std = s.numbers("std");
  if (std::any_of(std.begin(), std.end(), [](double d) { return d == 0; }))
    return invalid("parameter 'std' has a 0, which would divide by zero");
  const bool reverse = s.text("order") == "rgb";
  return instance_of([reverse, tables = channel_tables{s.numbers("mean"), std, s.number("scale")}](
                         std::span<const value> inputs, const run_context&) -> outputs {
    SQUALL_ASSIGN(picture, picture_in("image", as_tensor(inputs[0])));
    buffer<float> out{picture.total() * 3};
    tables.write_planes(picture, out.data(), static_cast<std::size_t>(picture.cols), picture.total(), reverse);
    return std::vector{std::move(out).done(datatype::fp32, {1, 3, picture.rows, picture.cols})};
  });
}

/// The part of a picture inside a box [x0, y0, x1, y1], which may stick out.
outputs crop(std::span<const value> inputs) {
  SQUALL_ASSIGN(picture, picture_in("image", as_tensor(inputs[0])));
  const auto box = elements_of<float>(as_tensor(inputs[1]));
  if (!std::all_of(box.begin(), box.end(), [](float f) { return std::isfinite(f); }))
    return invalid("input 'box' has a coordinate that is not finite");
  const auto within = [](float coordinate, int side) {
    return static_cast<int>(std::lround(std::clamp(coordinate, 0.0F, static_cast<float>(side))));
  };
  const int x0 = within(box[0], picture.cols), y0 = within(box[1], picture.rows);
  const int x1 = within(box[2], picture.cols), y1 = within(box[3], picture.rows);
  if (x0 >= x1 || y0 >= y1)
    return invalid("input 'box' has no pixel of the " + std::to_string(picture.cols) + "x" +
                   std::to_string(picture.rows) + " picture; it is [x0, y0, x1, y1]");
  return std::vector{picture_out(picture(cv::Rect{x0, y0, x1 - x0, y1 - y0}).clone())};
}

/// The size of the crop of a quad: its longer edges.
cv::Size crop_size(const quad& q) {
  const auto longer = [](double a, double b) { return static_cast<int>(std::max(1.0, std::max(a, b))); };
  return {longer(cv::norm(q[1] - q[0]), cv::norm(q[2] - q[3])), longer(cv::norm(q[3] - q[0]), cv::norm(q[2] - q[1]))};
}

cv::Mat warp(const cv::Mat& picture, const quad& q, cv::Size size) {
  const auto width = static_cast<float>(size.width);
  const auto height = static_cast<float>(size.height);
  const quad corners{cv::Point2f{0, 0}, {width, 0}, {width, height}, {0, height}};
  cv::Mat out;
  cv::warpPerspective(picture, out, cv::getPerspectiveTransform(q.data(), corners.data()), size, cv::INTER_CUBIC,
                      cv::BORDER_REPLICATE);
  if (size.height * 2 >= size.width * 3) { // taller than 1.5 times its width: text that runs downwards
    cv::Mat turned;
    cv::rotate(out, turned, cv::ROTATE_90_COUNTERCLOCKWISE);
    return turned;
  }
  return out;
}

outputs crop_quads(std::span<const value> inputs) {
  SQUALL_ASSIGN(picture, picture_in("image", as_tensor(inputs[0])));
  SQUALL_ASSIGN(quads, quads_in(as_tensor(inputs[1])));
  if (quads.size() > max_map_width)
    return {errc::too_large, std::to_string(quads.size()) + " quads; the limit is " + std::to_string(max_map_width)};
  value_list out;
  std::int64_t pixels = 0;
  for (std::size_t i = 0; i < quads.size(); ++i) {
    const auto size = crop_size(quads[i]);
    pixels += std::int64_t{size.width} * size.height;
    if (size.width >= max_side || size.height >= max_side || pixels > max_pixels)
      return {errc::too_large, "quad " + std::to_string(i) + " makes a crop of " + std::to_string(size.width) + "x" +
                                   std::to_string(size.height) + " pixels; the limit is sides below " +
                                   std::to_string(max_side) + " and " + std::to_string(max_pixels) +
                                   " pixels over all crops"};
    out.push_back(picture_out(warp(picture, quads[i], size)));
  }
  return std::vector{value{std::move(out)}};
}

result<value> turned_round(const value& crop) {
  if (crop.absent())
    return crop;
  SQUALL_ASSIGN(picture, picture_in("crops", as_tensor(crop)));
  cv::Mat out;
  cv::rotate(picture, out, cv::ROTATE_180);
  return picture_out(std::move(out));
}

/// Turns the crops of a page that is upside down. Its last line is then the first one, and the last crop of a line its
/// first.
outputs rotate_crops(std::span<const value> inputs) {
  const auto& given = as_list(inputs[0]);
  const bool turned = elements_of<std::uint8_t>(as_tensor(inputs[1]))[0] != 0;
  std::vector<quad> quads;
  if (!inputs[2].absent()) {
    SQUALL_ASSIGN(read, quads_in(as_tensor(inputs[2])));
    if (read.size() != given.size())
      return invalid("there are " + std::to_string(given.size()) + " crops, but " + std::to_string(read.size()) +
                     " quads");
    quads = std::move(read);
  }
  if (!turned)
    return std::vector{inputs[0], quads_out(quads)};
  value_list out;
  for (auto crop = given.rbegin(); crop != given.rend(); ++crop) {
    SQUALL_ASSIGN(round, turned_round(*crop));
    out.push_back(std::move(round));
  }
  std::reverse(quads.begin(), quads.end());
  return std::vector{value{std::move(out)}, quads_out(quads)};
}

} // namespace

std::vector<builtin> image_builtins() {
  const port quads{"quads", datatype::fp32, {-1, 4, 2}};
  return {
      {.name = "resize",
       .summary = "a picture in another size",
       .inputs = {image_in},
       .outputs = {image_in},
       .parameters = {{"width", parameter_kind::integer, "0", "in pixels; 0 follows from the height", 0, max_side - 1},
                      {"height", parameter_kind::integer, "0", "in pixels; 0 follows from the width", 0, max_side - 1},
                      {.name = "mode",
                       .kind = parameter_kind::choice,
                       .fallback = "linear",
                       .summary = "how pixels between pixels are found",
                       .choices = {"nearest", "linear", "cubic", "area"}}},
       .make = make_resize},
      {.name = "normalise",
       .summary = "a picture as planes of floats: (p * scale - mean) / std",
       .inputs = {image_in},
       .outputs = {{"x", datatype::fp32, {1, 3, -1, -1}}},
       .parameters = {{"mean", parameter_kind::numbers, "0,0,0", "of the planes in their order"},
                      {"std", parameter_kind::numbers, "1,1,1", "of the planes in their order"},
                      {"scale", parameter_kind::number, "0.00392156862745098", "of the bytes; 1/255 gives 0 to 1"},
                      {.name = "order",
                       .kind = parameter_kind::choice,
                       .fallback = "bgr",
                       .summary = "of the planes",
                       .choices = {"bgr", "rgb"}}},
       .make = make_normalise},
      {.name = "crop",
       .summary = "the part of a picture in the box [x0, y0, x1, y1]",
       .inputs = {image_in, {"box", datatype::fp32, {4}}},
       .outputs = {image_in},
       .parameters = {},
       .make = make_plain<crop>},
      {.name = "crop-quads",
       .summary = "the parts of a picture in four-cornered boxes, straightened; tall ones are turned by 90 degrees",
       .inputs = {image_in, quads},
       .outputs = {crops},
       .parameters = {},
       .make = make_plain<crop_quads>},
      {.name = "rotate-crops",
       .summary = "crops of an upside-down page, turned by 180 degrees and in the reverse order, with their quads",
       .inputs = {crops, {"turned", datatype::boolean, {1}}, {"quads", datatype::fp32, {-1, 4, 2}, false, true}},
       .outputs = {crops, quads},
       .parameters = {},
       .make = make_plain<rotate_crops>},
  };
}

} // namespace squall::functions::builtins::detail
