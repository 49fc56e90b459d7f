#pragma once

#include "base/fields.hpp"
#include "calls/field_kinds.hpp"
#include "wire/codec.hpp"
#include "wire/detail/enums.hpp"
#include "wire/detail/tokens.hpp"

#include <limits>
#include <utility>

namespace squall::wire::detail {

/// What a header may decode to. Without this, a megabyte of empty arrays would become hundreds of megabytes of structs.
inline constexpr std::size_t max_decoded_bytes = 64ull << 20;

/// Reads one message. The first fault is kept, with the path of the field; after it every read does nothing.
class decoder {
public:
  decoder(std::span<const std::byte> header, const std::vector<shared_bytes>& payloads, arena_map* arenas)
      : tokens_(header), payloads_(payloads), arenas_(arenas) {}

  template <class Message>
  result<Message> message() {
    Message body;
    read_head(static_cast<std::uint16_t>(Message::type));
    read(body);
    finish();
    if (failure_)
      return described_failure();
    return body;
  }

private:
  /// Gives each field of a struct the next element of its array, as long as there are any.
  struct field_reader {
    decoder& from;
    std::uint32_t left;
    template <class T>
    void operator()(const char* name, T& field) {
      if (left == 0 || from.failure_)
        return;
      --left;
      from.read(field);
      if (from.failure_) [[unlikely]]
        from.failed_in(name);
    }
  };
  template <class T>
  void read(T& v) {
    static_assert(!std::is_same_v<T, time_point>, "points in time do not travel; send a duration");
    if (failure_)
      return;
    if constexpr (std::is_same_v<T, bool>) {
      if (!tokens_.take_boolean(v))
        v = next(token::kind::boolean).natural != 0;
    } else if constexpr (std::is_enum_v<T>) {
      v = static_cast<T>(read_natural(range_of<T>.first, range_of<T>.last));
    } else if constexpr (std::is_unsigned_v<T>) {
      v = static_cast<T>(read_natural(0, std::numeric_limits<T>::max()));
    } else if constexpr (std::is_integral_v<T>) {
      v = static_cast<T>(read_integer(std::numeric_limits<T>::min(), std::numeric_limits<T>::max()));
    } else if constexpr (std::is_floating_point_v<T>) {
      v = static_cast<T>(read_real());
    } else if constexpr (std::is_same_v<T, duration>) {
      v = duration{read_integer(duration::min().count(), duration::max().count())};
    } else if constexpr (calls::strong_id_type<T>) {
      v = T{read_natural(0, std::numeric_limits<std::uint64_t>::max())};
    } else if constexpr (std::is_same_v<T, std::string>) {
      v = read_text();
    } else if constexpr (std::is_same_v<T, functions::value>) {
      read_value(v);
    } else if constexpr (calls::vector_type<T>) {
      read_vector(v);
    } else if constexpr (calls::map_type<T>) {
      read_map(v);
    } else if constexpr (calls::optional_type<T>) {
      if (!tokens_.take_nil())
        read(v.emplace());
    } else if constexpr (calls::variant_type<T>) {
      read_variant(v, std::make_index_sequence<std::variant_size_v<T>>{});
    } else if constexpr (has_fields<T>) {
      field_reader fields{*this, read_array()};
      T::fields(v, fields);
      skip(fields.left);
    } else {
      static_assert(!sizeof(T), "no field of a message can be of this type");
    }
  }

  template <class T>
  void read_vector(std::vector<T>& v) {
    const std::uint32_t count = read_array();
    if (!charge(count, sizeof(T)))
      return;
    v.resize(count);
    for (std::uint32_t i = 0; i < count && !failure_; ++i) {
      read(v[i]);
      if (failure_) [[unlikely]]
        failed_at(i);
    }
  }

  template <class T>
  void read_map(std::map<std::string, T>& v) {
    constexpr std::size_t tree_node_bytes = 32;
    const std::uint32_t count = read_map_size();
    if (!charge(count, sizeof(T) + sizeof(std::string) + tree_node_bytes))
      return;
    for (std::uint32_t i = 0; i < count && !failure_; ++i) {
      read(v[read_text()]);
      if (failure_) [[unlikely]]
        failed_at(i);
    }
  }

  template <class... Ts, std::size_t... Is>
  void read_variant(std::variant<Ts...>& v, std::index_sequence<Is...>) {
    const std::uint32_t left = read_array();
    if (left < 2)
      return fail("a variant takes 2 elements, here are " + std::to_string(left));
    const std::uint64_t alternative = read_natural(0, sizeof...(Ts) - 1);
    ((alternative == Is && !failure_ ? read(v.template emplace<Is>()) : void()), ...);
    skip(left - 2);
  }

  void read_head(std::uint16_t type);
  void finish();
  std::uint64_t read_natural(std::uint64_t least, std::uint64_t most) {
    std::uint64_t n = 0;
    if (!tokens_.take_natural(n))
      n = next(token::kind::natural).natural;
    return n >= least && n <= most ? n : out_of_range(n, least, most);
  }
  std::uint64_t out_of_range(std::uint64_t n, std::uint64_t least, std::uint64_t most);
  std::int64_t read_integer(std::int64_t least, std::int64_t most);
  double read_real();
  std::string read_text();
  std::uint32_t read_array() {
    std::uint32_t count = 0;
    return tokens_.take_array(count) ? count : next(token::kind::array).size;
  }
  std::uint32_t read_map_size();
  void read_value(functions::value& v);
  void read_list(functions::value& v);
  functions::tensor read_tensor(std::uint64_t type);
  shared_bytes read_place();
  shared_bytes read_payload();
  shared_bytes read_arena_bytes();

  /// The next element, taken; a nil after a failure.
  token next(token::kind wanted) {
    const token t = next();
    if (t.what == wanted)
      return t;
    fail_kind(wanted, t.what);
    return {};
  }
  token next() {
    token t;
    if (failure_ || tokens_.next(t))
      return t;
    fail(tokens_.complaint());
    return {};
  }
  void fail_kind(token::kind wanted, token::kind found);
  void skip(std::uint64_t elements);
  /// Counts memory that is about to be made; false (and a failure) when it is too much.
  bool charge(std::size_t count, std::size_t each_bytes);

  /// Counts a level, to be taken back; false (and a failure) when it is too deep.
  bool deeper();
  void fail(std::string what, errc code = errc::corrupt);
  // On the way back from a failure each level adds its name, the innermost first.
  void failed_in(const char* name);
  void failed_at(std::size_t index);
  [[nodiscard]] error described_failure();

  token_reader tokens_;
  const std::vector<shared_bytes>& payloads_;
  arena_map* arenas_;
  std::uint32_t unread_ = 0; ///< elements of the header's array after the message
  std::size_t decoded_bytes_ = 0;
  std::uint64_t next_payload_ = 0; ///< frames are mentioned in their order, each at most once
  std::optional<error> failure_;
  std::string path_;        ///< to the field that failed
  std::uint32_t depth_ = 0; ///< of lists in lists, and of what is skipped
};

} // namespace squall::wire::detail
