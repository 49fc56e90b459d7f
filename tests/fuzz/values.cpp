#include "calls/binary.hpp"
#include "calls/json.hpp"
#include "input.hpp"

/// Values and tensors from bytes and from JSON. A tensor that validates can be read in every way without harm.
namespace squall {
namespace {

void read_all(const functions::value& v) {
  (void)v.byte_size();
  (void)functions::first_number(v);
  (void)functions::first_text(v);
  if (const auto* list = v.as_list())
    for (const auto& element : *list)
      read_all(element);
  const auto* t = v.as_tensor();
  if (t == nullptr || !functions::validate(*t).ok())
    return;
  const auto count = functions::element_count(t->shape);
  if (!count.ok())
    fuzzing::broken("a valid tensor has no element count");
  for (std::size_t i = 0; i < std::min<std::size_t>(*count, 100); ++i)
    if (const auto number = functions::number_at(*t, i); number.ok() != (t->type != functions::datatype::bytes))
      fuzzing::broken("an element of a valid tensor cannot be read");
  if (t->type == functions::datatype::bytes) {
    const auto texts = functions::bytes_elements(*t);
    if (!texts.ok() || texts->size() != *count)
      fuzzing::broken("the elements of a valid tensor of texts do not come out");
  }
}

void fuzz(fuzzing::input& in) {
  const bool json = in.byte() % 2 == 1;
  const auto rest = in.rest();
  if (json) {
    const auto value = calls::from_json<functions::value>(rest);
    if (!value.ok())
      return;
    read_all(*value);
    const auto text = calls::to_json(*value);
    const auto again = calls::from_json<functions::value>(text);
    if (!again.ok() || calls::to_json(*again) != text)
      fuzzing::broken("a value does not survive JSON: " + text);
    return;
  }
  const auto value = calls::from_binary<functions::value>(std::as_bytes(std::span{rest.data(), rest.size()}));
  if (!value.ok())
    return;
  read_all(*value);
  const auto bytes = calls::to_binary(*value);
  const auto again = calls::from_binary<functions::value>(bytes);
  if (!again.ok() || calls::to_binary(*again) != bytes)
    fuzzing::broken("a value does not survive its binary form");
}

} // namespace
} // namespace squall

SQUALL_FUZZ_TARGET(squall::fuzz)
