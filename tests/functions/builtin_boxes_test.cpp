#include "running.hpp"

namespace squall::functions::builtins {
namespace {

using namespace testing;

/// A probability map with boxes [x0, x1] x [y0, y1] of pixels at a probability.
class probability_map {
public:
  probability_map(std::int64_t width, std::int64_t height)
      : width_(width), height_(height), p_(static_cast<std::size_t>(width * height)) {}

  probability_map& box(int x0, int y0, int x1, int y1, float p) {
    for (int y = y0; y <= y1; ++y)
      for (int x = x0; x <= x1; ++x)
        p_[static_cast<std::size_t>(y * width_ + x)] = p;
    return *this;
  }
  [[nodiscard]] value done() const { return floats({1, 1, height_, width_}, p_); }

private:
  std::int64_t width_, height_;
  std::vector<float> p_;
};

void expect_near(const std::vector<float>& found, const std::vector<float>& expected, float by) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i)
    EXPECT_NEAR(found[i], expected[i], by) << i;
}

TEST(TextBoxes, GrowABoxByTheRecipe) {
  // Between the centres of the outer pixels 39 x 9: it grows by 39 * 9 * 1.4 / (2 * (39 + 9)) = 5.12 on each side.
  const auto out = outputs_of("text-boxes", {probability_map{128, 64}.box(20, 30, 59, 39, 0.9F).done()});
  ASSERT_EQ(shape_of(out[0]), (shape{1, 4, 2}));
  expect_near(numbers(out[0]), corners(20 - 5.12F, 30 - 5.12F, 59 + 5.12F, 39 + 5.12F), 0.1F);
  expect_near(numbers(out[1]), {0.9F}, 1e-4F);
  expect_near(numbers(out[2]), {0.9F}, 1e-4F);
}

TEST(TextBoxes, AreInTheCoordinatesOfThePictureAndInsideOfIt) {
  const auto map = probability_map{128, 64}.box(2, 2, 125, 12, 0.9F).done();
  const auto out = outputs_of("text-boxes", {map, floats({2}, {2, 3})});
  const auto q = numbers(out[0]);
  EXPECT_EQ(q[0], 0) << "clipped";
  EXPECT_EQ(q[2], 128 * 2.0F);
  // 123 x 10 grows by 6.47 pixels of the map.
  EXPECT_NEAR(q[5], (12 + 6.47F) * 3, 0.3F);
}

TEST(TextBoxes, DropWhatIsFaintOrSmall) {
  probability_map map{200, 100};
  map.box(10, 10, 60, 20, 0.3F)  // above the mask's threshold, below the box's
      .box(10, 40, 60, 41, 0.9F) // one pixel between the centres of its rows
      .box(10, 60, 60, 70, 0.9F)
      .box(100, 60, 150, 70, 0.1F); // no pixel of it in the mask
  EXPECT_EQ(shape_of(outputs_of("text-boxes", {map.done()})[0]), (shape{1, 4, 2}));
  EXPECT_EQ(shape_of(outputs_of("text-boxes", {map.done()}, {{"b", "0.25"}})[0]), (shape{2, 4, 2}));
  EXPECT_EQ(shape_of(outputs_of("text-boxes", {map.done()}, {{"t", "0.05"}, {"b", "0.05"}})[0]), (shape{3, 4, 2}));
  EXPECT_EQ(shape_of(outputs_of("text-boxes", {map.done()}, {{"min_side", "0"}})[0]), (shape{2, 4, 2}));
  EXPECT_EQ(shape_of(outputs_of("text-boxes", {map.done()}, {{"min_side", "20"}})[0]), (shape{0, 4, 2}));
}

TEST(TextBoxes, ComeTopToBottomAndLeftToRight) {
  probability_map map{300, 100};
  map.box(200, 12, 280, 22, 0.9F).box(10, 10, 90, 20, 0.9F).box(110, 60, 190, 70, 0.9F).box(105, 9, 185, 19, 0.9F);
  const auto q = numbers(outputs_of("text-boxes", {map.done()})[0]);
  ASSERT_EQ(q.size(), 4u * 8);
  EXPECT_LT(q[0], 10);
  EXPECT_NEAR(q[8], 100, 5) << "a pixel higher than its left neighbour, yet after it";
  EXPECT_NEAR(q[16], 194, 5);
  EXPECT_NEAR(q[25], 54, 5);
}

TEST(TextBoxes, FollowASlantedLine) {
  probability_map map{200, 200};
  for (int x = 20; x < 160; ++x)
    map.box(x, 40 + x / 4, x, 60 + x / 4, 0.9F);
  const auto q = numbers(outputs_of("text-boxes", {map.done()})[0]);
  ASSERT_EQ(q.size(), 8u);
  EXPECT_LT(q[0], q[2]) << "top left before top right";
  EXPECT_LT(q[1], q[7]) << "top left above bottom left";
  EXPECT_NEAR((q[3] - q[1]) / (q[2] - q[0]), 0.25F, 0.03F);
}

TEST(TextBoxes, OfAnEmptyMapAreNone) {
  const auto out = outputs_of("text-boxes", {probability_map{32, 32}.done()});
  EXPECT_EQ(shape_of(out[0]), (shape{0, 4, 2}));
  EXPECT_EQ(shape_of(out[1]), (shape{0}));
  EXPECT_EQ(numbers(out[2]), (std::vector<float>{0}));
}

TEST(TextBoxes, RefuseMapsAndScalesWithoutSense) {
  EXPECT_EQ(message(run("text-boxes", {floats({1, 1, 0, 32}, {})})),
            "builtin 'text-boxes': input 'probs' is [1,1,0,32]; sides must be from 1 to 32767");
  EXPECT_EQ(message(run("text-boxes", {probability_map{32, 32}.done(), floats({2}, {0, 1})})),
            "builtin 'text-boxes': input 'scale' must be positive and finite");
}

TEST(TextBoxes, OfNoiseAreBounded) {
  probability_map map{256, 256};
  for (int y = 0; y < 256; y += 2)
    for (int x = 0; x < 256; x += 2)
      map.box(x, y, x, y, 0.9F);
  EXPECT_EQ(shape_of(outputs_of("text-boxes", {map.done()}, {{"min_side", "0"}})[0]), (shape{0, 4, 2}));
  map.box(0, 0, 255, 255, std::numeric_limits<float>::quiet_NaN());
  EXPECT_TRUE(run("text-boxes", {map.done()}).ok());
}

} // namespace
} // namespace squall::functions::builtins
