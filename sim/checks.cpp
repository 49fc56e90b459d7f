#include "sim/checks.hpp"

#include <algorithm>

namespace squall::sim {

namespace placing = calls::placing;
namespace queueing = calls::queueing;

// -- a node's queue
// -----------------------------------------------------------------------------------------------------------

void queue_check::step(time_point now, const queueing::event& fact, const std::vector<queueing::command>& commands) {
  now_ = now;
  std::visit([this](const auto& f) { see(f); }, fact);
  for (const queueing::command& c : commands)
    std::visit([this](const auto& command) { follow(command); }, c);
  for (const item_id id : dropped_running_)
    wrong("item " + to_string(id) + " ran on a lane that closed, and was not dropped");
  dropped_running_.clear();
  // At its own moment an item may still wait for the tick.
  if (std::holds_alternative<queueing::tick>(fact))
    for (const auto& [id, i] : queued_)
      if (i.fact.latest_start < now)
        wrong("item " + to_string(id) + " is past its latest start and still queued");
  check_work_conservation();
}

void queue_check::end(time_point now) {
  now_ = now;
  for (const auto& [id, i] : queued_)
    wrong("item " + to_string(id) + " was forgotten");
  for (const auto& [id, b] : running_)
    wrong("batch " + to_string(id) + " never ended");
}

void queue_check::see(const queueing::variant_known& f) {
  variant& v = variants_[f.id];
  v.info = f;
  v.resident = v.resident || !f.needs_load;
}

void queue_check::see(const queueing::lane_closed& f) {
  const auto at = lanes_.find(f.id);
  if (at == lanes_.end())
    return;
  if (at->second.batch) {
    const auto& items = running_[at->second.batch].items;
    dropped_running_.insert(items.begin(), items.end());
    end_batch(at->second.batch);
  }
  lanes_.erase(f.id);
}

void queue_check::see(const queueing::loaded& f) {
  variant& v = variants_[f.variant];
  v.resident = v.loading;
  v.loading = false;
}

void queue_check::see(const queueing::residents_lost& f) {
  for (auto& [id, v] : variants_)
    if (v.info.resource == f.resource && v.info.needs_load)
      v.resident = v.loading = false;
}

void queue_check::see(const queueing::call_withdrawn& f) {
  std::erase_if(queued_, [&](const auto& entry) {
    return entry.second.fact.call == f.id &&
           (f.items.empty() || std::binary_search(f.items.begin(), f.items.end(), entry.first));
  });
}

void queue_check::follow(const queueing::run& c) {
  variant& v = variants_[c.variant];
  const auto lane = lanes_.find(c.lane);
  const std::string name = "batch " + to_string(c.id);
  if (lane == lanes_.end() || lane->second.resource != v.info.resource)
    return wrong(name + " runs on a lane that is not there");
  if (lane->second.batch)
    wrong(name + " runs on a lane that runs another");
  if (!v.resident)
    wrong(name + " runs a variant that is not resident");
  if (c.items.empty() || c.items.size() > v.info.max_batch || !std::is_sorted(c.items.begin(), c.items.end()))
    wrong(name + " is empty, too large or out of order");
  for (const item_id id : c.items) {
    const auto i = queued_.find(id);
    if (i == queued_.end())
      wrong("item " + to_string(id) + " runs and is not queued");
    else if (i->second.fact.variant != c.variant)
      wrong("item " + to_string(id) + " runs as another variant");
    else if (i->second.fact.latest_start < now_)
      wrong("item " + to_string(id) + " starts after its latest start");
    queued_.erase(id);
  }
  lane->second.batch = c.id;
  v.running.insert(c.id);
  running_[c.id] = {c.lane, c.variant, c.items};
}

void queue_check::follow(const queueing::load& c) {
  variant& v = variants_[c.variant];
  if (v.loading || v.resident)
    wrong("variant " + to_string(c.variant) + " is loaded twice");
  v.loading = true;
  if (memory_bytes_ > 0 && used() > memory_bytes_)
    wrong("memory: " + std::to_string(used()) + " bytes are used");
}

void queue_check::follow(const queueing::evict& c) {
  variant& v = variants_[c.variant];
  if (!v.resident || !v.running.empty())
    wrong("variant " + to_string(c.variant) + " is evicted while it runs, or is not resident");
  v.resident = false;
}

void queue_check::follow(const queueing::drop& c) {
  if (queued_.erase(c.item) == 0 && dropped_running_.erase(c.item) == 0)
    wrong("item " + to_string(c.item) + " is dropped and is not queued");
}

void queue_check::end_batch(batch_id id) {
  const auto at = running_.find(id);
  if (at == running_.end())
    return;
  lanes_[at->second.lane].batch = {};
  variants_[at->second.variant].running.erase(id);
  running_.erase(at);
}

std::uint64_t queue_check::used() const {
  std::uint64_t out = 0;
  for (const auto& [id, v] : variants_)
    if (v.info.needs_load && (v.loading || v.resident))
      out += v.info.memory_bytes;
  return out;
}

void queue_check::check_work_conservation() {
  std::set<functions::resource_type> idle;
  for (const auto& [id, l] : lanes_)
    if (!l.batch)
      idle.insert(l.resource);
  if (idle.empty())
    return;
  // While one waits for memory, others may have to make room.
  for (const auto& [id, i] : queued_)
    if (const variant& v = variants_[i.fact.variant]; !v.resident && !v.loading)
      return;
  for (const auto& [id, i] : queued_) {
    const variant& v = variants_[i.fact.variant];
    if (!v.resident || !idle.contains(v.info.resource))
      continue;
    const bool may_wait =
        v.info.max_batch > 1 && !i.fact.lone && now_ <= i.arrived + v.info.max_delay && v.info.max_delay.count() > 0;
    if (!may_wait)
      wrong("item " + to_string(id) + " of variant " + to_string(i.fact.variant) + ", here for " +
            std::to_string((now_ - i.arrived).count()) + " ns, waits while a lane is idle");
  }
}

// -- the scheduler
// ------------------------------------------------------------------------------------------------------------

void scheduler_check::check_plan(const placing::admit& c) {
  const auto lives = [&](node_id n) { return nodes_.contains(n); };
  bool fine = lives(c.plan.exit);
  for (const calls::placement& p : c.plan.stages) {
    fine = fine && lives(p.home) && std::all_of(p.spread.begin(), p.spread.end(), lives);
    fine = fine && (p.spread.empty() || p.spread.front() == p.home);
  }
  if (!fine)
    out_.add(now_, "the plan of call " + to_string(c.id) + " names a node that is not there");
}

void scheduler_check::step(time_point now, const placing::event& fact, const std::vector<placing::command>& commands) {
  now_ = now;
  if (const auto* f = std::get_if<placing::node_joined>(&fact))
    nodes_.insert(f->id);
  if (const auto* f = std::get_if<placing::node_lost>(&fact))
    nodes_.erase(f->id);
  if (const auto* f = std::get_if<placing::call_ended>(&fact))
    in_flight_.erase(f->id);
  std::size_t answers = 0;
  for (const placing::command& command : commands) {
    if (const auto* c = std::get_if<placing::admit>(&command)) {
      ++answers;
      check_plan(*c);
      if (!in_flight_.insert(c->id).second)
        out_.add(now, "call " + to_string(c->id) + " is admitted twice");
    } else if (std::holds_alternative<placing::refuse>(command)) {
      ++answers;
    } else if (const auto* a = std::get_if<placing::abandon>(&command)) {
      if (in_flight_.erase(a->id) == 0)
        out_.add(now, "call " + to_string(a->id) + " is abandoned and was not in flight");
      if (!std::all_of(a->nodes.begin(), a->nodes.end(), [&](node_id n) { return nodes_.contains(n); }))
        out_.add(now, "call " + to_string(a->id) + " is abandoned on a node that is not there");
    }
  }
  if (answers != (std::holds_alternative<placing::call_arrived>(fact) ? 1U : 0U))
    out_.add(now, "a call that arrives is answered once, and no other");
}

void scheduler_check::end(time_point now) {
  for (const call_id id : in_flight_)
    out_.add(now, "call " + to_string(id) + " never ended");
}

} // namespace squall::sim
