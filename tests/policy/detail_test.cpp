#include "base/random.hpp"
#include "policy/detail/indexed_heap.hpp"
#include "policy/detail/slot_map.hpp"

#include <gtest/gtest.h>

#include <map>
#include <set>

namespace squall::policy::detail {
namespace {

struct number {
  int value = 0;
  void recycle() { value = 0; }
};

TEST(SlotMap, BehavesLikeAMap) {
  random_source random{1};
  slot_map<call_id, number> map;
  std::map<call_id, int> model;
  for (int i = 0; i < 200'000; ++i) {
    const call_id id{1 + random.below(500)};
    const slot_index slot = map.find_slot(id);
    ASSERT_EQ(slot == no_slot, !model.contains(id));
    if (slot == no_slot) {
      number& fresh = map.at(map.insert(id));
      ASSERT_EQ(fresh.value, 0);
      fresh.value = model[id] = i;
    } else {
      ASSERT_EQ(map.at(slot).value, model[id]);
      map.erase(slot);
      model.erase(id);
    }
    ASSERT_EQ(map.size(), model.size());
  }
  std::vector<call_id> ids;
  for (const auto& [id, value] : model)
    ids.push_back(id);
  EXPECT_EQ(map.sorted_ids(), ids);
}

TEST(IndexedHeap, GivesTheLeastWhateverIsTakenOut) {
  random_source random{2};
  timer_heap heap;
  std::set<std::pair<std::int64_t, slot_index>> model;
  std::map<slot_index, std::int64_t> times;
  for (int i = 0; i < 200'000; ++i) {
    const auto slot = static_cast<slot_index>(random.below(300));
    if (times.contains(slot)) {
      model.erase({times[slot], slot});
      times.erase(slot);
    }
    if (random.below(3) == 0) {
      heap.erase(slot);
    } else {
      times[slot] = static_cast<std::int64_t>(random.below(1000));
      model.emplace(times[slot], slot);
      heap.set(slot, from_ns(times[slot]), slot);
    }
    ASSERT_EQ(heap.first().has_value(), !model.empty());
    if (!model.empty()) {
      ASSERT_EQ(to_ns(*heap.first()), model.begin()->first);
      ASSERT_EQ(heap.due(from_ns(1000)), model.begin()->second);
    }
  }
}

} // namespace
} // namespace squall::policy::detail
