#include "functions/builtin/detail/numbers.hpp"
#include "functions/builtin/detail/support.hpp"
#include "functions/detail/text.hpp"

#include <algorithm>
#include <cmath>

namespace squall::functions::builtins::detail {

namespace {

std::int64_t count_of(const shape& s) { return static_cast<std::int64_t>(element_count(s).value()); }

/// The tensor as rows along its last axis.
struct rows {
  std::span<const float> numbers;
  std::size_t width = 0;
  std::size_t count = 0;
  shape outer; ///< without the last axis

  [[nodiscard]] std::span<const float> operator[](std::size_t i) const { return numbers.subspan(i * width, width); }
};

result<rows> rows_of(const tensor& t) {
  if (t.shape.empty() || t.shape.back() == 0)
    return invalid("input 'x' is " + to_string(t.shape) + "; its last axis must have elements");
  rows out;
  out.numbers = elements_of<float>(t);
  out.width = static_cast<std::size_t>(t.shape.back());
  out.count = out.numbers.size() / out.width;
  out.outer.assign(t.shape.begin(), t.shape.end() - 1);
  return out;
}

outputs argmax(std::span<const value> inputs) {
  SQUALL_ASSIGN(x, rows_of(as_tensor(inputs[0])));
  buffer<std::int32_t> indexes{x.count};
  buffer<float> maxima{x.count};
  for (std::size_t i = 0; i < x.count; ++i) {
    const auto best = peak_of(x[i]);
    indexes[i] = static_cast<std::int32_t>(best.index);
    maxima[i] = best.value;
  }
  return std::vector{std::move(indexes).done(datatype::int32, x.outer),
                     std::move(maxima).done(datatype::fp32, x.outer)};
}

outputs softmax(std::span<const value> inputs) {
  const auto& t = as_tensor(inputs[0]);
  SQUALL_ASSIGN(x, rows_of(t));
  buffer<float> out{x.numbers.size()};
  for (std::size_t i = 0; i < x.count; ++i) {
    const float highest = peak_of(x[i]).value; // taken off first, so that no exponential overflows
    float* row = out.data() + i * x.width;
    double sum = 0;
    for (std::size_t j = 0; j < x.width; ++j) {
      row[j] = std::exp(x[i][j] - highest);
      sum += row[j];
    }
    for (std::size_t j = 0; j < x.width; ++j)
      row[j] = static_cast<float>(row[j] / sum);
  }
  return std::vector{std::move(out).done(datatype::fp32, t.shape)};
}

result<std::unique_ptr<instance>> make_mean(const settings& s) {
  const auto above = s.number("above");
  return instance_of([above](std::span<const value> inputs, const run_context&) -> outputs {
    double sum = 0;
    std::int64_t count = 0;
    for (const float number : elements_of<float>(as_tensor(inputs[0]))) {
      if (!(number > above))
        continue;
      sum += number;
      ++count;
    }
    return std::vector{one(datatype::fp32, count == 0 ? 0.0F : static_cast<float>(sum / static_cast<double>(count)))};
  });
}

/// Element by element, over the members that are there.
outputs average(std::span<const value> inputs) {
  std::vector<double> sum;
  shape common;
  std::int32_t members = 0;
  for (const auto& input : inputs) {
    if (input.absent())
      continue;
    const auto& t = as_tensor(input);
    if (members++ == 0) {
      common = t.shape;
      sum.resize(static_cast<std::size_t>(count_of(common)));
    }
    if (t.shape != common)
      return invalid("members of shapes " + to_string(common) + " and " + to_string(t.shape) + " have no average");
    const auto numbers = elements_of<float>(t);
    for (std::size_t i = 0; i < sum.size(); ++i)
      sum[i] += numbers[i];
  }
  if (members == 0)
    return invalid("none of the inputs a, b, c, d is present");
  buffer<float> out{sum.size()};
  for (std::size_t i = 0; i < sum.size(); ++i)
    out[i] = static_cast<float>(sum[i] / members);
  return std::vector{std::move(out).done(datatype::fp32, common), one(datatype::int32, members)};
}

result<std::unique_ptr<instance>> make_threshold(const settings& s) {
  const auto above = s.number("above");
  return instance_of([above](std::span<const value> inputs, const run_context&) -> outputs {
    const auto& t = as_tensor(inputs[0]);
    const auto numbers = elements_of<float>(t);
    buffer<std::uint8_t> out{numbers.size()};
    for (std::size_t i = 0; i < numbers.size(); ++i)
      out[i] = numbers[i] > above;
    return std::vector{std::move(out).done(datatype::boolean, t.shape)};
  });
}

outputs first_present(std::span<const value> inputs) {
  for (std::size_t i = 0; i < inputs.size(); ++i)
    if (!inputs[i].absent())
      return std::vector{inputs[i], one(datatype::int32, static_cast<std::int32_t>(i))};
  return invalid("none of the inputs a, b, c, d is present");
}

std::vector<port> four_members(datatype type, const shape& s) {
  std::vector<port> ports;
  for (const auto* name : {"a", "b", "c", "d"})
    ports.push_back({name, type, s, false, true});
  return ports;
}

} // namespace

std::vector<builtin> tensor_builtins() {
  const port numbers{"x", datatype::fp32, {-1, -1}};
  const port one_number{"mean", datatype::fp32, {1}};
  constexpr std::string_view lowest = "-1e30";
  return {
      {.name = "argmax",
       .summary = "the place of the largest number along the last axis, and that number",
       .inputs = {numbers},
       .outputs = {{"index", datatype::int32, {-1}}, {"max", datatype::fp32, {-1}}},
       .parameters = {},
       .ports = signature::any_shape,
       .light = true,
       .make = make_plain<argmax>},
      {.name = "softmax",
       .summary = "probabilities along the last axis",
       .inputs = {numbers},
       .outputs = {{"y", datatype::fp32, {-1, -1}}},
       .parameters = {},
       .ports = signature::any_shape,
       .light = true,
       .make = make_plain<softmax>},
      {.name = "mean",
       .summary = "the mean of all numbers above a bound; 0 when there is none",
       .inputs = {numbers},
       .outputs = {one_number},
       .parameters = {{"above", parameter_kind::number, lowest, "numbers up to this one do not count"}},
       .ports = signature::any_shape,
       .light = true,
       .make = make_mean},
      {.name = "average",
       .summary = "the mean of up to four tensors of one shape, element by element, and how many there were",
       .inputs = four_members(datatype::fp32, {-1, -1}),
       .outputs = {{"y", datatype::fp32, {-1, -1}}, {"members", datatype::int32, {1}}},
       .parameters = {},
       .ports = signature::any_shape,
       .light = true,
       .make = make_plain<average>},
      {.name = "threshold",
       .summary = "whether each number is above a bound",
       .inputs = {{"x", datatype::fp32, {-1}}},
       .outputs = {{"y", datatype::boolean, {-1}}},
       .parameters = {{"above", parameter_kind::number, "0.5", "the bound"}},
       .ports = signature::any_shape,
       .light = true,
       .make = make_threshold},
      {.name = "first-present",
       .summary = "the first of its inputs that is present, and which one that was (0 = a)",
       .inputs = four_members(datatype::bytes, {-1}),
       .outputs = {{"value", datatype::bytes, {-1}}, {"which", datatype::int32, {1}}},
       .parameters = {},
       .ports = signature::any_type,
       .light = true,
       .make = make_plain<first_present>},
  };
}

} // namespace squall::functions::builtins::detail
