#include "calls/json.hpp"

#include "calls/detail/base64.hpp"
#include "calls/promise.hpp"

#include <rapidjson/document.h>
#include <rapidjson/error/en.h>
#include <rapidjson/prettywriter.h>
#include <rapidjson/stringbuffer.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <set>

// -- names of enums
// ---------------------------------------------------------------------------------------------------------

namespace squall {

std::optional<errc> enum_from_string(std::string_view name, std::type_identity<errc>) {
  const errc code = errc_from_string(name);
  return to_string(code) == name ? std::optional{code} : std::nullopt;
}

} // namespace squall

namespace squall::functions {

namespace {

constexpr std::array<std::string_view, 4> source_names{"", "dag_input", "stage_output", "constant"};
constexpr std::array<std::string_view, 4> join_names{"", "all", "any", "count"};

template <class E, std::size_t N>
std::string_view name_of(E e, const std::array<std::string_view, N>& names) {
  const auto index = static_cast<std::size_t>(e);
  return index < N ? names[index] : std::string_view{};
}

template <class E, std::size_t N>
std::optional<E> find_name(std::string_view name, const std::array<std::string_view, N>& names) {
  const auto* const at = std::find(names.begin() + 1, names.end(), name);
  return at == names.end() ? std::nullopt : std::optional{static_cast<E>(at - names.begin())};
}

} // namespace

std::optional<datatype> enum_from_string(std::string_view name, std::type_identity<datatype>) {
  return datatype_from_string(name);
}
std::optional<variant_kind> enum_from_string(std::string_view name, std::type_identity<variant_kind>) {
  return variant_kind_from_string(name);
}
std::optional<resource_type> enum_from_string(std::string_view name, std::type_identity<resource_type>) {
  return resource_type_from_string(name);
}
std::string_view to_string(binding::source from) { return name_of(from, source_names); }
std::optional<binding::source> enum_from_string(std::string_view name, std::type_identity<binding::source>) {
  return find_name<binding::source>(name, source_names);
}
std::optional<predicate::op> enum_from_string(std::string_view name, std::type_identity<predicate::op>) {
  return predicate_op_from_string(name);
}
std::string_view to_string(join_rule::kind rule) { return name_of(rule, join_names); }
std::optional<join_rule::kind> enum_from_string(std::string_view name, std::type_identity<join_rule::kind>) {
  return find_name<join_rule::kind>(name, join_names);
}

} // namespace squall::functions

namespace squall::calls {

std::string_view to_string(preference p) {
  switch (p) {
    case preference::cheapest:
      return "cheapest";
    case preference::fastest:
      return "fastest";
    case preference::least_loaded:
      return "least-loaded";
  }
  return {};
}

std::optional<preference> enum_from_string(std::string_view name, std::type_identity<preference>) {
  for (const preference p : {preference::cheapest, preference::fastest, preference::least_loaded})
    if (to_string(p) == name)
      return p;
  return std::nullopt;
}

// -- writing
// ----------------------------------------------------------------------------------------------------------------

/// RapidJSON's two writers share no base; the pretty one with an indent of 0 would still break lines.
struct json_writer::state {
  rapidjson::StringBuffer buffer;
  json_style style;
  rapidjson::Writer<rapidjson::StringBuffer> compact{buffer};
  rapidjson::PrettyWriter<rapidjson::StringBuffer> pretty{buffer};

