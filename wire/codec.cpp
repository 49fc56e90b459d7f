#include "wire/codec.hpp"

#include <optional>

namespace squall::wire {

namespace {

/// Reads the first few elements of a msgpack document by hand. Every message passes here on its way to its role, and
/// msgpack's parser allocates its stack before it looks at the first byte.
class head_reader {
public:
  explicit head_reader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  /// The count of the array that begins here.
  std::optional<std::uint64_t> array() {
    const auto first = number(1);
    if (!first)
      return {};
    if ((*first & 0xf0) == 0x90)
      return *first & 0x0f;
    if (*first == 0xdc)
      return number(2);
    if (*first == 0xdd)
      return number(4);
    return {};
  }

  /// The unsigned integer that begins here, if it fits T.
  template <class T>
  bool natural(T& out) {
    auto value = number(1);
    if (value && *value >= 0x80)
      value = *value >= 0xcc && *value <= 0xcf ? number(std::size_t{1} << (*value - 0xcc)) : std::nullopt;
    if (!value || static_cast<std::uint64_t>(static_cast<T>(*value)) != *value)
      return false;
    out = static_cast<T>(*value);
    return true;
  }

private:
  std::optional<std::uint64_t> number(std::size_t size) {
    if (bytes_.size() < size)
      return {};
    std::uint64_t value = 0;
    for (const std::byte b : bytes_.first(size))
      value = value << 8 | static_cast<std::uint64_t>(b);
    bytes_ = bytes_.subspan(size);
    return value;
  }

  std::span<const std::byte> bytes_;
};

} // namespace

result<> peek(std::span<const std::byte> header, envelope_head& head) {
  head_reader reader{header};
  if (const auto count = reader.array(); count && *count >= 5 && reader.natural(head.version)) {
    const bool whole = reader.natural(head.type) && reader.natural(head.to) && reader.natural(head.request.value);
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
                                 std::to_string(max_payload_frames)};
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
