#include "executors/cpu/inference.hpp"

#include "tests/executors/models.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <thread>

namespace squall::executors::cpu {
namespace {

using functions::datatype;
using testing::a_port;
using ::testing::HasSubstr;

class Inference : public ::testing::Test {
protected:
  std::unique_ptr<model> load(const model_request& request) {
    auto loaded = runtime_->load(request);
    EXPECT_TRUE(loaded.ok()) << (loaded.ok() ? "" : loaded.error().message);
    return loaded.ok() ? std::move(loaded).value() : nullptr;
  }
  error refusal(const model_request& request) {
    const auto loaded = runtime_->load(request);
    EXPECT_FALSE(loaded.ok());
    return loaded.ok() ? error{} : loaded.error();
  }
  std::vector<result<port_values>> run(model& m, const std::vector<port_values>& items, std::uint32_t lane = 0) {
    return m.run(lane, items, memory_, [] { return result<>(); });
  }
  static const functions::tensor& output(const result<port_values>& item, std::size_t port = 0) {
    SQUALL_CHECK(item.ok(), item.error().message);
    return *item.value().at(port).as_tensor();
  }

  heap_memory memory_;
  std::unique_ptr<runtime> runtime_ = runtime::create({.lanes = 2, .cache_folder = {}}).value();
};

void expect_near(const functions::tensor& a, const functions::tensor& b, float tolerance) {
  ASSERT_EQ(a.shape, b.shape);
  const auto x = functions::elements_of<float>(a);
  const auto y = functions::elements_of<float>(b);
  for (std::size_t i = 0; i < x.size(); ++i)
    ASSERT_NEAR(x[i], y[i], tolerance) << "at " << i;
}

TEST(CheckRuntime, PassesHere) {
  const auto checked = check_runtime();
  EXPECT_TRUE(checked.ok()) << checked.error().message;
}

TEST_F(Inference, ReducedOutputsAreThoseOfTheWholeOutput) {
  SQUALL_NEEDS_MODEL("rec-v6-tiny");
  auto whole = load(testing::rec_request());
  auto reduced = load(testing::reduced_rec_request());
  ASSERT_TRUE(whole && reduced);
  const std::vector<port_values> items = {{{testing::striped_line(320, 0)}}};
  const auto all = run(*whole, items);
  const auto few = run(*reduced, items);
  const auto& probabilities = output(all[0]);
  ASSERT_EQ(probabilities.shape, (functions::shape{1, 40, 6906}));
  ASSERT_EQ(output(few[0], 0).shape, (functions::shape{1, 40}));
  ASSERT_EQ(output(few[0], 0).type, datatype::int32);
  const auto numbers = functions::elements_of<float>(probabilities);
  for (std::size_t frame = 0; frame < 40; ++frame) {
    const auto row = numbers.subspan(frame * 6906, 6906);
    const auto best = std::ranges::max_element(row);
    EXPECT_EQ(functions::elements_of<std::int32_t>(output(few[0], 0))[frame], best - row.begin());
    EXPECT_FLOAT_EQ(functions::elements_of<float>(output(few[0], 1))[frame], *best);
  }
}

TEST_F(Inference, AnItemsResultDoesNotDependOnItsCompany) {
  SQUALL_NEEDS_MODEL("rec-v6-tiny");
  auto request = testing::rec_request();
  request.spec.max_batch = 4;
  auto loaded = load(request);
  ASSERT_TRUE(loaded);
  const std::vector<port_values> items = {
      {{testing::striped_line(320, 0)}}, {{testing::striped_line(160, 1)}}, {{testing::striped_line(320, 2)}}};
  const auto together = run(*loaded, items);
  for (std::size_t i = 0; i < items.size(); ++i) {
    const auto alone = run(*loaded, {items[i]});
    expect_near(output(together[i]), output(alone[0]), 1e-4F);
  }
}

TEST_F(Inference, StatesAreJoinedAlongTheirOwnAxis) {
  SQUALL_NEEDS_MODEL("silero");
  auto request = testing::silero_request();
  request.spec.max_batch = 4;
  auto loaded = load(request);
  ASSERT_TRUE(loaded);
  const auto stream = [](float loudness) {
    std::vector<float> sound(576);
    for (std::size_t i = 0; i < sound.size(); ++i)
      sound[i] = loudness * std::sin(static_cast<float>(i) * 0.2F);
    return port_values{{functions::tensor_of(datatype::fp32, {1, 576}, sound)},
                       {functions::tensor_of(datatype::int64, {}, std::vector<std::int64_t>{16000})},
                       {functions::tensor_of(datatype::fp32, {2, 1, 128}, std::vector<float>(256, loudness))}};
  };
  const std::vector<port_values> items = {stream(0.1F), stream(0.5F), stream(0.9F)};
  const auto together = run(*loaded, items);
  for (std::size_t i = 0; i < items.size(); ++i) {
    const auto alone = run(*loaded, {items[i]});
    expect_near(output(together[i], 0), output(alone[0], 0), 1e-4F);
    expect_near(output(together[i], 1), output(alone[0], 1), 1e-4F);
  }
}

TEST_F(Inference, Bf16DiffersAndIsClose) {
  SQUALL_NEEDS_MODEL("magika");
  auto exact = load(testing::magika_request());
  auto request = testing::magika_request();
  request.spec.parameters["precision"] = "bf16";
  const auto loaded = runtime_->load(request);
  if (!loaded.ok())
    GTEST_SKIP() << loaded.error().message;
  std::vector<std::int32_t> text(2048, 256);
  for (std::size_t i = 0; i < 600; ++i)
    text[i] = static_cast<unsigned char>("#include <stdio.h>\nint main(void) { return 0; }\n"[i % 48]);
  const std::vector<port_values> items = {{{functions::tensor_of(datatype::int32, {1, 2048}, text)}}};
  const auto a = run(*exact, items);
  const auto b = run(*loaded.value(), items);
  EXPECT_FALSE(output(a[0]).data == output(b[0]).data);
  expect_near(output(a[0]), output(b[0]), 0.3F);
}

TEST_F(Inference, LanesRunAtOnce) {
  SQUALL_NEEDS_MODEL("rec-v6-tiny");
  auto loaded = load(testing::reduced_rec_request());
  ASSERT_TRUE(loaded);
  const std::vector<port_values> items = {{{testing::striped_line(320, 0)}}};
  const auto expected = run(*loaded, items);
  std::vector<std::thread> lanes;
  for (std::uint32_t lane = 0; lane < 2; ++lane)
    lanes.emplace_back([&, lane] {
      for (int i = 0; i < 20; ++i)
        EXPECT_EQ(output(run(*loaded, items, lane)[0]), output(expected[0]));
    });
  for (auto& lane : lanes)
    lane.join();
}

TEST_F(Inference, BadItemsFailAloneAndByName) {
  SQUALL_NEEDS_MODEL("rec-v6-tiny");
  auto loaded = load(testing::reduced_rec_request());
  ASSERT_TRUE(loaded);
  const functions::value wrong_type{
      functions::tensor_of(datatype::int32, {1, 3, 48, 2}, std::vector<std::int32_t>(288))};
  const functions::value wrong_size{functions::tensor{datatype::fp32, {1, 3, 48, 320}, shared_bytes::copy_of("short")}};
  const auto results =
      run(*loaded, {{wrong_type}, {{testing::striped_line(320, 0)}}, {wrong_size}, {functions::value{}}, {}});
  EXPECT_EQ(results[0].error().code, errc::invalid_argument);
  EXPECT_EQ(results[0].error().message, "input 'x' takes FP32 [-1,3,48,-1], given INT32 [1,3,48,2]");
  EXPECT_TRUE(results[1].ok());
  EXPECT_FALSE(results[2].ok());
  EXPECT_EQ(results[3].error().message, "input 'x' is absent, a tensor is needed");
  EXPECT_FALSE(results[4].ok());
}

TEST_F(Inference, AStopIsTheErrorOfWhatHasNotRun) {
  SQUALL_NEEDS_MODEL("rec-v6-tiny");
  auto loaded = load(testing::reduced_rec_request());
  ASSERT_TRUE(loaded);
  int asked = 0;
  const std::vector<port_values> items = {{{testing::striped_line(320, 0)}}, {{testing::striped_line(160, 0)}}};
  const auto results = loaded->run(0, items, memory_,
                                   [&] { return asked++ == 0 ? result<>() : result<>(errc::cancelled, "not wanted"); });
  EXPECT_TRUE(results[0].ok());
  EXPECT_EQ(results[1].error().code, errc::cancelled);
}

TEST_F(Inference, WhatIsNoModelIsRefused) {
  const auto path = std::filesystem::path(::testing::TempDir()) / "no_model";
  std::ofstream(path) << "this is not a model\n";
  auto request = testing::magika_request();
  request.path = path;
  const auto refused = refusal(request);
  EXPECT_EQ(refused.code, errc::invalid_argument);
  EXPECT_THAT(refused.message, HasSubstr("no model that can be read"));
  request.path = "/nowhere/model.onnx";
  EXPECT_EQ(refusal(request).code, errc::not_found);
}

TEST_F(Inference, AModelNeedsNoSuffix) {
  SQUALL_NEEDS_MODEL("magika");
  const auto path = std::filesystem::path(::testing::TempDir()) / "0123abcd";
  std::filesystem::copy_file(testing::model_path("magika"), path, std::filesystem::copy_options::overwrite_existing);
  auto request = testing::magika_request();
  request.path = path;
  EXPECT_TRUE(load(request));
}

TEST_F(Inference, PortsThatTheModelDoesNotHaveAreRefusedByName) {
  SQUALL_NEEDS_MODEL("magika");
  auto request = testing::magika_request();
  request.inputs[0].name = "text";
  EXPECT_EQ(
      refusal(request).message,
      "input 'text' is not in the model: it has no input 'text' but bytes INT32 [?,2048]; rename.text can name one");
  request = testing::magika_request();
  request.inputs[0].type = datatype::fp32;
  EXPECT_EQ(refusal(request).message, "input 'bytes' is declared as FP32 [-1,2048], but the model has INT32 [?,2048]");
  request = testing::magika_request();
  request.inputs[0].shape = {-1, -1};
  EXPECT_EQ(refusal(request).message, "input 'bytes' is declared as INT32 [-1,-1], but the model has INT32 [?,2048]");
  request = testing::magika_request();
  request.outputs[0].shape = {-1, 215};
  EXPECT_EQ(refusal(request).message,
            "output 'target_label' is declared as FP32 [-1,215], but the model has FP32 [?,214]");
  request = testing::magika_request();
  request.inputs[0].optional = true;
  EXPECT_THAT(refusal(request).message, HasSubstr("optional"));
}

TEST_F(Inference, EveryInputOfTheModelNeedsAPort) {
  SQUALL_NEEDS_MODEL("silero");
  auto request = testing::silero_request();
  request.inputs.erase(request.inputs.begin() + 1);
  EXPECT_THAT(refusal(request).message, HasSubstr("sr INT64 [] is no input of the function"));
}

TEST_F(Inference, ParametersAreChecked) {
  SQUALL_NEEDS_MODEL("rec-v6-tiny");
  const auto with = [&](const std::string& key, const std::string& text) {
    auto request = testing::rec_request();
    request.spec.parameters[key] = text;
    return refusal(request).message;
  };
  EXPECT_EQ(with("precision", "f8"), "parameter 'precision': 'f8' is not one of f32, bf16");
  EXPECT_EQ(with("reduce.probs", "softmax"), "parameter 'reduce.probs': 'softmax' is not one of argmax");
  EXPECT_THAT(with("reduce.nothing", "argmax"), HasSubstr("the model has no output 'nothing' but fetch_name_0"));
  EXPECT_THAT(with("colour", "red"), HasSubstr("parameter 'colour': an onnx variant knows precision"));
  EXPECT_THAT(with("rename.y", "x"), HasSubstr("the function has no port 'y'"));
  EXPECT_THAT(with("batch_axis.x", "4"), HasSubstr("'4' is no axis of [-1,3,48,-1]"));
  EXPECT_THAT(with("warm", "1x3x48"), HasSubstr("[1,3,48] is not a shape of input 'x' [-1,3,48,-1]"));
  EXPECT_THAT(with("warm", "wide"), HasSubstr("'wide' is no shape"));
}

} // namespace
} // namespace squall::executors::cpu
