#pragma once

/// One description of a struct serves every codec. A plain struct lists its fields once:
///
///     struct admit {
///       call_id call;
///       duration expected;
///       template <class S, class V> static void fields(S& s, V& v) { v("call", s.call); v("expected", s.expected); }
///     };
///
/// `S` is the struct or its const; `V` is a visitor: the binary codec of the event log, the msgpack codec of the wire,
/// or the JSON of the command line. The order of fields is the format; new fields go to the end. A visitor takes
/// numbers, bool, enums, strings, durations, time points, strong ids, vectors, maps, optionals, variants, shared_bytes
/// and structs that list their fields.
#include <concepts>

namespace squall {

namespace detail {
struct any_field_visitor {
  template <class T>
  void operator()(const char*, T&) {}
};
} // namespace detail

/// A struct that lists its fields as described above.
template <class T>
concept has_fields = requires(T& t, detail::any_field_visitor& v) {
  T::fields(t, v);
};

} // namespace squall
