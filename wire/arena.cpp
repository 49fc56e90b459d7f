#include "wire/arena.hpp"

#include "wire/detail/arena_file.hpp"
#include "wire/detail/free_ranges.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace squall::wire {

namespace {

constexpr std::size_t round_up(std::size_t n, std::size_t step) { return (n + step - 1) / step * step; }

/// The memory and who uses it. Readers keep it alive after the arena itself is gone.
class arena_core : public std::enable_shared_from_this<arena_core> {
public:
  arena_core(detail::new_arena_file file, std::shared_ptr<detail::mapping> memory)
      : id(file.id),
        memory(std::move(memory)),
        file_(std::move(file.file)),
        free_(detail::arena_header_bytes, this->memory->size() - detail::arena_header_bytes) {}

  result<> start() {
    SQUALL_TRY(reserve(detail::arena_header_bytes, detail::arena_header_bytes));
    detail::arena_header& header = memory->header();
    std::memcpy(header.magic, "SQARENA1", sizeof header.magic);
    header.version = detail::arena_version;
    header.owner_pid = static_cast<std::uint32_t>(::getpid());
    header.id = id;
    header.capacity = memory->size();
    const std::string boot = detail::boot_id();
    std::memcpy(header.boot_id, boot.data(), std::min(boot.size(), sizeof header.boot_id));
    return {};
  }

  result<std::uint64_t> allocate(std::size_t size) {
    const std::size_t rounded = round_up(std::max<std::size_t>(size, 1), detail::block_alignment);
    const std::lock_guard lock{mutex_};
    const auto offset = free_.take(rounded);
    if (!offset)
      return error{errc::overloaded,
                   "the arena is full: " + std::to_string(used_) + " of " + std::to_string(memory->size()) +
                       " bytes are used, " + std::to_string(size) + " wanted",
                   {}};
    if (auto pages = reserve(*offset + rounded, detail::reserve_step_bytes); !pages.ok()) {
      free_.give(*offset, rounded);
      return std::move(pages).error();
    }
    blocks_.emplace(*offset, block_state{rounded});
    used_ += rounded;
    return *offset;
  }

  /// Counts a reader of the block that holds the reference; its bytes, or nothing when there is no such block.
  std::optional<shared_bytes> read(const arena_ref& ref) {
    std::uint64_t start = 0;
    {
      const std::lock_guard lock{mutex_};
      auto block = blocks_.upper_bound(ref.offset);
      if (block == blocks_.begin())
        return {};
      --block;
      start = block->first;
      const std::uint64_t inside = ref.offset - start;
      if (inside > block->second.size || ref.size > block->second.size - inside)
        return {};
      ++block->second.readers;
    }
    std::shared_ptr<const void> reader{memory->data() + start,
                                       [core = shared_from_this(), start](const void*) { core->reader_done(start); }};
    return shared_bytes{std::move(reader), memory->span().subspan(ref.offset, ref.size)};
  }

  void release(std::uint64_t offset) {
    const std::lock_guard lock{mutex_};
    const auto block = blocks_.find(offset);
    if (block == blocks_.end())
      return;
    block->second.released = true;
    free_if_unused(block);
  }

  std::size_t used_bytes() const {
    const std::lock_guard lock{mutex_};
    return used_;
  }

  const std::uint64_t id;
  const std::shared_ptr<detail::mapping> memory;

private:
  struct block_state {
    std::size_t size = 0;
    std::uint32_t readers = 0;
    bool released = false;
  };
  using block_map = std::map<std::uint64_t, block_state>;

  void reader_done(std::uint64_t offset) {
    const std::lock_guard lock{mutex_};
    const auto block = blocks_.find(offset);
    --block->second.readers;
    free_if_unused(block);
  }

  void free_if_unused(block_map::iterator block) {
    if (!block->second.released || block->second.readers > 0)
      return;
    used_ -= block->second.size;
    free_.give(block->first, block->second.size);
    blocks_.erase(block);
  }

