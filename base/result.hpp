#pragma once

#include "base/check.hpp"
#include "base/time.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace squall {

/// What went wrong, in terms that a caller can act on. The numbers are part of the wire protocol.
enum class errc : std::uint8_t {
  ok = 0,
  invalid_argument = 1,  ///< the request can never succeed as it is: wrong type, shape, name, value
  not_found = 2,         ///< the named thing does not exist
  already_exists = 3,    ///< the named thing exists and differs
  overloaded = 4,        ///< a bound is reached; worth trying again after `retry_after`
  deadline_exceeded = 5, ///< the deadline passed; no further work is started for it
  cancelled = 6,         ///< somebody who may do so withdrew it
  unavailable = 7,       ///< a process that is needed cannot be reached now
  data_loss = 8,         ///< state or a value that was held is gone (its holder died)
  too_large = 9,         ///< larger than the stated limit
  permission_denied = 10,
  unsupported = 11, ///< known, but not possible here (no such device, other protocol version)
  corrupt = 12,     ///< bytes that do not decode, a checksum that does not match
  failed = 13,      ///< the user's function or model reported an error
  internal = 14,    ///< a fault of Squall or of a library
};

/// The name of a code as users see it, for example "invalid_argument".
[[nodiscard]] std::string_view to_string(errc code);
/// The code of a name; `errc::internal` for a name that is not one.
[[nodiscard]] errc errc_from_string(std::string_view name);

/// An operating error: a code, and a message that names the offending thing and what would fix it.
struct error {
  errc code = errc::internal;
  std::string message;
  duration retry_after{0}; ///< with `overloaded`: when another try may succeed; zero when not known

  friend bool operator==(const error&, const error&) = default;
};

/// Marks a result without a value.
struct unit {
  friend bool operator==(unit, unit) = default;
};

/// A value or an error. Reading the wrong one aborts.
template <class T = unit>
class [[nodiscard]] result {
public:
  result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  result(squall::error e) : state_(std::in_place_index<1>, std::move(e)) {}
  result(errc code, std::string message)
      : state_(std::in_place_index<1>, squall::error{code, std::move(message), {}}) {}
  result() requires std::is_same_v<T, unit> : state_(std::in_place_index<0>) {}

  [[nodiscard]] bool ok() const { return state_.index() == 0; }
  [[nodiscard]] explicit operator bool() const { return ok(); }

  [[nodiscard]] T& value() & {
    check_value();
    return std::get<0>(state_);
  }
  [[nodiscard]] const T& value() const& {
    check_value();
    return std::get<0>(state_);
  }
  [[nodiscard]] T&& value() && {
    check_value();
    return std::get<0>(std::move(state_));
  }
  [[nodiscard]] T& operator*() & { return value(); }
  [[nodiscard]] const T& operator*() const& { return value(); }
  [[nodiscard]] T&& operator*() && { return std::move(*this).value(); }
  [[nodiscard]] T* operator->() { return &value(); }
  [[nodiscard]] const T* operator->() const { return &value(); }

  [[nodiscard]] const squall::error& error() const& {
    SQUALL_CHECK(!ok());
    return std::get<1>(state_);
  }
  [[nodiscard]] squall::error&& error() && {
    SQUALL_CHECK(!ok());
    return std::get<1>(std::move(state_));
  }

private:
  void check_value() const { SQUALL_CHECK(ok(), std::get<1>(state_).message); }

  std::variant<T, squall::error> state_;
};

} // namespace squall

/// Returns the error of `expression` from the enclosing function, which must return a result.
#define SQUALL_TRY(expression)                                                                                         \
  do {                                                                                                                 \
    if (auto squall_try_result = (expression); !squall_try_result.ok())                                                \
      return std::move(squall_try_result).error();                                                                     \
  } while (false)

#define SQUALL_CONCAT_IMPL(a, b) a##b
#define SQUALL_CONCAT(a, b) SQUALL_CONCAT_IMPL(a, b)

/// Declares `name` with the value of `expression`, or returns its error from the enclosing function.
#define SQUALL_ASSIGN(name, expression)                                                                                \
  auto SQUALL_CONCAT(squall_result_, __LINE__) = (expression);                                                         \
  if (!SQUALL_CONCAT(squall_result_, __LINE__).ok())                                                                   \
    return std::move(SQUALL_CONCAT(squall_result_, __LINE__)).error();                                                 \
  auto name = std::move(SQUALL_CONCAT(squall_result_, __LINE__)).value()