  template <class F>
  void with(F&& f) {
    if (style == json_style::compact)
      f(compact);
    else
      f(pretty);
  }
};

json_writer::json_writer(json_style style) : state_(std::make_unique<state>()) {
  state_->style = style;
  state_->pretty.SetIndent(' ', 2);
}
json_writer::~json_writer() = default;

void json_writer::begin_object() {
  state_->with([](auto& w) { w.StartObject(); });
}
void json_writer::key(std::string_view name) {
  state_->with([&](auto& w) { w.Key(name.data(), static_cast<rapidjson::SizeType>(name.size())); });
}
void json_writer::end_object() {
  state_->with([](auto& w) { w.EndObject(); });
}
void json_writer::begin_array() {
  state_->with([](auto& w) { w.StartArray(); });
}
void json_writer::end_array() {
  state_->with([](auto& w) { w.EndArray(); });
}
void json_writer::null() {
  state_->with([](auto& w) { w.Null(); });
}
void json_writer::boolean(bool b) {
  state_->with([&](auto& w) { w.Bool(b); });
}
void json_writer::number(std::int64_t n) {
  state_->with([&](auto& w) { w.Int64(n); });
}
void json_writer::number(std::uint64_t n) {
  state_->with([&](auto& w) { w.Uint64(n); });
}
void json_writer::number(double n) {
  if (!std::isfinite(n))
    return string(std::isnan(n) ? "NaN" : n > 0 ? "Infinity" : "-Infinity");
  std::array<char, 32> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), n).ptr;
  state_->with(
      [&](auto& w) { w.RawValue(text.data(), static_cast<std::size_t>(end - text.data()), rapidjson::kNumberType); });
}
void json_writer::string(std::string_view s) {
  if (!detail::is_utf8(s))
    return base64(s);
  // RapidJSON dereferences the pointer even of an empty string.
  state_->with([&](auto& w) { w.String(s.empty() ? "" : s.data(), static_cast<rapidjson::SizeType>(s.size())); });
}
void json_writer::base64(std::string_view bytes) {
  begin_object();
  key("b64");
  string(detail::to_base64(bytes));
  end_object();
}

std::string json_writer::take() {
  std::string out{state_->buffer.GetString(), state_->buffer.GetSize()};
  state_->buffer.Clear();
  state_->compact.Reset(state_->buffer);
  state_->pretty.Reset(state_->buffer);
  return out;
}

// -- documents
// --------------------------------------------------------------------------------------------------------------

struct json_document::state {
  rapidjson::Document document;
};

namespace {

const rapidjson::Value& node_of(const void* v) { return *static_cast<const rapidjson::Value*>(v); }

constexpr int max_nesting = 128;

/// Whether a number that no double holds is too small and not too large: the decimal exponent of its first digit that
/// is not zero tells. The text is of JSON's grammar.
bool is_tiny(std::string_view text) {
  const std::size_t mark = text.find_first_of("eE");
  const std::string_view digits = text.substr(0, mark);
  const std::size_t first = digits.find_first_of("123456789");
  const auto point = static_cast<std::int64_t>(std::min(digits.find('.'), digits.size()));
  if (first == std::string_view::npos)
    return true;
  std::int64_t exponent = 0;
  if (mark != std::string_view::npos) {
    std::string_view of = text.substr(mark + 1);
    if (of.starts_with('+'))
      of.remove_prefix(1);
    if (std::from_chars(of.data(), of.data() + of.size(), exponent).ec != std::errc{})
      return of.starts_with('-');
  }
  return point - static_cast<std::int64_t>(first) < -std::max(exponent, -std::numeric_limits<std::int64_t>::max());
}

/// Fills a document from what RapidJSON's parser finds, but bounds the nesting, since the parser recurses for each
/// level, and reads numbers itself: RapidJSON's exact conversion reads beyond its table for some long numbers with
/// exponents of about -330.
class document_filler {
public:
  explicit document_filler(rapidjson::Document& into) : into_(into) {}
  /// Why the parser was stopped.
  [[nodiscard]] const char* refusal() const { return refusal_; }

  bool Null() { return into_.Null(); }
  bool Bool(bool b) { return into_.Bool(b); }
  bool Int(int n) { return into_.Int(n); }
  bool Uint(unsigned n) { return into_.Uint(n); }
  bool Int64(std::int64_t n) { return into_.Int64(n); }
  bool Uint64(std::uint64_t n) { return into_.Uint64(n); }
  bool Double(double n) { return into_.Double(n); }
  bool String(const char* text, rapidjson::SizeType size, bool copy) { return into_.String(text, size, copy); }
  bool Key(const char* text, rapidjson::SizeType size, bool copy) { return into_.Key(text, size, copy); }
  bool StartObject() { return deeper() && into_.StartObject(); }
  bool StartArray() { return deeper() && into_.StartArray(); }
  bool EndObject(rapidjson::SizeType count) { return --depth_, into_.EndObject(count); }
  bool EndArray(rapidjson::SizeType count) { return --depth_, into_.EndArray(count); }

