#pragma once

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "wire/arena.hpp"
#include "wire/messages.hpp"

#include <string>
#include <vector>

namespace squall::wire {

/// A message as frames.
struct frames {
  shared_bytes header;
  std::vector<shared_bytes> payloads;
};

/// The part of the header that routing needs.
struct envelope_head {
  std::uint32_t version = 0;
  message_type type{}; ///< any number: a receiver answers those that it does not know
  role to = role::any; ///< any number, too
  request_id request;
};

/// Reads no more than the first four elements. Fails as corrupt, or as unsupported for another version.
[[nodiscard]] result<envelope_head> peek(std::span<const std::byte> header);

/// The same, and leaves in `head` what could be read before the fault: a message with a request id is worth an answer.
[[nodiscard]] result<> peek(std::span<const std::byte> header, envelope_head& head);

/// Why a message of that version is refused: names its version and the range that is spoken here.
[[nodiscard]] std::string unspoken_version(std::uint32_t version);

/// The limits of docs/wire.md. Fails as too_large and names the limit. Whoever sends checks it, too.
[[nodiscard]] result<> within_limits(const frames& message);

/// Where tensors may be put: `local` set = tensors that lie in a known arena travel as references (for a receiver on
/// the same host); null = everything travels inline.
struct encode_options {
  const arena_map* local = nullptr;
};

/// Defined for every message of messages.hpp and worker.hpp (the codec_*.cpp files instantiate them). `to` overrides
/// the message's own role (for ping, pong and the replies, whose receivers vary). Never fails; a message that is too
/// large for the wire is refused by whoever sends it.
template <class Message>
[[nodiscard]] frames encode(const Message& message, request_id request, const encode_options& options = {},
                            role to = Message::to);

/// A `reply` that says what went wrong.
[[nodiscard]] frames encode_failure(const error& what, request_id request, role to = role::any);

/// Total: any bytes give a message or an error that says where it went wrong: corrupt (not the format), unsupported
/// (another version), too_large (a limit of docs/wire.md), or what the arena says of a reference. `arenas` null:
/// references are refused as corrupt.
template <class Message>
[[nodiscard]] result<Message> decode(const frames& message, arena_map* arenas);

} // namespace squall::wire
