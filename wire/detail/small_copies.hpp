#pragma once

#include "base/bytes.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>

namespace squall::wire::detail {

/// Copies small runs of bytes side by side into blocks: one allocation for many of them. A block lives as long as one
/// of its copies is kept.
class small_copies {
public:
  /// With what is around it a block has less than 1 KiB: glibc's malloc tidies up all that was freed before it looks
  /// for more.
  static constexpr std::size_t largest_block = 960;

  explicit small_copies(std::size_t block_bytes = largest_block) : block_bytes_(block_bytes) {}

  /// Where elements of any type can be read. Larger ones than a quarter of a block have memory of their own.
  [[nodiscard]] shared_bytes copy(std::span<const std::byte> bytes) {
    if (bytes.size() > block_bytes_ / 4 || bytes.empty())
      return shared_bytes::copy_of(bytes.data(), bytes.size());
    if (block_ == nullptr || next() + bytes.size() > block_bytes_) {
      block_ = std::make_shared_for_overwrite<std::byte[]>(block_bytes_);
      used_ = 0;
    }
    std::byte* const to = block_.get() + next();
    std::memcpy(to, bytes.data(), bytes.size());
    used_ = static_cast<std::size_t>(to - block_.get()) + bytes.size();
    return {block_, {to, bytes.size()}};
  }

private:
  static constexpr std::size_t alignment = 16;

  /// Where in the block the next copy goes; past its end if there is no room.
  [[nodiscard]] std::size_t next() const {
    const auto at = reinterpret_cast<std::uintptr_t>(block_.get()) + used_;
    return used_ + (alignment - at % alignment) % alignment;
  }

  std::size_t block_bytes_;
  std::shared_ptr<std::byte[]> block_;
  std::size_t used_ = 0;
};

} // namespace squall::wire::detail
