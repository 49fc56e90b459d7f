#pragma once

#include "functions/native.h"

#include <cstring>
#include <exception>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

/// Native functions in C++ (functions/native.h underneath): a function of a lambda, once for each item.
///
///   SQUALL_NATIVE_FUNCTION(
///       ({{"x", SQUALL_FP32, {-1}}}),
///       ({{"y", SQUALL_FP32, {-1}}}),
///       [](squall::native::item& item) {
///         const auto x = item.input<float>(0);
///         const auto y = item.output<float>(0, {std::ssize(x)});
///         for (std::size_t i = 0; i < x.size(); ++i)
///           y[i] = 2 * x[i];
///       })
///
/// An exception fails the item with its text. Needs nothing but this header and native.h, and the standard library.
namespace squall::native {

/// What a function may throw to say why an item failed. Any other exception does, too.
class failure : public std::runtime_error {
public:
  using std::runtime_error::runtime_error;
};

template <class T>
inline constexpr int32_t datatype_of = 0;
template <>
inline constexpr int32_t datatype_of<bool> = SQUALL_BOOL;
template <>
inline constexpr int32_t datatype_of<std::uint8_t> = SQUALL_UINT8;
template <>
inline constexpr int32_t datatype_of<std::uint16_t> = SQUALL_UINT16;
template <>
inline constexpr int32_t datatype_of<std::uint32_t> = SQUALL_UINT32;
template <>
inline constexpr int32_t datatype_of<std::uint64_t> = SQUALL_UINT64;
template <>
inline constexpr int32_t datatype_of<std::int8_t> = SQUALL_INT8;
template <>
inline constexpr int32_t datatype_of<std::int16_t> = SQUALL_INT16;
template <>
inline constexpr int32_t datatype_of<std::int32_t> = SQUALL_INT32;
template <>
inline constexpr int32_t datatype_of<std::int64_t> = SQUALL_INT64;
template <>
inline constexpr int32_t datatype_of<float> = SQUALL_FP32;
template <>
inline constexpr int32_t datatype_of<double> = SQUALL_FP64;

struct port {
  std::string name;
  int32_t datatype = SQUALL_FP32;
  std::vector<std::int64_t> shape; ///< -1: any extent
  bool list = false;
  bool optional = false;
};
using ports = std::vector<port>;

/// The elements of a tensor; throws when they are of another type.
template <class T>
[[nodiscard]] std::span<const T> elements(const squall_value& v) {
  static_assert(datatype_of<T> != 0, "no datatype has elements of this type");
  if (v.kind != SQUALL_TENSOR || v.datatype != datatype_of<T>)
    throw failure("a value is not a tensor of the type that the function reads");
  return {static_cast<const T*>(v.data), v.size / sizeof(T)};
}

/// The elements of a BYTES tensor; throws when it is none.
[[nodiscard]] inline std::vector<std::string_view> texts(const squall_value& v) {
  if (v.kind != SQUALL_TENSOR || v.datatype != SQUALL_BYTES)
    throw failure("a value is not a BYTES tensor");
  std::vector<std::string_view> out;
  const auto* at = static_cast<const char*>(v.data);
  for (std::size_t left = v.size; left >= 4;) {
    std::uint32_t size = 0;
    std::memcpy(&size, at, 4);
    out.emplace_back(at + 4, size);
    at += 4 + size;
    left -= 4 + size;
  }
  return out;
}

/// One item of a batch while it runs.
class item {
public:
  item(squall_context* context, std::uint32_t index, std::span<const squall_value> inputs)
      : context_(context), index_(index), inputs_(inputs) {}

  [[nodiscard]] const squall_value& input(std::size_t port) const {
    if (port >= inputs_.size())
      throw failure("there is no input " + std::to_string(port));
    return inputs_[port];
  }
  template <class T>
  [[nodiscard]] std::span<const T> input(std::size_t port) const {
    return elements<T>(input(port));
  }
  [[nodiscard]] bool has_input(std::size_t port) const { return input(port).kind != SQUALL_ABSENT; }

  /// Memory of a new output, to be filled.
  template <class T>
  [[nodiscard]] std::span<T> output(std::uint32_t port, const std::vector<std::int64_t>& shape) {
    static_assert(datatype_of<T> != 0, "no datatype has elements of this type");
    std::size_t count = 1;
    for (const auto extent : shape)
      count *= static_cast<std::size_t>(extent);
    return {static_cast<T*>(raw_output(port, datatype_of<T>, shape, count * sizeof(T))), count};
  }
  /// A BYTES tensor of shape [n].
  void output_texts(std::uint32_t port, const std::vector<std::string_view>& elements) {
    std::size_t size = 0;
    for (const auto& e : elements)
      size += 4 + e.size();
    auto* at = static_cast<char*>(raw_output(port, SQUALL_BYTES, {static_cast<std::int64_t>(elements.size())}, size));
    for (const auto& e : elements) {
      const auto length = static_cast<std::uint32_t>(e.size());
      std::memcpy(at, &length, 4);
      if (!e.empty())
        std::memcpy(at + 4, e.data(), e.size());
      at += 4 + e.size();
    }
  }
  /// Sends the outputs so far as a partial result.
  void emit() { check(context_->emit(context_, index_)); }

