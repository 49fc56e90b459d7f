#include "functions/detail/binder.hpp"

#include <cmath>
#include <limits>

namespace squall::functions::detail {

namespace {

/// Appends `number` as a T; false when T cannot hold it. Reals are rounded to T, but do not become infinite.
template <class T>
bool append(double number, std::string& out) {
  if constexpr (std::is_integral_v<T>) {
    // 2^digits is the first number past the range and is exact as a double; max() itself is not for 64 bits.
    const double past = std::ldexp(1.0, std::numeric_limits<T>::digits);
    if (number != std::trunc(number) || number >= past ||
        number < static_cast<double>(std::numeric_limits<T>::lowest()))
      return false;
  } else if (std::isfinite(number) && std::abs(number) > static_cast<double>(std::numeric_limits<T>::max())) {
    return false;
  }
  const auto converted = static_cast<T>(number);
  out.append(reinterpret_cast<const char*>(&converted), sizeof converted);
  return true;
}

bool append_as(datatype type, double number, std::string& out) {
  switch (type) {
    case datatype::uint8:
      return append<std::uint8_t>(number, out);
    case datatype::uint16:
      return append<std::uint16_t>(number, out);
    case datatype::uint32:
      return append<std::uint32_t>(number, out);
    case datatype::uint64:
      return append<std::uint64_t>(number, out);
    case datatype::int8:
      return append<std::int8_t>(number, out);
    case datatype::int16:
      return append<std::int16_t>(number, out);
    case datatype::int32:
      return append<std::int32_t>(number, out);
    case datatype::int64:
      return append<std::int64_t>(number, out);
    case datatype::fp32:
      return append<float>(number, out);
    case datatype::fp64:
      return append<double>(number, out);
    default:
      return false; // BOOL and BYTES are other things than numbers; 16-bit reals are not written by hand
  }
}

/// A lone element may stand for a tensor of any rank with one element.
shape shape_for(const tensor& t, const port& p) {
  if (t.shape != shape{1} || p.shape.size() == 1)
    return t.shape;
  for (const auto extent : p.shape)
    if (extent != 1 && extent != -1)
      return t.shape;
  return shape(p.shape.size(), 1);
}

} // namespace

value fit_constant(const value& constant, const port& p) {
  if (const auto* list = constant.as_list()) {
    value_list fitted;
    for (const auto& element : *list)
      fitted.push_back(fit_constant(element, p));
    return {std::move(fitted)};
  }
  const auto* t = constant.as_tensor();
  if (!t || !validate(*t).ok())
    return constant;
  const bool number = t->type == datatype::int64 || t->type == datatype::fp64;
  if (t->type != p.type && !number)
    return constant;
  tensor out = *t;
  out.shape = shape_for(*t, p);
  if (t->type == p.type)
    return {std::move(out)};
  std::string data;
  const auto count = t->data.size() / element_size(t->type);
  for (std::size_t i = 0; i < count; ++i)
    if (!append_as(p.type, number_at(*t, i).value(), data))
      return constant;
  out.type = p.type;
  out.data = shared_bytes::take(std::move(data));
  return {std::move(out)};
}

} // namespace squall::functions::detail
