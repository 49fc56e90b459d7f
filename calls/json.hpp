#pragma once

#include "base/fields.hpp"
#include "base/result.hpp"
#include "base/time.hpp"
#include "calls/field_kinds.hpp"
#include "functions/spec.hpp"
#include "functions/value.hpp"

#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

/// JSON of plain structs, for tools and people: what `-o json` prints, specs as JSON, replay's reports.
///
/// A struct is an object with its fields under the names that it lists. Numbers are numbers; durations and times are
/// nanoseconds (a time of `never` is null); ids are strings of decimal digits, as 64 bits do not fit into every
/// reader's numbers (numbers are read too). Enums print as names. Optionals without a value are null. A std::variant of
/// structs is {"name of the struct": {...}}; of plain things it is the thing. A std::map with string keys is an object,
/// any other map an array of [key, value]. Bytes are {"b64": "..."}.
///
/// functions::value: null (absent), an array (list), or {"datatype": "FP32", "shape": [2], "data": [1, 2.5]} with the
/// elements in row-major order; elements of BYTES are strings, or {"b64": "..."} where they are not UTF-8; NaN and
/// infinities are "NaN", "Infinity", "-Infinity".
namespace squall::calls {

enum class json_style : std::uint8_t { compact, pretty };

// -- names of enums
// -------------------------------------------------------------------------------------------------------

/// An enum has names when `to_string(e)` and `enum_from_string(name, std::type_identity<E>{})` can be found; others
/// print as numbers. Another folder adds the second function beside its enum, in the enum's namespace.
template <class E>
concept named_enum = std::is_enum_v<E> && requires(E e, std::string_view name) {
  { to_string(e) } -> std::convertible_to<std::string_view>;
  { enum_from_string(name, std::type_identity<E>{}) } -> std::same_as<std::optional<E>>;
};

} // namespace squall::calls

namespace squall {
[[nodiscard]] std::optional<errc> enum_from_string(std::string_view name, std::type_identity<errc>);
} // namespace squall

namespace squall::functions {
[[nodiscard]] std::optional<datatype> enum_from_string(std::string_view name, std::type_identity<datatype>);
[[nodiscard]] std::optional<variant_kind> enum_from_string(std::string_view name, std::type_identity<variant_kind>);
[[nodiscard]] std::optional<resource_type> enum_from_string(std::string_view name, std::type_identity<resource_type>);
[[nodiscard]] std::string_view to_string(binding::source from);
[[nodiscard]] std::optional<binding::source> enum_from_string(std::string_view name,
                                                              std::type_identity<binding::source>);
[[nodiscard]] std::optional<predicate::op> enum_from_string(std::string_view name, std::type_identity<predicate::op>);
[[nodiscard]] std::string_view to_string(join_rule::kind rule);
[[nodiscard]] std::optional<join_rule::kind> enum_from_string(std::string_view name,
                                                              std::type_identity<join_rule::kind>);
} // namespace squall::functions

namespace squall::calls {

// -- writing
// --------------------------------------------------------------------------------------------------------------

/// Writes JSON piece by piece; is also a visitor of `fields()`. The caller keeps objects and arrays balanced.
class json_writer {
public:
  explicit json_writer(json_style style = json_style::compact);
  ~json_writer();
  json_writer(const json_writer&) = delete;
  json_writer& operator=(const json_writer&) = delete;

  void begin_object();
  void key(std::string_view name);
  void end_object();
  void begin_array();
  void end_array();
  void null();
  void boolean(bool b);
  void number(std::int64_t n);
  void number(std::uint64_t n);
  void number(double n);           ///< the shortest text that reads back as the same double
  void string(std::string_view s); ///< {"b64": ...} if it is not UTF-8
  void base64(std::string_view bytes);
  void value(const functions::value& v);
  /// The text so far; the writer is then empty.
  [[nodiscard]] std::string take();

  template <class T>
  void operator()(const char* name, const T& field) {
    key(name);
    write(field);
  }

