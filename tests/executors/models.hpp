#pragma once

#include "executors/cpu/inference.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

/// Requests for the models that the examples serve.
namespace squall::executors::testing {

inline std::string model_path(const std::string& name) { return std::string(SQUALL_MODELS) + "/" + name + ".onnx"; }

/// Skips the test aloud where the model is not there.
#define SQUALL_NEEDS_MODEL(name)                                                                                       \
  if (!std::filesystem::exists(::squall::executors::testing::model_path(name)))                                        \
  GTEST_SKIP() << "there is no " << ::squall::executors::testing::model_path(name) << "; ./dev build fetches the models"

inline functions::port a_port(std::string name, functions::datatype type, functions::shape shape) {
  functions::port port;
  port.name = std::move(name);
  port.type = type;
  port.shape = std::move(shape);
  return port;
}

inline cpu::model_request onnx_request(const std::string& model, std::vector<functions::port> inputs,
                                       std::vector<functions::port> outputs,
                                       std::map<std::string, std::string> parameters) {
  cpu::model_request request;
  request.spec.name = "default";
  request.spec.kind = functions::variant_kind::onnx;
  request.spec.target = model;
  request.spec.parameters = std::move(parameters);
  request.inputs = std::move(inputs);
  request.outputs = std::move(outputs);
  request.path = model_path(model);
  return request;
}

/// The recogniser with its whole output, [N, T, 6906].
inline cpu::model_request rec_request() {
  using enum functions::datatype;
  return onnx_request("rec-v6-tiny", {a_port("x", fp32, {-1, 3, 48, -1})}, {a_port("probs", fp32, {-1, -1, 6906})},
                      {{"rename.probs", "fetch_name_0"}, {"warm", "1x3x48x320"}});
}

/// The recogniser with place and value of the largest class, [N, T] each.
inline cpu::model_request reduced_rec_request() {
  using enum functions::datatype;
  return onnx_request("rec-v6-tiny", {a_port("x", fp32, {-1, 3, 48, -1})},
                      {a_port("probs_index", int32, {-1, -1}), a_port("probs_max", fp32, {-1, -1})},
                      {{"rename.probs", "fetch_name_0"}, {"reduce.probs", "argmax"}, {"warm", "1x3x48x320"}});
}

inline cpu::model_request magika_request() {
  using enum functions::datatype;
  return onnx_request("magika", {a_port("bytes", int32, {-1, 2048})}, {a_port("target_label", fp32, {-1, 214})}, {});
}

inline cpu::model_request silero_request() {
  using enum functions::datatype;
  return onnx_request("silero",
                      {a_port("input", fp32, {-1, 576}), a_port("sr", int64, {}), a_port("state", fp32, {2, -1, 128})},
                      {a_port("output", fp32, {-1, 1}), a_port("stateN", fp32, {2, -1, 128})},
                      {{"batch_axis.state", "1"}, {"batch_axis.stateN", "1"}});
}

/// A picture of a line, normalised, that is not all the same: stripes whose distance depends on `seed`.
inline functions::tensor striped_line(std::int64_t width, int seed) {
  std::vector<float> pixels(static_cast<std::size_t>(3 * 48 * width));
  for (std::size_t i = 0; i < pixels.size(); ++i)
    pixels[i] = static_cast<std::int64_t>(i) % width % (7 + seed) < 3 ? -1.0F : 1.0F;
  return functions::tensor_of(functions::datatype::fp32, {1, 3, 48, width}, pixels);
}

} // namespace squall::executors::testing
