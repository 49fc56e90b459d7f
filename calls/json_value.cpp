// The JSON of functions::value: see json.hpp.
#include "calls/detail/base64.hpp"
#include "calls/json.hpp"

#include <array>
#include <bit>
#include <charconv>
#include <cstring>

namespace squall::calls {

namespace {

using functions::datatype;

float half_to_float(std::uint16_t h) {
  const std::uint32_t sign = static_cast<std::uint32_t>(h & 0x8000U) << 16;
  const std::uint32_t exponent = h >> 10 & 0x1fU;
  const std::uint32_t fraction = h & 0x3ffU;
  if (exponent == 0)
    return (sign != 0 ? -1.0F : 1.0F) * std::ldexp(static_cast<float>(fraction), -24);
  const std::uint32_t wide = exponent == 31 ? 255 : exponent + 112;
  return std::bit_cast<float>(sign | wide << 23 | fraction << 13);
}

/// Keeps the top `bits` of `x`, rounding what is cut off to nearest, ties to even.
std::uint32_t round_to_even(std::uint32_t x, int cut) {
  const std::uint32_t half = (1U << (cut - 1)) - 1;
  return (x + half + (x >> cut & 1U)) >> cut;
}

std::uint16_t float_to_half(float f) {
  const auto bits = std::bit_cast<std::uint32_t>(f);
  const auto sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000U);
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  if (magnitude > 0x7f800000U)
    return sign | 0x7e00U;
  if (magnitude >= 0x47800000U)
    return sign | 0x7c00U;
  if (magnitude < 0x38800000U) // a subnormal half: a whole number of 2^-24; nearbyint rounds ties to even
    return sign | static_cast<std::uint16_t>(std::nearbyint(std::ldexp(std::bit_cast<float>(magnitude), 24)));
  return sign | static_cast<std::uint16_t>(round_to_even(magnitude - 0x38000000U, 13));
}

std::uint16_t float_to_bf16(float f) {
  const auto bits = std::bit_cast<std::uint32_t>(f);
  if ((bits & 0x7fffffffU) > 0x7f800000U)
    return static_cast<std::uint16_t>(bits >> 16 | 0x40U);
  return static_cast<std::uint16_t>(round_to_even(bits, 16));
}

float bf16_to_float(std::uint16_t h) { return std::bit_cast<float>(static_cast<std::uint32_t>(h) << 16); }

/// The double whose shortest text is that of the float, so that 0.1F prints as 0.1.
double widen(float f) {
  if (!std::isfinite(f))
    return f;
  std::array<char, 32> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), f).ptr;
  double out = 0;
  std::from_chars(text.data(), end, out);
  return out;
}

template <class T>
T element_at(const functions::tensor& t, std::size_t index) {
  T out;
  std::memcpy(&out, t.data.data() + index * sizeof(T), sizeof(T));
  return out;
}

void write_element(json_writer& out, const functions::tensor& t, std::size_t i) {
  switch (t.type) {
    case datatype::boolean:
      return out.boolean(element_at<std::uint8_t>(t, i) != 0);
    case datatype::uint8:
      return out.number(std::uint64_t{element_at<std::uint8_t>(t, i)});
    case datatype::uint16:
      return out.number(std::uint64_t{element_at<std::uint16_t>(t, i)});
    case datatype::uint32:
      return out.number(std::uint64_t{element_at<std::uint32_t>(t, i)});
    case datatype::uint64:
      return out.number(element_at<std::uint64_t>(t, i));
    case datatype::int8:
      return out.number(std::int64_t{element_at<std::int8_t>(t, i)});
    case datatype::int16:
      return out.number(std::int64_t{element_at<std::int16_t>(t, i)});
    case datatype::int32:
      return out.number(std::int64_t{element_at<std::int32_t>(t, i)});
    case datatype::int64:
      return out.number(element_at<std::int64_t>(t, i));
    case datatype::fp16:
      return out.number(widen(half_to_float(element_at<std::uint16_t>(t, i))));
    case datatype::bf16:
      return out.number(widen(bf16_to_float(element_at<std::uint16_t>(t, i))));
    case datatype::fp32:
      return out.number(widen(element_at<float>(t, i)));
    case datatype::fp64:
      return out.number(element_at<double>(t, i));
    case datatype::bytes:
      return;
  }
}

/// A tensor whose data and shape disagree still prints: its shape, and the elements that are there.
void write_tensor(json_writer& out, const functions::tensor& t) {
  out.begin_object();
  out("datatype", t.type);
  out("shape", t.shape);
  out.key("data");
  out.begin_array();
  if (t.type == datatype::bytes) {
    if (const auto elements = functions::bytes_elements(t); elements.ok())
      for (const std::string_view element : *elements)
        out.string(element);
  } else if (const std::size_t size = functions::element_size(t.type); size > 0) {
    for (std::size_t i = 0; i < t.data.size() / size; ++i)
      write_element(out, t, i);
  }
  out.end_array();
  out.end_object();
}

