#pragma once

#include "base/fields.hpp"
#include "base/result.hpp"
#include "base/time.hpp"
#include "calls/field_kinds.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace squall::fuzzing {

/// Takes decisions from the bytes of an input; when they are used up, every answer is zero.
class input {
public:
  explicit input(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

  [[nodiscard]] bool empty() const { return bytes_.empty(); }
  std::uint8_t byte() {
    if (bytes_.empty())
      return 0;
    const auto out = bytes_.front();
    bytes_ = bytes_.subspan(1);
    return out;
  }
  /// A number below `n`, which is at most 256.
  std::uint32_t below(std::uint32_t n) { return byte() % n; }
  std::uint64_t number() {
    std::uint64_t out = 0;
    for (int i = 0; i < 8; ++i)
      out = out << 8 | byte();
    return out;
  }
  /// From nothing to about a minute, finely where it is short.
  duration pause() {
    const auto b = byte();
    return duration{static_cast<std::int64_t>(1 + b % 16) << (b / 16 * 2)};
  }
  std::string_view text(std::size_t most) {
    const auto size = std::min<std::size_t>({below(256), most, bytes_.size()});
    const std::string_view out{reinterpret_cast<const char*>(bytes_.data()), size};
    bytes_ = bytes_.subspan(size);
    return out;
  }
  std::string_view rest() {
    const std::string_view out{reinterpret_cast<const char*>(bytes_.data()), bytes_.size()};
    bytes_ = {};
    return out;
  }

  // As a visitor of `fields()`: any value of any plain struct, with small ids, so that they often mean something.
  template <class T>
  void operator()(const char*, T& field) {
    fill(field);
  }
  template <class T>
  void fill(T& v) {
    if constexpr (std::is_same_v<T, bool>)
      v = below(2) == 1;
    else if constexpr (std::is_same_v<T, errc>)
      v = below(4) == 0 ? errc::failed : errc::ok;
    else if constexpr (std::is_enum_v<T>)
      v = static_cast<T>(below(3));
    else if constexpr (std::is_integral_v<T>)
      v = below(16) == 0 ? static_cast<T>(number()) : static_cast<T>(below(4));
    else if constexpr (std::is_same_v<T, duration>)
      v = below(16) == 0 ? duration{static_cast<std::int64_t>(number())} : pause();
    else if constexpr (std::is_same_v<T, time_point>)
      v = below(4) == 0 ? never : from_ns(static_cast<std::int64_t>(number() >> 8));
    else if constexpr (calls::strong_id_type<T>)
      v = T{below(12)};
    else if constexpr (std::is_same_v<T, std::string>)
      v = text(8);
    else if constexpr (calls::vector_type<T>) {
      v.resize(below(4));
      for (auto& element : v)
        fill(element);
    } else
      T::fields(v, *this);
  }

private:
  std::span<const std::uint8_t> bytes_;
};

/// An oracle found something: says what, and lets the fuzzer keep the input.
[[noreturn]] inline void broken(const std::string& what) {
  std::fprintf(stderr, "BROKEN: %s\n", what.c_str());
  std::abort();
}

} // namespace squall::fuzzing

/// The body of a target: `void fuzz(squall::fuzzing::input& in)`.
#define SQUALL_FUZZ_TARGET(fuzz)                                                                                       \
  extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {                                  \
    squall::fuzzing::input in{{data, size}};                                                                           \
    fuzz(in);                                                                                                          \
    return 0;                                                                                                          \
  }
