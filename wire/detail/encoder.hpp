#pragma once

#include "base/fields.hpp"
#include "calls/field_kinds.hpp"
#include "wire/codec.hpp"

#include <msgpack/pack.hpp>

#include <array>
#include <cstring>

namespace squall::wire::detail {

/// The header while it grows: on the stack until it is large, because most headers are a few hundred bytes.
class header_buffer {
public:
  /// Inlined by force: the sizes are known where it is called, and a copy of nine bytes is one instruction or two.
  [[gnu::always_inline]] void write(const char* data, std::size_t size) {
    if (size > capacity_ - size_) [[unlikely]]
      grow(size);
    std::memcpy(data_ + size_, data, size);
    size_ += size;
  }
  [[nodiscard]] shared_bytes bytes() const { return shared_bytes::copy_of(data_, size_); }

  header_buffer() = default;
  header_buffer(const header_buffer&) = delete;
  header_buffer& operator=(const header_buffer&) = delete;

private:
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
  explicit encoder(const encode_options& options) : packer_(buffer_), options_(options) {}

  template <class Message>
  frames message(const Message& body, request_id request, role to) {
    packer_.pack_array(5);
    packer_.pack_uint32(protocol_version);
    packer_.pack_uint16(static_cast<std::uint16_t>(Message::type));
    packer_.pack_uint8(static_cast<std::uint8_t>(to));
    packer_.pack_uint64(request.value);
    put(body);
    return {buffer_.bytes(), std::move(payloads_)};
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
      v ? packer_.pack_true() : packer_.pack_false();
    } else if constexpr (std::is_enum_v<T>) {
      packer_.pack_uint64(static_cast<std::uint64_t>(v));
    } else if constexpr (std::is_unsigned_v<T>) {
      packer_.pack_uint64(v);
    } else if constexpr (std::is_integral_v<T>) {
      packer_.pack_int64(v);
    } else if constexpr (std::is_floating_point_v<T>) {
      packer_.pack_double(v);
    } else if constexpr (std::is_same_v<T, duration>) {
      packer_.pack_int64(v.count());
    } else if constexpr (calls::strong_id_type<T>) {
      packer_.pack_uint64(v.value);
    } else if constexpr (std::is_same_v<T, std::string>) {
      put_text(v);
    } else if constexpr (std::is_same_v<T, functions::value>) {
      put_value(v);
    } else if constexpr (calls::vector_type<T>) {
      packer_.pack_array(static_cast<std::uint32_t>(v.size()));
      for (const auto& element : v)
        put(element);
    } else if constexpr (calls::map_type<T>) {
      packer_.pack_map(static_cast<std::uint32_t>(v.size()));
      for (const auto& [key, element] : v) {
        put_text(key);
        put(element);
      }
    } else if constexpr (calls::optional_type<T>) {
      if (v.has_value())
        put(*v);
      else
        packer_.pack_nil();
    } else if constexpr (calls::variant_type<T>) {
      packer_.pack_array(2);
      packer_.pack_uint64(v.index());
      std::visit([this](const auto& alternative) { put(alternative); }, v);
    } else if constexpr (has_fields<T>) {
      field_counter counter;
      T::fields(v, counter);
      packer_.pack_array(counter.count);
      T::fields(v, *this);
    } else {
      static_assert(!sizeof(T), "no field of a message can be of this type");
    }
  }

  void put_text(std::string_view text);
  void put_value(const functions::value& v);
  void put_tensor(const functions::tensor& t);

  header_buffer buffer_;
  msgpack::packer<header_buffer> packer_;
  const encode_options& options_;
  std::vector<shared_bytes> payloads_;
};

} // namespace squall::wire::detail