/// Appends elements of a tensor, checked against its datatype.
class element_sink {
public:
  element_sink(datatype type, json_reader& errors) : type_(type), errors_(errors) {}

  void add(json_node node) {
    if (!errors_.ok())
      return;
    if (node.type() == json_node::kind::array) {
      for (std::size_t i = 0; i < node.size(); ++i)
        add(node.element(i));
      return;
    }
    ++count_;
    if (!append(node))
      errors_.fail("element " + std::to_string(count_ - 1) + " of its data is not a " + std::string{to_string(type_)});
  }

  [[nodiscard]] std::size_t count() const { return count_; }
  [[nodiscard]] std::string take() { return std::move(bytes_); }

private:
  bool append(json_node node) {
    switch (type_) {
      case datatype::boolean:
        return append_boolean(node);
      case datatype::uint8:
        return append_unsigned<std::uint8_t>(node);
      case datatype::uint16:
        return append_unsigned<std::uint16_t>(node);
      case datatype::uint32:
        return append_unsigned<std::uint32_t>(node);
      case datatype::uint64:
        return append_unsigned<std::uint64_t>(node);
      case datatype::int8:
        return append_signed<std::int8_t>(node);
      case datatype::int16:
        return append_signed<std::int16_t>(node);
      case datatype::int32:
        return append_signed<std::int32_t>(node);
      case datatype::int64:
        return append_signed<std::int64_t>(node);
      case datatype::fp16:
        return append_float(node, [](double n) { return float_to_half(static_cast<float>(n)); });
      case datatype::bf16:
        return append_float(node, [](double n) { return float_to_bf16(static_cast<float>(n)); });
      case datatype::fp32:
        return append_float(node, [](double n) { return static_cast<float>(n); });
      case datatype::fp64:
        return append_float(node, [](double n) { return n; });
      case datatype::bytes:
        return append_bytes(node);
    }
    return false;
  }

  template <class T>
  bool put(T v) {
    bytes_.append(reinterpret_cast<const char*>(&v), sizeof v);
    return true;
  }
  bool append_boolean(json_node node) {
    const auto b = node.as_boolean();
    return b && put(static_cast<std::uint8_t>(*b));
  }
  template <class T>
  bool append_unsigned(json_node node) {
    const auto n = node.as_uint64();
    return n && *n <= std::numeric_limits<T>::max() && put(static_cast<T>(*n));
  }
  template <class T>
  bool append_signed(json_node node) {
    const auto n = node.as_int64();
    return n && *n >= std::numeric_limits<T>::min() && *n <= std::numeric_limits<T>::max() && put(static_cast<T>(*n));
  }
  template <class F>
  bool append_float(json_node node, F&& narrow) {
    const auto n = node.as_double();
    return n && put(narrow(*n));
  }
  bool append_bytes(json_node node) {
    std::optional<std::string> decoded;
    auto text = node.as_string();
    if (!text && node.type() == json_node::kind::object && node.size() == 1 && node.member(0).first == "b64") {
      if (const auto code = node.member(0).second.as_string(); code && (decoded = detail::from_base64(*code)))
        text = *decoded;
    }
    if (!text || text->size() > std::numeric_limits<std::uint32_t>::max())
      return false;
    put(static_cast<std::uint32_t>(text->size()));
    bytes_ += *text;
    return true;
  }

  datatype type_;
  json_reader& errors_;
  std::string bytes_;
  std::size_t count_ = 0;
};

} // namespace

void json_writer::value(const functions::value& v) {
  if (v.absent())
    return null();
  if (const auto* t = v.as_tensor())
    return write_tensor(*this, *t);
  begin_array();
  for (const auto& element : *v.as_list())
    value(element);
  end_array();
}

void json_reader::read_value(functions::value& v) {
  v = {};
  if (node_.is_null())
    return;
  if (node_.type() == json_node::kind::array)
    return read_vector(v.data.emplace<functions::value_list>());
  if (node_.type() != json_node::kind::object)
    return expected("null, a list, or an object with datatype, shape and data");
  functions::tensor t;
  known_.clear();
  (*this)("datatype", t.type);
  (*this)("shape", t.shape);
  known_.emplace_back("data");
  const auto data = node_.find("data");
  if (ok() && (!node_.find("datatype") || !node_.find("shape") || !data))
    fail("a tensor needs datatype, shape and data");
  check_keys();
  if (!ok())
    return;
  element_sink sink{t.type, *this};
  sink.add(*data);
  if (!ok())
    return;
  const auto wanted = functions::element_count(t.shape);
  if (!wanted.ok())
    return fail(wanted.error().message);
  if (*wanted != sink.count())
    return fail("its shape " + functions::to_string(t.shape) + " has " + std::to_string(*wanted) +
                " elements, its data " + std::to_string(sink.count()));
  t.data = shared_bytes::take(sink.take());
  v.data = std::move(t);
}

} // namespace squall::calls
