#pragma once

#include "base/fields.hpp"
#include "calls/field_kinds.hpp"
#include "wire/codec.hpp"

#include <array>
#include <bit>
#include <cstdint>
#include <string_view>

namespace squall::wire::detail {

/// The header while it grows, in msgpack: each element in the fewest bytes that hold it. On the stack until it is
/// large, because most headers are a few hundred bytes.
class header_writer {
public:
  header_writer() = default;
  header_writer(const header_writer&) = delete;
  header_writer& operator=(const header_writer&) = delete;

  void nil() { mark(0xc0); }
  void boolean(bool v) { mark(v ? 0xc3 : 0xc2); }
  void natural(std::uint64_t v) {
    if (v < 0x80)
      return mark(static_cast<std::uint8_t>(v));
    large_natural(v);
  }
  void integer(std::int64_t v);
  void real(double v); ///< as an integer if it is a whole number
  void text(std::string_view v);
  void array(std::size_t count) { count < 16 ? mark(static_cast<std::uint8_t>(0x90 | count)) : sized(0xdc, count); }
  void map(std::size_t count) { count < 16 ? mark(static_cast<std::uint8_t>(0x80 | count)) : sized(0xde, count); }

  [[nodiscard]] shared_bytes bytes() const { return shared_bytes::copy_of(data_, size_); }

private:
  /// Room for one element without what a text holds.
  static constexpr std::size_t element_bytes = 9;

  void mark(std::uint8_t first) {
    *room(element_bytes) = static_cast<char>(first);
    ++size_;
  }
  /// A first byte, then a number in Size - 1 bytes, the highest first.
  template <std::size_t Size>
  void put(std::uint8_t first, std::uint64_t v) {
    char* const at = room(element_bytes);
    at[0] = static_cast<char>(first);
    for (std::size_t i = 1; i < Size; ++i)
      at[i] = static_cast<char>(v >> 8 * (Size - 1 - i));
    size_ += Size;
  }
  void large_natural(std::uint64_t v);
  /// A count in two bytes, or, with the next first byte, in four.
  void sized(std::uint8_t first, std::size_t count);
  char* room(std::size_t more) {
    if (more > capacity_ - size_) [[unlikely]]
      grow(more);
    return data_ + size_;
  }
  void grow(std::size_t more);

  std::array<char, 1024> small_; // not initialised: only what was written is read
  std::vector<char> large_;
  char* data_ = small_.data();
  std::size_t capacity_ = small_.size();
  std::size_t size_ = 0;
};

/// Writes one message. A visitor of fields(): each field is put in its turn.
class encoder {
public:
  explicit encoder(const encode_options& options) : options_(options) {}

  template <class Message>
  frames message(const Message& body, request_id request, role to) {
    out_.array(5);
    out_.natural(protocol_version);
    out_.natural(static_cast<std::uint64_t>(Message::type));
    out_.natural(static_cast<std::uint64_t>(to));
    out_.natural(request.value);
    put(body);
    return {out_.bytes(), std::move(payloads_)};
  }

  template <class T>
  void operator()(const char*, const T& field) {
    put(field);
  }

private:
  struct field_counter {
    std::uint32_t count = 0;
    template <class T>
    void operator()(const char*, T&) {
      ++count;
    }
  };

  template <class T>
  void put(const T& v) {
    static_assert(!std::is_same_v<T, time_point>, "points in time do not travel; send a duration");
    if constexpr (std::is_same_v<T, bool>) {
      out_.boolean(v);
    } else if constexpr (std::is_enum_v<T>) {
      out_.natural(static_cast<std::uint64_t>(v));
    } else if constexpr (std::is_unsigned_v<T>) {
      out_.natural(v);
    } else if constexpr (std::is_integral_v<T>) {
      out_.integer(v);
    } else if constexpr (std::is_floating_point_v<T>) {
      out_.real(v);
    } else if constexpr (std::is_same_v<T, duration>) {
      out_.integer(v.count());
    } else if constexpr (calls::strong_id_type<T>) {
      out_.natural(v.value);
    } else if constexpr (std::is_same_v<T, std::string>) {
      out_.text(v);
    } else if constexpr (std::is_same_v<T, functions::value>) {
      put_value(v);
    } else if constexpr (calls::vector_type<T>) {
      out_.array(v.size());
      for (const auto& element : v)
        put(element);
    } else if constexpr (calls::map_type<T>) {
      out_.map(v.size());
      for (const auto& [key, element] : v) {
        out_.text(key);
        put(element);
      }
    } else if constexpr (calls::optional_type<T>) {
      if (v.has_value())
        put(*v);
      else
        out_.nil();
    } else if constexpr (calls::variant_type<T>) {
      out_.array(2);
      out_.natural(v.index());
      std::visit([this](const auto& alternative) { this->put(alternative); }, v);
    } else if constexpr (has_fields<T>) {
      field_counter counter;
      T::fields(v, counter);
      out_.array(counter.count);
      T::fields(v, *this);
    } else {
      static_assert(!sizeof(T), "no field of a message can be of this type");
    }
  }

  void put_value(const functions::value& v);
  void put_tensor(const functions::tensor& t);

  header_writer out_;
  const encode_options& options_;
  std::vector<shared_bytes> payloads_;
};

} // namespace squall::wire::detail
