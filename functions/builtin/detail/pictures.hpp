#pragma once

#include "functions/builtin/detail/support.hpp"

#include <opencv2/core.hpp>

#include <array>

/// Pictures are UINT8 [height, width, 3], blue first.
namespace squall::functions::builtins::detail {

/// Bounds on what a builtin decodes or makes: 192 MiB of pixels.
inline constexpr std::int64_t max_pixels = 64 << 20;
inline constexpr std::int64_t max_side = 1 << 15;

/// Lanes give parallelism; a library that starts threads of its own would fight them. Affects the whole process, once.
void use_one_thread();

/// The picture in the tensor, not copied: the tensor must outlive it, and it must not be written to. An error if it has
/// no pixels or a side beyond max_side (what OpenCV's warps can address). `name` is the port's.
[[nodiscard]] result<cv::Mat> picture_in(std::string_view name, const tensor& t);

/// A tensor that shares the picture's memory. The picture has rows without gaps and must not be written to any more.
[[nodiscard]] value picture_out(cv::Mat picture);

/// What a channel's byte becomes as a float: (p * scale - mean[c]) / std[c], by channel as it comes.
class channel_tables {
public:
  channel_tables(const std::vector<double>& mean, const std::vector<double>& std, double scale);

  /// Writes the picture as three planes of floats. Rows are `row_stride` floats apart, planes `plane_stride`; `reverse`
  /// writes the last channel first.
  void write_planes(const cv::Mat& picture, float* out, std::size_t row_stride, std::size_t plane_stride,
                    bool reverse) const;

private:
  std::array<std::array<float, 256>, 3> table_;
};

/// Four corners, clockwise from the top left one.
using quad = std::array<cv::Point2f, 4>;

/// The quads of an FP32 [n,4,2] tensor; an error if a coordinate is not finite or beyond a million.
[[nodiscard]] result<std::vector<quad>> quads_in(const tensor& t);
[[nodiscard]] value quads_out(const std::vector<quad>& quads);

/// Whether two quads are on one line of text: their centres differ by less than half of the smaller height.
[[nodiscard]] bool same_line(const quad& a, const quad& b);

/// The indexes of the quads, top to bottom, and those of one line left to right.
[[nodiscard]] std::vector<std::size_t> reading_order(const std::vector<quad>& quads);

} // namespace squall::functions::builtins::detail
