#include "functions/builtin/detail/pictures.hpp"

#include <opencv2/imgproc.hpp>

#include <algorithm>
#include <cmath>

/// How PP-OCR's models want their pictures (https://github.com/PaddlePaddle/PaddleOCR): lines, pages, and the direction
/// of lines.
namespace squall::functions::builtins::detail {

namespace {

const port image_in = {"image", datatype::uint8, {-1, -1, 3}};

constexpr int line_height = 48;
constexpr int direction_width = 192;

std::int64_t round_up(std::int64_t number, std::int64_t multiple) {
  return (number + multiple - 1) / multiple * multiple;
}

/// (p / 255 - 0.5) / 0.5
channel_tables centred() { return {{0.5, 0.5, 0.5}, {0.5, 0.5, 0.5}, 1.0 / 255}; }

/// The picture at the height of a line and at most `widest`, on the left of zeros up to `width_of(its width)`.
template <class WidthOf>
value line_planes(const cv::Mat& picture, const channel_tables& tables, std::int64_t widest, const WidthOf& width_of) {
  const auto natural =
      static_cast<std::int64_t>(std::ceil(static_cast<double>(line_height) * picture.cols / picture.rows));
  const auto width = std::min(natural, widest);
  cv::Mat line;
  cv::resize(picture, line, {static_cast<int>(width), line_height}, 0, 0, cv::INTER_LINEAR);
  const auto padded = static_cast<std::size_t>(width_of(width));
  auto out = buffer<float>::zeros(3 * line_height * padded);
  tables.write_planes(line, out.data(), padded, line_height * padded, false);
  return std::move(out).done(datatype::fp32, {1, 3, line_height, static_cast<std::int64_t>(padded)});
}

result<std::unique_ptr<instance>> make_line_tensor(const settings& s) {
  const auto multiple = s.integer("multiple");
  const auto widest = s.integer("max_width");
  return instance_of(
      [multiple, widest, tables = centred()](std::span<const value> inputs, const run_context&) -> outputs {
        SQUALL_ASSIGN(picture, picture_in("image", as_tensor(inputs[0])));
        return std::vector{
            line_planes(picture, tables, widest, [&](std::int64_t width) { return round_up(width, multiple); })};
      });
}

result<std::unique_ptr<instance>> make_direction_tensor(const settings&) {
  return instance_of([tables = centred()](std::span<const value> inputs, const run_context&) -> outputs {
    SQUALL_ASSIGN(picture, picture_in("image", as_tensor(inputs[0])));
    return std::vector{line_planes(picture, tables, direction_width, [](std::int64_t) { return direction_width; })};
  });
}

/// The nearest multiple of 32, ties to the even one as in the reference, at least 32.
int to_multiple_of_32(double side) { return std::max(32, static_cast<int>(std::nearbyint(side / 32)) * 32); }

result<std::unique_ptr<instance>> make_page_tensor(const settings& s) {
  const auto side = static_cast<double>(s.integer("side"));
  const auto& std = s.numbers("std");
  if (std::any_of(std.begin(), std.end(), [](double d) { return d == 0; }))
    return invalid("parameter 'std' has a 0, which would divide by zero");
  return instance_of([side, tables = channel_tables{s.numbers("mean"), std, 1.0 / 255}](std::span<const value> inputs,
                                                                                        const run_context&) -> outputs {
    SQUALL_ASSIGN(picture, picture_in("image", as_tensor(inputs[0])));
    const double ratio = side / std::max(picture.cols, picture.rows);
    const cv::Size size{to_multiple_of_32(picture.cols * ratio), to_multiple_of_32(picture.rows * ratio)};
    const bool shrinks = size.width <= picture.cols && size.height <= picture.rows;
    cv::Mat page;
    cv::resize(picture, page, size, 0, 0, shrinks ? cv::INTER_AREA : cv::INTER_LINEAR);
    buffer<float> out{page.total() * 3};
    tables.write_planes(page, out.data(), static_cast<std::size_t>(page.cols), page.total(), false);
    const std::vector<float> scale{static_cast<float>(picture.cols) / static_cast<float>(page.cols),
                                   static_cast<float>(picture.rows) / static_cast<float>(page.rows)};
    return std::vector{std::move(out).done(datatype::fp32, {1, 3, page.rows, page.cols}),
                       value{tensor_of(datatype::fp32, {2}, scale)}};
  });
}

/// Crops are judged one by one and are wrong one time in thirty, so those that are sure decide for the page together.
result<std::unique_ptr<instance>> make_vote_direction(const settings& s) {
  const auto sure = static_cast<float>(s.number("sure"));
  return instance_of([sure](std::span<const value> inputs, const run_context&) -> outputs {
    int upright = 0, turned = 0;
    for (const auto& crop : as_list(inputs[0])) {
      if (crop.absent())
        continue;
      const auto probabilities = elements_of<float>(as_tensor(crop));
      upright += probabilities[0] > sure;
      turned += probabilities[1] > sure;
    }
    return std::vector{scalar_value(turned > upright)};
  });
}

} // namespace

std::vector<builtin> recipe_builtins() {
  return {
      {.name = "line-tensor",
       .summary = "a line of text for a recogniser: 48 high, -1 to 1, zeros on the right up to a multiple of the width",
       .inputs = {image_in},
       .outputs = {{"x", datatype::fp32, {1, 3, line_height, -1}}},
       .parameters = {{"multiple", parameter_kind::integer, "32", "the width is a multiple of this", 1, 1024},
                      {"max_width", parameter_kind::integer, "3200", "longer lines are squeezed", 32, 16384}},
       .make = make_line_tensor},
      {.name = "direction-tensor",
       .summary = "a line of text for the classifier of directions: 48 x 192, -1 to 1, zeros on the right",
       .inputs = {image_in},
       .outputs = {{"x", datatype::fp32, {1, 3, line_height, direction_width}}},
       .parameters = {},
       .make = make_direction_tensor},
      {.name = "page-tensor",
       .summary = "a page for a text detector, its longer side brought to `side`, both to a multiple of 32; "
                  "scale is [x, y], pixels of the picture per pixel of the tensor",
       .inputs = {image_in},
       .outputs = {{"x", datatype::fp32, {1, 3, -1, -1}}, {"scale", datatype::fp32, {2}}},
       .parameters = {{"side", parameter_kind::integer, "640", "pixels of the longer side", 32, 4096},
                      {"mean", parameter_kind::numbers, "0.485,0.456,0.406", "of the planes, blue first"},
                      {"std", parameter_kind::numbers, "0.229,0.224,0.225", "of the planes, blue first"}},
       .make = make_page_tensor},
      {.name = "vote-direction",
       .summary = "whether a page is upside down, by the [upright, turned] probabilities of its lines",
       .inputs = {{"probs", datatype::fp32, {1, 2}, true}},
       .outputs = {{"turned", datatype::boolean, {1}}},
       .parameters = {{"sure", parameter_kind::number, "0.9", "lines below this probability do not vote", 0, 1}},
       .light = true,
       .make = make_vote_direction},
  };
}

} // namespace squall::functions::builtins::detail
