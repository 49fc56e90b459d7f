#pragma once

#include "wire/detail/decoder.hpp"
#include "wire/detail/encoder.hpp"

/// The bodies of encode() and decode(), for the files that instantiate them. They are spread over several, because each
/// message costs the compiler a second.
namespace squall::wire {

template <class Message>
frames encode(const Message& message, request_id request, const encode_options& options, role to) {
  return detail::encoder{options}.message(message, request, to);
}

template <class Message>
result<Message> decode(const frames& message, arena_map* arenas) {
  SQUALL_TRY(within_limits(message));
  return detail::decoder{message.header.span(), message.payloads, arenas}.template message<Message>();
}

} // namespace squall::wire

#define SQUALL_CODEC_OF(message)                                                                                       \
  template squall::wire::frames squall::wire::encode<message>(                                                         \
      const message&, squall::request_id, const squall::wire::encode_options&, squall::wire::role);                    \
  template squall::result<message> squall::wire::decode<message>(const squall::wire::frames&, squall::wire::arena_map*)
