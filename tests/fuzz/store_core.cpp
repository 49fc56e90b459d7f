#include "input.hpp"
#include "kvs/core/cache_rules.hpp"
#include "kvs/core/layout.hpp"

#include <map>
#include <vector>

/// Records of the store, and the rules of its cache against a model that holds names and sizes.
namespace squall {
namespace {

void read_record(fuzzing::input& in) {
  const auto bytes = in.rest();
  (void)kvs::core::pieces_of_upload_key(bytes);
  (void)kvs::core::decode_number(bytes);
  const auto record = kvs::core::decode_record(bytes);
  if (record.ok() && kvs::core::encode(*record) != bytes)
    fuzzing::broken("a record has two forms");
}

struct cache_model {
  struct object {
    std::uint64_t bytes = 0;
    std::uint32_t pins = 0;
  };
  std::map<std::string, object> objects;

  void add(kvs::core::lru_by_bytes& cache, const std::string& name, std::uint64_t bytes) {
    const auto gone = cache.add(name, bytes);
    if (!gone.ok())
      return;
    for (const auto& other : *gone) {
      if (!objects.contains(other) || objects[other].pins > 0 || other == name)
        fuzzing::broken("'" + other + "' was to go and is not there, is pinned, or is the one that was added");
      objects.erase(other);
    }
    objects[name].bytes = bytes;
  }
  void compare(const kvs::core::lru_by_bytes& cache) const {
    std::uint64_t sum = 0;
    for (const auto& [name, object] : objects) {
      sum += object.bytes;
      if (!cache.holds(name))
        fuzzing::broken("'" + name + "' is lost");
    }
    if (sum != cache.used_bytes() || sum > cache.capacity_bytes())
      fuzzing::broken("the cache counts " + std::to_string(cache.used_bytes()) + " bytes of " + std::to_string(sum));
  }
};

void run_cache(fuzzing::input& in) {
  kvs::core::lru_by_bytes cache{100};
  cache_model model;
  while (!in.empty()) {
    const auto what = in.below(5);
    const std::string name(1, static_cast<char>('a' + in.below(8)));
    const auto known = model.objects.find(name);
    if (what == 0) {
      model.add(cache, name, in.below(12) == 0 ? in.number() : in.below(60));
    } else if (what == 1) {
      if (cache.use(name) != (known != model.objects.end()))
        fuzzing::broken("use of '" + name + "' is wrong");
    } else if (what == 2) {
      cache.remove(name);
      model.objects.erase(name);
    } else if (known != model.objects.end()) {
      if (what == 3) {
        cache.pin(name);
        ++known->second.pins;
      } else if (known->second.pins > 0) {
        cache.unpin(name);
        --known->second.pins;
      }
    }
    model.compare(cache);
  }
}

void fuzz(fuzzing::input& in) { in.byte() % 2 == 0 ? read_record(in) : run_cache(in); }

} // namespace
} // namespace squall

SQUALL_FUZZ_TARGET(squall::fuzz)
