#include "wire/detail/tokens.hpp"

#include <msgpack/null_visitor.hpp>
#include <msgpack/unpack.hpp>

#include <algorithm>
#include <exception>

namespace squall::wire::detail {

namespace {

using kind = token::kind;

/// Called by msgpack's parser for each element.
class token_collector : public msgpack::null_visitor {
public:
  explicit token_collector(std::vector<token>& out) : out_(out) {}

  bool visit_nil() { return add(kind::nil, 0); }
  bool visit_boolean(bool v) { return add_natural(kind::boolean, v ? 1 : 0); }
  bool visit_positive_integer(std::uint64_t v) { return add_natural(kind::natural, v); }
  bool visit_negative_integer(std::int64_t v) {
    add(kind::negative, 0);
    out_.back().negative = v;
    return true;
  }
  bool visit_float32(float v) { return visit_float64(v); }
  bool visit_float64(double v) {
    add(kind::real, 0);
    out_.back().real = v;
    return true;
  }
  bool visit_str(const char* data, std::uint32_t size) { return add_bytes(kind::text, data, size); }
  bool visit_bin(const char* data, std::uint32_t size) { return add_bytes(kind::binary, data, size); }
  bool visit_ext(const char* data, std::uint32_t size) { return add_bytes(kind::extension, data, size); }
  bool start_array(std::uint32_t count) { return enter(kind::array, count); }
  bool end_array() { return leave(); }
  bool start_map(std::uint32_t count) { return enter(kind::map, count); }
  bool end_map() { return leave(); }
  void parse_error(std::size_t, std::size_t offset) { error_offset_ = offset; }
  void insufficient_bytes(std::size_t, std::size_t offset) {
    error_offset_ = offset;
    truncated_ = true;
  }

  [[nodiscard]] std::string complaint() const {
    if (too_deep_)
      return "nested deeper than " + std::to_string(max_depth) + " levels";
    if (truncated_)
      return "the header ends too early, at byte " + std::to_string(error_offset_);
    return "no valid msgpack at byte " + std::to_string(error_offset_);
  }

private:
  bool add(kind what, std::uint32_t size) {
    token& t = out_.emplace_back();
    t.what = what;
    t.size = size;
    return true;
  }
  bool add_natural(kind what, std::uint64_t v) {
    add(what, 0);
    out_.back().natural = v;
    return true;
  }
  bool add_bytes(kind what, const char* data, std::uint32_t size) {
    add(what, size);
    out_.back().data = data;
    return true;
  }
  bool enter(kind what, std::uint32_t count) {
    if (depth_ == max_depth) {
      too_deep_ = true;
      return false;
    }
    ++depth_;
    return add(what, count);
  }
  bool leave() {
    --depth_;
    return true;
  }

  std::vector<token>& out_;
  std::uint32_t depth_ = 0;
  std::size_t error_offset_ = 0;
  bool too_deep_ = false;
  bool truncated_ = false;
};

} // namespace

std::string_view to_string(token::kind kind) {
  switch (kind) {
    case kind::nil:
      return "nil";
    case kind::boolean:
      return "a boolean";
    case kind::natural:
      return "an unsigned number";
    case kind::negative:
      return "a negative number";
    case kind::real:
      return "a floating-point number";
    case kind::text:
      return "text";
    case kind::binary:
      return "bytes";
    case kind::array:
      return "an array";
    case kind::map:
      return "a map";
    case kind::extension:
      return "an extension";
  }
  return "?";
}

result<std::vector<token>> tokenize(std::span<const std::byte> document) {
  std::vector<token> tokens;
  // Most elements of a header take two to four bytes.
  tokens.reserve(std::min<std::size_t>(document.size() / 2 + 1, 4096));
  token_collector collector{tokens};
  std::size_t offset = 0;
  try {
    if (!msgpack::parse(reinterpret_cast<const char*>(document.data()), document.size(), offset, collector))
      return error{errc::corrupt, collector.complaint(), {}};
  } catch (const std::exception& e) {
    return error{errc::corrupt, std::string{"the header cannot be parsed: "} + e.what(), {}};
  }
  if (offset != document.size())
    return error{
        errc::corrupt, std::to_string(document.size() - offset) + " bytes after the end of the header's array", {}};
  return tokens;
}

} // namespace squall::wire::detail
