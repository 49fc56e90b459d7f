#include "wire/codec.hpp"

#include "wire/detail/tokens.hpp"

namespace squall::wire {

namespace {

/// Takes the next element, an unsigned integer that fits T.
template <class T>
bool take(detail::token_reader& from, T& out) {
  detail::token t;
  if (!from.next(t) || t.what != detail::token::kind::natural)
    return false;
  out = static_cast<T>(t.natural);
  return static_cast<std::uint64_t>(out) == t.natural;
}

} // namespace

result<> peek(std::span<const std::byte> header, envelope_head& head) {
  detail::token_reader reader{header};
  detail::token array;
  if (reader.next(array) && array.what == detail::token::kind::array && array.size >= 5 && take(reader, head.version)) {
    const bool whole = take(reader, head.type) && take(reader, head.to) && take(reader, head.request.value);
    if (head.version < oldest_protocol_version || head.version > protocol_version)
      return {errc::unsupported, unspoken_version(head.version)};
    if (whole)
      return {};
  }
  return {errc::corrupt, "the header is no array that begins with version, type, role and request"};
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
                                 std::to_string(max_payload_frames) +
                                 ". Each output of each element of a map is one: return one tensor for all of them, "
                                 "or lower the map's max-width"};
  std::size_t total = message.header.size();
  for (const auto& payload : message.payloads) {
    if (payload.size() > max_payload_bytes)
      return {errc::too_large, "a payload of " + std::to_string(payload.size()) + " bytes; the limit is " +
                                   std::to_string(max_payload_bytes)};
    total += payload.size();
  }
  if (total > max_message_bytes)
    return {errc::too_large,
            "a message of " + std::to_string(total) + " bytes; the limit is " + std::to_string(max_message_bytes)};
  return {};
}

frames encode_failure(const error& what, request_id request, role to) {
  return encode(reply{what.code, what.message, what.retry_after, {}}, request, {}, to);
}

} // namespace squall::wire