  template <class T>
  void write(const T& v) {
    if constexpr (std::is_same_v<T, bool>)
      boolean(v);
    else if constexpr (named_enum<T>)
      string(to_string(v));
    else if constexpr (std::is_enum_v<T>)
      number(static_cast<std::uint64_t>(v));
    else if constexpr (std::is_floating_point_v<T>)
      number(static_cast<double>(v));
    else if constexpr (std::is_signed_v<T>)
      number(static_cast<std::int64_t>(v));
    else if constexpr (std::is_unsigned_v<T>)
      number(static_cast<std::uint64_t>(v));
    else if constexpr (std::is_same_v<T, duration>)
      number(static_cast<std::int64_t>(v.count()));
    else if constexpr (std::is_same_v<T, time_point>)
      v == never ? null() : number(to_ns(v));
    else if constexpr (strong_id_type<T>)
      string(to_string(v));
    else if constexpr (std::is_convertible_v<const T&, std::string_view>)
      string(v);
    else
      compound(v);
  }

private:
  template <class T>
  void compound(const T& v) {
    if constexpr (std::is_same_v<T, functions::value>) {
      value(v);
    } else if constexpr (std::is_same_v<T, functions::tensor>) {
      value(functions::value{v});
    } else if constexpr (std::is_same_v<T, functions::named_value>) {
      begin_object();
      (*this)("name", v.name);
      (*this)("value", v.value);
      end_object();
    } else if constexpr (std::is_same_v<T, shared_bytes>) {
      base64(v.text());
    } else if constexpr (optional_type<T>) {
      v ? write(*v) : null();
    } else if constexpr (variant_type<T>) {
      std::visit([&](const auto& alternative) { write_alternative(alternative); }, v);
    } else if constexpr (vector_type<T>) {
      begin_array();
      for (const auto& element : v)
        write(element);
      end_array();
    } else if constexpr (map_type<T>) {
      write_map(v);
    } else {
      static_assert(has_fields<T>, "a field must be one of the kinds that base/fields.hpp lists");
      begin_object();
      T::fields(v, *this);
      end_object();
    }
  }

  template <class T>
  void write_alternative(const T& v) {
    if constexpr (has_fields<T>) {
      begin_object();
      (*this)(std::string{type_name<T>()}.c_str(), v);
      end_object();
    } else {
      write(v);
    }
  }

  template <class T>
  void write_map(const T& v) {
    if constexpr (std::is_same_v<typename T::key_type, std::string>) {
      begin_object();
      for (const auto& [name, element] : v)
        (*this)(name.c_str(), element);
      end_object();
    } else {
      begin_array();
      for (const auto& [name, element] : v) {
        begin_array();
        write(name);
        write(element);
        end_array();
      }
      end_array();
    }
  }

  struct state;
  std::unique_ptr<state> state_;
};

template <class T>
[[nodiscard]] std::string to_json(const T& v, json_style style = json_style::compact) {
  json_writer out{style};
  out.write(v);
  return out.take();
}

// -- reading
// --------------------------------------------------------------------------------------------------------------

/// One node of parsed JSON. A view: valid while its document lives.
class json_node {
public:
  enum class kind : std::uint8_t { null, boolean, number, string, array, object };
  [[nodiscard]] kind type() const;
  [[nodiscard]] bool is_null() const { return type() == kind::null; }
  [[nodiscard]] std::optional<bool> as_boolean() const;
  [[nodiscard]] std::optional<std::int64_t> as_int64() const;
  [[nodiscard]] std::optional<std::uint64_t> as_uint64() const;
  [[nodiscard]] std::optional<double> as_double() const;
  [[nodiscard]] std::optional<std::string_view> as_string() const;
  [[nodiscard]] std::size_t size() const;                   ///< of an array or object; else 0
  [[nodiscard]] json_node element(std::size_t index) const; ///< of an array
  [[nodiscard]] std::pair<std::string_view, json_node> member(
      std::size_t index) const; ///< of an object, in the order of the text
  [[nodiscard]] std::optional<json_node> find(std::string_view name) const;

private:
  friend class json_document;
  explicit json_node(const void* v) : value_(v) {}
  const void* value_;
};

/// Parsed JSON text. Strict: no comments, no trailing commas, UTF-8 only, one value, nesting of at most 128.
class json_document {
public:
  /// The error names line and column.
  [[nodiscard]] static result<json_document> parse(std::string_view text);
  json_document(json_document&&) noexcept;
  ~json_document();
  [[nodiscard]] json_node root() const;

private:
  struct state;
  explicit json_document(std::unique_ptr<state> s);
  std::unique_ptr<state> state_;
};

/// Fills plain structs from JSON; is also a visitor of `fields()`. Keys that are missing leave the field as it is;
/// unknown and repeated keys and wrong types are errors that name the path, for example "stages[2].inputs[0].port".
/// Stops at the first error.
class json_reader {
public:
  explicit json_reader(json_node root) : node_(root) {}

