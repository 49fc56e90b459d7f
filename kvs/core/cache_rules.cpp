#include "kvs/core/cache_rules.hpp"

namespace squall::kvs::core {

result<std::vector<std::string>> lru_by_bytes::add(std::string_view name, std::uint64_t bytes) {
  if (bytes > capacity_bytes_)
    return {errc::too_large, "'" + std::string{name} + "' has " + std::to_string(bytes) + " bytes; the cache has " +
                                 std::to_string(capacity_bytes_) + ": make it larger"};
  const auto present = objects_.find(name);
  const std::uint64_t others = used_bytes_ - (present != objects_.end() ? present->second.bytes : 0);
  std::vector<std::string> going;
  std::uint64_t freed = 0;
  for (auto at = order_.begin(); at != order_.end() && others - freed > capacity_bytes_ - bytes; ++at) {
    const object& candidate = objects_.find(*at)->second;
    if (candidate.pins > 0 || *at == name)
      continue;
    freed += candidate.bytes;
    going.push_back(*at);
  }
  if (others - freed > capacity_bytes_ - bytes)
    return {errc::overloaded, "no room for '" + std::string{name} + "' in the cache: the other objects are all in use"};
  for (const std::string& old : going)
    remove(old);
  if (present == objects_.end()) {
    const auto place = order_.insert(order_.end(), std::string{name});
    objects_.emplace(std::string{name}, object{bytes, 0, place});
  } else {
    present->second.bytes = bytes;
    use(name);
  }
  used_bytes_ = others - freed + bytes;
  return going;
}

bool lru_by_bytes::use(std::string_view name) {
  const auto found = objects_.find(name);
  if (found == objects_.end())
    return false;
  order_.splice(order_.end(), order_, found->second.place);
  return true;
}

void lru_by_bytes::pin(std::string_view name) {
  if (const auto found = objects_.find(name); found != objects_.end())
    ++found->second.pins;
}

void lru_by_bytes::unpin(std::string_view name) {
  if (const auto found = objects_.find(name); found != objects_.end() && found->second.pins > 0)
    --found->second.pins;
}

void lru_by_bytes::remove(std::string_view name) {
  const auto found = objects_.find(name);
  if (found == objects_.end())
    return;
  used_bytes_ -= found->second.bytes;
  order_.erase(found->second.place);
  objects_.erase(found);
}

} // namespace squall::kvs::core
