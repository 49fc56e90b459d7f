#include "running.hpp"

namespace squall::functions::builtins {
namespace {

using namespace testing;

value plain(std::int64_t width, std::int64_t height, int colour) {
  return picture(width, height, [=](int, int, int) { return colour; });
}

TEST(Resize, GivesTheSizeAskedFor) {
  const auto image = gradient(40, 20);
  EXPECT_EQ(shape_of(outputs_of("resize", {image}, {{"width", "10"}, {"height", "30"}})[0]), (shape{30, 10, 3}));
  EXPECT_EQ(shape_of(outputs_of("resize", {image}, {{"width", "10"}})[0]), (shape{5, 10, 3}));
  EXPECT_EQ(shape_of(outputs_of("resize", {image}, {{"height", "10"}})[0]), (shape{10, 20, 3}));
  EXPECT_EQ(message(run("resize", {image})),
            "builtin 'resize': parameters 'width' and 'height' are both 0; give one, or both");
}

TEST(Resize, AveragesByArea) {
  const auto image = picture(4, 2, [](int x, int, int) { return x < 2 ? 10 + 20 * x : 100; });
  const auto small = outputs_of("resize", {image}, {{"width", "2"}, {"mode", "area"}})[0];
  EXPECT_EQ(pixel(small, 0, 0, 0), 20);
  EXPECT_EQ(pixel(small, 1, 0, 0), 100);
  const auto nearest = outputs_of("resize", {image}, {{"width", "2"}, {"mode", "nearest"}})[0];
  EXPECT_EQ(pixel(nearest, 0, 0, 0), 10);
}

TEST(Resize, RefusesResultsBeyondTheLimit) {
  EXPECT_EQ(message(run("resize", {plain(1, 1, 0)}, {{"width", "32767"}, {"height", "32767"}})),
            "builtin 'resize': a result of 32767x32767 pixels; the limit is 67108864");
  EXPECT_EQ(message(run("resize", {{tensor{datatype::uint8, {0, 5, 3}, {}}}}, {{"width", "2"}})),
            "builtin 'resize': input 'image': a picture without pixels, [0,5,3]");
}

TEST(Normalise, MakesPlanesOfFloats) {
  const auto image = picture(2, 1, [](int x, int, int c) { return x * 100 + c * 10; });
  const auto out = outputs_of("normalise", {image}, {{"mean", "0,1,2"}, {"std", "1,2,4"}, {"scale", "0.1"}})[0];
  EXPECT_EQ(shape_of(out), (shape{1, 3, 1, 2}));
  EXPECT_EQ(numbers(out), (std::vector<float>{0, 10, 0, 5, 0, 2.5}));
  const auto rgb = outputs_of("normalise", {image}, {{"scale", "1"}, {"order", "rgb"}})[0];
  EXPECT_EQ(numbers(rgb), (std::vector<float>{20, 120, 10, 110, 0, 100}));
  EXPECT_EQ(message(run("normalise", {image}, {{"std", "1,0,1"}})),
            "builtin 'normalise': parameter 'std' has a 0, which would divide by zero");
}

TEST(Crop, CutsABoxAndClampsIt) {
  const auto image = gradient(10, 8);
  const auto cut = outputs_of("crop", {image, floats({4}, {2, 3, 5, 7})})[0];
  ASSERT_EQ(shape_of(cut), (shape{4, 3, 3}));
  EXPECT_EQ(pixel(cut, 0, 0, 0), 2);
  EXPECT_EQ(pixel(cut, 2, 3, 1), 6);
  EXPECT_EQ(shape_of(outputs_of("crop", {image, floats({4}, {-50, -1, 500, 4})})[0]), (shape{4, 10, 3}));
  EXPECT_EQ(message(run("crop", {image, floats({4}, {20, 0, 30, 5})})),
            "builtin 'crop': input 'box' has no pixel of the 10x8 picture; it is [x0, y0, x1, y1]");
  EXPECT_EQ(message(run("crop", {image, floats({4}, {0, 0, std::numeric_limits<float>::infinity(), 5})})),
            "builtin 'crop': input 'box' has a coordinate that is not finite");
}

TEST(CropQuads, CutsUprightBoxesExactly) {
  const auto image = gradient(60, 40);
  const auto out = outputs_of("crop-quads", {image, quads({corners(10, 5, 40, 20), corners(0, 30, 60, 40)})})[0];
  const auto& crops = *out.as_list();
  ASSERT_EQ(crops.size(), 2u);
  EXPECT_EQ(crops[0], outputs_of("crop", {image, floats({4}, {10, 5, 40, 20})})[0]);
  EXPECT_EQ(shape_of(crops[1]), (shape{10, 60, 3}));
  EXPECT_EQ(outputs_of("crop-quads", {image, quads({})})[0], (value{value_list{}}));
}

TEST(CropQuads, TurnsTallBoxesCounterclockwise) {
  const auto image = gradient(60, 60);
  const auto out = outputs_of("crop-quads", {image, quads({corners(10, 0, 20, 30), corners(10, 0, 20, 14)})})[0];
  const auto& tall = (*out.as_list())[0];
  ASSERT_EQ(shape_of(tall), (shape{10, 30, 3}));
  EXPECT_EQ(pixel(tall, 0, 0, 0), 19) << "the top right corner comes to the top left";
  EXPECT_EQ(pixel(tall, 0, 0, 1), 0);
  EXPECT_EQ(pixel(tall, 29, 9, 1), 29);
  EXPECT_EQ(shape_of((*out.as_list())[1]), (shape{14, 10, 3})) << "less than 1.5 times as high as wide";
}

TEST(CropQuads, FollowsTheCornersOfATurnedBox) {
  const auto image = gradient(60, 60);
  // The same box, its corners beginning at the bottom right: the crop is turned by 180 degrees.
  const auto out = outputs_of("crop-quads", {image, quads({{40, 20, 10, 20, 10, 5, 40, 5}})})[0];
  const auto& crop = (*out.as_list())[0];
  ASSERT_EQ(shape_of(crop), (shape{15, 30, 3}));
  EXPECT_NEAR(pixel(crop, 0, 0, 0), 40, 1);
  EXPECT_NEAR(pixel(crop, 29, 14, 0), 11, 1);
}

TEST(CropQuads, RefusesQuadsWithoutSense) {
  const auto image = plain(10, 10, 0);
  EXPECT_EQ(message(run("crop-quads", {image, quads({corners(0, 0, 5, 5), corners(0, 0, 90000, 5)})})),
            "builtin 'crop-quads': quad 1 makes a crop of 90000x5 pixels; the limit is sides below 32768 and 67108864 "
            "pixels over all "
            "crops");
  EXPECT_EQ(message(run("crop-quads", {image, quads({corners(0, 0, std::numeric_limits<float>::quiet_NaN(), 5)})})),
            "builtin 'crop-quads': quad 0 has a coordinate that is not finite or beyond a million");
  EXPECT_EQ(message(run("crop-quads", {image, quads(std::vector(4097, corners(0, 0, 5, 5)))})),
            "builtin 'crop-quads': 4097 quads; the limit is 4096");
  EXPECT_EQ(shape_of((*outputs_of("crop-quads", {image, quads({corners(3, 3, 3, 3)})})[0].as_list())[0]),
            (shape{1, 1, 3}))
      << "an empty one keeps its place in the list";
}

TEST(RotateCrops, TurnsAndReversesThePageThatIsUpsideDown) {
  const value first = picture(2, 1, [](int x, int, int) { return 10 + x; });
  const value second = picture(2, 1, [](int x, int, int) { return 20 + x; });
  const value boxes = quads({corners(0, 0, 2, 1), corners(0, 5, 2, 6)});
  const auto out = outputs_of("rotate-crops", {{value_list{first, second}}, scalar_value(true), boxes});
  const auto& crops = *out[0].as_list();
  EXPECT_EQ(pixel(crops[0], 0, 0, 0), 21);
  EXPECT_EQ(pixel(crops[0], 1, 0, 0), 20);
  EXPECT_EQ(pixel(crops[1], 0, 0, 0), 11);
  EXPECT_EQ(out[1], quads({corners(0, 5, 2, 6), corners(0, 0, 2, 1)}));

  const auto upright = outputs_of("rotate-crops", {{value_list{first, second}}, scalar_value(false), boxes});
  EXPECT_EQ(upright[0], (value{value_list{first, second}}));
  EXPECT_EQ(upright[1], boxes);
  EXPECT_EQ(shape_of(outputs_of("rotate-crops", {{value_list{first}}, scalar_value(true)})[1]), (shape{0, 4, 2}));
  EXPECT_EQ(message(run("rotate-crops", {{value_list{first}}, scalar_value(true), boxes})),
            "builtin 'rotate-crops': there are 1 crops, but 2 quads");
}

// -- recipes
// ---------------------------------------------------------------------------------------------------------------

TEST(LineTensor, FollowsTheRecipe) {
  const auto out = outputs_of("line-tensor", {plain(30, 24, 255)})[0]; // 48 * 30 / 24 = 60, padded to 64
  ASSERT_EQ(shape_of(out), (shape{1, 3, 48, 64}));
  const auto x = numbers(out);
  for (std::size_t row = 0; row < 3 * 48; ++row) {
    ASSERT_FLOAT_EQ(x[row * 64 + 59], 1.0F);
    ASSERT_EQ(x[row * 64 + 60], 0.0F) << "padding comes after normalising";
  }
  EXPECT_FLOAT_EQ(numbers(outputs_of("line-tensor", {plain(30, 24, 0)})[0])[0], -1.0F);
  EXPECT_FLOAT_EQ(numbers(outputs_of("line-tensor", {plain(30, 24, 51)})[0])[0], -0.6F);
}

TEST(LineTensor, RoundsItsWidthUp) {
  EXPECT_EQ(shape_of(outputs_of("line-tensor", {plain(64, 48, 0)})[0]), (shape{1, 3, 48, 64}));
  EXPECT_EQ(shape_of(outputs_of("line-tensor", {plain(65, 48, 0)})[0]), (shape{1, 3, 48, 96}));
  EXPECT_EQ(shape_of(outputs_of("line-tensor", {plain(65, 48, 0)}, {{"multiple", "160"}})[0]), (shape{1, 3, 48, 160}));
  EXPECT_EQ(shape_of(outputs_of("line-tensor", {plain(20000, 2, 0)})[0]), (shape{1, 3, 48, 3200})) << "squeezed";
  EXPECT_EQ(shape_of(outputs_of("line-tensor", {plain(1, 3000, 0)})[0]), (shape{1, 3, 48, 32}));
}

TEST(DirectionTensor, IsAlwaysOfOneSize) {
  const auto narrow = outputs_of("direction-tensor", {plain(48, 48, 255)})[0];
  ASSERT_EQ(shape_of(narrow), (shape{1, 3, 48, 192}));
  EXPECT_FLOAT_EQ(numbers(narrow)[47], 1.0F);
  EXPECT_FLOAT_EQ(numbers(narrow)[48], 0.0F);
  const auto wide = outputs_of("direction-tensor", {plain(1000, 48, 255)})[0];
  EXPECT_FLOAT_EQ(numbers(wide)[191], 1.0F);
}

TEST(PageTensor, BringsTheLongerSideToItsSizeAndBothToMultiplesOf32) {
  const auto page = plain(960, 720, 255);
  const auto shape_at = [&](const char* side) {
    return shape_of(outputs_of("page-tensor", {page}, {{"side", side}})[0]);
  };
  EXPECT_EQ(shape_at("320"), (shape{1, 3, 256, 320}));
  EXPECT_EQ(shape_at("480"), (shape{1, 3, 352, 480}));
  EXPECT_EQ(shape_at("640"), (shape{1, 3, 480, 640}));
  EXPECT_EQ(shape_at("960"), (shape{1, 3, 704, 960}));
  EXPECT_EQ(shape_of(outputs_of("page-tensor", {plain(2000, 3, 0)})[0]), (shape{1, 3, 32, 640}));
}

TEST(PageTensor, FollowsTheRecipe) {
  const auto out = outputs_of("page-tensor", {plain(960, 720, 255)}, {{"side", "320"}});
  EXPECT_EQ(numbers(out[1]), (std::vector<float>{3.0F, 2.8125F}));
  const auto x = numbers(out[0]);
  EXPECT_FLOAT_EQ(x[0], (1 - 0.485F) / 0.229F);
  EXPECT_FLOAT_EQ(x[320 * 256], (1 - 0.456F) / 0.224F);
  EXPECT_FLOAT_EQ(x[2 * 320 * 256], (1 - 0.406F) / 0.225F);
}

TEST(VoteDirection, CountsTheLinesThatAreSure) {
  const auto vote = [](const std::vector<std::vector<float>>& lines) {
    value_list list;
    for (const auto& line : lines)
      list.push_back(line.empty() ? value{} : floats({1, 2}, line));
    return first_number(outputs_of("vote-direction", {{std::move(list)}})[0]).value() != 0;
  };
  EXPECT_FALSE(vote({}));
  EXPECT_TRUE(vote({{0.05F, 0.95F}, {0.02F, 0.98F}, {0.99F, 0.01F}}));
  EXPECT_FALSE(vote({{0.05F, 0.95F}, {0.99F, 0.01F}})) << "a tie is upright";
  EXPECT_TRUE(vote({{0.05F, 0.95F}, {0.6F, 0.4F}, {0.7F, 0.3F}, {}})) << "the unsure and the absent do not vote";
}

} // namespace
} // namespace squall::functions::builtins
