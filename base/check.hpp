#pragma once

#include <sstream>
#include <string>
#include <string_view>

namespace squall::detail {

[[noreturn]] void check_failed(const char* file, int line, const char* condition, const std::string& operands);

template <class... Ts>
std::string describe_operands(const Ts&... operands) {
  std::ostringstream out;
  [[maybe_unused]] const char* separator = "";
  ((out << separator << operands, separator = ", "), ...);
  return out.str();
}

} // namespace squall::detail

/// Aborts in every build when a programmer's assumption does not hold, and prints the operands.
/// Not for bad input: that is an `error`.
#define SQUALL_CHECK(condition, ...)                                                                                   \
  do {                                                                                                                 \
    if (!(condition)) [[unlikely]]                                                                                     \
      ::squall::detail::check_failed(__FILE__, __LINE__, #condition,                                                   \
                                     ::squall::detail::describe_operands(__VA_ARGS__));                                \
  } while (false)
