#pragma once

#include "base/bytes.hpp"
#include "base/fields.hpp"
#include "base/hash.hpp"
#include "base/result.hpp"
#include "base/time.hpp"
#include "calls/field_kinds.hpp"
#include "functions/value.hpp"

#include <array>
#include <bit>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

/// The compact binary form of plain structs: the event log, snapshots of the cores, and what the store keeps. Not the
/// wire's.
///
/// unsigned numbers, enums, ids        varint (LEB128)
/// signed numbers, durations, times    zigzag varint
/// bool, optional, variant             one byte (optional and variant: then the value)
/// float, double                       4, 8 bytes, little-endian
/// strings, runs of bytes              varint length, bytes
/// vectors, maps                       varint count, elements (maps: key, value)
/// structs                             their fields in order
///
/// Writing the same value always gives the same bytes. Reading takes any bytes: it gives a value or an error that says
/// at which offset.
namespace squall::calls {

/// Appends values to a buffer. Is also a visitor of `fields()`.
class binary_writer {
public:
  binary_writer() = default;
  /// Takes so many bytes before it needs more memory.
  explicit binary_writer(std::size_t capacity) { out_.reserve(capacity); }

  template <class T>
  void operator()(const char*, const T& field) {
    write(field);
  }

  template <class T>
  void write(const T& v) {
    if constexpr (std::is_same_v<T, bool>)
      byte(v ? 1 : 0);
    else if constexpr (std::is_enum_v<T>)
      varint(static_cast<std::uint64_t>(v));
    else if constexpr (std::is_floating_point_v<T>)
      floating(v);
    else if constexpr (std::is_signed_v<T>)
      zigzag(v);
    else if constexpr (std::is_unsigned_v<T>)
      varint(v);
    else if constexpr (std::is_same_v<T, duration>)
      zigzag(v.count());
    else if constexpr (std::is_same_v<T, time_point>)
      zigzag(to_ns(v));
    else if constexpr (strong_id_type<T>)
      varint(v.value);
    else if constexpr (std::is_convertible_v<const T&, std::string_view>)
      text(v);
    else if constexpr (std::is_same_v<T, shared_bytes>)
      text(v.text());
    else
      compound(v);
  }

  void byte(std::uint8_t b) { out_.push_back(static_cast<std::byte>(b)); }
  void varint(std::uint64_t n) {
    if (n < 0x80)
      return byte(static_cast<std::uint8_t>(n));
    std::array<std::byte, 10> digits; // of 7 bits
    std::size_t count = 0;
    for (; n >= 0x80; n >>= 7)
      digits[count++] = static_cast<std::byte>(n | 0x80);
    digits[count++] = static_cast<std::byte>(n);
    raw({digits.data(), count});
  }
  void zigzag(std::int64_t n) { varint((static_cast<std::uint64_t>(n) << 1) ^ static_cast<std::uint64_t>(n >> 63)); }
  /// `size` low bytes of `n`, little-endian.
  void fixed(std::uint64_t n, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i)
      byte(static_cast<std::uint8_t>(n >> (8 * i)));
  }
  /// Bytes as they are, without a length.
  void raw(std::span<const std::byte> data) { out_.insert(out_.end(), data.begin(), data.end()); }

  [[nodiscard]] std::span<const std::byte> bytes() const { return out_; }
  [[nodiscard]] std::size_t size() const { return out_.size(); }
  void clear() { out_.clear(); } ///< keeps the memory
  [[nodiscard]] std::vector<std::byte> take() { return std::exchange(out_, {}); }

private:
  void text(std::string_view s) {
    varint(s.size());
    raw(std::as_bytes(std::span{s.data(), s.size()}));
  }

  template <class T>
  void floating(T v) {
    using bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
    fixed(std::bit_cast<bits>(v), sizeof(T));
  }

