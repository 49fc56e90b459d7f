#include "wire/detail/decoder.hpp"

#include <algorithm>

namespace squall::wire::detail {

using kind = token::kind;

void decoder::fail_kind(token::kind wanted, token::kind found) {
  if (!failure_)
    fail("expected " + std::string{to_string(wanted)} + ", found " + std::string{to_string(found)});
}

void decoder::skip(std::uint64_t elements) {
  for (std::uint64_t i = 0; i < elements && !failure_; ++i) {
    const token t = next();
    if (t.what != kind::array && t.what != kind::map)
      continue;
    if (deeper())
      skip(t.what == kind::array ? t.size : std::uint64_t{2} * t.size);
    --depth_;
  }
}

bool decoder::charge(std::size_t count, std::size_t each_bytes) {
  if (failure_)
    return false;
  // The count is at most that of the header's bytes, so this does not overflow.
  decoded_bytes_ += count * each_bytes;
  if (decoded_bytes_ <= max_decoded_bytes)
    return true;
  fail("the message decodes to more than " + std::to_string(max_decoded_bytes >> 20) + " MiB", errc::too_large);
  return false;
}

void decoder::fail(std::string what, errc code) {
  if (!failure_)
    failure_ = error{code, std::move(what), {}};
}

void decoder::failed_in(const char* name) {
  const bool index_follows = path_.empty() || path_.front() == '[';
  path_.insert(0, index_follows ? std::string{name} : std::string{name} + ".");
}

void decoder::failed_at(std::size_t index) {
  const bool index_follows = path_.empty() || path_.front() == '[';
  path_.insert(0, "[" + std::to_string(index) + (index_follows ? "]" : "]."));
}

error decoder::described_failure() {
  error out = *std::move(failure_);
  if (!path_.empty())
    out.message = path_ + ": " + out.message;
  return out;
}

bool decoder::deeper() {
  if (++depth_ > max_depth)
    fail("nested deeper than " + std::to_string(max_depth) + " levels");
  return !failure_;
}

void decoder::read_head(std::uint16_t type) {
  const std::uint32_t elements = read_array();
  if (failure_)
    return;
  if (elements < 5)
    return fail("the header takes 5 elements, here are " + std::to_string(elements));
  unread_ = elements - 5;
  const auto version = read_natural(0, std::numeric_limits<std::uint32_t>::max());
  if (!failure_ && (version < oldest_protocol_version || version > protocol_version))
    return fail(unspoken_version(static_cast<std::uint32_t>(version)), errc::unsupported);
  const auto found = read_natural(0, std::numeric_limits<std::uint16_t>::max());
  if (!failure_ && found != type)
    return fail("expected a message of type " + std::to_string(type) + ", found type " + std::to_string(found));
  read_natural(0, std::numeric_limits<std::uint8_t>::max());
  read_natural(0, std::numeric_limits<std::uint64_t>::max());
}

/// The document is the header's array, whose elements that this version does not know are skipped, and nothing else.
void decoder::finish() {
  skip(unread_);
  if (!failure_ && tokens_.left() > 0)
    fail(std::to_string(tokens_.left()) + " bytes after the end of the header's array");
}

std::uint64_t decoder::out_of_range(std::uint64_t n, std::uint64_t least, std::uint64_t most) {
  fail(std::to_string(n) + " is not in " + std::to_string(least) + ".." + std::to_string(most));
  return least;
}

std::int64_t decoder::read_integer(std::int64_t least, std::int64_t most) {
  std::uint64_t n = 0;
  if (!tokens_.take_natural(n)) {
    if (tokens_.peek() == kind::negative) {
      const token t = next();
      if (t.negative < least)
        fail(std::to_string(t.negative) + " is less than " + std::to_string(least));
      return failure_ ? 0 : t.negative;
    }
    n = next(kind::natural).natural;
  }
  const auto limit = static_cast<std::uint64_t>(most);
  return static_cast<std::int64_t>(n <= limit ? n : out_of_range(n, 0, limit));
}

double decoder::read_real() {
  const token t = next();
  switch (t.what) {
    case kind::real:
      return t.real;
    case kind::natural:
      return static_cast<double>(t.natural);
    case kind::negative:
      return static_cast<double>(t.negative);
    default:
      fail("expected a number, found " + std::string{to_string(t.what)});
      return 0;
  }
}

std::string decoder::read_text() {
  const token t = next(kind::text);
  return failure_ ? std::string{} : std::string{t.bytes()};
}

std::uint32_t decoder::read_map_size() { return next(kind::map).size; }

void decoder::read_value(functions::value& v) {
  if (tokens_.take_nil()) {
    v.data = std::monostate{};
    return;
  }
  const std::uint32_t elements = read_array();
  if (failure_)
    return;
  if (elements < 2)
    return fail("a value takes 2 or 3 elements, here are " + std::to_string(elements));
  const auto type = read_natural(0, range_of<functions::datatype>.last);
  if (type == 0) {
    read_list(v);
    return skip(elements - 2);
  }
  if (elements < 3)
    return fail("a tensor takes 3 elements, here are 2");
  v.data = read_tensor(type);
  skip(elements - 3);
}

void decoder::read_list(functions::value& v) {
  functions::value_list list;
  if (deeper())
    read_vector(list);
  --depth_;
  v.data = std::move(list);
}

functions::tensor decoder::read_tensor(std::uint64_t type) {
  functions::tensor t;
  t.type = static_cast<functions::datatype>(type);
  read(t.shape);
  t.data = read_place();
  if (failure_)
    return {};
  if (const auto valid = functions::validate(t); !valid.ok())
    fail(valid.error().message);
  return t;
}

shared_bytes decoder::read_place() {
  switch (tokens_.peek()) {
    case kind::nil:
      next();
      return {};
    case kind::natural:
      return read_payload();
    case kind::array:
      return read_arena_bytes();
    default:
      fail("a tensor's place is nil, a number or an array, here is " + std::string{to_string(tokens_.peek())});
      return {};
  }
}

shared_bytes decoder::read_payload() {
  const std::uint64_t frame = read_natural(0, std::numeric_limits<std::uint64_t>::max());
  if (failure_)
    return {};
  if (frame < next_payload_) {
    fail("payload frame " + std::to_string(frame) + " is out of order");
    return {};
  }
  if (frame >= payloads_.size()) {
    fail("payload frame " + std::to_string(frame) + " is missing, the message has " + std::to_string(payloads_.size()));
    return {};
  }
  next_payload_ = frame + 1;
  return payloads_[frame];
}

shared_bytes decoder::read_arena_bytes() {
  arena_ref ref;
  read(ref);
  if (failure_)
    return {};
  if (arenas_ == nullptr) {
    fail("a reference to shared memory, from a peer that may not send any");
    return {};
  }
  auto bytes = arenas_->resolve(ref);
  if (!bytes.ok()) {
    fail(bytes.error().message, bytes.error().code);
    return {};
  }
  return *std::move(bytes);
}

} // namespace squall::wire::detail
