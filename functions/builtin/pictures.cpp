#include "functions/builtin/detail/pictures.hpp"

#include "functions/detail/text.hpp"

#include <opencv2/core/utility.hpp>

#include <algorithm>
#include <cmath>
#include <mutex>
#include <numeric>

namespace squall::functions::builtins::detail {

namespace {

constexpr float farthest_coordinate = 1e6F;

float centre_y(const quad& q) { return (q[0].y + q[1].y + q[2].y + q[3].y) / 4; }
float centre_x(const quad& q) { return (q[0].x + q[1].x + q[2].x + q[3].x) / 4; }
float height(const quad& q) { return static_cast<float>((cv::norm(q[3] - q[0]) + cv::norm(q[2] - q[1])) / 2); }

} // namespace

void use_one_thread() {
  static std::once_flag once;
  std::call_once(once, [] { cv::setNumThreads(1); });
}

result<cv::Mat> picture_in(std::string_view name, const tensor& t) {
  SQUALL_CHECK(t.shape.size() == 3 && t.shape[2] == 3, to_string(t.shape));
  const auto rows = t.shape[0];
  const auto columns = t.shape[1];
  if (rows == 0 || columns == 0)
    return invalid("input " + functions::detail::quoted(name) + ": a picture without pixels, " + to_string(t.shape));
  if (rows >= max_side || columns >= max_side)
    return {errc::too_large, "input " + functions::detail::quoted(name) + ": a picture of " + std::to_string(columns) +
                                 "x" + std::to_string(rows) + "; sides must be below " + std::to_string(max_side)};
  // cv::Mat has no constant view; nobody here writes to what picture_in() gave.
  auto* pixels = const_cast<std::byte*>(t.data.data());
  return cv::Mat{static_cast<int>(rows), static_cast<int>(columns), CV_8UC3, pixels};
}

value picture_out(cv::Mat picture) {
  SQUALL_CHECK(picture.isContinuous() && picture.type() == CV_8UC3, picture.type());
  const shape s{picture.rows, picture.cols, 3};
  const std::span pixels{reinterpret_cast<const std::byte*>(picture.data), picture.total() * picture.elemSize()};
  auto owner = std::make_shared<const cv::Mat>(std::move(picture));
  return {tensor{datatype::uint8, s, shared_bytes{std::move(owner), pixels}}};
}

channel_tables::channel_tables(const std::vector<double>& mean, const std::vector<double>& std, double scale) {
  for (std::size_t c = 0; c < 3; ++c)
    for (std::size_t p = 0; p < 256; ++p)
      table_[c][p] = static_cast<float>((static_cast<double>(p) * scale - mean[c]) / std[c]);
}

void channel_tables::write_planes(const cv::Mat& picture, float* out, std::size_t row_stride, std::size_t plane_stride,
                                  bool reverse) const {
  for (int y = 0; y < picture.rows; ++y) {
    const auto* pixel = picture.ptr<std::uint8_t>(y);
    for (std::size_t c = 0; c < 3; ++c) {
      const auto from = reverse ? 2 - c : c;
      float* row = out + c * plane_stride + static_cast<std::size_t>(y) * row_stride;
      for (int x = 0; x < picture.cols; ++x)
        row[x] = table_[c][pixel[3 * static_cast<std::size_t>(x) + from]];
    }
  }
}

result<std::vector<quad>> quads_in(const tensor& t) {
  const auto numbers = elements_of<float>(t);
  std::vector<quad> quads(numbers.size() / 8);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    if (!(std::abs(numbers[i]) <= farthest_coordinate)) // also refuses what is not a number
      return invalid("quad " + std::to_string(i / 8) + " has a coordinate that is not finite or beyond a million");
    auto& corner = quads[i / 8][i % 8 / 2];
    (i % 2 == 0 ? corner.x : corner.y) = numbers[i];
  }
  return quads;
}

value quads_out(const std::vector<quad>& quads) {
  buffer<float> out{quads.size() * 8};
  for (std::size_t i = 0; i < quads.size() * 4; ++i) {
    out[2 * i] = quads[i / 4][i % 4].x;
    out[2 * i + 1] = quads[i / 4][i % 4].y;
  }
  return std::move(out).done(datatype::fp32, {static_cast<std::int64_t>(quads.size()), 4, 2});
}

bool same_line(const quad& a, const quad& b) {
  return std::abs(centre_y(a) - centre_y(b)) < std::min(height(a), height(b)) / 2;
}

std::vector<std::size_t> reading_order(const std::vector<quad>& quads) {
  std::vector<std::size_t> order(quads.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto by = [&](float (*key)(const quad&)) {
    return [&quads, key](std::size_t a, std::size_t b) {
      return std::pair{key(quads[a]), a} < std::pair{key(quads[b]), b};
    };
  };
  std::sort(order.begin(), order.end(), by(centre_y));
  for (auto begin = order.begin(); begin != order.end();) {
    auto end = begin + 1;
    while (end != order.end() && same_line(quads[*(end - 1)], quads[*end]))
      ++end;
    std::sort(begin, end, by(centre_x));
    begin = end;
  }
  return order;
}

} // namespace squall::functions::builtins::detail