  template <class T>
  void compound(const T& v) {
    if constexpr (vector_type<T> || map_type<T>) {
      varint(v.size());
      for (const auto& element : v)
        write(element);
    } else if constexpr (pair_type<T>) {
      write(v.first);
      write(v.second);
    } else if constexpr (optional_type<T>) {
      byte(v.has_value() ? 1 : 0);
      if (v)
        write(*v);
    } else if constexpr (variant_type<T>) {
      static_assert(std::variant_size_v<T> <= 256);
      byte(static_cast<std::uint8_t>(v.index()));
      std::visit([&](const auto& alternative) { write(alternative); }, v);
    } else if constexpr (std::is_same_v<T, std::monostate>) {
    } else if constexpr (std::is_same_v<T, functions::value>) {
      write(v.data);
    } else if constexpr (std::is_same_v<T, functions::tensor>) {
      write(v.type);
      write(v.shape);
      write(v.data);
    } else if constexpr (std::is_same_v<T, functions::named_value>) {
      write(v.name);
      write(v.value);
    } else {
      static_assert(has_fields<T>, "a field must be one of the kinds that base/fields.hpp lists");
      T::fields(v, *this);
    }
  }

  std::vector<std::byte> out_;
};

/// Reads values back. After the first failure it reads nothing more and leaves what it is given as it was made; ask
/// `ok()` or `finish()` at the end. Allocates no more than a small multiple of the bytes it was given, whatever they
/// say.
class binary_reader {
public:
  static constexpr int max_depth = 64; ///< of structs inside structs (conditions and lists nest)

  explicit binary_reader(std::span<const std::byte> data) : data_(data) {}

  template <class T>
  void operator()(const char*, T& field) {
    read(field);
  }

  template <class T>
  void read(T& v) {
    if constexpr (std::is_same_v<T, bool>)
      v = flag();
    else if constexpr (std::is_enum_v<T>)
      v = static_cast<T>(bounded(std::numeric_limits<std::underlying_type_t<T>>::max()));
    else if constexpr (std::is_floating_point_v<T>)
      floating(v);
    else if constexpr (std::is_signed_v<T>)
      signed_number(v);
    else if constexpr (std::is_unsigned_v<T>)
      v = static_cast<T>(bounded(std::numeric_limits<T>::max()));
    else if constexpr (std::is_same_v<T, duration>)
      v = duration{zigzag()};
    else if constexpr (std::is_same_v<T, time_point>)
      v = from_ns(zigzag());
    else if constexpr (strong_id_type<T>)
      v.value = varint();
    else if constexpr (std::is_same_v<T, std::string>)
      v = std::string{text()};
    else if constexpr (std::is_same_v<T, shared_bytes>)
      v = shared_bytes::copy_of(text());
    else
      compound(v);
  }

  [[nodiscard]] std::uint8_t byte() {
    if (at_ >= data_.size()) {
      fail("ends too early");
      return 0;
    }
    return static_cast<std::uint8_t>(data_[at_++]);
  }
  [[nodiscard]] std::uint64_t varint() {
    std::uint64_t n = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const std::uint8_t b = byte();
      if (shift == 63 && b > 1)
        break;
      n |= static_cast<std::uint64_t>(b & 0x7f) << shift;
      if ((b & 0x80) == 0)
        return n;
    }
    fail("holds a number of more than 64 bits");
    return 0;
  }
  [[nodiscard]] std::int64_t zigzag() {
    const std::uint64_t n = varint();
    return static_cast<std::int64_t>((n >> 1) ^ (0 - (n & 1)));
  }
  [[nodiscard]] std::uint64_t fixed(std::size_t size) {
    std::uint64_t n = 0;
    for (std::size_t i = 0; i < size; ++i)
      n |= static_cast<std::uint64_t>(byte()) << (8 * i);
    return n;
  }
  /// The next `size` bytes as they lie; empty after a failure.
  [[nodiscard]] std::span<const std::byte> raw(std::size_t size) {
    if (size > left()) {
      fail("ends too early");
      return {};
    }
    const auto out = data_.subspan(at_, size);
    at_ += size;
    return out;
  }

  void fail(std::string_view why) {
    if (ok_) {
      ok_ = false;
      why_ = why;
      failed_at_ = at_;
    }
    at_ = data_.size();
  }
  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] std::size_t offset() const { return at_; }
  [[nodiscard]] std::size_t left() const { return data_.size() - at_; }

  /// `errc::corrupt` with the offset and what is wrong there, if something was. `what` names the thing read, `base` is
  /// where it begins in its file.
  [[nodiscard]] result<> status(std::string_view what, std::size_t base = 0) const {
    if (ok_)
      return {};
    return {errc::corrupt, std::string{what} + ": at byte " + std::to_string(base + failed_at_) + " it " + why_};
  }
  /// As `status`, and bytes left over are wrong too.
  [[nodiscard]] result<> finish(std::string_view what, std::size_t base = 0) {
    if (ok_ && left() > 0)
      fail("goes on with " + std::to_string(left()) + " bytes that belong to nothing");
    return status(what, base);
  }

