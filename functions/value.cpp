#include "functions/value.hpp"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace squall::functions {

namespace {

static_assert(std::endian::native == std::endian::little, "tensors are little-endian and are read in place");

struct datatype_row {
  datatype type;
  std::string_view name;
  std::size_t size;
};

constexpr std::array<datatype_row, 14> datatypes{{
    {datatype::boolean, "BOOL", 1},
    {datatype::uint8, "UINT8", 1},
    {datatype::uint16, "UINT16", 2},
    {datatype::uint32, "UINT32", 4},
    {datatype::uint64, "UINT64", 8},
    {datatype::int8, "INT8", 1},
    {datatype::int16, "INT16", 2},
    {datatype::int32, "INT32", 4},
    {datatype::int64, "INT64", 8},
    {datatype::fp16, "FP16", 2},
    {datatype::bf16, "BF16", 2},
    {datatype::fp32, "FP32", 4},
    {datatype::fp64, "FP64", 8},
    {datatype::bytes, "BYTES", 0},
}};

const datatype_row* find_row(datatype type) {
  const auto index = static_cast<std::size_t>(type) - 1; // the numbers begin at 1; 0 wraps round and is refused
  return index < datatypes.size() ? &datatypes[index] : nullptr;
}

constexpr std::size_t most_elements = std::size_t{1} << 48;

template <class T>
T read_as(const std::byte* at) {
  T out;
  std::memcpy(&out, at, sizeof out);
  return out;
}

double half_to_double(std::uint16_t bits) {
  const int exponent = (bits >> 10) & 0x1f;
  const double fraction = bits & 0x3ff;
  double magnitude = 0;
  if (exponent == 0)
    magnitude = std::ldexp(fraction, -24);
  else if (exponent < 31)
    magnitude = std::ldexp(fraction + 1024, exponent - 25);
  else
    magnitude = fraction == 0 ? std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
  return bits & 0x8000 ? -magnitude : magnitude;
}

template <class T>
value scalar_of(datatype type, T number) {
  return {tensor{type, {1}, shared_bytes::copy_of(&number, sizeof number)}};
}

} // namespace

std::string_view to_string(datatype type) {
  const auto* row = find_row(type);
  return row ? row->name : "unknown datatype";
}

std::optional<datatype> datatype_from_string(std::string_view name) {
  for (const auto& row : datatypes)
    if (row.name == name)
      return row.type;
  return std::nullopt;
}

std::size_t element_size(datatype type) {
  const auto* row = find_row(type);
  return row ? row->size : 0;
}

std::string to_string(const shape& s) {
  std::string out = "[";
  for (std::size_t i = 0; i < s.size(); ++i)
    out += (i ? "," : "") + std::to_string(s[i]);
  return out + "]";
}

result<std::size_t> element_count(const shape& s) {
  std::size_t count = 1;
  bool empty = false; // a zero must not hide an extent that is out of range
  for (const auto extent : s) {
    if (extent < 0)
      return {errc::invalid_argument, "shape " + to_string(s) + " has a negative extent; a value needs every extent"};
    if (extent == 0) {
      empty = true;
      continue;
    }
    if (static_cast<std::uint64_t>(extent) > most_elements / count)
      return {errc::too_large, "shape " + to_string(s) + " has more than 2^48 elements"};
    count *= static_cast<std::size_t>(extent);
  }
  return empty ? 0 : count;
}

result<> validate(const tensor& t) {
  if (!find_row(t.type))
    return {errc::invalid_argument, "datatype number " + std::to_string(static_cast<int>(t.type)) + " is unknown"};
  if (t.type == datatype::bytes) {
    SQUALL_TRY(bytes_elements(t));
    return {};
  }
  SQUALL_ASSIGN(count, element_count(t.shape));
  const auto wanted = count * element_size(t.type);
  if (t.data.size() != wanted)
    return {errc::invalid_argument, std::string{to_string(t.type)} + " " + to_string(t.shape) + " needs " +
                                        std::to_string(wanted) + " bytes, but there are " +
                                        std::to_string(t.data.size())};
  return {};
}

std::size_t value::byte_size() const {
  if (const auto* t = as_tensor())
    return t->data.size();
  std::size_t total = 0;
  if (const auto* list = as_list())
    for (const auto& element : *list)
      total += element.byte_size();
  return total;
}

