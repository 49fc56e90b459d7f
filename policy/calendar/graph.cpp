#include "policy/calendar/graph.hpp"

#include "base/check.hpp"

#include <algorithm>
#include <functional>

namespace squall::policy::calendar {

namespace {
void erase_value(std::vector<slot>& list, slot value) {
  const auto at = std::find(list.begin(), list.end(), value);
  if (at != list.end())
    list.erase(at);
}
/// A free entry, or one more at the end.
template <class Entry>
slot take_slot(std::vector<Entry>& entries, std::vector<slot>& free) {
  if (free.empty()) {
    entries.emplace_back();
    return static_cast<slot>(entries.size() - 1);
  }
  const slot s = free.back();
  free.pop_back();
  return s;
}

} // namespace

// -- trials
// -------------------------------------------------------------------------------------------------------------

void graph::begin() {
  SQUALL_CHECK(!trial_);
  trial_ = true;
  violated_before_ = violated.size();
  log_.clear();
}

void graph::keep() {
  trial_ = false;
  for (const undo& u : log_)
    if (u.what == step::emptied)
      release(u.a);
  log_.clear();
}

void graph::take_back() {
  trial_ = false;
  violated.resize(violated_before_);
  while (!log_.empty()) {
    const undo u = log_.back();
    log_.pop_back();
    if (u.what == step::replica) {
      drop_replica(u.a);
      continue;
    }
    batch_entry& b = batches[u.a];
    if (u.what == step::inserted) {
      call_entry& call = calls[b.tasks.front().call];
      call.tasks[b.tasks.front().index].batch = none;
      forget_open(u.a);
      unlink(u.a);
      release(u.a);
      continue;
    }
    if (u.what == step::emptied) {
      auto& open = variants[b.variant].open;
      open.insert(open.begin() + u.at, u.a);
      variants[b.variant].booked += b.duration;
      booked[variants[b.variant].resource()] += b.duration;
      link(u.a, {b.lane, b.replica, u.lane_at, u.replica_at, 0});
      continue;
    }
    const ns before = b.duration;
    b.earliest = u.earliest;
    b.latest = u.latest;
    b.duration = u.duration;
    if (u.what == step::removed) {
      calls[u.task.call].tasks[u.task.index].batch = u.a;
      b.tasks.insert(b.tasks.begin() + u.at, u.task);
      b.weight = u.weight;
    }
    if (u.what == step::joined) {
      calls[u.task.call].tasks[u.task.index].batch = none;
      b.tasks.pop_back();
      b.weight = u.weight;
      b.key = u.key;
    }
    if (!b.running && before != b.duration) {
      variants[b.variant].booked += b.duration - before;
      booked[variants[b.variant].resource()] += b.duration - before;
    }
  }
}

void graph::remember(slot batch) {
  if (!trial_)
    return;
  const batch_entry& b = batches[batch];
  log_.push_back({step::times, batch, b.earliest, b.latest, b.duration, b.weight, {}, b.key});
}

// -- times
// -------------------------------------------------------------------------------------------------------------

ns graph::time_of(slot variant, std::uint64_t weight) const {
  const variant_entry& v = variants[variant];
  const std::uint64_t full = weight / whole_task;
  const std::uint64_t rest = weight % whole_task;
  const auto time = [&](std::uint64_t n) -> ns {
    if (n == 0)
      return 0;
    if (n <= v.times.size())
      return v.times[n - 1];
    return v.times.back() + static_cast<ns>(n - v.times.size()) * (v.times.back() / static_cast<ns>(v.times.size()));
  };
  const ns low = time(full);
  return rest == 0 ? low : low + (time(full + 1) - low) * static_cast<ns>(rest) / static_cast<ns>(whole_task);
}

ns graph::inputs_end(const call_entry& call, std::uint32_t stage) const {
  ns latest = std::max(now_, call.release);
  if (call.stages[stage].phase != stage_phase::waiting)
    return latest;
  const placing::stage_info& info = dags[call.dag].stages[stage].info;
  if (info.best_effort > 0 && call.answer_at < far_off)
    return std::min(all_inputs_end(call, stage),
                    std::max({latest, call.answer_at, enough_inputs_end(call, stage, info.best_effort)}));
  return all_inputs_end(call, stage);
}

ns graph::producer_end(const call_entry& call, std::uint32_t stage) const {
  const stage_entry& producer = call.stages[stage];
  ns end = 0;
  if (producer.phase == stage_phase::done)
    return end;
  for (std::uint32_t i = 0; i < producer.width; ++i)
    if (const task_entry& t = call.tasks[producer.first + i]; !t.done && t.batch != none)
      end = std::max(end, batches[t.batch].end());
  return end;
}

/// When the first `count` producers have ended.
ns graph::enough_inputs_end(const call_entry& call, std::uint32_t stage, std::uint32_t count) const {
  const auto& producers = dags[call.dag].stages[stage].info.producers;
  ns least = 0;
  for (const stage_index candidate : producers) {
    const ns end = producer_end(call, candidate);
    const auto earlier = static_cast<std::uint32_t>(
        std::count_if(producers.begin(), producers.end(), [&](stage_index p) { return producer_end(call, p) < end; }));
    if (earlier < count)
      least = std::max(least, end);
  }
  return least;
}

ns graph::all_inputs_end(const call_entry& call, std::uint32_t stage) const {
  ns latest = std::max(now_, call.release);
  for (const stage_index p : dags[call.dag].stages[stage].info.producers) {
    const stage_entry& producer = call.stages[p];
    if (producer.phase == stage_phase::done)
      continue;
    for (std::uint32_t i = 0; i < producer.width; ++i) {
      const task_entry& t = call.tasks[producer.first + i];
      if (!t.done && t.batch != none)
        latest = std::max(latest, batches[t.batch].end());
    }
  }
  return latest;
}

ns graph::latest_end(task_ref ref) const {
  const call_entry& call = calls[ref.call];
  const dag_entry& dag = dags[call.dag];
  const dag_stage& stage = dag.stages[call.tasks[ref.index].stage];
  ns least = stage.optional ? std::min(call.deadline, call.answer_at) : call.deadline;
  for (const std::uint32_t c : stage.consumers) {
    const stage_entry& consumer = call.stages[c];
    if (consumer.phase != stage_phase::waiting)
      continue; // it has what it needs, or the call does without it
    if (!consumer.placed) {
      least = std::min(least, call.deadline - dag.stages[c].tail);
      continue;
    }
    for (std::uint32_t i = 0; i < consumer.width; ++i) {
      const task_entry& t = call.tasks[consumer.first + i];
      if (t.batch != none)
        least = std::min(least, batches[t.batch].latest);
    }
  }
  return least;
}

bool graph::precedes(const call_entry& call, std::uint32_t stage, slot batch) const {
  if (call.stages[stage].phase != stage_phase::waiting)
    return true; // it waits for none of its producers
  const ns end = batches[batch].end();
  for (const stage_index p : dags[call.dag].stages[stage].info.producers) {
    const stage_entry& producer = call.stages[p];
    if (producer.phase == stage_phase::done)
      continue;
    for (std::uint32_t i = 0; i < producer.width; ++i) {
      const task_entry& t = call.tasks[producer.first + i];
      if (!t.done && t.batch != none && (t.batch == batch || batches[t.batch].earliest >= end))
        return false;
    }
  }
  return true;
}

bool graph::follows(const call_entry& call, std::uint32_t stage, slot batch, ns start) const {
  for (const std::uint32_t c : dags[call.dag].stages[stage].consumers) {
    const stage_entry& consumer = call.stages[c];
    if (!consumer.placed || consumer.phase != stage_phase::waiting)
      continue;
    for (std::uint32_t i = 0; i < consumer.width; ++i)
      if (const slot b = call.tasks[consumer.first + i].batch; b != none && (b == batch || batches[b].end() <= start))
        return false;
  }
  return true;
}

// -- propagation
// -------------------------------------------------------------------------------------------------------------

ns graph::earliest_of(const batch_entry& b) const {
  ns start = now_;
  if (!replicas[b.replica].ready)
    start = std::max(start, replicas[b.replica].ready_at);
  if (b.lane_before != none)
    start = std::max(start, batches[b.lane_before].end());
  if (b.replica_before != none)
    start = std::max(start, batches[b.replica_before].end());
  for (const task_ref t : b.tasks)
    start = std::max(start, inputs_end(calls[t.call], calls[t.call].tasks[t.index].stage));
  return start;
}

ns graph::latest_of(const batch_entry& b) const {
  ns end = far_off;
  if (b.lane_after != none)
    end = std::min(end, batches[b.lane_after].latest);
  if (b.replica_after != none)
    end = std::min(end, batches[b.replica_after].latest);
  for (const task_ref t : b.tasks)
    end = std::min(end, latest_end(t));
  return end - b.duration;
}

void graph::push(slot batch) {
  if (batch == none)
    return;
  enqueue(batch);
  batches[batch].whole = true;
}

void graph::enqueue(slot batch) {
  if (batches[batch].queued)
    return;
  batches[batch].queued = true;
  batches[batch].whole = false;
  work_.push_back(batch);
}

void graph::push_consumers(const call_entry& call, std::uint32_t stage) {
  for (const std::uint32_t c : dags[call.dag].stages[stage].consumers)
    for (std::uint32_t i = 0; i < call.stages[c].width; ++i)
      push(call.tasks[call.stages[c].first + i].batch);
}

void graph::push_producers(const call_entry& call, std::uint32_t stage) {
  for (const stage_index p : dags[call.dag].stages[stage].info.producers)
    for (std::uint32_t i = 0; i < call.stages[p].width; ++i)
      push(call.tasks[call.stages[p].first + i].batch);
}

void graph::push_after(const batch_entry& b) {
  push(b.lane_after);
  push(b.replica_after);
  for (const task_ref t : b.tasks)
    push_consumers(calls[t.call], calls[t.call].tasks[t.index].stage);
}

void graph::push_before(const batch_entry& b) {
  push(b.lane_before);
  push(b.replica_before);
  for (const task_ref t : b.tasks)
    push_producers(calls[t.call], calls[t.call].tasks[t.index].stage);
}

/// Those that `b` leaves too little, and how much it leaves them: a batch that ends later, or one more, changes nothing
/// else. What is looked at counts as a visit, needed or not: whoever bounds visits bounds the time that they take.
void graph::press_after(const batch_entry& b) {
  const auto press = [&](slot next) {
    if (next == none)
      return;
    ++visits_;
    batch_entry& pressed = batches[next];
    if (pressed.earliest >= b.end())
      return;
    pressed.pressed = pressed.queued ? std::max(pressed.pressed, b.end()) : b.end();
    enqueue(next);
  };
  press(b.lane_after);
  press(b.replica_after);
  for (const task_ref t : b.tasks) {
    const call_entry& call = calls[t.call];
    const auto& all = dags[call.dag].stages;
    for (const std::uint32_t c : all[call.tasks[t.index].stage].consumers) {
      const stage_entry& consumer = call.stages[c];
      if (consumer.phase != stage_phase::waiting)
        continue; // it has what it needs
      for (std::uint32_t i = 0; i < consumer.width; ++i)
        if (const slot next = call.tasks[consumer.first + i].batch; all[c].info.best_effort > 0)
          push(next); // it may not wait for this one
        else
          press(next);
    }
  }
}

void graph::press_before(const batch_entry& b) {
  const auto press = [&](slot previous) {
    if (previous == none)
      return;
    ++visits_;
    batch_entry& pressed = batches[previous];
    const ns latest = b.latest - pressed.duration;
    if (pressed.latest <= latest)
      return;
    pressed.pressed = pressed.queued ? std::min(pressed.pressed, latest) : latest;
    enqueue(previous);
  };
  press(b.lane_before);
  press(b.replica_before);
  for (const task_ref t : b.tasks) {
    const call_entry& call = calls[t.call];
    const std::uint32_t stage = call.tasks[t.index].stage;
    if (call.stages[stage].phase != stage_phase::waiting)
      continue;
    for (const stage_index p : dags[call.dag].stages[stage].info.producers)
      for (std::uint32_t i = 0; i < call.stages[p].width; ++i)
        press(call.tasks[call.stages[p].first + i].batch);
  }
}

namespace {
/// Where there is much slack the books are kept coarsely, on the safe side: a time that has to move is moved a little
/// further, so that the next small changes stop here.
ns spare_of(ns slack, ns most) {
  constexpr ns calm = 200'000'000;
  return std::clamp<ns>((slack - calm) / 8, 0, most);
}
} // namespace

/// The next batch of the work, least key first. Edges lead from earlier to later batches, so with the keys of before a
/// batch is looked at when those in front of it have their new times; in the order of coming, chains that meet again
/// would be walked again and again.
template <class Key>
slot graph::take_next(const Key& key_of) {
  for (const slot fresh : work_) {
    order_.emplace_back(key_of(batches[fresh]), fresh);
    std::push_heap(order_.begin(), order_.end(), std::greater<>{});
  }
  work_.clear();
  if (order_.empty())
    return none;
  std::pop_heap(order_.begin(), order_.end(), std::greater<>{});
  const slot next = order_.back().second;
  order_.pop_back();
  batches[next].queued = false;
  ++visits_;
  return next;
}

void graph::flow_forward() {
  for (slot s = none; (s = take_next([](const batch_entry& b) { return b.earliest; })) != none;) {
    batch_entry& b = batches[s];
    if (b.running)
      continue;
    const ns start = b.whole ? earliest_of(b) : std::max(now_, b.pressed);
    const ns spare = spare_of(b.latest - start, 100'000'000);
    if (start <= b.earliest && b.earliest - start <= 2 * spare)
      continue;
    remember(s);
    const bool later = start > b.earliest;
    b.earliest = later ? start + spare : start;
    if (start > b.latest)
      violated.push_back(s);
    later ? press_after(b) : push_after(b);
  }
}

void graph::flow_back() {
  for (slot s = none; (s = take_next([](const batch_entry& b) { return -b.latest; })) != none;) {
    batch_entry& b = batches[s];
    if (b.running)
      continue;
    const ns latest = b.whole ? latest_of(b) : b.pressed;
    const ns spare = spare_of(latest - b.earliest, 1'000'000'000);
    if (latest >= b.latest && latest - b.latest <= 2 * spare)
      continue;
    remember(s);
    const bool sooner = latest < b.latest;
    b.latest = sooner ? latest - spare : latest;
    sooner ? press_before(b) : push_before(b);
  }
}

void graph::touch_stage(slot call, std::uint32_t stage) {
  const call_entry& c = calls[call];
  const stage_entry& s = c.stages[stage];
  for (std::uint32_t i = 0; i < s.width; ++i)
    push(c.tasks[s.first + i].batch);
  push_consumers(c, stage);
  flow_forward();
  for (std::uint32_t i = 0; i < s.width; ++i)
    push(c.tasks[s.first + i].batch);
  push_producers(c, stage);
  flow_back();
}

void graph::touch_call(slot call) {
  const call_entry& c = calls[call];
  for (const task_entry& t : c.tasks)
    push(t.batch);
  flow_forward();
  for (const task_entry& t : c.tasks)
    push(t.batch);
  flow_back();
}

// -- the orders
// -------------------------------------------------------------------------------------------------------------

slot graph::new_batch() { return take_slot(batches, free_batches_); }

void graph::release(slot batch) {
  batch_entry& b = batches[batch];
  b.variant = b.lane = b.replica = none;
  b.lane_before = b.lane_after = b.replica_before = b.replica_after = none;
  b.id = {};
  b.running = false;
  b.weight = 0;
  b.tasks.clear();
  free_batches_.push_back(batch);
}

template <class Order>
void graph::relink(Order& order, std::uint32_t at, slot batch_entry::*before, slot batch_entry::*after) {
  const slot self = order[at];
  const slot prev = at > 0 ? order[at - 1] : none;
  const slot next = at + 1 < order.size() ? order[at + 1] : none;
  batches[self].*before = prev;
  batches[self].*after = next;
  if (prev != none)
    batches[prev].*after = self;
  if (next != none)
    batches[next].*before = self;
}

void graph::link(slot batch, const place& where) {
  auto& lane = lanes[where.lane].order;
  lane.insert(lane.begin() + where.lane_at, batch);
  lanes[where.lane].keys.insert(lanes[where.lane].keys.begin() + where.lane_at, batches[batch].key);
  relink(lane, where.lane_at, &batch_entry::lane_before, &batch_entry::lane_after);
  auto& replica = replicas[where.replica].order;
  replica.insert(replica.begin() + where.replica_at, batch);
  relink(replica, where.replica_at, &batch_entry::replica_before, &batch_entry::replica_after);
}

void graph::unlink(slot batch) {
  batch_entry& b = batches[batch];
  lane_entry& lane = lanes[b.lane];
  const auto at = std::find(lane.order.begin(), lane.order.end(), batch) - lane.order.begin();
  lane.order.erase(lane.order.begin() + at);
  lane.keys.erase(lane.keys.begin() + at);
  erase_value(replicas[b.replica].order, batch);
  if (b.lane_before != none)
    batches[b.lane_before].lane_after = b.lane_after;
  if (b.lane_after != none)
    batches[b.lane_after].lane_before = b.lane_before;
  if (b.replica_before != none)
    batches[b.replica_before].replica_after = b.replica_after;
  if (b.replica_after != none)
    batches[b.replica_after].replica_before = b.replica_before;
}

void graph::forget_open(slot batch) {
  const batch_entry& b = batches[batch];
  erase_value(variants[b.variant].open, batch);
  variants[b.variant].booked -= b.duration;
  booked[variants[b.variant].resource()] -= b.duration;
}

void graph::set_duration(batch_entry& b) {
  const ns duration = time_of(b.variant, b.weight);
  if (!b.running) {
    variants[b.variant].booked += duration - b.duration;
    booked[variants[b.variant].resource()] += duration - b.duration;
  }
  b.duration = duration;
}

// -- bookings
// -------------------------------------------------------------------------------------------------------------

void graph::join(task_ref task, slot batch) {
  batch_entry& b = batches[batch];
  task_entry& t = calls[task.call].tasks[task.index];
  if (trial_)
    log_.push_back({step::joined, batch, b.earliest, b.latest, b.duration, b.weight, task, b.key});
  t.batch = batch;
  b.tasks.push_back(task);
  b.weight += t.odds;
  const ns end = b.latest_end();
  set_duration(b);
  b.earliest = std::max(b.earliest, inputs_end(calls[task.call], t.stage));
  b.latest = std::min(end, latest_end(task)) - b.duration;
  press_after(b);
  flow_forward();
  press_before(b);
  flow_back();
}

slot graph::insert(task_ref task, slot variant, const place& where, ns key) {
  const slot s = new_batch();
  batch_entry& b = batches[s];
  task_entry& t = calls[task.call].tasks[task.index];
  if (trial_)
    log_.push_back({step::inserted, s});
  b.variant = variant;
  b.lane = where.lane;
  b.replica = where.replica;
  b.key = key;
  b.running = false;
  b.duration = 0;
  b.tasks.assign(1, task);
  b.weight = t.odds;
  t.batch = s;
  set_duration(b);
  variants[variant].open.push_back(s);
  link(s, where);
  b.earliest = earliest_of(b);
  b.latest = latest_of(b);
  press_after(b);
  flow_forward();
  press_before(b);
  flow_back();
  return s;
}

void graph::remove(task_ref task) {
  task_entry& t = calls[task.call].tasks[task.index];
  const slot s = t.batch;
  if (s == none)
    return;
  batch_entry& b = batches[s];
  SQUALL_CHECK(!b.running, b.running);
  t.batch = none;
  const auto at = std::find(b.tasks.begin(), b.tasks.end(), task);
  if (trial_)
    log_.push_back({step::removed, s, b.earliest, b.latest, b.duration, b.weight, task, b.key,
                    static_cast<std::uint32_t>(at - b.tasks.begin())});
  b.tasks.erase(at);
  b.weight -= t.odds;
  if (!b.tasks.empty()) {
    set_duration(b);
    push(s);
    push_after(b);
    push_consumers(calls[task.call], t.stage);
    flow_forward();
    push(s);
    push_before(b);
    push_producers(calls[task.call], t.stage);
    flow_back();
    return;
  }
  const slot before[] = {b.lane_before, b.replica_before};
  const slot after[] = {b.lane_after, b.replica_after};
  if (trial_) {
    const auto index = [&](const std::vector<slot>& list) {
      return static_cast<std::uint32_t>(std::find(list.begin(), list.end(), s) - list.begin());
    };
    log_.push_back({step::emptied,
                    s,
                    0,
                    0,
                    0,
                    0,
                    {},
                    0,
                    index(variants[b.variant].open),
                    index(lanes[b.lane].order),
                    index(replicas[b.replica].order)});
  }
  forget_open(s);
  unlink(s);
  if (!trial_)
    release(s);
  for (const slot a : after)
    push(a);
  push_consumers(calls[task.call], t.stage);
  flow_forward();
  for (const slot p : before)
    push(p);
  push_producers(calls[task.call], t.stage);
  flow_back();
}

void graph::set_odds(task_ref task, std::uint32_t odds) {
  task_entry& t = calls[task.call].tasks[task.index];
  if (t.batch == none || t.odds == odds) {
    t.odds = odds;
    return;
  }
  batch_entry& b = batches[t.batch];
  b.weight = b.weight - t.odds + odds;
  t.odds = odds;
  const ns end = b.latest_end();
  set_duration(b);
  b.latest = end - b.duration;
  push_after(b);
  flow_forward();
  push_before(b);
  flow_back();
}

slot graph::start(slot lane, slot replica, std::span<const task_ref> tasks) {
  for (const task_ref t : tasks)
    remove(t);
  const slot s = new_batch();
  batch_entry& b = batches[s];
  b.variant = replicas[replica].variant;
  b.lane = lane;
  b.replica = replica;
  b.running = true;
  b.earliest = b.latest = now_;
  b.tasks.assign(tasks.begin(), tasks.end());
  b.weight = tasks.size() * whole_task;
  b.duration = time_of(b.variant, b.weight);
  link(s, {lane, replica, 0, 0, now_});
  for (const task_ref t : tasks)
    calls[t.call].tasks[t.index].batch = s;
  push_after(b);
  flow_forward();
  return s;
}

void graph::detach(task_ref task) {
  task_entry& t = calls[task.call].tasks[task.index];
  batch_entry& b = batches[t.batch];
  b.tasks.erase(std::find(b.tasks.begin(), b.tasks.end(), task));
  b.weight -= whole_task;
  t.batch = none;
}

void graph::abort(slot batch) {
  batch_entry& b = batches[batch];
  const slot after[] = {b.lane_after, b.replica_after};
  for (const task_ref t : b.tasks)
    calls[t.call].tasks[t.index].batch = none;
  unlink(batch);
  release(batch);
  for (const slot a : after)
    push(a);
  flow_forward();
}

void graph::move_end(slot batch, ns end) {
  batch_entry& b = batches[batch];
  b.duration = end - b.earliest;
  push_after(b);
  flow_forward();
}

void graph::finish(slot batch) {
  batch_entry& b = batches[batch];
  const slot after[] = {b.lane_after, b.replica_after};
  std::vector<task_ref>& tasks = b.tasks;
  for (const task_ref t : tasks) {
    task_entry& task = calls[t.call].tasks[t.index];
    task.done = true;
    task.batch = none;
  }
  unlink(batch);
  for (const slot a : after)
    push(a);
  for (const task_ref t : tasks)
    push_consumers(calls[t.call], calls[t.call].tasks[t.index].stage);
  release(batch);
  flow_forward();
}

// -- cluster
// -------------------------------------------------------------------------------------------------------------

slot graph::add_replica(slot node, slot variant, ns ready_at) {
  const slot s = take_slot(replicas, free_replicas_);
  replica_entry& r = replicas[s];
  r = {};
  r.node = node;
  r.variant = variant;
  r.ready_at = ready_at;
  nodes[node].replicas.push_back(s);
  nodes[node].used += variants[variant].info.memory_bytes;
  variants[variant].replicas.push_back(s);
  if (trial_)
    log_.push_back({step::replica, s});
  return s;
}

void graph::drop_replica(slot replica) {
  replica_entry& r = replicas[replica];
  SQUALL_CHECK(r.order.empty(), r.order.size());
  nodes[r.node].used -= variants[r.variant].info.memory_bytes;
  erase_value(nodes[r.node].replicas, replica);
  erase_value(variants[r.variant].replicas, replica);
  r.variant = none;
  free_replicas_.push_back(replica);
}

void graph::set_ready(slot replica, bool ready, ns at) {
  replicas[replica].ready = ready;
  replicas[replica].ready_at = at;
  if (!replicas[replica].order.empty())
    push(replicas[replica].order.front());
  flow_forward();
}

slot graph::add_call() { return take_slot(calls, free_calls_); }

void graph::free_call(slot call) {
  call_entry& c = calls[call];
  c.dag = none;
  c.stages.clear();
  c.tasks.clear();
  free_calls_.push_back(call);
}

} // namespace squall::policy::calendar
