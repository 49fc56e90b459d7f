#include "base/random.hpp"
#include "running.hpp"

#include <cmath>

namespace squall::functions::builtins {
namespace {

using namespace testing;

TEST(Argmax, FindsTheFirstOfTheLargestAlongTheLastAxis) {
  const auto out = outputs_of("argmax", {floats({2, 3}, {1, 5, 5, -3, -2, -9})});
  EXPECT_EQ(out[0], ints({2}, {1, 1}));
  EXPECT_EQ(out[1], floats({2}, {5, -2}));
  EXPECT_EQ(shape_of(outputs_of("argmax", {floats({1, 2, 2}, {1, 2, 3, 4})})[0]), (shape{1, 2}));
  EXPECT_EQ(shape_of(outputs_of("argmax", {floats({3}, {1, 2, 3})})[0]), (shape{}));
  EXPECT_EQ(shape_of(outputs_of("argmax", {floats({0, 3}, {})})[0]), (shape{0}));
  EXPECT_EQ(message(run("argmax", {floats({3, 0}, {})})),
            "builtin 'argmax': input 'x' is [3,0]; its last axis must have elements");
}

TEST(Argmax, AgreesWithAPlainLoopOnWideRows) {
  random_source random{3};
  for (const std::size_t width : {1U, 15U, 16U, 17U, 33U, 18710U}) {
    std::vector<float> row;
    for (std::size_t i = 0; i < width; ++i)
      row.push_back(static_cast<float>(random.below(1000)));
    const auto expected = std::max_element(row.begin(), row.end()) - row.begin();
    const auto out = outputs_of("argmax", {floats({1, static_cast<std::int64_t>(width)}, row)});
    EXPECT_EQ(numbers<std::int32_t>(out[0])[0], expected) << width;
    EXPECT_EQ(numbers(out[1])[0], row[static_cast<std::size_t>(expected)]);
  }
}

TEST(Argmax, PassesOverWhatIsNotANumber) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(outputs_of("argmax", {floats({1, 3}, {nan, 2, 1})})[0], ints({1}, {1}));
  EXPECT_EQ(outputs_of("argmax", {floats({1, 2}, {nan, nan})})[0], ints({1}, {0}));
}

TEST(Softmax, SumsToOneAndDoesNotOverflow) {
  const auto y = numbers(outputs_of("softmax", {floats({2, 2}, {0, std::log(3.0F), 1000, 1000})})[0]);
  EXPECT_FLOAT_EQ(y[0], 0.25F);
  EXPECT_FLOAT_EQ(y[1], 0.75F);
  EXPECT_FLOAT_EQ(y[2], 0.5F);
}

TEST(Mean, CountsTheNumbersAboveABound) {
  const auto x = floats({2, 2}, {0.1F, 0.9F, 0.7F, 0.3F});
  EXPECT_FLOAT_EQ(numbers(outputs_of("mean", {x})[0])[0], 0.5F);
  EXPECT_FLOAT_EQ(numbers(outputs_of("mean", {x}, {{"above", "0.5"}})[0])[0], 0.8F);
  EXPECT_EQ(numbers(outputs_of("mean", {x}, {{"above", "1"}})[0])[0], 0);
}

TEST(Average, IsOverTheMembersThatArePresent) {
  const auto out = outputs_of("average", {floats({2}, {1, 2}), {}, floats({2}, {3, 6})});
  EXPECT_EQ(out[0], floats({2}, {2, 4}));
  EXPECT_EQ(out[1], ints({1}, {2}));
  EXPECT_EQ(message(run("average", {})), "builtin 'average': none of the inputs a, b, c, d is present");
  EXPECT_EQ(message(run("average", {floats({2}, {1, 2}), floats({1}, {1})})),
            "builtin 'average': members of shapes [2] and [1] have no average");
}

TEST(Threshold, IsAboveNotAt) {
  const auto y = outputs_of("threshold", {floats({3}, {0.4F, 0.5F, 0.6F})})[0];
  EXPECT_EQ(numbers<std::uint8_t>(y), (std::vector<std::uint8_t>{0, 0, 1}));
  EXPECT_EQ(y.as_tensor()->type, datatype::boolean);
}

TEST(FirstPresent, PicksInOrder) {
  const auto out = outputs_of("first-present", {{}, texts({"sure"}), texts({"other"})});
  EXPECT_EQ(text(out[0]), "sure");
  EXPECT_EQ(out[1], ints({1}, {1}));
  EXPECT_EQ(outputs_of("first-present", {floats({1}, {2})})[0], floats({1}, {2})) << "of any datatype";
  EXPECT_EQ(message(run("first-present", {})), "builtin 'first-present': none of the inputs a, b, c, d is present");
}

} // namespace
} // namespace squall::functions::builtins
