#pragma once

#include "base/result.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

/// The file of an arena as docs/data-plane.md lays it out.
namespace squall::wire::detail {

inline constexpr std::size_t arena_header_bytes = 4096;
inline constexpr std::size_t block_alignment = 64;
inline constexpr std::size_t reserve_step_bytes = 16 << 20;
inline constexpr std::uint32_t arena_version = 1;

/// The first bytes of the file. Little-endian, as every machine that we run on.
struct arena_header {
  char magic[8];
  std::uint32_t version;
  std::uint32_t owner_pid;
  std::uint64_t id;
  std::uint64_t capacity;
  std::uint64_t reserved; ///< bytes from the start that have pages; grows, read and written atomically
  char boot_id[40];
};
static_assert(sizeof(arena_header) == 80);

/// A descriptor that is closed with its owner.
class file_descriptor {
public:
  file_descriptor() = default;
  explicit file_descriptor(int fd) : fd_(fd) {}
  ~file_descriptor();
  file_descriptor(file_descriptor&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  file_descriptor& operator=(file_descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] explicit operator bool() const { return fd_ >= 0; }

private:
  int fd_ = -1;
};

/// A file in memory, unmapped with its owner.
class mapping {
public:
  /// Null when the kernel refuses.
  [[nodiscard]] static std::shared_ptr<mapping> map(int fd, std::size_t size, bool writable);
  ~mapping();
  mapping(const mapping&) = delete;
  mapping& operator=(const mapping&) = delete;

  [[nodiscard]] std::byte* data() const { return data_; }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::span<const std::byte> span() const { return {data_, size_}; }
  [[nodiscard]] arena_header& header() const { return *reinterpret_cast<arena_header*>(data_); }

private:
  mapping(std::byte* data, std::size_t size) : data_(data), size_(size) {}
  std::byte* data_;
  std::size_t size_;
};

[[nodiscard]] std::string arena_path(std::uint64_t id);
/// The text of the kernel's boot id; empty when it cannot be read.
[[nodiscard]] std::string boot_id();

/// Makes the file of a new arena: random id, locked, of full size without pages.
struct new_arena_file {
  file_descriptor file;
  std::uint64_t id = 0;
};
[[nodiscard]] result<new_arena_file> create_arena_file(std::size_t capacity);

/// Maps the arena of another process to read. Fails as data_loss (there is none), corrupt, permission_denied.
[[nodiscard]] result<std::shared_ptr<const mapping>> map_arena_file(std::uint64_t id);

} // namespace squall::wire::detail
