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
  message_type type{};
  role to = role::any;
  request_id request;
};

/// Reads no more than the first four elements. Fails as corrupt, or as unsupported for another version.
[[nodiscard]] result<envelope_head> peek(std::span<const std::byte> header);

/// Where tensors may be put: `local` set = tensors that lie in a known arena travel as references (for a receiver on the same host);
/// null = everything travels inline.
struct encode_options {
  const arena_map* local = nullptr;
};

/// Defined for every message of messages.hpp and worker.hpp (codec.cpp instantiates them). `to` overrides the message's own role
/// (for ping, pong and the replies, whose receivers vary).
template <class Message>
[[nodiscard]] frames encode(const Message& message, request_id request, const encode_options& options = {}, role to = Message::to);

/// Total: any bytes give a message or an error that says where it went wrong. `arenas` null: references are refused as corrupt.
template <class Message>
[[nodiscard]] result<Message> decode(const frames& message, arena_map* arenas);

} // namespace squall::wire
