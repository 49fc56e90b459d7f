#include "functions/alignment.hpp"

#include <cstdint>

namespace squall::functions {

value aligned(value v) {
  if (auto* t = std::get_if<tensor>(&v.data)) {
    const auto size = element_size(t->type);
    if (size > 1 && reinterpret_cast<std::uintptr_t>(t->data.data()) % size != 0)
      t->data = shared_bytes::copy_of(t->data.data(), t->data.size());
  } else if (auto* list = std::get_if<value_list>(&v.data)) {
    for (value& element : *list)
      element = aligned(std::move(element));
  }
  return v;
}

} // namespace squall::functions
