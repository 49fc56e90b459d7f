// What the benchmarks of native functions call: `do` is "pass" (gives its input back) or "call" (calls "passing" with
// it).
#include "functions/native.hpp"

#include <algorithm>
#include <string>

namespace {

int32_t load(squall_context*, const squall_load* what, void** instance) {
  static char calls;
  for (std::size_t i = 0; i < what->parameter_count; ++i)
    if (std::string(what->parameters[2 * i]) == "do" && std::string(what->parameters[2 * i + 1]) == "call")
      *instance = &calls;
  return SQUALL_OK;
}

int32_t run(void* calls, squall_context* context, const squall_batch* batch) {
  auto body = [calls](squall::native::item& item) {
    const squall_value& given = item.input(0);
    const auto x = squall::native::elements<std::uint8_t>(
        calls != nullptr ? item.call("passing", {{"x", given}})[0].value : given);
    std::ranges::copy(x, item.output<std::uint8_t>(0, {std::ssize(x)}).begin());
  };
  return squall::native::detail::run_items(body, context, batch);
}

} // namespace

extern "C" const squall_native_function* squall_function(void) {
  static const squall_native_function function{SQUALL_NATIVE_VERSION, nullptr, load, run, nullptr};
  return &function;
}
