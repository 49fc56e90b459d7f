#include "gateway/detail/tensor_json.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>

namespace squall::gateway::detail {

namespace {

using functions::datatype;

error bad_input(std::string_view input, const std::string& why, errc code = errc::invalid_argument) {
  return {code, "input '" + std::string{input} + "': " + why, {}};
}

// -- reading ----------------------------------------------------------------------------------------------------------

template <class T>
std::optional<T> whole_number(const calls::json_node& node) {
  if constexpr (std::is_signed_v<T>) {
    const auto n = node.as_int64();
    if (n && *n >= std::numeric_limits<T>::min() && *n <= std::numeric_limits<T>::max())
      return static_cast<T>(*n);
  } else {
    const auto n = node.as_uint64();
    if (n && *n <= std::numeric_limits<T>::max())
      return static_cast<T>(*n);
  }
  return std::nullopt;
}

template <class T>
std::optional<T> real_number(const calls::json_node& node) {
  if (const auto name = node.as_string()) {
    if (*name == "NaN")
      return std::numeric_limits<T>::quiet_NaN();
    if (*name == "Infinity" || *name == "-Infinity")
      return (*name)[0] == '-' ? -std::numeric_limits<T>::infinity() : std::numeric_limits<T>::infinity();
    return std::nullopt;
  }
  const auto n = node.as_double();
  if (!n || std::abs(*n) > static_cast<double>(std::numeric_limits<T>::max()))
    return std::nullopt;
  return static_cast<T>(*n);
}

std::optional<std::uint8_t> truth(const calls::json_node& node) {
  if (const auto b = node.as_boolean())
    return *b ? 1 : 0;
  const auto n = node.as_uint64();
  return n && *n <= 1 ? std::optional{static_cast<std::uint8_t>(*n)} : std::nullopt;
}

/// Appends the elements of (nested) data to the tensor's bytes.
class element_reader {
public:
  element_reader(std::string_view input, datatype type, const functions::shape& shape)
      : input_(input), type_(type), shape_(shape) {}

  result<std::vector<std::byte>> read(const calls::json_node& data, std::size_t count) {
    if (data.type() != calls::json_node::kind::array)
      return bad_input(input_, "'data' must be an array");
    count_ = count;
    const bool nested = data.size() > 0 && data.element(0).type() == calls::json_node::kind::array;
    if (!nested && data.size() != count)
      return wrong_count(data.size());
    bytes_.reserve(data.size() * functions::element_size(type_)); // what was sent, whatever the shape claims
    SQUALL_TRY(nested ? read_nested(data, 0) : read_flat(data));
    return std::move(bytes_);
  }

private:
  error wrong_count(std::size_t found) const {
    return bad_input(input_, "'data' has " + std::to_string(found) + " elements; shape " +
                                 functions::to_string(shape_) + " has " + std::to_string(count_));
  }

  result<> read_nested(const calls::json_node& data, std::size_t dimension) {
    if (dimension == shape_.size() || data.type() != calls::json_node::kind::array ||
        data.size() != static_cast<std::size_t>(shape_[dimension]))
      return bad_input(input_, "nested 'data' must follow shape " + functions::to_string(shape_) + "; dimension " +
                                   std::to_string(dimension) + " does not");
    if (dimension + 1 == shape_.size())
      return read_flat(data);
    for (std::size_t i = 0; i < data.size(); ++i)
      SQUALL_TRY(read_nested(data.element(i), dimension + 1));
    return {};
  }

  result<> read_flat(const calls::json_node& data) {
    switch (type_) {
      case datatype::boolean:
        return read_all(data, truth);
      case datatype::uint8:
        return read_all(data, whole_number<std::uint8_t>);
      case datatype::uint16:
        return read_all(data, whole_number<std::uint16_t>);
      case datatype::uint32:
        return read_all(data, whole_number<std::uint32_t>);
      case datatype::uint64:
        return read_all(data, whole_number<std::uint64_t>);
      case datatype::int8:
        return read_all(data, whole_number<std::int8_t>);
      case datatype::int16:
        return read_all(data, whole_number<std::int16_t>);
      case datatype::int32:
        return read_all(data, whole_number<std::int32_t>);
      case datatype::int64:
        return read_all(data, whole_number<std::int64_t>);
      case datatype::fp32:
        return read_all(data, real_number<float>);
      case datatype::fp64:
        return read_all(data, real_number<double>);
      case datatype::bytes:
        return read_texts(data);
      case datatype::fp16:
      case datatype::bf16:
        break;
    }
    return bad_input(input_, std::string{functions::to_string(type_)} + " has no form in JSON; send FP32",
                     errc::unsupported);
  }

  template <class Convert>
  result<> read_all(const calls::json_node& data, Convert convert) {
    for (std::size_t i = 0; i < data.size(); ++i) {
      const auto element = convert(data.element(i));
      if (!element)
        return wrong_element(i);
      append(&*element, sizeof *element);
    }
    return {};
  }

  result<> read_texts(const calls::json_node& data) {
    for (std::size_t i = 0; i < data.size(); ++i) {
      const auto text = data.element(i).as_string();
      if (!text)
        return wrong_element(i);
      const auto length = static_cast<std::uint32_t>(text->size());
      append(&length, sizeof length);
      append(text->data(), text->size());
    }
    return {};
  }

  error wrong_element(std::size_t index) const {
    return bad_input(
        input_, "element " + std::to_string(index) + " of 'data' is not a " + std::string{functions::to_string(type_)});
  }

