#pragma once

#include <cstddef>
#include <cstdint>

/// Numbers of the protocol (docs/wire.md).
namespace squall::wire {

inline constexpr std::uint32_t protocol_version = 1;
inline constexpr std::uint32_t oldest_protocol_version = 1;
inline constexpr std::size_t max_header_bytes = 1 << 20;
inline constexpr std::size_t max_payload_bytes = 64ull << 20;
inline constexpr std::size_t max_payload_frames = 4096;
inline constexpr std::size_t max_message_bytes = 256ull << 20;

/// Who a message is for.
enum class role : std::uint8_t { any = 0, controller = 1, node = 2, store = 3, client = 4 };

enum class message_type : std::uint16_t {
  hello = 1,
  welcome = 2,
  ping = 3,
  pong = 4,
  reply = 5,
  takes_bundles = 6,
  bundle = 7,

  call_request = 16,
  call_result = 17,
  cancel_request = 18,
  result_taken = 19,
  apply_function = 20,
  apply_dag = 21,
  remove = 22,
  query = 23,
  set_policy = 24,
  shutdown = 25,
  call_partial = 26,
  drain = 27,

  node_hello = 32,
  node_welcome = 33,
  node_beat = 34,
  node_leave = 35,
  peers = 36,
  define_function = 37,
  define_dag = 38,
  forget_dag = 39,
  forget_function = 40,
  start_call = 41,
  drop_call = 42,
  release_call = 43,
  call_finished = 44,
  settled = 45,
  scatter = 46,
  gathered = 47,
  preload = 48,
  residency = 49,
  end_sequence = 50,
  stage_ready = 51,
  hand_out = 52,
  order_report = 53,
  order_short = 54,
  want_replica = 55,
  replica_report = 56,
  stage_partial = 57,
  node_drain = 58,
  calls_answered = 60,
  unwanted_stage = 61,
  plans_held = 62,

  store_put = 64,
  store_get = 65,
  store_delete = 66,
  store_list = 67,
  store_reply = 68,
};

/// What a key lets its holder do (docs/keys.md); each may do what those before it may. Peers without keys, which are on
/// this host, may do everything.
enum class access : std::uint8_t { nobody = 0, user = 1, node = 2, admin = 3 };

/// The first line of a message's struct: its number, and who it is for.
#define SQUALL_MESSAGE(name, to_role)                                                                                  \
  static constexpr message_type type = message_type::name;                                                             \
  static constexpr role to = role::to_role

} // namespace squall::wire