  void log(const std::string& text, int32_t level = 1) { context_->log(context_, level, text.c_str()); }
  [[nodiscard]] bool cancelled() const { return context_->cancelled(context_) != 0; }
  [[nodiscard]] std::int64_t time_left_ns() const { return context_->time_left(context_); }

  /// Empty when there is no such key.
  [[nodiscard]] std::string get(const std::string& key) {
    const void* data = nullptr;
    std::size_t size = 0;
    const auto status = context_->get(context_, key.c_str(), &data, &size);
    if (status == SQUALL_NOT_FOUND)
      return {};
    check(status);
    return {static_cast<const char*>(data), size};
  }
  void put(const std::string& key, std::string_view value) {
    check(context_->put(context_, key.c_str(), value.data(), value.size()));
  }

  /// Runs a function or a DAG. The outputs are valid until the function returns.
  [[nodiscard]] std::span<const squall_named_value> call(const std::string& target,
                                                         const std::vector<squall_named_value>& inputs,
                                                         std::uint32_t version = 0) {
    const squall_named_value* outputs = nullptr;
    std::size_t count = 0;
    check(context_->call(context_, index_, target.c_str(), version, inputs.data(), inputs.size(), &outputs, &count));
    return {outputs, count};
  }

private:
  void check(int32_t status) const {
    if (status != SQUALL_OK)
      throw failure(context_->problem(context_));
  }
  void* raw_output(std::uint32_t port, int32_t datatype, const std::vector<std::int64_t>& shape, std::size_t size) {
    void* place = context_->output(context_, index_, port, datatype, static_cast<std::uint32_t>(shape.size()),
                                   shape.data(), size);
    if (place == nullptr)
      throw failure(context_->problem(context_));
    return place;
  }

  squall_context* context_;
  std::uint32_t index_;
  std::span<const squall_value> inputs_;
};

namespace detail {

inline std::vector<squall_port> flat(const ports& given) {
  std::vector<squall_port> out;
  for (const auto& p : given)
    out.push_back({p.name.c_str(), p.datatype, static_cast<std::uint32_t>(p.shape.size()), p.shape.data(),
                   p.list ? 1 : 0, p.optional ? 1 : 0});
  return out;
}

/// Runs `body` for each item; what it throws fails that item.
template <class Body>
int32_t run_items(Body& body, squall_context* context, const squall_batch* batch) {
  for (std::uint32_t i = 0; i < batch->items; ++i) {
    item one{context, i, {batch->inputs + std::size_t{i} * batch->input_count, batch->input_count}};
    try {
      body(one);
    } catch (const std::exception& e) {
      context->fail(context, i, e.what());
    } catch (...) {
      context->fail(context, i, "something was thrown that is no std::exception");
    }
  }
  return SQUALL_OK;
}

} // namespace detail

} // namespace squall::native

/// The export of a library whose function is `...`, a callable that takes squall::native::item&. The ports stand in
/// parentheses.
#define SQUALL_NATIVE_FUNCTION(input_ports, output_ports, ...)                                                         \
  extern "C" const squall_native_function* squall_function(void) {                                                     \
    static auto body = __VA_ARGS__;                                                                                    \
    static const auto inputs = squall::native::ports input_ports;                                                      \
    static const auto outputs = squall::native::ports output_ports;                                                    \
    static const auto flat_inputs = squall::native::detail::flat(inputs);                                              \
    static const auto flat_outputs = squall::native::detail::flat(outputs);                                            \
    static const squall_description description{"", flat_inputs.data(), flat_inputs.size(), flat_outputs.data(),       \
                                                flat_outputs.size()};                                                  \
    static const squall_native_function function{                                                                      \
        SQUALL_NATIVE_VERSION, []() -> const squall_description* { return &description; }, nullptr,                    \
        [](void*, squall_context* context, const squall_batch* batch) -> int32_t {                                     \
          return squall::native::detail::run_items(body, context, batch);                                              \
        },                                                                                                             \
        nullptr};                                                                                                      \
    return &function;                                                                                                  \
  }
