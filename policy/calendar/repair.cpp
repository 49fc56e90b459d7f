// What goes otherwise than booked: late ends, branches that run against the odds, lost places. The rest of a call is
// placed anew within what is left of its time and money, else its promise is broken at once and loudly.
#include "policy/calendar/state.hpp"

#include <algorithm>
#include <tuple>

namespace squall::policy::calendar {

namespace {
constexpr std::uint32_t trust_window = 50; ///< calls after which the safety moves
constexpr std::uint32_t least_safety = 600'000, most_safety = 5'000'000;
} // namespace

/// Steers the share that breaks to half of what the calls allow.
void trust::note(bool kept, std::uint32_t assurance_ppm) {
  ++admitted;
  broken += kept ? 0 : 1;
  if (admitted < trust_window)
    return;
  const std::uint64_t allowed = (placing::firm_ppm - assurance_ppm) / 2;
  const bool many = std::uint64_t{broken} * 1'000'000 > allowed * admitted;
  safety_ppm = many ? safety_ppm + safety_ppm / 8 : safety_ppm - safety_ppm / 100;
  safety_ppm = std::clamp(safety_ppm, least_safety, most_safety);
  admitted = broken = 0;
}

/// Follows the upper tenth of how long executions take over the profile: up in large steps, down in small ones.
void state::learn_time(slot variant, std::size_t count, ns executed) {
  variant_entry& v = g.variants[variant];
  const ns booked = g.time_of(variant, count * whole_task);
  v.learned_at = now;
  if (executed > booked) {
    const ns over = static_cast<ns>(static_cast<__int128>(executed) * v.stretch_ppm / booked);
    v.stretch_ppm += std::max((over - v.stretch_ppm) / 8, v.stretch_ppm / 50);
    v.stretch_ppm = std::min<ns>(v.stretch_ppm, 100'000'000);
  } else if (v.stretch_ppm > 1'000'000) {
    v.stretch_ppm = std::max<ns>(1'000'000, v.stretch_ppm - v.stretch_ppm / 400);
  } else {
    return;
  }
  set_times(v);
  times_changed = true;
}

/// What seems to take too long for every call is not run, and so not measured: after a while what was learned of it
/// fades, until a call is admitted that shows how long it takes.
void state::doubt_times(const dag_entry& dag) {
  constexpr ns trusted_for = 1'000'000'000;
  constexpr ns step = 100'000'000;
  for (const dag_stage& stage : dag.stages)
    for (const slot s : stage.variants) {
      variant_entry& v = g.variants[s];
      if (v.stretch_ppm <= 1'000'000 || now < v.learned_at + trusted_for)
        continue;
      v.stretch_ppm -= std::max<ns>(1, (v.stretch_ppm - 1'000'000) / 8);
      v.learned_at = now - trusted_for + step;
      set_times(v);
      times_changed = true;
    }
}

/// Batches and loads that should have ended are expected to take a while yet.
void state::check_overruns() {
  const auto longer = [&](ns begun) { return now + std::max<ns>(config.overrun_margin.count(), (now - begun) / 8); };
  for (slot b = batch_ends.due(from_ns(now)); b != no_slot; b = batch_ends.due(from_ns(now))) {
    const ns end = longer(g.batches[b].earliest);
    batch_ends.set(b, from_ns(end), g.batches[b].id.value);
    g.move_end(b, end);
    dirty = true;
  }
  for (slot r = load_ends.due(from_ns(now)); r != no_slot; r = load_ends.due(from_ns(now))) {
    const ns end = longer(g.replicas[r].ready_at - g.variants[g.replicas[r].variant].info.load.count());
    load_ends.set(r, from_ns(end), g.replicas[r].id.value);
    g.set_ready(r, false, end);
    dirty = true;
  }
}

/// Until no batch stands past its latest start: the calls that would be late are placed anew or given up, those with
/// the strongest promise first.
void state::repair() {
  while (!g.violated.empty()) {
    using rank = std::tuple<std::uint32_t, std::uint32_t, std::uint64_t, slot>;
    std::vector<rank> late;
    for (const slot s : std::exchange(g.violated, {})) {
      const batch_entry& b = g.batches[s];
      if (b.variant == none || b.running || b.earliest <= b.latest)
        continue;
      for (const task_ref t : b.tasks)
        if (const call_entry& call = g.calls[t.call];
            finish_of(call) > call.deadline || g.dags[call.dag].stages[call.tasks[t.index].stage].optional)
          late.emplace_back(placing::firm_ppm - call.assurance_ppm, ~call.priority, call.order, t.call);
    }
    std::sort(late.begin(), late.end());
    late.erase(std::unique(late.begin(), late.end()), late.end());
    for (const auto& [assurance, priority, order, s] : late) {
      if (g.calls[s].dag == none || g.calls[s].order != order ||
          (finish_of(g.calls[s]) <= g.calls[s].deadline && !member_late(g.calls[s])))
        continue;
      if (!place_again(s))
        give_up(s, errc::deadline_exceeded,
                "executions took longer than profiled, and the rest of it fits nowhere within its deadline and cost");
      dirty = true;
    }
  }
}

/// Takes everything that is booked of the call and not started out of the books.
void state::unbook(slot s) {
  call_entry& call = g.calls[s];
  for (std::uint32_t i = 0; i < call.tasks.size(); ++i) {
    const task_entry& t = call.tasks[i];
    if (t.done || (t.batch != none && g.batches[t.batch].running))
      continue;
    if (call.stages[t.stage].phase == stage_phase::ready)
      forget_ready({s, i}, call.stages[t.stage].variant);
    g.remove({s, i});
  }
  for (std::size_t i = 0; i < call.stages.size(); ++i)
    if (!fixed(call, i))
      call.stages[i].placed = false;
}

/// Places what is not started anew, at any price that its cost SLO allows.
bool state::replan(slot s) {
  unbook(s);
  rank_plans(g.calls[s]);
  const dag_entry& dag = g.dags[g.calls[s].dag];
  std::uint32_t tried = 0;
  bool placed = false;
  for (const candidate& c : ranked) {
    std::uint32_t failed_at = 0;
    if (tried++ == 2 * config.plans_tried)
      break;
    placed = try_plan(s, dag.plans[c.plan], far_off, failed_at);
    if (placed)
      break;
  }
  if (!placed)
    return false;
  dirty = true;
  const call_entry& call = g.calls[s];
  for (std::uint32_t i = 0; i < call.tasks.size(); ++i) {
    const task_entry& t = call.tasks[i];
    const stage_entry& stage = call.stages[t.stage];
    if (stage.phase == stage_phase::ready && !t.done && !g.batches[t.batch].running)
      g.variants[stage.variant].ready.push_back({s, i});
  }
  return true;
}

/// A stage of which it is known now that it runs counts in full. False if that breaks the certificate where it stands.
bool state::settle_odds(slot s, std::uint32_t index) {
  bool fits = true;
  const stage_entry stage = g.calls[s].stages[index];
  for (std::uint32_t e = 0; e < stage.width; ++e) {
    task_entry& t = g.calls[s].tasks[stage.first + e];
    if (t.odds == whole_task)
      continue;
    const batch_entry& b = g.batches[t.batch];
    const std::uint64_t weight = b.weight - t.odds + whole_task;
    const bool here = weight <= std::uint64_t{g.variants[b.variant].info.max_batch} * whole_task &&
                      std::max(b.earliest, now) + g.time_of(b.variant, weight) <= b.latest_end();
    if (here) {
      g.set_odds({s, stage.first + e}, whole_task);
    } else {
      forget_ready({s, stage.first + e}, stage.variant);
      g.remove({s, stage.first + e});
      t.odds = whole_task;
      fits = false;
    }
  }
  return fits;
}

} // namespace squall::policy::calendar
