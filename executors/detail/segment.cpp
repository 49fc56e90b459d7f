#include "executors/detail/segment.hpp"

#include <atomic>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace squall::executors::detail {

namespace {

constexpr std::size_t alignment = 64;
constexpr std::size_t header_bytes = 4096;
constexpr std::size_t cancel_word = 64;
/// What a burst may leave behind in an inbox.
constexpr std::size_t kept_bytes = 16 << 20;

error cannot(const char* what) {
  return {errc::unavailable, std::string("memory for a worker: ") + what + ": " + std::strerror(errno), {}};
}

result<unique_fd> make_memory(const char* name, std::size_t size) {
  unique_fd memory(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory)
    return cannot("memfd_create");
  if (ftruncate(memory.get(), static_cast<off_t>(size)) != 0)
    return cannot("ftruncate");
  return memory;
}

result<unique_fd> duplicate(const unique_fd& fd) {
  unique_fd copy(fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
  if (!copy)
    return cannot("duplicating a descriptor");
  return copy;
}

} // namespace

// -- inbox

result<std::unique_ptr<inbox>> inbox::create(std::uint64_t id, std::size_t size) {
  SQUALL_ASSIGN(memory, make_memory("squall-inbox", size));
  void* const data = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, memory.get(), 0);
  if (data == MAP_FAILED)
    return cannot("mmap");
  auto made = std::unique_ptr<inbox>(new inbox(id, std::move(memory), static_cast<std::byte*>(data), size));
  // Only the mapping that exists may write from now on.
  if (fcntl(made->memory_.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) != 0)
    return cannot("sealing it");
  return made;
}

inbox::inbox(std::uint64_t id, unique_fd memory, std::byte* data, std::size_t size)
    : id_(id), memory_(std::move(memory)), data_(data), size_(size), used_(header_bytes) {}

inbox::~inbox() { munmap(data_, size_); }

wire::worker::segment inbox::announcement() const {
  wire::worker::segment message;
  message.id = id_;
  message.size = size_;
  return message;
}

result<unique_fd> inbox::descriptor() const { return duplicate(memory_); }

functions::value inbox::place(const functions::value& v) {
  if (const auto* list = v.as_list()) {
    functions::value_list placed;
    placed.reserve(list->size());
    for (const auto& element : *list)
      placed.push_back(place(element));
    return {std::move(placed)};
  }
  const auto* const t = v.as_tensor();
  if (t == nullptr || t->data.size() < wire::share_threshold_bytes || t->data.size() > size_ - used_)
    return v;
  std::byte* const at = data_ + used_;
  std::memcpy(at, t->data.data(), t->data.size());
  used_ = std::min(size_, used_ + (t->data.size() + alignment - 1) / alignment * alignment);
  return {functions::tensor{t->type, t->shape, shared_bytes{nullptr, {at, t->data.size()}}}};
}

void inbox::reset() {
  // Not MADV_REMOVE for small ones: to fault pages in again costs more than to keep them.
  if (used_ > kept_bytes)
    madvise(data_ + kept_bytes, (used_ - kept_bytes + header_bytes - 1) / header_bytes * header_bytes, MADV_REMOVE);
  used_ = header_bytes;
}

void inbox::cancel(batch_id batch) {
  std::atomic_ref{*reinterpret_cast<std::uint64_t*>(data_ + cancel_word)}.store(batch.value, std::memory_order_relaxed);
}

void inbox::add(std::shared_ptr<wire::arena>) {}
void inbox::forget(std::uint64_t) {}

std::optional<wire::arena_ref> inbox::locate(const shared_bytes& bytes) const {
  if (bytes.data() < data_ || bytes.data() >= data_ + size_)
    return std::nullopt;
  return wire::arena_ref{id_, static_cast<std::uint64_t>(bytes.data() - data_), bytes.size()};
}

result<shared_bytes> inbox::resolve(const wire::arena_ref&) {
  return {errc::corrupt, "a reference into the inbox, which a worker does not send"};
}

// -- outbox

result<std::unique_ptr<outbox>> outbox::create(std::uint64_t id, std::size_t size, maker make) {
  SQUALL_ASSIGN(memory, make_memory("squall-outbox", size));
  if (fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return cannot("sealing it");
  return std::unique_ptr<outbox>(new outbox(id, std::move(memory), size, std::move(make)));
}

wire::worker::segment outbox::announcement() const {
  wire::worker::segment message;
  message.id = id_;
  message.size = size_;
  message.writable = true;
  return message;
}

result<unique_fd> outbox::descriptor() const { return duplicate(memory_); }

void outbox::add(std::shared_ptr<wire::arena>) {}
void outbox::forget(std::uint64_t) {}
std::optional<wire::arena_ref> outbox::locate(const shared_bytes&) const { return std::nullopt; }

result<shared_bytes> outbox::resolve(const wire::arena_ref& ref) {
  if (ref.arena != id_ || ref.offset > size_ || ref.size > size_ - ref.offset || ref.size > wire::max_value_bytes)
    return {errc::corrupt, "a reference that is not into the worker's outbox"};
  copied_.push_back(ref);
  return make_(ref.size, [&](std::span<std::byte> place) -> result<> {
    for (std::size_t done = 0; done < place.size();) {
      const auto got =
          pread(memory_.get(), place.data() + done, place.size() - done, static_cast<off_t>(ref.offset + done));
      if (got < 0 && errno == EINTR)
        continue;
      if (got <= 0)
        return cannot("reading the outbox");
      done += static_cast<std::size_t>(got);
    }
    return {};
  });
}

} // namespace squall::executors::detail
