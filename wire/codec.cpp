#include "wire/codec.hpp"

#include <exception>
#include <msgpack/null_visitor.hpp>
#include <msgpack/unpack.hpp>

namespace squall::wire {

namespace {

/// Takes the first four elements of the header's array and stops the parser then.
class head_reader : public msgpack::null_visitor {
public:
  explicit head_reader(envelope_head& head) : head_(head) {}

  bool start_array(std::uint32_t count) {
    const bool expected = !inside_ && count >= 5;
    inside_ = true;
    return expected;
  }
  bool start_map(std::uint32_t) { return false; }
  bool visit_nil() { return false; }
  bool visit_boolean(bool) { return false; }
  bool visit_negative_integer(std::int64_t) { return false; }
  bool visit_float32(float) { return false; }
  bool visit_float64(double) { return false; }
  bool visit_str(const char*, std::uint32_t) { return false; }
  bool visit_bin(const char*, std::uint32_t) { return false; }
  bool visit_ext(const char*, std::uint32_t) { return false; }

  bool visit_positive_integer(std::uint64_t v) {
    if (!inside_)
      return false;
    switch (taken_) {
    case 0: return take(head_.version, v);
    case 1: return take(head_.type, v);
    case 2: return take(head_.to, v);
    default:
      head_.request = request_id{v};
      ++taken_;
      return false; // all that is wanted
    }
  }

  [[nodiscard]] int taken() const { return taken_; }

private:
  template <class T>
  bool take(T& field, std::uint64_t v) {
    field = static_cast<T>(v);
    if (static_cast<std::uint64_t>(field) != v)
      return false;
    ++taken_;
    return true;
  }

  envelope_head& head_;
  bool inside_ = false;
  int taken_ = 0;
};

} // namespace

result<> peek(std::span<const std::byte> header, envelope_head& head) {
  head_reader reader{head};
  std::size_t offset = 0;
  try {
    msgpack::parse(reinterpret_cast<const char*>(header.data()), header.size(), offset, reader);
  } catch (const std::exception& e) {
    return {errc::corrupt, std::string{"the header cannot be parsed: "} + e.what()};
  }
  if (reader.taken() > 0 && (head.version < oldest_protocol_version || head.version > protocol_version))
    return {errc::unsupported, unspoken_version(head.version)};
  if (reader.taken() < 4)
    return {errc::corrupt, "the header is no array that begins with version, type, role and request"};
  return {};
}

result<envelope_head> peek(std::span<const std::byte> header) {
  envelope_head head;
  SQUALL_TRY(peek(header, head));
  return head;
}

std::string unspoken_version(std::uint32_t version) {
  const std::string oldest = std::to_string(oldest_protocol_version);
  const std::string newest = std::to_string(protocol_version);
  return "the message is of protocol version " + std::to_string(version) + ", spoken here: " + oldest + " to " + newest;
}

result<> within_limits(const frames& message) {
  if (message.header.size() > max_header_bytes)
    return {errc::too_large, "a header of " + std::to_string(message.header.size()) + " bytes; the limit is " +
                               std::to_string(max_header_bytes)};
  if (message.payloads.size() > max_payload_frames)
    return {errc::too_large, std::to_string(message.payloads.size()) + " payload frames; the limit is " +
                               std::to_string(max_payload_frames)};
  std::size_t total = message.header.size();
  for (const auto& payload : message.payloads) {
    if (payload.size() > max_payload_bytes)
      return {errc::too_large, "a payload of " + std::to_string(payload.size()) + " bytes; the limit is " +
                                 std::to_string(max_payload_bytes)};
    total += payload.size();
  }
  if (total > max_message_bytes)
    return {errc::too_large, "a message of " + std::to_string(total) + " bytes; the limit is " + std::to_string(max_message_bytes)};
  return {};
}

frames encode_failure(const error& what, request_id request, role to) {
  return encode(reply{what.code, what.message, what.retry_after, {}}, request, {}, to);
}

} // namespace squall::wire
