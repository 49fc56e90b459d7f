#include "wire/detail/encoder.hpp"

#include <algorithm>
#include <limits>

namespace squall::wire::detail {

void header_writer::integer(std::int64_t v) {
  const auto bits = static_cast<std::uint64_t>(v);
  if (v >= 0)
    natural(bits);
  else if (v >= -32)
    mark(static_cast<std::uint8_t>(v));
  else if (v >= std::numeric_limits<std::int8_t>::min())
    put<2>(0xd0, bits);
  else if (v >= std::numeric_limits<std::int16_t>::min())
    put<3>(0xd1, bits);
  else if (v >= std::numeric_limits<std::int32_t>::min())
    put<5>(0xd2, bits);
  else
    put<9>(0xd3, bits);
}

void header_writer::real(double v) {
  if (v >= 0 && v < 0x1p64 && v == static_cast<double>(static_cast<std::uint64_t>(v)))
    return natural(static_cast<std::uint64_t>(v));
  if (v < 0 && v >= -0x1p63 && v == static_cast<double>(static_cast<std::int64_t>(v)))
    return integer(static_cast<std::int64_t>(v));
  put<9>(0xcb, std::bit_cast<std::uint64_t>(v));
}

void header_writer::large_natural(std::uint64_t v) {
  if (v <= std::numeric_limits<std::uint8_t>::max())
    put<2>(0xcc, v);
  else if (v <= std::numeric_limits<std::uint16_t>::max())
    put<3>(0xcd, v);
  else if (v <= std::numeric_limits<std::uint32_t>::max())
    put<5>(0xce, v);
  else
    put<9>(0xcf, v);
}

void header_writer::sized(std::uint8_t first, std::size_t count) {
  if (count <= std::numeric_limits<std::uint16_t>::max())
    put<3>(first, count);
  else
    put<5>(first + 1, count);
}

void header_writer::text(std::string_view v) {
  if (v.size() < 32)
    mark(static_cast<std::uint8_t>(0xa0 | v.size()));
  else if (v.size() <= std::numeric_limits<std::uint8_t>::max())
    put<2>(0xd9, v.size());
  else
    sized(0xda, v.size());
  std::copy(v.begin(), v.end(), room(v.size()));
  size_ += v.size();
}

void header_writer::grow(std::size_t more) {
  const std::size_t capacity = std::max(capacity_ * 2, size_ + more);
  std::vector<char> larger(capacity);
  std::copy_n(data_, size_, larger.data());
  large_ = std::move(larger);
  data_ = large_.data();
  capacity_ = capacity;
}

void encoder::put_value(const functions::value& v) {
  if (const auto* t = v.as_tensor()) {
    put_tensor(*t);
  } else if (const auto* list = v.as_list()) {
    out_.array(2);
    out_.natural(0);
    out_.array(list->size());
    for (const auto& element : *list)
      put_value(element);
  } else {
    out_.nil();
  }
}

void encoder::put_tensor(const functions::tensor& t) {
  out_.array(3);
  put(t.type);
  put(t.shape);
  if (t.data.empty()) {
    out_.nil();
    return;
  }
  if (options_.local != nullptr) {
    if (const auto ref = options_.local->locate(t.data)) {
      put(*ref);
      return;
    }
  }
  out_.natural(payloads_.size());
  payloads_.push_back(t.data);
}

} // namespace squall::wire::detail
