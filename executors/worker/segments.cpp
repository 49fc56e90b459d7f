#include "executors/worker/segments.hpp"

#include <atomic>
#include <cerrno>
#include <cstring>

#include <sys/mman.h>

namespace squall::executors::worker {

namespace {

constexpr std::size_t alignment = 64;
constexpr std::size_t cancel_word = 64; ///< its place in the inbox

} // namespace

result<> segments::take(const wire::worker::segment& message, detail::unique_fd memory) {
  auto& which = message.writable ? outbox_ : inbox_;
  if (which.data != nullptr || message.size == 0)
    return {errc::invalid_argument, "a segment of " + std::to_string(message.size) + " bytes that is not expected"};
  const int protection = message.writable ? PROT_READ | PROT_WRITE : PROT_READ;
  void* const place = mmap(nullptr, message.size, protection, MAP_SHARED, memory.get(), 0);
  if (place == MAP_FAILED)
    return {errc::unavailable, std::string("a segment cannot be mapped: ") + std::strerror(errno)};
  which = {message.id, static_cast<std::byte*>(place), message.size};
  return {};
}

std::optional<std::span<std::byte>> segments::allocate(std::size_t size) {
  const auto rounded = (size + alignment - 1) / alignment * alignment;
  if (outbox_.data == nullptr || rounded > outbox_.size - used_)
    return std::nullopt;
  const std::span<std::byte> place{outbox_.data + used_, size};
  used_ += rounded;
  return place;
}

std::uint64_t segments::cancelled_batch() const {
  if (inbox_.data == nullptr)
    return 0;
  return std::atomic_ref{*reinterpret_cast<std::uint64_t*>(inbox_.data + cancel_word)}.load(std::memory_order_relaxed);
}

void segments::add(std::shared_ptr<wire::arena>) {}
void segments::forget(std::uint64_t) {}

std::optional<wire::arena_ref> segments::locate(const shared_bytes& bytes) const {
  if (outbox_.data == nullptr || bytes.data() < outbox_.data || bytes.data() >= outbox_.data + outbox_.size)
    return std::nullopt;
  return wire::arena_ref{outbox_.id, static_cast<std::uint64_t>(bytes.data() - outbox_.data), bytes.size()};
}

result<shared_bytes> segments::resolve(const wire::arena_ref& ref) {
  if (inbox_.data == nullptr || ref.arena != inbox_.id || ref.offset > inbox_.size ||
      ref.size > inbox_.size - ref.offset)
    return {errc::corrupt, "a reference that is not into the inbox"};
  return shared_bytes{nullptr, {inbox_.data + ref.offset, ref.size}};
}

} // namespace squall::executors::worker