  /// Gives pages to the first `end` bytes, rounded up to whole steps. A write to a page that /dev/shm has no room for
  /// would be a SIGBUS.
  result<> reserve(std::size_t end, std::size_t step) {
    if (end <= reserved_)
      return {};
    const std::size_t target = std::min(round_up(end, step), memory->size());
    int failed = 0;
    do {
      failed = ::fallocate(file_.get(), 0, static_cast<off_t>(reserved_), static_cast<off_t>(target - reserved_)) == 0
                   ? 0
                   : errno;
    } while (failed == EINTR);
    if (failed != 0)
      return {errc::overloaded, std::string{"no room in /dev/shm for "} + std::to_string(target - reserved_) +
                                    " more bytes: " + std::strerror(failed) +
                                    "; enlarge it, or lower the arena's capacity"};
#ifdef MADV_POPULATE_WRITE
    // One call instead of a page fault for each 4 KiB of the first value. Older kernels refuse it, which costs only the
    // faults.
    ::madvise(memory->data() + reserved_, target - reserved_, MADV_POPULATE_WRITE);
#endif
    reserved_ = target;
    std::atomic_ref{memory->header().reserved}.store(target, std::memory_order_release);
    return {};
  }

  detail::file_descriptor file_; // holds the lock that says the owner lives
  mutable std::mutex mutex_;
  detail::free_ranges free_;
  block_map blocks_;
  std::size_t used_ = 0;
  std::size_t reserved_ = 0;
};

class owned_arena final : public arena {
public:
  explicit owned_arena(std::shared_ptr<arena_core> core) : core_(std::move(core)) {}
  ~owned_arena() override { ::unlink(detail::arena_path(core_->id).c_str()); }

  [[nodiscard]] std::uint64_t id() const override { return core_->id; }
  [[nodiscard]] std::span<const std::byte> memory() const override { return core_->memory->span(); }

  [[nodiscard]] result<block> allocate(std::size_t size) override {
    if (size > max_value_bytes)
      return error{errc::too_large,
                   "a value of " + std::to_string(size) + " bytes; the limit is " + std::to_string(max_value_bytes),
                   {}};
    SQUALL_ASSIGN(offset, core_->allocate(size));
    return block{{core_->id, offset, size}, {core_->memory->data() + offset, size}};
  }

  [[nodiscard]] shared_bytes freeze(const block& b) override {
    auto bytes = core_->read(b.ref);
    SQUALL_CHECK(b.ref.arena == core_->id && bytes.has_value(), b.ref.arena, b.ref.offset, b.ref.size);
    return *std::move(bytes);
  }

  [[nodiscard]] result<shared_bytes> read(const arena_ref& ref) override {
    auto bytes = core_->read(ref);
    if (!bytes)
      return error{errc::corrupt,
                   "offset " + std::to_string(ref.offset) + ", size " + std::to_string(ref.size) +
                       " is no block of this process's arena",
                   {}};
    return *std::move(bytes);
  }

  void release(const arena_ref& ref) override {
    if (ref.arena == core_->id)
      core_->release(ref.offset);
  }

  [[nodiscard]] std::size_t used_bytes() const override { return core_->used_bytes(); }
  [[nodiscard]] std::size_t capacity_bytes() const override { return core_->memory->size(); }

private:
  std::shared_ptr<arena_core> core_;
};

/// 1 GiB or a quarter of /dev/shm, whichever is less.
result<std::size_t> default_capacity() {
  constexpr std::size_t most = 1ull << 30;
  struct statvfs state {};
  if (::statvfs("/dev/shm", &state) != 0)
    return error{errc::unsupported,
                 std::string{"/dev/shm cannot be used: "} + std::strerror(errno) + "; mount a tmpfs there",
                 {}};
  const std::size_t quarter = std::size_t{state.f_blocks} * state.f_frsize / 4;
  // A file system without a limit reports no blocks.
  return quarter == 0 ? most : std::min(most, quarter);
}

} // namespace

result<std::shared_ptr<arena>> arena::create(std::size_t capacity_bytes) {
  if (capacity_bytes == 0) {
    SQUALL_ASSIGN(capacity, default_capacity());
    capacity_bytes = capacity;
  }
  const std::size_t page = 4096;
  capacity_bytes = std::max(round_up(capacity_bytes, page), detail::arena_header_bytes + page);
  SQUALL_ASSIGN(file, detail::create_arena_file(capacity_bytes));
  const std::uint64_t id = file.id;
  auto memory = detail::mapping::map(file.file.get(), capacity_bytes, true);
  if (memory == nullptr) {
    const int reason = errno;
    ::unlink(detail::arena_path(id).c_str());
    return error{errc::unsupported,
                 "cannot map an arena of " + std::to_string(capacity_bytes) + " bytes: " + std::strerror(reason),
                 {}};
  }
  const auto core = std::make_shared<arena_core>(std::move(file), std::move(memory));
  const auto made = std::make_shared<owned_arena>(core); // unlinks the file when the start fails
  SQUALL_TRY(core->start());
  return std::shared_ptr<arena>{made};
}

} // namespace squall::wire
