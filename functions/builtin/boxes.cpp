#include "functions/builtin/detail/pictures.hpp"

#include <clipper.hpp>
#include <opencv2/imgproc.hpp>

#include <algorithm>
#include <cmath>

/// Text boxes from a probability map by differentiable binarisation (Liao et al. 2020, "Real-time scene text
/// detection"), as PP-OCR does it.
namespace squall::functions::builtins::detail {

namespace {

/// What a page of dust gives at most; every candidate costs a polygon.
constexpr std::size_t max_candidates = 1000;
/// Clipper works on integers; this keeps a fraction of a pixel.
constexpr double clipper_scale = 64;
/// How far the round corners may be off, in pixels.
constexpr double arc_tolerance = 0.25;

struct recipe {
  float mask_above = 0;
  double box_above = 0;
  double unclip = 0;
  float min_side = 0;
};

struct candidate {
  quad corners;
  float score = 0;
};

/// The corners clockwise from the top left one, whatever the angle: of the two on the left the upper one comes first.
quad ordered_corners(const cv::RotatedRect& rect) {
  quad q;
  rect.points(q.data());
  std::sort(q.begin(), q.end(), [](const auto& a, const auto& b) { return std::pair{a.x, a.y} < std::pair{b.x, b.y}; });
  const bool left_down = q[1].y > q[0].y;
  const bool right_down = q[3].y > q[2].y;
  return {q[left_down ? 0 : 1], q[right_down ? 2 : 3], q[right_down ? 3 : 2], q[left_down ? 1 : 0]};
}

/// The mean probability inside a quad.
double mean_inside(const cv::Mat& probabilities, const quad& q) {
  const auto [left, right] = std::minmax({q[0].x, q[1].x, q[2].x, q[3].x});
  const auto [top, bottom] = std::minmax({q[0].y, q[1].y, q[2].y, q[3].y});
  const auto column = [&](float x) { return std::clamp(static_cast<int>(x), 0, probabilities.cols - 1); };
  const auto row = [&](float y) { return std::clamp(static_cast<int>(y), 0, probabilities.rows - 1); };
  const int x0 = column(std::floor(left)), x1 = column(std::ceil(right));
  const int y0 = row(std::floor(top)), y1 = row(std::ceil(bottom));
  cv::Mat mask = cv::Mat::zeros(y1 - y0 + 1, x1 - x0 + 1, CV_8U);
  std::vector<cv::Point> polygon;
  for (const auto& p : q)
    polygon.emplace_back(static_cast<int>(p.x) - x0, static_cast<int>(p.y) - y0);
  cv::fillPoly(mask, std::vector{polygon}, 1);
  return cv::mean(probabilities(cv::Rect{x0, y0, mask.cols, mask.rows}), mask)[0];
}

/// The network marks the inner part of a line; this is the outline `distance` further out, with round corners.
std::vector<cv::Point2f> grown(const quad& q, double distance) {
  ClipperLib::Path path;
  for (const auto& p : q)
    path.emplace_back(static_cast<ClipperLib::cInt>(std::lround(p.x * clipper_scale)),
                      static_cast<ClipperLib::cInt>(std::lround(p.y * clipper_scale)));
  ClipperLib::ClipperOffset offset{2.0, arc_tolerance * clipper_scale};
  offset.AddPath(path, ClipperLib::jtRound, ClipperLib::etClosedPolygon);
  ClipperLib::Paths outlines;
  offset.Execute(outlines, distance * clipper_scale);
  std::vector<cv::Point2f> points;
  if (outlines.size() == 1)
    for (const auto& p : outlines.front())
      points.emplace_back(static_cast<float>(static_cast<double>(p.X) / clipper_scale),
                          static_cast<float>(static_cast<double>(p.Y) / clipper_scale));
  return points;
}

float smaller_side(const cv::RotatedRect& rect) { return std::min(rect.size.width, rect.size.height); }

std::optional<candidate> box_of(const std::vector<cv::Point>& contour, const cv::Mat& probabilities, const recipe& r) {
  const auto inner = cv::minAreaRect(contour);
  if (smaller_side(inner) < r.min_side)
    return std::nullopt;
  const auto corners = ordered_corners(inner);
  const auto score = mean_inside(probabilities, corners);
  if (score < r.box_above)
    return std::nullopt;
  const double area = static_cast<double>(inner.size.width) * inner.size.height;
  const double perimeter = 2.0 * (static_cast<double>(inner.size.width) + inner.size.height);
  const auto outline = grown(corners, perimeter > 0 ? area * r.unclip / perimeter : 0);
  if (outline.size() < 4)
    return std::nullopt;
  const auto outer = cv::minAreaRect(outline);
  if (smaller_side(outer) < r.min_side + 2)
    return std::nullopt;
  return candidate{ordered_corners(outer), static_cast<float>(score)};
}

/// From the map to the picture, and inside of it.
quad scaled(quad q, const cv::Mat& probabilities, float scale_x, float scale_y) {
  for (auto& p : q)
    p = {std::clamp(p.x, 0.0F, static_cast<float>(probabilities.cols)) * scale_x,
         std::clamp(p.y, 0.0F, static_cast<float>(probabilities.rows)) * scale_y};
  return q;
}

std::vector<candidate> find_boxes(const cv::Mat& probabilities, const cv::Mat& mask, const recipe& r) {
  std::vector<std::vector<cv::Point>> contours;
  cv::findContours(mask, contours, cv::RETR_LIST, cv::CHAIN_APPROX_SIMPLE);
  contours.resize(std::min(contours.size(), max_candidates));
  std::vector<candidate> boxes;
  for (const auto& contour : contours)
    if (auto box = box_of(contour, probabilities, r))
      boxes.push_back(*box);
  return boxes;
}

outputs text_boxes(const recipe& r, std::span<const value> inputs) {
  const auto& map = as_tensor(inputs[0]);
  if (map.shape[2] >= max_side || map.shape[3] >= max_side || map.data.empty())
    return invalid("input 'probs' is " + to_string(map.shape) + "; sides must be from 1 to " +
                   std::to_string(max_side - 1));
  float scale_x = 1, scale_y = 1;
  if (const auto* scale = inputs[1].as_tensor()) {
    scale_x = elements_of<float>(*scale)[0];
    scale_y = elements_of<float>(*scale)[1];
    if (!(scale_x > 0 && scale_x < 1e6F && scale_y > 0 && scale_y < 1e6F))
      return invalid("input 'scale' must be positive and finite");
  }
  const cv::Mat probabilities(static_cast<int>(map.shape[2]), static_cast<int>(map.shape[3]), CV_32F,
                              const_cast<std::byte*>(map.data.data())); // only read
  const cv::Mat mask = probabilities > r.mask_above;
  const auto boxes = find_boxes(probabilities, mask, r);
  std::vector<quad> found;
  for (const auto& box : boxes)
    found.push_back(scaled(box.corners, probabilities, scale_x, scale_y));
  std::vector<quad> quads;
  std::vector<float> scores;
  for (const auto i : reading_order(found)) {
    quads.push_back(found[i]);
    scores.push_back(boxes[i].score);
  }
  const auto count = static_cast<std::int64_t>(scores.size());
  const float confidence = cv::countNonZero(mask) == 0 ? 0 : static_cast<float>(cv::mean(probabilities, mask)[0]);
  return std::vector{quads_out(quads), value{tensor_of(datatype::fp32, {count}, scores)},
                     one(datatype::fp32, confidence)};
}

result<std::unique_ptr<instance>> make_text_boxes(const settings& s) {
  const recipe r{static_cast<float>(s.number("t")), s.number("b"), s.number("u"),
                 static_cast<float>(s.number("min_side"))};
  return instance_of([r](std::span<const value> inputs, const run_context&) { return text_boxes(r, inputs); });
}

} // namespace

std::vector<builtin> box_builtins() {
  return {
      {.name = "text-boxes",
       .summary =
           "four-cornered boxes around lines of text from a detector's probability map, in reading order and in the "
           "picture's coordinates; confidence is the mean probability of the pixels above t",
       .inputs = {{"probs", datatype::fp32, {1, 1, -1, -1}}, {"scale", datatype::fp32, {2}, false, true}},
       .outputs = {{"quads", datatype::fp32, {-1, 4, 2}},
                   {"scores", datatype::fp32, {-1}},
                   {"confidence", datatype::fp32, {1}}},
       .parameters = {{"t", parameter_kind::number, "0.2", "pixels above this probability are text", 0, 1},
                      {"b", parameter_kind::number, "0.4", "boxes below this mean probability are dropped", 0, 1},
                      {"u", parameter_kind::number, "1.4", "a box grows by its area * u / perimeter", 0, 10},
                      {"min_side", parameter_kind::number, "3",
                       "boxes with a smaller side are dropped, in pixels of the map; grown ones need 2 more", 0, 1000}},
       .make = make_text_boxes},
  };
}

} // namespace squall::functions::builtins::detail