  bool RawNumber(const char* text, rapidjson::SizeType size, bool) {
    const char* end = text + size;
    const auto whole = [&](auto n) {
      const auto read = std::from_chars(text, end, n);
      return read.ec == std::errc{} && read.ptr == end ? std::optional{n} : std::nullopt;
    };
    if (const auto n = whole(std::uint64_t{}))
      return into_.Uint64(*n);
    if (const auto n = whole(std::int64_t{}))
      return into_.Int64(*n);
    double n = 0;
    if (std::from_chars(text, end, n).ec == std::errc{} || is_tiny({text, size}))
      return into_.Double(n);
    refusal_ = rapidjson::GetParseError_En(rapidjson::kParseErrorNumberTooBig);
    return false;
  }

private:
  bool deeper() {
    if (++depth_ <= max_nesting)
      return true;
    refusal_ = "nests more than 128 deep";
    return false;
  }

  rapidjson::Document& into_;
  int depth_ = 0;
  const char* refusal_ = nullptr;
};

std::string position(std::string_view text, std::size_t offset) {
  const auto before = text.substr(0, std::min(offset, text.size()));
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const auto start = before.rfind('\n');
  const std::size_t column = start == std::string_view::npos ? before.size() : before.size() - start - 1;
  return "line " + std::to_string(line) + ", column " + std::to_string(column + 1);
}

} // namespace

json_document::json_document(std::unique_ptr<state> s) : state_(std::move(s)) {}
json_document::json_document(json_document&&) noexcept = default;
json_document::~json_document() = default;

result<json_document> json_document::parse(std::string_view text) {
  auto s = std::make_unique<state>();
  document_filler filler{s->document};
  rapidjson::ParseResult parsed;
  const auto parse = [&](rapidjson::Document&) {
    constexpr unsigned flags = rapidjson::kParseValidateEncodingFlag | rapidjson::kParseNumbersAsStringsFlag;
    rapidjson::MemoryStream bytes{text.empty() ? "" : text.data(), text.size()};
    rapidjson::EncodedInputStream<rapidjson::UTF8<>, rapidjson::MemoryStream> stream{bytes};
    rapidjson::Reader reader;
    parsed = reader.Parse<flags>(stream, filler);
    return !parsed.IsError();
  };
  s->document.Populate(parse);
  if (parsed.IsError())
    return {errc::invalid_argument,
            "JSON: " + position(text, parsed.Offset()) + ": " +
                (filler.refusal() != nullptr ? filler.refusal() : rapidjson::GetParseError_En(parsed.Code()))};
  return json_document{std::move(s)};
}

json_node json_document::root() const {
  return json_node{static_cast<const void*>(static_cast<const rapidjson::Value*>(&state_->document))};
}

json_node::kind json_node::type() const {
  switch (node_of(value_).GetType()) {
    case rapidjson::kNullType:
      return kind::null;
    case rapidjson::kFalseType:
    case rapidjson::kTrueType:
      return kind::boolean;
    case rapidjson::kObjectType:
      return kind::object;
    case rapidjson::kArrayType:
      return kind::array;
    case rapidjson::kStringType:
      return kind::string;
    case rapidjson::kNumberType:
      return kind::number;
  }
  return kind::null;
}

