#pragma once

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "wire/codec.hpp"
#include "wire/detail/small_copies.hpp"

#include <cstddef>
#include <span>
#include <vector>

/// Several small messages to one peer as one frame (docs/wire.md, "Bundles"): under load most of what a message costs
/// is its way through ZeroMQ, not its bytes.
namespace squall::wire {

/// Says that its sender takes bundles; no bundle goes to a peer that has not said so.
[[nodiscard]] std::span<const std::byte> takes_bundles();
[[nodiscard]] bool is_takes_bundles(std::span<const std::byte> header);

/// Of the header and all payloads.
[[nodiscard]] std::size_t size_of(const frames& message);

/// Gathers messages. Does not own the limits of the messages themselves: whoever sends checks those.
class bundle_writer {
public:
  /// Larger messages go by themselves: copying them would cost more than a frame.
  [[nodiscard]] static bool fits(const frames& message);

  void add(const frames& message);
  [[nodiscard]] bool empty() const { return messages_ == 0; }
  /// Should be sent now: more would only make the peer wait.
  [[nodiscard]] bool full() const;
  /// The frame to send; not of an empty one.
  [[nodiscard]] std::span<const std::byte> frame() const { return bytes_; }
  void clear();

private:
  std::vector<std::byte> bytes_;
  std::size_t messages_ = 0;
};

/// Gives back the messages of a bundle.
class bundle_reader {
public:
  [[nodiscard]] static bool is_bundle(std::span<const std::byte> header);

  /// `frame` is_bundle().
  void open(shared_bytes frame);
  [[nodiscard]] bool empty() const { return rest_.empty(); }
  /// What is left of it.
  void drop() { rest_ = {}; }

  /// The next message; false when there is none left. Fails as corrupt when it is cut short, and then nothing is left.
  [[nodiscard]] result<bool> next(frames& out);

private:
  [[nodiscard]] bool take(std::size_t size, std::span<const std::byte>& out);
  [[nodiscard]] bool take_number(std::uint32_t& out);
  [[nodiscard]] bool take_message(frames& out);

  shared_bytes frame_;
  std::span<const std::byte> rest_;
  /// Payloads are copied: one that is kept must not keep the whole bundle, and may lie anywhere in it.
  detail::small_copies payloads_{512};
};

} // namespace squall::wire
