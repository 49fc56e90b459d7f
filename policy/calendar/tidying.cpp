// The certificate made better without new work: fewer and fuller batches, the urgent ones first.
#include "policy/calendar/search.hpp"
#include "policy/calendar/state.hpp"

#include <algorithm>

namespace squall::policy::calendar {

namespace {
/// Batches that one tick looks at, and those of them that it tries to move: so that it stays short on large clusters.
constexpr std::size_t most_looked_at = 256;
constexpr std::size_t most_tries = 64;
/// Where calendars are full one try may move thousands of batches a little.
constexpr std::uint64_t most_visits = 16'384;
} // namespace

/// When the batch has to start for the sake of its own calls, whatever stands behind it on its lane.
ns state::due_start(slot batch) const {
  const batch_entry& b = g.batches[batch];
  ns end = far_off;
  for (const task_ref t : b.tasks)
    end = std::min(end, g.latest_end(t));
  return end - b.duration;
}

/// Books the tasks of a batch into others of the variant, all or none of them. What it took beside them is free then.
bool state::dissolve(slot batch) {
  const std::vector<task_ref> tasks = g.batches[batch].tasks;
  const slot variant = g.batches[batch].variant;
  g.begin();
  for (const task_ref t : tasks)
    g.remove(t);
  for (const task_ref t : tasks) {
    const auto other = find_join(g, t, variant);
    if (!other) {
      g.take_back();
      return false;
    }
    g.join(t, *other);
  }
  g.keep();
  return true;
}

/// Books a batch in front of the one that it stands behind.
bool state::advance(slot lane, std::size_t at) {
  const slot from = g.lanes[lane].order[at];
  const std::vector<task_ref> tasks = g.batches[from].tasks;
  const slot variant = g.batches[from].variant, replica = g.batches[from].replica;
  const ns key = g.batches[from].key;
  g.begin();
  for (const task_ref t : tasks)
    g.remove(t);
  const auto place = find_place_at(g, tasks, lane, replica, at - 1);
  if (!place) {
    g.take_back();
    return false;
  }
  const slot to = g.insert(tasks.front(), variant, *place, key);
  for (std::size_t i = 1; i < tasks.size(); ++i)
    g.join(tasks[i], to);
  g.keep();
  return true;
}

/// GPU lanes in turn: of two neighbours the one that is due later goes behind, and small batches join others.
void state::tidy() {
  std::size_t looked_at = 0, tries = 0;
  const std::uint64_t before = g.visits();
  const auto enough = [&] { return tries >= most_tries || g.visits() - before >= most_visits; };
  for (std::size_t n = 0; n < g.lanes.size() && looked_at < most_looked_at && !enough(); ++n) {
    tidy_next = tidy_next + 1 < g.lanes.size() ? tidy_next + 1 : 0;
    const lane_entry& lane = g.lanes[tidy_next];
    if (lane.resource != functions::resource_type::gpu)
      continue;
    looked_at += lane.order.size();
    const std::size_t first = g.running_of(lane.order) == none ? 1 : 2;
    for (std::size_t at = first; at < lane.order.size() && !enough(); ++at)
      if (due_start(lane.order[at]) < due_start(lane.order[at - 1])) {
        ++tries;
        advance(tidy_next, at);
      }
    for (const slot b : std::vector<slot>(lane.order)) {
      const batch_entry& batch = g.batches[b];
      if (batch.running || batch.variant == none || g.variants[batch.variant].open.size() < 2 || enough())
        continue;
      ++tries;
      dissolve(b);
    }
  }
}

} // namespace squall::policy::calendar
