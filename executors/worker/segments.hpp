#pragma once

#include "executors/detail/unique_fd.hpp"
#include "wire/worker.hpp"

#include <memory>
#include <optional>
#include <span>

namespace squall::executors::worker {

/// The memory that a worker shares with its node (docs/workers.md): what it gets lies in the inbox, what it sends goes
/// to the outbox. Serves the codec as the arenas that it knows. Not thread-safe.
class segments final : public wire::arena_map {
public:
  /// Maps a segment. Fails as invalid_argument when it is none.
  [[nodiscard]] result<> take(const wire::worker::segment& message, detail::unique_fd memory);

  /// Both are there.
  [[nodiscard]] bool complete() const { return inbox_.data != nullptr && outbox_.data != nullptr; }

  /// A place in the outbox; none when there is no room. It is free again when a release() brings back as many bytes as
  /// were given out since the outbox was empty.
  [[nodiscard]] std::optional<std::span<std::byte>> allocate(std::size_t size);
  /// The outbox's bytes as a value's.
  [[nodiscard]] static shared_bytes freeze(std::span<const std::byte> place) { return {nullptr, place}; }
  /// The node has copied so many blocks. What was allocated and never sent is given back with the batch: reset().
  void reset() { used_ = 0; }

  /// The batch that was cancelled last; 0: none.
  [[nodiscard]] std::uint64_t cancelled_batch() const;

  void add(std::shared_ptr<wire::arena> own) override;
  [[nodiscard]] std::optional<wire::arena_ref> locate(const shared_bytes& bytes) const override;
  [[nodiscard]] result<shared_bytes> resolve(const wire::arena_ref& ref) override;
  void forget(std::uint64_t arena) override;

private:
  struct mapped {
    std::uint64_t id = 0;
    std::byte* data = nullptr;
    std::size_t size = 0;
  };
  mapped inbox_;
  mapped outbox_;
  std::size_t used_ = 0; ///< of the outbox, from its start
};

} // namespace squall::executors::worker
