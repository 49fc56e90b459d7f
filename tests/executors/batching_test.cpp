#include "executors/cpu/detail/batching.hpp"

#include "tests/executors/models.hpp"

#include <numeric>

namespace squall::executors::cpu::detail {
namespace {

functions::value floats(functions::shape shape) {
  const auto count = functions::element_count(shape).value();
  std::vector<float> numbers(count);
  std::iota(numbers.begin(), numbers.end(), 0.0F);
  return {functions::tensor_of(functions::datatype::fp32, std::move(shape), numbers)};
}

functions::value whole_number(std::int64_t number) {
  return {functions::tensor_of(functions::datatype::int64, {}, std::vector<std::int64_t>{number})};
}

TEST(Batching, ItemsOfEqualTrailingShapesRunTogether) {
  const std::vector<port_values> items = {
      {floats({1, 4})}, {floats({1, 5})}, {floats({2, 4})}, {floats({1, 5})}, {floats({1, 6})}};
  const auto groups = group_items(items, {0});
  ASSERT_EQ(groups.size(), 3U);
  EXPECT_EQ(groups[0].items, (std::vector<std::size_t>{0, 2}));
  EXPECT_EQ(groups[0].extents, (std::vector<std::int64_t>{1, 2}));
  EXPECT_EQ(groups[1].items, (std::vector<std::size_t>{1, 3}));
  EXPECT_EQ(groups[2].items, (std::vector<std::size_t>{4}));
  EXPECT_TRUE(groups[2].extents.empty()) << "alone";
}

TEST(Batching, InputsWithoutABatchAxisMustBeEqual) {
  const std::vector<port_values> items = {
      {floats({1, 4}), whole_number(16)}, {floats({1, 4}), whole_number(8)}, {floats({1, 4}), whole_number(16)}};
  const auto groups = group_items(items, {0, std::nullopt});
  ASSERT_EQ(groups.size(), 2U);
  EXPECT_EQ(groups[0].items, (std::vector<std::size_t>{0, 2}));
}

TEST(Batching, AnItemWhoseInputsDisagreeOnTheirExtentRunsAlone) {
  const std::vector<port_values> items = {
      {floats({1, 4}), floats({2, 1, 3})}, {floats({2, 4}), floats({2, 1, 3})}, {floats({1, 4}), floats({2, 1, 3})}};
  const auto groups = group_items(items, {0, 1});
  ASSERT_EQ(groups.size(), 2U);
  EXPECT_EQ(groups[0].items, (std::vector<std::size_t>{0, 2}));
}

TEST(Batching, SlicesAlongAnInnerAxisComeBackAsTheyWent) {
  const functions::shape part_shape{2, 3, 4};
  const auto part = floats(part_shape);
  const auto shape = joined_shape(part_shape, 1, std::vector<std::int64_t>{1, 3});
  EXPECT_EQ(shape, (functions::shape{2, 4, 4}));
  std::vector<std::byte> whole(2 * 4 * 4 * sizeof(float));
  std::vector<std::byte> back(part.as_tensor()->data.size());
  const auto stride = bytes_below(shape, 1, sizeof(float));
  put_slice(whole.data(), part.as_tensor()->data.data(), runs_above(shape, 1), stride, 4, 1, 3);
  take_slice(whole.data(), back.data(), runs_above(shape, 1), stride, 4, 1, 3);
  EXPECT_EQ(shared_bytes::take(std::move(back)), part.as_tensor()->data);
}

} // namespace
} // namespace squall::executors::cpu::detail
