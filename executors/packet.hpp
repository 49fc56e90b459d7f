#pragma once

#include "base/result.hpp"
#include "executors/detail/unique_fd.hpp"
#include "wire/codec.hpp"

#include <array>
#include <deque>
#include <optional>
#include <span>
#include <vector>

#include <sys/types.h>

/// Packets of a worker's socket (wire/worker.hpp), without the socket: both ends use this.
namespace squall::executors {

/// Beyond these a packet is corrupt (received) or too_large (sent).
struct packet_limits {
  std::size_t header_bytes = 1 << 20;
  std::size_t payloads = 16'384;        ///< a batch of 256 items with 64 ports each
  std::size_t payload_bytes = 64 << 20; ///< larger values travel through an arena
  std::size_t total_bytes = std::size_t{256} << 20;
};

/// What stands before the header and the payloads on the wire. Fails as too_large, saying which limit.
[[nodiscard]] result<std::vector<std::byte>> packet_prefix(const wire::frames& message,
                                                           const packet_limits& limits = {});

/// Puts packets together from whatever pieces a socket gives. Bytes that are no packet are an error before memory is
/// taken for them.
class packet_reader {
public:
  explicit packet_reader(const packet_limits& limits = {}) : limits_(limits) {}

  /// Where to read the next bytes to: never empty. The rest of a large payload is read to its place, everything else
  /// through a buffer of 64 KiB.
  [[nodiscard]] std::span<std::byte> room();

  /// `size` bytes were read to room(). Fails as corrupt; the stream has no meaning from then on.
  [[nodiscard]] result<> advance(std::size_t size);

  /// The next whole packet, oldest first.
  [[nodiscard]] std::optional<wire::frames> next();

private:
  struct piece {
    std::shared_ptr<std::byte[]> data;
    std::size_t size = 0;
  };

  result<> take(std::span<const std::byte> bytes);
  /// How many of `bytes` complete what is being read: the fixed part, the sizes, or a piece.
  result<std::size_t> take_prefix(std::span<const std::byte> bytes);
  result<> begin_body();
  std::size_t fill_piece(std::span<const std::byte> bytes);
  void finish_pieces();

  const packet_limits limits_;
  std::array<std::byte, 64 * 1024> buffer_;
  bool direct_ = false; ///< room() gave out a part of a piece

  std::vector<std::byte> prefix_; ///< of the packet that is being read
  std::vector<piece> pieces_;     ///< its header and payloads; empty while the prefix is read
  std::size_t current_ = 0;       ///< the piece that is being read,
  std::size_t filled_ = 0;        ///< and how much of it is there
  std::deque<wire::frames> ready_;
};

/// Packets that are waiting to be written, with the places in them where writing stopped.
class packet_writer {
public:
  /// `descriptors` (at most 64) travel with the packet's first byte and are closed here once they are out. Fails as
  /// too_large, then nothing was added.
  [[nodiscard]] result<> add(wire::frames message, std::vector<detail::unique_fd> descriptors = {});

  [[nodiscard]] bool empty() const { return parts_.empty(); }
  [[nodiscard]] std::size_t unsent_bytes() const { return unsent_bytes_; }

  /// Writes what `fd` takes. True: everything is out; false: it would block, or took a part. Fails as unavailable when
  /// the other end is gone.
  [[nodiscard]] result<bool> write_to(int fd);

private:
  struct part {
    shared_bytes bytes;
    std::vector<detail::unique_fd> descriptors; ///< go with its first byte
  };

  std::deque<part> parts_;
  std::size_t offset_ = 0; ///< in the first of them
  std::size_t unsent_bytes_ = 0;
};

/// Reads from a Unix socket as read() does, and appends the descriptors that came along to `descriptors`.
[[nodiscard]] ssize_t receive(int socket, std::span<std::byte> room, std::deque<detail::unique_fd>& descriptors);

} // namespace squall::executors