  template <class T>
  void operator()(const char* name, T& field) {
    if (!ok())
      return;
    known_.emplace_back(name);
    if (const auto child = node_.find(name))
      at(*child, "." + std::string{name}, field);
  }

  template <class T>
  void read(T& v) {
    if (!ok())
      return;
    if constexpr (std::is_same_v<T, bool>)
      assign(v, node_.as_boolean(), "true or false");
    else if constexpr (std::is_enum_v<T>)
      read_enum(v);
    else if constexpr (std::is_floating_point_v<T>)
      read_floating(v);
    else if constexpr (std::is_integral_v<T>)
      read_integer(v);
    else if constexpr (std::is_same_v<T, duration>)
      assign(v, node_.as_int64(), "a whole number of nanoseconds");
    else if constexpr (std::is_same_v<T, time_point>)
      read_time(v);
    else if constexpr (strong_id_type<T>)
      read_id(v.value);
    else if constexpr (std::is_same_v<T, std::string>)
      read_string(v);
    else
      compound(v);
  }

  [[nodiscard]] bool ok() const { return !failed_; }
  /// `errc::invalid_argument` with the path, if something was wrong.
  [[nodiscard]] result<> status() const;
  void fail(std::string_view why);
  void expected(std::string_view what);

private:
  /// Reads a child under its own path.
  template <class T>
  void at(json_node child, std::string step, T& v) {
    const json_node parent = std::exchange(node_, child);
    const std::size_t length = path_.size();
    auto known = std::exchange(known_, {});
    path_ += step;
    read(v);
    if (ok())
      path_.resize(length);
    known_ = std::move(known);
    node_ = parent;
  }

  template <class T, class From>
  void assign(T& v, const std::optional<From>& from, std::string_view what) {
    if (from)
      v = T{*from};
    else
      expected(what);
  }

  template <class T>
  void read_integer(T& v) {
    if constexpr (std::is_signed_v<T>) {
      const auto n = node_.as_int64();
      if (!n || *n < std::numeric_limits<T>::min() || *n > std::numeric_limits<T>::max())
        return expected("a whole number of " + std::to_string(8 * sizeof(T)) + " bits");
      v = static_cast<T>(*n);
    } else {
      const auto n = node_.as_uint64();
      if (!n || *n > std::numeric_limits<T>::max())
        return expected("a whole number from 0 to " + std::to_string(std::numeric_limits<T>::max()));
      v = static_cast<T>(*n);
    }
  }

  template <class T>
  void read_enum(T& v) {
    if constexpr (named_enum<T>) {
      const auto name = node_.as_string();
      if (!name)
        return expected("a name");
      const std::optional<T> e = enum_from_string(*name, std::type_identity<T>{});
      if (!e)
        return fail("'" + std::string{*name} + "' is not one of its names");
      v = *e;
    } else {
      std::underlying_type_t<T> n{};
      read_integer(n);
      v = static_cast<T>(n);
    }
  }

  template <class T>
  void read_floating(T& v) {
    if (const auto n = node_.as_double())
      v = static_cast<T>(*n);
    else
      expected("a number");
  }
  void read_time(time_point& v);
  void read_id(std::uint64_t& v);
  void read_string(std::string& v);
  void read_bytes(shared_bytes& v);
  void read_value(functions::value& v);
  /// Refuses keys that the struct did not list.
  void check_keys();