  void append(const void* data, std::size_t size) {
    const auto* begin = static_cast<const std::byte*>(data);
    bytes_.insert(bytes_.end(), begin, begin + size);
  }

  const std::string_view input_;
  const datatype type_;
  const functions::shape& shape_;
  std::size_t count_ = 0;
  std::vector<std::byte> bytes_;
};

result<functions::shape> read_shape(std::string_view input, const calls::json_node& node) {
  const auto field = node.find("shape");
  if (!field || field->type() != calls::json_node::kind::array)
    return bad_input(input, "'shape' must be an array of whole numbers");
  functions::shape out;
  for (std::size_t i = 0; i < field->size(); ++i) {
    const auto extent = field->element(i).as_int64();
    if (!extent || *extent < 0)
      return bad_input(input, "'shape' must be an array of whole numbers that are not negative");
    out.push_back(*extent);
  }
  return out;
}

/// What other servers take and this one does not.
result<> check_place(std::string_view input, const calls::json_node& node) {
  const auto parameters = node.find("parameters");
  if (!parameters)
    return {};
  for (const char* other : {"binary_data_size", "shared_memory_region"}) {
    if (parameters->find(other))
      return bad_input(input, "'" + std::string{other} + "' is not supported; send the elements as 'data'",
                       errc::unsupported);
  }
  return {};
}

// -- writing ----------------------------------------------------------------------------------------------------------

template <class T>
void put_real(json_out& out, T number) {
  if (!std::isfinite(number))
    return static_cast<void>(put(out, std::isnan(number) ? "NaN" : number > 0 ? "Infinity" : "-Infinity"));
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), number).ptr;
  out.RawValue(text.data(), static_cast<std::size_t>(end - text.data()), rapidjson::kNumberType);
}

template <class T>
void put_elements(json_out& out, const functions::tensor& t) {
  // Read by copy: a tensor's bytes need not be aligned for T.
  for (std::size_t at = 0; at + sizeof(T) <= t.data.size(); at += sizeof(T)) {
    T element;
    std::memcpy(&element, t.data.data() + at, sizeof element);
    if constexpr (std::is_floating_point_v<T>)
      put_real(out, element);
    else if constexpr (std::is_signed_v<T>)
      out.Int64(element);
    else
      out.Uint64(element);
  }
}

result<> put_texts(json_out& out, std::string_view output, const functions::tensor& t) {
  SQUALL_ASSIGN(elements, functions::bytes_elements(t));
  for (const std::string_view element : elements) {
    if (!put(out, element))
      return {errc::unsupported,
              "output '" + std::string{output} + "' holds bytes that are not UTF-8, which JSON cannot carry"};
  }
  return {};
}

result<> put_data(json_out& out, std::string_view output, const functions::tensor& t) {
  switch (t.type) {
    case datatype::boolean:
      for (const std::byte b : t.data.span())
        out.Bool(b != std::byte{0});
      return {};
    case datatype::uint8:
      return put_elements<std::uint8_t>(out, t), result<>{};
    case datatype::uint16:
      return put_elements<std::uint16_t>(out, t), result<>{};
    case datatype::uint32:
      return put_elements<std::uint32_t>(out, t), result<>{};
    case datatype::uint64:
      return put_elements<std::uint64_t>(out, t), result<>{};
    case datatype::int8:
      return put_elements<std::int8_t>(out, t), result<>{};
    case datatype::int16:
      return put_elements<std::int16_t>(out, t), result<>{};
    case datatype::int32:
      return put_elements<std::int32_t>(out, t), result<>{};
    case datatype::int64:
      return put_elements<std::int64_t>(out, t), result<>{};
    case datatype::fp32:
      return put_elements<float>(out, t), result<>{};
    case datatype::fp64:
      return put_elements<double>(out, t), result<>{};
    case datatype::bytes:
      return put_texts(out, output, t);
    case datatype::fp16:
    case datatype::bf16:
      break;
  }
  return {errc::unsupported, "output '" + std::string{output} + "' is " + std::string{functions::to_string(t.type)} +
                                 ", which has no form in JSON; leave it out of 'outputs'"};
}

} // namespace

result<functions::tensor> read_tensor(std::string_view input, const calls::json_node& node) {
  const auto name = node.find("datatype");
  const auto text = name ? name->as_string() : std::nullopt;
  if (!text)
    return bad_input(input, "'datatype' is missing");
  const auto type = functions::datatype_from_string(*text);
  if (!type)
    return bad_input(input, "there is no datatype '" + std::string{*text} + "'");
  SQUALL_ASSIGN(shape, read_shape(input, node));
  SQUALL_TRY(check_place(input, node));
  const auto data = node.find("data");
  if (!data)
    return bad_input(input, "'data' is missing");
  auto count = functions::element_count(shape);
  if (!count.ok())
    return bad_input(input, count.error().message);
  SQUALL_ASSIGN(bytes, (element_reader{input, *type, shape}.read(*data, *count)));
  return functions::tensor{*type, std::move(shape), shared_bytes::take(std::move(bytes))};
}

result<> write_tensor(json_out& out, std::string_view output, const functions::tensor& t) {
  out.Key("datatype");
  put(out, functions::to_string(t.type));
  out.Key("shape");
  out.StartArray();
  for (const std::int64_t extent : t.shape)
    out.Int64(extent);
  out.EndArray();
  out.Key("data");
  out.StartArray();
  SQUALL_TRY(put_data(out, output, t));
  out.EndArray();
  return {};
}

bool put(json_out& out, std::string_view text) {
  return out.String(text.data(), static_cast<rapidjson::SizeType>(text.size()));
}

} // namespace squall::gateway::detail
