#include "executors/packet.hpp"
#include "input.hpp"

#include <cstring>

/// The stream of a worker's socket, read in pieces of any size: whole packets come out in their order, the rest is
/// refused before memory is taken for it.
namespace squall {
namespace {

void fuzz(fuzzing::input& in) {
  const executors::packet_limits limits{1 << 12, 64, 1 << 14, 1 << 16};
  executors::packet_reader reader{limits};
  const std::size_t piece = 1 + in.byte();
  auto rest = in.rest();
  while (!rest.empty()) {
    const auto room = reader.room();
    if (room.empty())
      fuzzing::broken("there is no room to read to");
    const auto size = std::min({piece, room.size(), rest.size()});
    std::memcpy(room.data(), rest.data(), size);
    rest.remove_prefix(size);
    if (!reader.advance(size).ok())
      return;
    while (const auto packet = reader.next()) {
      std::size_t total = packet->header.size();
      for (const auto& payload : packet->payloads)
        total += payload.size();
      if (total > limits.total_bytes || packet->header.size() > limits.header_bytes)
        fuzzing::broken("a packet beyond the limits came out");
      if (!executors::packet_prefix(*packet, limits).ok())
        fuzzing::broken("a packet that was read cannot be written");
    }
  }
}

} // namespace
} // namespace squall

SQUALL_FUZZ_TARGET(squall::fuzz)
