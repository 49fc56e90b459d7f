#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace squall {

/// An immutable, reference-counted run of bytes. Copies share the memory; whoever made it decides what the
/// memory is (heap, a ZeroMQ frame, a mapped arena) and is told by the owner's destructor when the last user is done.
class shared_bytes {
public:
  shared_bytes() = default;

  /// `owner` keeps `view` valid.
  shared_bytes(std::shared_ptr<const void> owner, std::span<const std::byte> view)
      : owner_(std::move(owner)), view_(view) {}

  [[nodiscard]] static shared_bytes copy_of(const void* data, std::size_t size) {
    if (size == 0)
      return {};
    auto block = std::make_shared_for_overwrite<std::byte[]>(size);
    std::memcpy(block.get(), data, size);
    const std::span<const std::byte> view{block.get(), size};
    return {std::move(block), view};
  }
  [[nodiscard]] static shared_bytes copy_of(std::string_view text) { return copy_of(text.data(), text.size()); }

  [[nodiscard]] static shared_bytes take(std::vector<std::byte> data) {
    auto block = std::make_shared<const std::vector<std::byte>>(std::move(data));
    const std::span<const std::byte> view{block->data(), block->size()};
    return {std::move(block), view};
  }
  [[nodiscard]] static shared_bytes take(std::string text) {
    auto block = std::make_shared<const std::string>(std::move(text));
    const std::span<const std::byte> view{reinterpret_cast<const std::byte*>(block->data()), block->size()};
    return {std::move(block), view};
  }

  /// A part of these bytes that keeps the whole alive. `offset + size` must not pass the end.
  [[nodiscard]] shared_bytes slice(std::size_t offset, std::size_t size) const {
    return {owner_, view_.subspan(offset, size)};
  }

  [[nodiscard]] const std::byte* data() const { return view_.data(); }
  [[nodiscard]] std::size_t size() const { return view_.size(); }
  [[nodiscard]] bool empty() const { return view_.empty(); }
  [[nodiscard]] std::span<const std::byte> span() const { return view_; }
  [[nodiscard]] std::string_view text() const { return {reinterpret_cast<const char*>(view_.data()), view_.size()}; }
  [[nodiscard]] const std::shared_ptr<const void>& owner() const { return owner_; }

  friend bool operator==(const shared_bytes& a, const shared_bytes& b) { return a.text() == b.text(); }

private:
  std::shared_ptr<const void> owner_;
  std::span<const std::byte> view_;
};

} // namespace squall
