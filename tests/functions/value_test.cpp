#include "functions/value.hpp"

#include "functions/alignment.hpp"

#include <gtest/gtest.h>

#include <cmath>

namespace squall::functions {
namespace {

tensor raw_bytes(shape s, std::string data) {
  return {datatype::bytes, std::move(s), shared_bytes::take(std::move(data))};
}

TEST(Datatypes, HaveTheNamesAndSizesOfTheProtocol) {
  const std::vector<std::tuple<std::string_view, std::size_t>> rows = {
      {"BOOL", 1},  {"UINT8", 1}, {"UINT16", 2}, {"UINT32", 4}, {"UINT64", 8}, {"INT8", 1}, {"INT16", 2},
      {"INT32", 4}, {"INT64", 8}, {"FP16", 2},   {"BF16", 2},   {"FP32", 4},   {"FP64", 8}, {"BYTES", 0}};
  for (const auto& [name, size] : rows) {
    const auto type = datatype_from_string(name);
    ASSERT_TRUE(type.has_value()) << name;
    EXPECT_EQ(to_string(*type), name);
    EXPECT_EQ(element_size(*type), size);
  }
  EXPECT_FALSE(datatype_from_string("fp32").has_value());
  EXPECT_EQ(to_string(static_cast<datatype>(0)), "unknown datatype");
  EXPECT_EQ(to_string(static_cast<datatype>(15)), "unknown datatype");
}

TEST(Shapes, AreCountedAndBounded) {
  EXPECT_EQ(element_count({}).value(), 1u);
  EXPECT_EQ(element_count({2, 3}).value(), 6u);
  EXPECT_EQ(element_count({2, 0, 3}).value(), 0u);
  EXPECT_EQ(element_count({std::int64_t{1} << 48}).value(), std::size_t{1} << 48);
  EXPECT_EQ(element_count({2, -1}).error().message, "shape [2,-1] has a negative extent; a value needs every extent");
  EXPECT_EQ(element_count({std::int64_t{1} << 48, 2}).error().code, errc::too_large);
  EXPECT_EQ(element_count({0, std::int64_t{1} << 62, 4}).error().code, errc::too_large);
}

TEST(Tensors, MustHaveAsManyBytesAsTheirShapeSays) {
  EXPECT_TRUE(validate(tensor_of<float>(datatype::fp32, {2}, {1, 2})).ok());
  const auto wrong = validate(tensor_of<float>(datatype::fp32, {3}, {1, 2}));
  EXPECT_EQ(wrong.error().message, "FP32 [3] needs 12 bytes, but there are 8");
  EXPECT_EQ(validate(tensor{static_cast<datatype>(99), {1}, {}}).error().message, "datatype number 99 is unknown");
}

TEST(Tensors, AreCopiedToWhereTheirElementsCanBeRead) {
  const auto whole = shared_bytes::copy_of("xABCDEFGH", 9);
  const auto at = [&](std::size_t offset, datatype type, shape s) {
    return value{tensor{type, std::move(s), shared_bytes{whole.owner(), whole.span().subspan(offset, 8)}}};
  };
  const auto moved = aligned(at(1, datatype::fp32, {2}));
  EXPECT_EQ(moved, at(1, datatype::fp32, {2})) << "the same bytes";
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(moved.as_tensor()->data.data()) % 4, 0u);
  EXPECT_NE(moved.as_tensor()->data.data(), whole.data() + 1);
  EXPECT_EQ(aligned(at(0, datatype::fp32, {2})).as_tensor()->data.data(), whole.data()) << "not copied";
  EXPECT_EQ(aligned(at(1, datatype::uint8, {8})).as_tensor()->data.data(), whole.data() + 1) << "nor this";
  const value askew{value_list{value{}, at(1, datatype::int64, {1})}};
  EXPECT_FALSE(is_aligned(askew));
  EXPECT_TRUE(is_aligned(value{}));
  const auto list = aligned(askew);
  EXPECT_TRUE(is_aligned(list));
  EXPECT_TRUE(list.as_list()->at(0).absent());
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(list.as_list()->at(1).as_tensor()->data.data()) % 8, 0u);
}

TEST(BytesTensors, RoundTripTheirElements) {
  const auto t = bytes_tensor({"one", "", std::string_view{"a\0b", 3}});
  EXPECT_EQ(t.shape, (shape{3}));
  EXPECT_EQ(bytes_elements(t).value(), (std::vector<std::string_view>{"one", "", std::string_view{"a\0b", 3}}));
  EXPECT_TRUE(bytes_elements(bytes_tensor({})).value().empty());
}

