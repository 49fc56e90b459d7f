#pragma once

#include "executors/detail/unique_fd.hpp"
#include "wire/worker.hpp"

#include <functional>
#include <memory>
#include <span>

/// The node's end of the memory that it shares with a worker of user code (docs/workers.md). Not thread-safe.
namespace squall::executors::detail {

/// What the worker gets: written here, only read there. Serves the encoder as the arena that it knows.
class inbox final : public wire::arena_map {
public:
  [[nodiscard]] static result<std::unique_ptr<inbox>> create(std::uint64_t id, std::size_t size);
  ~inbox() override;

  /// The message that announces it, and a descriptor to go with that.
  [[nodiscard]] wire::worker::segment announcement() const;
  [[nodiscard]] result<unique_fd> descriptor() const;

  /// The value with its large tensors in the inbox. Without room they stay where they are.
  [[nodiscard]] functions::value place(const functions::value& v);
  /// A new batch: what was placed before is overwritten.
  void reset();
  void cancel(batch_id batch);

  void add(std::shared_ptr<wire::arena> own) override;
  [[nodiscard]] std::optional<wire::arena_ref> locate(const shared_bytes& bytes) const override;
  [[nodiscard]] result<shared_bytes> resolve(const wire::arena_ref& ref) override;
  void forget(std::uint64_t arena) override;

private:
  inbox(std::uint64_t id, unique_fd memory, std::byte* data, std::size_t size);

  const std::uint64_t id_;
  const unique_fd memory_;
  std::byte* const data_;
  const std::size_t size_;
  std::size_t used_;
};

/// What the worker sends. Its bytes are copied out with pread(): whatever the worker does to the memory meanwhile, this
/// process only gets other bytes.
class outbox final : public wire::arena_map {
public:
  /// Makes immutable bytes of a size; `fill` writes them.
  using maker =
      std::function<result<shared_bytes>(std::size_t size, const std::function<result<>(std::span<std::byte>)>& fill)>;

  [[nodiscard]] static result<std::unique_ptr<outbox>> create(std::uint64_t id, std::size_t size, maker make);

  [[nodiscard]] wire::worker::segment announcement() const;
  [[nodiscard]] result<unique_fd> descriptor() const;

  /// What was copied since the last call, to be released.
  [[nodiscard]] std::vector<wire::arena_ref> take_copied() { return std::exchange(copied_, {}); }

  void add(std::shared_ptr<wire::arena> own) override;
  [[nodiscard]] std::optional<wire::arena_ref> locate(const shared_bytes& bytes) const override;
  [[nodiscard]] result<shared_bytes> resolve(const wire::arena_ref& ref) override;
  void forget(std::uint64_t arena) override;

private:
  outbox(std::uint64_t id, unique_fd memory, std::size_t size, maker make)
      : id_(id), memory_(std::move(memory)), size_(size), make_(std::move(make)) {}

  const std::uint64_t id_;
  const unique_fd memory_;
  const std::size_t size_;
  const maker make_;
  std::vector<wire::arena_ref> copied_;
};

} // namespace squall::executors::detail
