#pragma once

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "wire/codec.hpp"

#include <atomic>
#include <cstdint>
#include <memory>

namespace squall::wire::detail {

/// Bytes that ZeroMQ holds for one peer and for all peers of a socket: added when a message is handed over, and taken
/// away by ZeroMQ's own threads when they have passed a part on to the kernel, or dropped it with its connection. Parts
/// that are copied because they are small do not count.
class backlog {
public:
  /// Of one peer. The part that it was made for keeps it alive.
  class share {
  public:
    explicit share(std::shared_ptr<std::atomic<std::uint64_t>> all) : all_(std::move(all)) {}
    void add(std::uint64_t bytes) {
      own_.fetch_add(bytes, std::memory_order_relaxed);
      all_->fetch_add(bytes, std::memory_order_relaxed);
    }
    void take(std::uint64_t bytes) {
      own_.fetch_sub(bytes, std::memory_order_relaxed);
      all_->fetch_sub(bytes, std::memory_order_relaxed);
    }
    [[nodiscard]] std::uint64_t bytes() const { return own_.load(std::memory_order_relaxed); }

  private:
    std::shared_ptr<std::atomic<std::uint64_t>> all_;
    std::atomic<std::uint64_t> own_{0};
  };

  explicit backlog(std::uint64_t bound)
      : bound_(bound), all_(std::make_shared<std::atomic<std::uint64_t>>(std::uint64_t{0})) {}

  [[nodiscard]] std::shared_ptr<share> open() const { return std::make_shared<share>(all_); }
  [[nodiscard]] const std::shared_ptr<std::atomic<std::uint64_t>>& all() const { return all_; }

  /// Whether a message of so many bytes may be handed over for that peer: as much may wait for one as is left of the
  /// bound (so that each of several that do not read gets an equal share, and something is always left for the others),
  /// and one message in any case, to twice the bound. Small ones have room beyond that: news of trouble must come
  /// through. Fails as overloaded.
  [[nodiscard]] result<> check(const share& peer, std::uint64_t message_bytes) const;

private:
  std::uint64_t bound_;
  std::shared_ptr<std::atomic<std::uint64_t>> all_;
};

} // namespace squall::wire::detail