std::optional<bool> json_node::as_boolean() const {
  const auto& v = node_of(value_);
  return v.IsBool() ? std::optional{v.GetBool()} : std::nullopt;
}
std::optional<std::int64_t> json_node::as_int64() const {
  const auto& v = node_of(value_);
  return v.IsInt64() ? std::optional<std::int64_t>{v.GetInt64()} : std::nullopt;
}
std::optional<std::uint64_t> json_node::as_uint64() const {
  const auto& v = node_of(value_);
  return v.IsUint64() ? std::optional<std::uint64_t>{v.GetUint64()} : std::nullopt;
}
std::optional<double> json_node::as_double() const {
  const auto& v = node_of(value_);
  if (v.IsNumber())
    return v.GetDouble();
  const auto name = as_string();
  if (name == "NaN")
    return std::numeric_limits<double>::quiet_NaN();
  if (name == "Infinity")
    return std::numeric_limits<double>::infinity();
  if (name == "-Infinity")
    return -std::numeric_limits<double>::infinity();
  return std::nullopt;
}
std::optional<std::string_view> json_node::as_string() const {
  const auto& v = node_of(value_);
  return v.IsString() ? std::optional{std::string_view{v.GetString(), v.GetStringLength()}} : std::nullopt;
}
std::size_t json_node::size() const {
  const auto& v = node_of(value_);
  return v.IsArray() ? v.Size() : v.IsObject() ? v.MemberCount() : 0;
}
json_node json_node::element(std::size_t index) const {
  return json_node{&node_of(value_)[static_cast<rapidjson::SizeType>(index)]};
}
std::pair<std::string_view, json_node> json_node::member(std::size_t index) const {
  const auto& m = *(node_of(value_).MemberBegin() + static_cast<std::ptrdiff_t>(index));
  return {{m.name.GetString(), m.name.GetStringLength()}, json_node{&m.value}};
}
std::optional<json_node> json_node::find(std::string_view name) const {
  if (type() != kind::object)
    return std::nullopt;
  for (std::size_t i = 0; i < size(); ++i)
    if (auto [key, child] = member(i); key == name)
      return child;
  return std::nullopt;
}

// -- reading
// ----------------------------------------------------------------------------------------------------------------

void json_reader::fail(std::string_view why) {
  if (failed_)
    return;
  failed_ = true;
  why_ = why;
}

void json_reader::expected(std::string_view what) {
  static constexpr std::array<std::string_view, 6> kinds{"null",     "a boolean", "a number",
                                                         "a string", "an array",  "an object"};
  fail("expected " + std::string{what} + ", found " + std::string{kinds[static_cast<std::size_t>(node_.type())]});
}

result<> json_reader::status() const {
  if (!failed_)
    return {};
  const std::string_view path = std::string_view{path_}.substr(path_.starts_with('.') ? 1 : 0);
  return {errc::invalid_argument, path.empty() ? why_ : std::string{path} + ": " + why_};
}

void json_reader::check_keys() {
  std::set<std::string_view> seen;
  for (std::size_t i = 0; i < node_.size() && ok(); ++i) {
    const std::string_view key = node_.member(i).first;
    const bool listed = std::find(known_.begin(), known_.end(), key) != known_.end();
    if (listed && seen.insert(key).second)
      continue;
    path_ += "." + std::string{key};
    if (listed)
      return fail("given twice");
    std::string names;
    for (const std::string_view name : known_)
      names += (names.empty() ? "" : ", ") + std::string{name};
    fail("unknown key; known here: " + names);
  }
}

void json_reader::read_time(time_point& v) {
  if (node_.is_null()) {
    v = never;
    return;
  }
  if (const auto ns = node_.as_int64())
    v = from_ns(*ns);
  else
    expected("a whole number of nanoseconds, or null");
}

void json_reader::read_id(std::uint64_t& v) {
  if (const auto n = node_.as_uint64()) {
    v = *n;
    return;
  }
  const auto text = node_.as_string();
  if (!text)
    return expected("an id");
  const auto [end, code] = std::from_chars(text->data(), text->data() + text->size(), v);
  if (code != std::errc{} || end != text->data() + text->size())
    fail("'" + std::string{*text} + "' is not an id");
}

void json_reader::read_string(std::string& v) {
  if (const auto text = node_.as_string()) {
    v = *text;
    return;
  }
  if (node_.type() != json_node::kind::object)
    return expected("a string");
  shared_bytes bytes;
  read_bytes(bytes);
  v = bytes.text();
}

void json_reader::read_bytes(shared_bytes& v) {
  if (node_.type() != json_node::kind::object || node_.size() != 1 || node_.member(0).first != "b64")
    return expected("{\"b64\": \"...\"}");
  const auto text = node_.member(0).second.as_string();
  auto bytes = text ? detail::from_base64(*text) : std::nullopt;
  if (!bytes)
    return fail("'b64' is not base64");
  v = shared_bytes::take(std::move(*bytes));
}

} // namespace squall::calls
