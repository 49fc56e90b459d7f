#pragma once

#include "functions/builtin/builtin.hpp"

#include <gtest/gtest.h>

#include <limits>

/// Runs builtins in tests.
namespace squall::functions::builtins::testing {

inline result<std::vector<value>> run(std::string_view name, std::vector<value> inputs,
                                      const parameter_map& parameters = {}, const run_context& context = {},
                                      const resource_map& resources = {}) {
  const auto* b = find(name);
  if (!b)
    return {errc::not_found, "no builtin " + std::string{name}};
  inputs.resize(b->inputs.size()); // those left out are absent
  SQUALL_ASSIGN(made, make_instance(*b, parameters, resources));
  return made->run(inputs, context);
}

/// The outputs of a run that must succeed.
inline std::vector<value> outputs_of(std::string_view name, std::vector<value> inputs,
                                     const parameter_map& parameters = {}) {
  auto ran = run(name, std::move(inputs), parameters);
  EXPECT_TRUE(ran.ok()) << (ran.ok() ? "" : ran.error().message);
  return ran.ok() ? *std::move(ran) : std::vector<value>(find(name)->outputs.size());
}

inline std::string message(const result<std::vector<value>>& ran) { return ran.ok() ? "ok" : ran.error().message; }

inline value floats(shape s, const std::vector<float>& numbers) {
  return {tensor_of(datatype::fp32, std::move(s), numbers)};
}
inline value ints(shape s, const std::vector<std::int32_t>& numbers) {
  return {tensor_of(datatype::int32, std::move(s), numbers)};
}
inline value texts(const std::vector<std::string_view>& elements) { return {bytes_tensor(elements)}; }

template <class T = float>
std::vector<T> numbers(const value& v) {
  const auto span = elements_of<T>(*v.as_tensor());
  return {span.begin(), span.end()};
}
inline shape shape_of(const value& v) { return v.as_tensor()->shape; }
inline std::string text(const value& v) { return std::string{first_text(v).value()}; }
inline std::vector<std::string> all_texts(const value& v) {
  const auto elements = bytes_elements(*v.as_tensor()).value();
  return {elements.begin(), elements.end()};
}

/// A picture whose pixel (x, y) is colour(x, y, channel).
template <class Colour>
value picture(std::int64_t width, std::int64_t height, const Colour& colour) {
  std::vector<std::uint8_t> pixels;
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      for (int c = 0; c < 3; ++c)
        pixels.push_back(static_cast<std::uint8_t>(colour(x, y, c)));
  return {tensor_of(datatype::uint8, {height, width, 3}, pixels)};
}

/// Every pixel another colour, without the hard edges that a JPEG would blur.
inline value gradient(std::int64_t width, std::int64_t height) {
  return picture(width, height, [](int x, int y, int c) { return (c == 0 ? x : c == 1 ? y : x + y) % 256; });
}

inline std::uint8_t pixel(const value& v, int x, int y, int c) {
  const auto& t = *v.as_tensor();
  return std::to_integer<std::uint8_t>(t.data.span()[static_cast<std::size_t>((y * t.shape[1] + x) * 3 + c)]);
}

/// x0, y0, x1, y1 of an upright box, as corners clockwise from the top left.
inline std::vector<float> corners(float x0, float y0, float x1, float y1) { return {x0, y0, x1, y0, x1, y1, x0, y1}; }

inline value quads(const std::vector<std::vector<float>>& list) {
  std::vector<float> all;
  for (const auto& q : list)
    all.insert(all.end(), q.begin(), q.end());
  return floats({static_cast<std::int64_t>(list.size()), 4, 2}, all);
}

} // namespace squall::functions::builtins::testing