private:
  bool flag() {
    const std::uint8_t b = byte();
    if (b > 1)
      fail("holds a flag that is neither 0 nor 1");
    return b == 1;
  }
  std::uint64_t bounded(std::uint64_t max) {
    const std::uint64_t n = varint();
    if (n <= max)
      return n;
    fail("holds a number that its field cannot take");
    return 0;
  }
  template <class T>
  void signed_number(T& v) {
    const std::int64_t n = zigzag();
    if (n < std::numeric_limits<T>::min() || n > std::numeric_limits<T>::max())
      return fail("holds a number that its field cannot take");
    v = static_cast<T>(n);
  }
  template <class T>
  void floating(T& v) {
    using bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
    v = std::bit_cast<T>(static_cast<bits>(fixed(sizeof(T))));
  }
  std::string_view text() {
    const auto run = raw(varint());
    return {reinterpret_cast<const char*>(run.data()), run.size()};
  }
  /// A count of things that each take a byte or more.
  std::size_t count() {
    const std::uint64_t n = varint();
    if (n <= left())
      return n;
    fail("counts more elements than it has bytes");
    return 0;
  }

  template <class T>
  void compound(T& v) {
    if (++depth_ > max_depth)
      fail("nests too deeply");
    else
      nested(v);
    --depth_;
  }

  template <class T>
  void nested(T& v) {
    if constexpr (vector_type<T>) {
      v.clear();
      for (std::size_t n = count(); n > 0 && ok_; --n)
        read(v.emplace_back());
    } else if constexpr (map_type<T>) {
      v.clear();
      for (std::size_t n = count(); n > 0 && ok_; --n) {
        std::pair<typename T::key_type, typename T::mapped_type> entry;
        nested(entry);
        if (ok_ && !v.empty() && !v.key_comp()(v.rbegin()->first, entry.first))
          fail("holds a map whose keys do not ascend");
        else if (ok_)
          v.emplace_hint(v.end(), std::move(entry));
      }
    } else if constexpr (pair_type<T>) {
      read(v.first);
      read(v.second);
    } else if constexpr (optional_type<T>) {
      v.reset();
      if (flag())
        read(v.emplace());
    } else if constexpr (variant_type<T>) {
      if (!detail::emplace_alternative(v, byte()))
        return fail("names an alternative that does not exist");
      std::visit([&](auto& alternative) { read(alternative); }, v);
    } else if constexpr (std::is_same_v<T, std::monostate>) {
    } else if constexpr (std::is_same_v<T, functions::value>) {
      read(v.data);
    } else if constexpr (std::is_same_v<T, functions::tensor>) {
      read(v.type);
      read(v.shape);
      read(v.data);
    } else if constexpr (std::is_same_v<T, functions::named_value>) {
      read(v.name);
      read(v.value);
    } else {
      static_assert(has_fields<T>, "a field must be one of the kinds that base/fields.hpp lists");
      T::fields(v, *this);
    }
  }

  std::span<const std::byte> data_;
  std::size_t at_ = 0;
  bool ok_ = true;
  std::size_t failed_at_ = 0;
  std::string why_;
  int depth_ = 0;
};

template <class T>
[[nodiscard]] std::vector<std::byte> to_binary(const T& v) {
  binary_writer out;
  out.write(v);
  return out.take();
}

/// The whole of `data` as one T. `what` names it in the error.
template <class T>
[[nodiscard]] result<T> from_binary(std::span<const std::byte> data, std::string_view what = type_name<T>()) {
  binary_reader in{data};
  T out{};
  in.read(out);
  SQUALL_TRY(in.finish(what));
  return out;
}

/// FNV-1a of the binary form: equal for equal values on every machine.
template <class T>
[[nodiscard]] std::uint64_t binary_hash(const T& v) {
  binary_writer out;
  out.write(v);
  fnv1a hash;
  hash.add(out.bytes());
  return hash.value();
}

} // namespace squall::calls
