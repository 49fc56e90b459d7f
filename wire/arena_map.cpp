#include "wire/arena.hpp"
#include "wire/detail/arena_file.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <vector>

namespace squall::wire {

namespace {

class map_of_arenas final : public arena_map {
public:
  void add(std::shared_ptr<arena> own) override {
    const std::unique_lock lock{mutex_};
    const std::uint64_t id = own->id();
    insert_region(own->memory(), id);
    own_.emplace(id, std::move(own));
  }

  [[nodiscard]] std::optional<arena_ref> locate(const shared_bytes& bytes) const override {
    if (bytes.empty())
      return {};
    const std::shared_lock lock{mutex_};
    auto region = std::upper_bound(regions_.begin(), regions_.end(), bytes.data(), starts_after);
    if (region == regions_.begin())
      return {};
    --region;
    const auto offset = static_cast<std::size_t>(bytes.data() - region->memory.data());
    if (offset >= region->memory.size() || bytes.size() > region->memory.size() - offset)
      return {};
    return arena_ref{region->arena, offset, bytes.size()};
  }

  [[nodiscard]] result<shared_bytes> resolve(const arena_ref& ref) override {
    if (ref.size > max_value_bytes)
      return error{
          errc::too_large,
          "a reference to " + std::to_string(ref.size) + " bytes; the limit is " + std::to_string(max_value_bytes),
          {}};
    {
      const std::shared_lock lock{mutex_};
      if (const auto own = own_.find(ref.arena); own != own_.end())
        return own->second->read(ref);
      if (const auto foreign = foreign_.find(ref.arena); foreign != foreign_.end())
        return bytes_in(foreign->second, ref);
    }
    SQUALL_ASSIGN(mapped, detail::map_arena_file(ref.arena));
    const std::unique_lock lock{mutex_};
    // Another thread may have been faster: then its mapping stays and this one goes.
    const auto [foreign, first] = foreign_.emplace(ref.arena, std::move(mapped));
    if (first)
      insert_region(foreign->second->span(), ref.arena);
    return bytes_in(foreign->second, ref);
  }

  void forget(std::uint64_t arena) override {
    const std::unique_lock lock{mutex_};
    if (foreign_.erase(arena) > 0)
      std::erase_if(regions_, [arena](const region& r) { return r.arena == arena; });
  }

private:
  struct region {
    std::span<const std::byte> memory;
    std::uint64_t arena = 0;
  };

  // std::less orders pointers into different objects, which < does not promise.
  static bool starts_after(const std::byte* p, const region& r) { return std::less<>{}(p, r.memory.data()); }

  void insert_region(std::span<const std::byte> memory, std::uint64_t arena) {
    const auto at = std::upper_bound(regions_.begin(), regions_.end(), memory.data(), starts_after);
    regions_.insert(at, region{memory, arena});
  }

  static result<shared_bytes> bytes_in(const std::shared_ptr<const detail::mapping>& memory, const arena_ref& ref) {
    const std::uint64_t end = std::atomic_ref{memory->header().reserved}.load(std::memory_order_acquire);
    const std::uint64_t limit = std::min<std::uint64_t>(end, memory->size());
    if (ref.offset < detail::arena_header_bytes || ref.offset > limit || ref.size > limit - ref.offset)
      return error{errc::corrupt,
                   "offset " + std::to_string(ref.offset) + ", size " + std::to_string(ref.size) +
                       " is outside the arena " + detail::arena_path(ref.arena),
                   {}};
    return shared_bytes{memory, memory->span().subspan(ref.offset, ref.size)};
  }

  mutable std::shared_mutex mutex_;
  std::map<std::uint64_t, std::shared_ptr<arena>> own_;
  std::map<std::uint64_t, std::shared_ptr<const detail::mapping>> foreign_;
  std::vector<region> regions_; ///< ascending by address, disjoint
};

functions::tensor share_tensor(const functions::tensor& t, arena& own, const arena_map& known,
                               std::vector<arena_ref>& made) {
  if (t.data.size() < share_threshold_bytes || known.locate(t.data))
    return t;
  const auto block = own.allocate(t.data.size());
  if (!block.ok())
    return t;
  std::memcpy(block->bytes.data(), t.data.data(), t.data.size());
  made.push_back(block->ref);
  return {t.type, t.shape, own.freeze(*block)};
}

} // namespace

std::shared_ptr<arena_map> arena_map::create() { return std::make_shared<map_of_arenas>(); }

functions::value share(const functions::value& v, arena& own, const arena_map& known, std::vector<arena_ref>& made) {
  if (const auto* t = v.as_tensor())
    return {share_tensor(*t, own, known, made)};
  functions::value shared;
  if (const auto* list = v.as_list()) {
    functions::value_list elements;
    elements.reserve(list->size());
    for (const auto& element : *list)
      elements.push_back(share(element, own, known, made));
    shared.data = std::move(elements);
  }
  return shared;
}

} // namespace squall::wire