TEST(BytesTensors, RefuseLengthsThatDoNotEndAtTheEnd) {
  EXPECT_EQ(validate(raw_bytes({1}, {"\x05\0\0\0abc", 7})).error().message,
            "BYTES element 0 of 1 runs past the end of the data");
  EXPECT_EQ(validate(raw_bytes({1}, {"\x01\0\0\0abc", 7})).error().message,
            "BYTES [1] has 2 bytes after its last element");
  EXPECT_EQ(validate(raw_bytes({1}, {"\xff\xff\xff\xff", 4})).error().message,
            "BYTES element 0 of 1 runs past the end of the data");
  EXPECT_EQ(validate(raw_bytes({1 << 30}, "abcd")).error().message, "BYTES [1073741824] does not fit in 4 bytes");
  EXPECT_EQ(bytes_elements(tensor_of<float>(datatype::fp32, {1}, {1})).error().message, "expected BYTES, got FP32");
}

TEST(Values, KnowTheirSize) {
  const value list{value_list{scalar_value(1), {}, scalar_value(true)}};
  EXPECT_EQ(list.byte_size(), 9u);
  EXPECT_EQ(value{}.byte_size(), 0u);
}

TEST(ScalarValues, KeepTheTypeOfWhatTheyWereMadeFrom) {
  EXPECT_EQ(scalar_value(0.5).as_tensor()->type, datatype::fp64);
  EXPECT_EQ(scalar_value(7).as_tensor()->type, datatype::int64);
  EXPECT_EQ(scalar_value(true).as_tensor()->type, datatype::boolean);
  EXPECT_EQ(scalar_value("text").as_tensor()->type, datatype::bytes);
  EXPECT_EQ(first_text(scalar_value("text")).value(), "text");
}

TEST(Numbers, AreReadFromEveryNumericDatatype) {
  EXPECT_EQ(first_number({tensor_of<std::uint8_t>(datatype::boolean, {1}, {1})}).value(), 1);
  EXPECT_EQ(first_number({tensor_of<std::int8_t>(datatype::int8, {1}, {-3})}).value(), -3);
  EXPECT_EQ(first_number({tensor_of<std::uint16_t>(datatype::uint16, {1}, {65535})}).value(), 65535);
  EXPECT_EQ(first_number({tensor_of<std::int16_t>(datatype::int16, {1}, {-2})}).value(), -2);
  EXPECT_EQ(first_number({tensor_of<std::uint32_t>(datatype::uint32, {1}, {4000000000U})}).value(), 4e9);
  EXPECT_EQ(first_number({tensor_of<std::int32_t>(datatype::int32, {2}, {-7, 9})}).value(), -7);
  EXPECT_EQ(first_number({tensor_of<std::uint64_t>(datatype::uint64, {1}, {1ULL << 63})}).value(), 0x1p63);
  EXPECT_EQ(first_number({tensor_of<float>(datatype::fp32, {1}, {0.5F})}).value(), 0.5);
  EXPECT_EQ(number_at(tensor_of<double>(datatype::fp64, {2}, {1, 2.5}), 1).value(), 2.5);
}

TEST(Numbers, AreReadFromSixteenBitReals) {
  const auto half = [](std::uint16_t bits) {
    return number_at(tensor_of<std::uint16_t>(datatype::fp16, {1}, {bits}), 0).value();
  };
  EXPECT_EQ(half(0x3c00), 1.0);
  EXPECT_EQ(half(0xc000), -2.0);
  EXPECT_EQ(half(0x7bff), 65504.0);
  EXPECT_EQ(half(0x0001), 0x1p-24);
  EXPECT_TRUE(std::isinf(half(0x7c00)));
  EXPECT_TRUE(std::isnan(half(0x7c01)));
  EXPECT_EQ(number_at(tensor_of<std::uint16_t>(datatype::bf16, {1}, {0x3fc0}), 0).value(), 1.5);
}

TEST(Numbers, AreRefusedWhereThereIsNone) {
  EXPECT_EQ(first_number({}).error().message, "expected a number, got nothing");
  EXPECT_EQ(first_number({value_list{}}).error().message, "expected a number, got a list");
  EXPECT_EQ(first_number(scalar_value("1")).error().message, "expected a number, got BYTES");
  EXPECT_EQ(first_number({tensor{datatype::fp32, {0}, {}}}).error().message, "FP32 [0] has no element 0");
  EXPECT_EQ(first_text({bytes_tensor({})}).error().message, "expected a text, got BYTES [0]");
  EXPECT_EQ(first_text({}).error().message, "expected a text, got nothing");
}

} // namespace
} // namespace squall::functions
