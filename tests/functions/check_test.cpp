#include "builders.hpp"

#include <gtest/gtest.h>

namespace squall::functions {
namespace {

using namespace testing;

const std::vector<port> ports = {{"image", datatype::fp32, {1, -1}},
                                 {"crops", datatype::fp32, {-1}, true},
                                 {"hint", datatype::bytes, {1}, false, true}};

std::string message(std::vector<named_value> inputs) {
  const auto bound = bind_inputs("DAG 'd'", ports, std::move(inputs));
  return bound.ok() ? "ok" : bound.error().message;
}

const value image = floats({1, 2}, {1, 2});
const value crops{value_list{floats({1}, {1}), floats({2}, {1, 2})}};

TEST(Inputs, ComeOutInTheOrderOfThePorts) {
  const auto bound = bind_inputs("DAG 'd'", ports, {{"crops", crops}, {"image", image}});
  ASSERT_TRUE(bound.ok());
  ASSERT_EQ(bound->size(), 3u);
  EXPECT_EQ((*bound)[0], image);
  EXPECT_EQ((*bound)[1], crops);
  EXPECT_TRUE((*bound)[2].absent());
}

TEST(Inputs, AreRefusedByName) {
  EXPECT_EQ(message({{"image", image}, {"crops", crops}, {"hnt", image}}),
            "DAG 'd': there is no input 'hnt'; did you mean 'hint'? inputs: image, crops, hint");
  EXPECT_EQ(message({{"image", image}, {"image", image}}), "DAG 'd': input 'image' is given twice");
  EXPECT_EQ(message({{"image", image}}), "DAG 'd': input 'crops' is missing; it is a list of FP32 [-1]");
}

TEST(Inputs, AreRefusedByTypeAndShape) {
  EXPECT_EQ(message({{"crops", crops}, {"image", floats({2, 1}, {1, 2})}}),
            "DAG 'd': input 'image': expected FP32 [1,-1], got FP32 [2,1]");
  EXPECT_EQ(message({{"crops", crops}, {"image", floats({1}, {1})}}),
            "DAG 'd': input 'image': expected FP32 [1,-1], got FP32 [1]");
  EXPECT_EQ(message({{"crops", crops}, {"image", scalar_value("x")}}),
            "DAG 'd': input 'image': expected FP32 [1,-1], got BYTES [1]");
  EXPECT_EQ(message({{"crops", crops}, {"image", floats({1, 3}, {1, 2})}}),
            "DAG 'd': input 'image': FP32 [1,3] needs 12 bytes, but there are 8");
  EXPECT_EQ(message({{"crops", crops}, {"image", crops}}),
            "DAG 'd': input 'image': expected FP32 [1,-1], got a list of 2 values");
}

TEST(Inputs, AreRefusedAsLists) {
  EXPECT_EQ(message({{"image", image}, {"crops", floats({1}, {1})}}),
            "DAG 'd': input 'crops': expected a list of FP32 [-1], got a single tensor; put it into a list");
  EXPECT_EQ(message({{"image", image}, {"crops", {value_list{floats({1}, {1}), value{}}}}}),
            "DAG 'd': input 'crops', element 1: expected a tensor, got nothing");
  EXPECT_EQ(message({{"image", image}, {"crops", {value_list{crops}}}}),
            "DAG 'd': input 'crops', element 0: expected a tensor, got a list");
  EXPECT_EQ(message({{"image", image}, {"crops", {value_list(4097, floats({1}, {1}))}}}),
            "DAG 'd': input 'crops': a list of 4097 elements; the limit is 4096");
  EXPECT_EQ(message({{"image", image}, {"crops", {value_list{}}}}), "ok");
}

} // namespace
} // namespace squall::functions
