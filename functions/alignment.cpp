#include "functions/alignment.hpp"

#include <algorithm>
#include <cstdint>

namespace squall::functions {

namespace {

bool is_aligned(const tensor& t) {
  const auto size = element_size(t.type);
  return size <= 1 || reinterpret_cast<std::uintptr_t>(t.data.data()) % size == 0;
}

} // namespace

bool is_aligned(const value& v) {
  if (const auto* t = v.as_tensor())
    return is_aligned(*t);
  const auto* list = v.as_list();
  return !list || std::all_of(list->begin(), list->end(), [](const value& element) { return is_aligned(element); });
}

value aligned(value v) {
  if (auto* t = std::get_if<tensor>(&v.data)) {
    if (!is_aligned(*t))
      t->data = shared_bytes::copy_of(t->data.data(), t->data.size());
  } else if (auto* list = std::get_if<value_list>(&v.data)) {
    for (value& element : *list)
      element = aligned(std::move(element));
  }
  return v;
}

} // namespace squall::functions
