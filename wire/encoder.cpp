#include "wire/detail/encoder.hpp"

#include <algorithm>

namespace squall::wire::detail {

void header_buffer::grow(std::size_t more) {
  const std::size_t capacity = std::max(capacity_ * 2, size_ + more);
  std::vector<char> larger(capacity);
  std::memcpy(larger.data(), data_, size_);
  large_ = std::move(larger);
  data_ = large_.data();
  capacity_ = capacity;
}

void encoder::put_text(std::string_view text) {
  packer_.pack_str(static_cast<std::uint32_t>(text.size()));
  packer_.pack_str_body(text.data(), static_cast<std::uint32_t>(text.size()));
}

void encoder::put_value(const functions::value& v) {
  if (const auto* t = v.as_tensor()) {
    put_tensor(*t);
  } else if (const auto* list = v.as_list()) {
    packer_.pack_array(2);
    packer_.pack_uint8(0);
    packer_.pack_array(static_cast<std::uint32_t>(list->size()));
    for (const auto& element : *list)
      put_value(element);
  } else {
    packer_.pack_nil();
  }
}

void encoder::put_tensor(const functions::tensor& t) {
  packer_.pack_array(3);
  put(t.type);
  put(t.shape);
  if (t.data.empty()) {
    packer_.pack_nil();
    return;
  }
  if (options_.local != nullptr) {
    if (const auto ref = options_.local->locate(t.data)) {
      put(*ref);
      return;
    }
  }
  packer_.pack_uint64(payloads_.size());
  payloads_.push_back(t.data);
}

} // namespace squall::wire::detail