  template <class T>
  void compound(T& v) {
    if constexpr (std::is_same_v<T, functions::value>) {
      read_value(v);
    } else if constexpr (std::is_same_v<T, functions::tensor>) {
      functions::value any;
      read_value(any);
      if (const auto* t = any.as_tensor())
        v = *t;
      else if (ok())
        expected("a tensor");
    } else if constexpr (std::is_same_v<T, shared_bytes>) {
      read_bytes(v);
    } else if constexpr (optional_type<T>) {
      v.reset();
      if (!node_.is_null())
        read(v.emplace());
    } else if constexpr (variant_type<T>) {
      read_variant(v);
    } else if constexpr (vector_type<T>) {
      read_vector(v);
    } else if constexpr (map_type<T>) {
      read_map(v);
    } else {
      read_struct(v);
    }
  }

  template <class T>
  void read_struct(T& v) {
    if (node_.type() != json_node::kind::object)
      return expected("an object");
    known_.clear();
    if constexpr (std::is_same_v<T, functions::named_value>) {
      (*this)("name", v.name);
      (*this)("value", v.value);
    } else {
      static_assert(has_fields<T>, "a field must be one of the kinds that base/fields.hpp lists");
      T::fields(v, *this);
    }
    check_keys();
  }

  template <class T>
  void read_vector(T& v) {
    if (node_.type() != json_node::kind::array)
      return expected("an array");
    v.clear();
    for (std::size_t i = 0; i < node_.size() && ok(); ++i)
      at(node_.element(i), "[" + std::to_string(i) + "]", v.emplace_back());
  }

  template <class T>
  void read_map(T& v) {
    v.clear();
    if constexpr (std::is_same_v<typename T::key_type, std::string>) {
      if (node_.type() != json_node::kind::object)
        return expected("an object");
      for (std::size_t i = 0; i < node_.size() && ok(); ++i) {
        const auto [name, child] = node_.member(i);
        at(child, "." + std::string{name}, v[std::string{name}]);
      }
    } else {
      if (node_.type() != json_node::kind::array)
        return expected("an array of [key, value]");
      for (std::size_t i = 0; i < node_.size() && ok(); ++i) {
        const json_node entry = node_.element(i);
        if (entry.size() != 2 || entry.type() != json_node::kind::array)
          return expected("an array of [key, value]");
        typename T::key_type key{};
        at(entry.element(0), "[" + std::to_string(i) + "][0]", key);
        at(entry.element(1), "[" + std::to_string(i) + "][1]", v[key]);
      }
    }
  }

  template <class... Ts>
  void read_variant(std::variant<Ts...>& v) {
    const bool found = (try_alternative<Ts>(v) || ...);
    if (!found && ok())
      expected("one of its alternatives");
  }

  /// Takes the alternative if the node has its form.
  template <class T, class Variant>
  bool try_alternative(Variant& v) {
    if constexpr (has_fields<T>) {
      if (node_.type() != json_node::kind::object || node_.size() != 1 || node_.member(0).first != type_name<T>())
        return false;
      at(node_.member(0).second, "." + std::string{type_name<T>()}, v.template emplace<T>());
      return true;
    } else {
      json_reader attempt{node_};
      T alternative{};
      attempt.read(alternative);
      if (attempt.ok())
        v = std::move(alternative);
      return attempt.ok();
    }
  }

  json_node node_;
  std::string path_;
  std::vector<std::string_view> known_; ///< keys that the struct being read has listed so far
  bool failed_ = false;
  std::string why_;
};

/// Reads a T from JSON text; the error names the path of the offending key, or line and column where the text is not
/// JSON.
template <class T>
[[nodiscard]] result<T> from_json(std::string_view text) {
  SQUALL_ASSIGN(document, json_document::parse(text));
  json_reader in{document.root()};
  T out{};
  in.read(out);
  SQUALL_TRY(in.status());
  return out;
}

} // namespace squall::calls
