#pragma once

#include "base/bytes.hpp"
#include "base/fields.hpp"
#include "base/result.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace squall::functions {

/// Element types of the Open Inference Protocol. The numbers are part of the wire protocol.
enum class datatype : std::uint8_t {
  boolean = 1, ///< BOOL, one byte
  uint8 = 2,
  uint16 = 3,
  uint32 = 4,
  uint64 = 5,
  int8 = 6,
  int16 = 7,
  int32 = 8,
  int64 = 9,
  fp16 = 10,
  bf16 = 11,
  fp32 = 12,
  fp64 = 13,
  bytes = 14, ///< BYTES: each element is a 4-byte little-endian length and that many bytes
};

/// The protocol's name, for example "FP32".
[[nodiscard]] std::string_view to_string(datatype type);
[[nodiscard]] std::optional<datatype> datatype_from_string(std::string_view name);
/// Bytes per element; 0 for BYTES, whose elements vary.
[[nodiscard]] std::size_t element_size(datatype type);

/// Extents, outermost first. In a signature -1 is a free dimension.
using shape = std::vector<std::int64_t>;

/// "[1,3,48,-1]".
[[nodiscard]] std::string to_string(const shape& s);
/// The product of the extents (1 for a scalar); an error if one is negative or the product passes 2^48.
[[nodiscard]] result<std::size_t> element_count(const shape& s);

/// A dense row-major array, little-endian. Immutable; copies share the data.
struct tensor {
  datatype type = datatype::fp32;
  functions::shape shape;
  shared_bytes data;

  friend bool operator==(const tensor&, const tensor&) = default;
};

/// Checks that data and shape agree (for BYTES: that the length prefixes end exactly at the end). Linear for BYTES,
/// else constant.
[[nodiscard]] result<> validate(const tensor& t);

struct value;

/// The results of a map, in the order of the mapped elements; an element that was skipped is absent.
using value_list = std::vector<value>;

/// What flows along an edge: nothing (a skipped stage), a tensor, or a list of values.
struct value {
  std::variant<std::monostate, tensor, value_list> data;

  [[nodiscard]] bool absent() const { return data.index() == 0; }
  [[nodiscard]] const tensor* as_tensor() const { return std::get_if<tensor>(&data); }
  [[nodiscard]] const value_list* as_list() const { return std::get_if<value_list>(&data); }
  /// Bytes of all tensors in it.
  [[nodiscard]] std::size_t byte_size() const;

  friend bool operator==(const value&, const value&) = default;
};

/// A value with the name of the port that it belongs to.
struct named_value {
  std::string name;
  functions::value value;

  friend bool operator==(const named_value&, const named_value&) = default;
};

/// Tensors of one element, shape [1].
[[nodiscard]] value scalar_value(double number);
[[nodiscard]] value scalar_value(std::int64_t number);
[[nodiscard]] value scalar_value(bool flag);
[[nodiscard]] value scalar_value(std::string_view text);
/// Without these two a literal would become a bool, and an int would be ambiguous.
[[nodiscard]] inline value scalar_value(const char* text) { return scalar_value(std::string_view{text}); }
[[nodiscard]] inline value scalar_value(int number) { return scalar_value(std::int64_t{number}); }

/// A BYTES tensor of shape [n].
[[nodiscard]] tensor bytes_tensor(const std::vector<std::string_view>& elements);
/// The elements of a BYTES tensor as views into it; an error if it is not a valid one.
[[nodiscard]] result<std::vector<std::string_view>> bytes_elements(const tensor& t);

/// A tensor over a copy of `numbers`; T is the C++ type of the elements (bool not included).
template <class T>
[[nodiscard]] tensor tensor_of(datatype type, functions::shape s, const std::vector<T>& numbers) {
  return {type, std::move(s), shared_bytes::copy_of(numbers.data(), numbers.size() * sizeof(T))};
}

/// The elements as T; sizes must match (checked), and the data must be aligned for T. The tensor must outlive the span.
template <class T>
[[nodiscard]] std::span<const T> elements_of(const tensor& t) {
  SQUALL_CHECK(t.data.size() % sizeof(T) == 0, t.data.size(), sizeof(T));
  return {reinterpret_cast<const T*>(t.data.data()), t.data.size() / sizeof(T)};
}

/// The element at `index` as a number; BYTES and an index past the end are errors. 64-bit integers are rounded to the
/// nearest double.
[[nodiscard]] result<double> number_at(const tensor& t, std::size_t index);
/// The first element as a number, for predicates: numeric tensors of at least one element.
[[nodiscard]] result<double> first_number(const value& v);
/// The first element as text: BYTES tensors of at least one element.
[[nodiscard]] result<std::string_view> first_text(const value& v);

} // namespace squall::functions