value scalar_value(double number) { return scalar_of(datatype::fp64, number); }
value scalar_value(std::int64_t number) { return scalar_of(datatype::int64, number); }
value scalar_value(bool flag) { return scalar_of(datatype::boolean, static_cast<std::uint8_t>(flag)); }
value scalar_value(std::string_view text) { return {bytes_tensor({text})}; }

tensor bytes_tensor(const std::vector<std::string_view>& elements) {
  std::string data;
  for (const auto element : elements) {
    SQUALL_CHECK(element.size() <= std::numeric_limits<std::uint32_t>::max(), element.size());
    const auto length = static_cast<std::uint32_t>(element.size());
    data.append(reinterpret_cast<const char*>(&length), sizeof length);
    data.append(element);
  }
  return {datatype::bytes, {static_cast<std::int64_t>(elements.size())}, shared_bytes::take(std::move(data))};
}

result<std::vector<std::string_view>> bytes_elements(const tensor& t) {
  if (t.type != datatype::bytes)
    return {errc::invalid_argument, "expected BYTES, got " + std::string{to_string(t.type)}};
  SQUALL_ASSIGN(count, element_count(t.shape));
  auto rest = t.data.text();
  // Before reserving: the count comes from a stranger, and each element takes four bytes at least.
  if (count > rest.size() / sizeof(std::uint32_t))
    return {errc::invalid_argument,
            "BYTES " + to_string(t.shape) + " does not fit in " + std::to_string(rest.size()) + " bytes"};
  std::vector<std::string_view> elements;
  elements.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    std::uint32_t length = 0;
    if (rest.size() >= sizeof length)
      std::memcpy(&length, rest.data(), sizeof length);
    if (rest.size() < sizeof length || rest.size() - sizeof length < length)
      return {errc::invalid_argument,
              "BYTES element " + std::to_string(i) + " of " + std::to_string(count) + " runs past the end of the data"};
    elements.push_back(rest.substr(sizeof length, length));
    rest.remove_prefix(sizeof length + length);
  }
  if (!rest.empty())
    return {errc::invalid_argument,
            "BYTES " + to_string(t.shape) + " has " + std::to_string(rest.size()) + " bytes after its last element"};
  return elements;
}

result<double> number_at(const tensor& t, std::size_t index) {
  const auto size = element_size(t.type);
  if (size == 0)
    return {errc::invalid_argument, "expected a number, got " + std::string{to_string(t.type)}};
  if (t.data.size() / size <= index)
    return {errc::invalid_argument,
            std::string{to_string(t.type)} + " " + to_string(t.shape) + " has no element " + std::to_string(index)};
  const auto* at = t.data.data() + index * size;
  switch (t.type) {
    case datatype::boolean:
      return read_as<std::uint8_t>(at) ? 1.0 : 0.0;
    case datatype::uint8:
      return read_as<std::uint8_t>(at);
    case datatype::uint16:
      return read_as<std::uint16_t>(at);
    case datatype::uint32:
      return read_as<std::uint32_t>(at);
    case datatype::uint64:
      return static_cast<double>(read_as<std::uint64_t>(at));
    case datatype::int8:
      return read_as<std::int8_t>(at);
    case datatype::int16:
      return read_as<std::int16_t>(at);
    case datatype::int32:
      return read_as<std::int32_t>(at);
    case datatype::int64:
      return static_cast<double>(read_as<std::int64_t>(at));
    case datatype::fp16:
      return half_to_double(read_as<std::uint16_t>(at));
    case datatype::bf16:
      return std::bit_cast<float>(static_cast<std::uint32_t>(read_as<std::uint16_t>(at)) << 16);
    case datatype::fp32:
      return read_as<float>(at);
    case datatype::fp64:
      return read_as<double>(at);
    case datatype::bytes:
      break;
  }
  return {errc::invalid_argument, "expected a number, got " + std::string{to_string(t.type)}};
}

result<double> first_number(const value& v) {
  const auto* t = v.as_tensor();
  if (!t)
    return {errc::invalid_argument, v.absent() ? "expected a number, got nothing" : "expected a number, got a list"};
  return number_at(*t, 0);
}

result<std::string_view> first_text(const value& v) {
  const auto* t = v.as_tensor();
  if (!t)
    return {errc::invalid_argument, v.absent() ? "expected a text, got nothing" : "expected a text, got a list"};
  SQUALL_ASSIGN(elements, bytes_elements(*t));
  if (elements.empty())
    return {errc::invalid_argument, "expected a text, got BYTES " + to_string(t->shape)};
  return elements.front();
}

} // namespace squall::functions
