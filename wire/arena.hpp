#pragma once

#include "base/bytes.hpp"
#include "base/fields.hpp"
#include "base/result.hpp"
#include "functions/value.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

/// Shared memory for large values. Format and rules: docs/data-plane.md.
namespace squall::wire {

/// Values of at least this many bytes go to shared memory.
inline constexpr std::size_t share_threshold_bytes = 64 * 1024;
inline constexpr std::size_t max_value_bytes = 256ull << 20;

/// Where bytes are, for the processes of one host.
struct arena_ref {
  std::uint64_t arena = 0;
  std::uint64_t offset = 0;
  std::uint64_t size = 0;

  friend auto operator<=>(const arena_ref&, const arena_ref&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("arena", s.arena);
    v("offset", s.offset);
    v("size", s.size);
  }
};

/// Equal for processes that can map each other's arenas. Reads the boot id and /dev/shm.
[[nodiscard]] std::uint64_t host_key();

/// Unlinks the arenas of dead owners; returns how many. Safe to call at any time from any process.
std::size_t sweep_dead_arenas();

/// An arena that this process owns. Thread-safe. Its file is unlinked by the destructor; memory that is still read
/// stays mapped.
class arena {
public:
  /// `capacity_bytes` 0 = the default of docs/data-plane.md. Fails as unsupported when /dev/shm cannot be used.
  [[nodiscard]] static result<std::shared_ptr<arena>> create(std::size_t capacity_bytes = 0);
  virtual ~arena() = default;

  [[nodiscard]] virtual std::uint64_t id() const = 0;
  /// The whole file in this process's memory.
  [[nodiscard]] virtual std::span<const std::byte> memory() const = 0;

  /// A block to write to, then to freeze. Fails as overloaded when the arena is full.
  struct block {
    arena_ref ref;
    std::span<std::byte> bytes;
  };
  [[nodiscard]] virtual result<block> allocate(std::size_t size) = 0;

  /// The block as immutable bytes. Its memory is reused when release() was called and the last copy of the bytes is
  /// gone.
  [[nodiscard]] virtual shared_bytes freeze(const block& b) = 0;

  /// The bytes of a reference into this arena, which count as a reader. Fails as corrupt when no block holds them.
  [[nodiscard]] virtual result<shared_bytes> read(const arena_ref& ref) = 0;

  /// Gives a block back, frozen or not (allowed once per block; references that are no block's start are ignored).
  virtual void release(const arena_ref& ref) = 0;

  [[nodiscard]] virtual std::size_t used_bytes() const = 0;
  [[nodiscard]] virtual std::size_t capacity_bytes() const = 0;
};

/// All arenas that this process can see: its own and those that it mapped to read. Thread-safe.
class arena_map {
public:
  [[nodiscard]] static std::shared_ptr<arena_map> create();
  virtual ~arena_map() = default;

  /// Makes the own arena known, so that its bytes are found by locate().
  virtual void add(std::shared_ptr<arena> own) = 0;

  /// The reference to bytes that lie in a known arena; none for other memory. Costs one binary search.
  [[nodiscard]] virtual std::optional<arena_ref> locate(const shared_bytes& bytes) const = 0;

  /// Bytes of a reference, mapping the arena if this is its first. Fails as corrupt (outside the arena), data_loss (the
  /// owner is gone), too_large.
  [[nodiscard]] virtual result<shared_bytes> resolve(const arena_ref& ref) = 0;

  /// Forgets the mapping of an arena whose owner is known to be dead.
  virtual void forget(std::uint64_t arena) = 0;
};

/// Moves every tensor of `v` with at least share_threshold_bytes that is not in an arena yet into `own`, and appends
/// the blocks' references to `made`. When the arena is full the tensor stays where it is (it will travel inline).
[[nodiscard]] functions::value share(const functions::value& v, arena& own, const arena_map& known,
                                     std::vector<arena_ref>& made);

} // namespace squall::wire
