#pragma once

#include "base/result.hpp"

#include <cstdint>
#include <list>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace squall::kvs::core {

/// Which objects a cache of bounded bytes keeps: those used last. Holds names and sizes only; the caller holds the
/// bytes, and deletes those of the objects that it is told to. Not thread-safe.
class lru_by_bytes {
public:
  explicit lru_by_bytes(std::uint64_t capacity_bytes) : capacity_bytes_(capacity_bytes) {}

  /// Adds an object as the one used last (or changes the size of one that is there), and returns the objects that go
  /// for it, first the one unused for longest. Errors, and then nothing changes: too_large (larger than the whole
  /// cache), overloaded (pinned objects leave no room).
  [[nodiscard]] result<std::vector<std::string>> add(std::string_view name, std::uint64_t bytes);

  /// Used now. False when it is not here.
  bool use(std::string_view name);

  /// A pinned object does not go. Pins count; unknown names are ignored.
  void pin(std::string_view name);
  void unpin(std::string_view name);

  void remove(std::string_view name);

  [[nodiscard]] bool holds(std::string_view name) const { return objects_.find(name) != objects_.end(); }
  [[nodiscard]] std::uint64_t used_bytes() const { return used_bytes_; }
  [[nodiscard]] std::uint64_t capacity_bytes() const { return capacity_bytes_; }

private:
  struct object {
    std::uint64_t bytes = 0;
    std::uint32_t pins = 0;
    std::list<std::string>::iterator place;
  };

  std::uint64_t capacity_bytes_;
  std::uint64_t used_bytes_ = 0;
  std::list<std::string> order_; // first the one unused for longest
  std::map<std::string, object, std::less<>> objects_;
};

} // namespace squall::kvs::core
