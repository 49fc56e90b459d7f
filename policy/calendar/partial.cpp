// Best-effort joins: an answer at its promised time with the members that are there.
#include "policy/calendar/state.hpp"

#include <algorithm>

namespace squall::policy::calendar {

namespace {
constexpr ns least_margin = 2'000'000, most_margin = 100'000'000; ///< for the way of news
}

ns state::tail_of_joins(const call_entry& call) const {
  const dag_entry& dag = g.dags[call.dag];
  std::vector<ns> tail(dag.stages.size(), 0);
  ns reserve = 0;
  for (std::size_t s = dag.stages.size(); s-- > 0;) {
    for (const std::uint32_t c : dag.stages[s].consumers)
      tail[s] = std::max(tail[s], tail[c]);
    const stage_entry& stage = call.stages[s];
    ns longest = 0;
    for (std::uint32_t i = 0; i < stage.width; ++i)
      if (const slot b = call.tasks[stage.first + i].batch; b != none)
        longest = std::max(longest, g.batches[b].duration);
    tail[s] += longest;
    if (dag.stages[s].info.best_effort > 0)
      reserve = std::max(reserve, tail[s]);
  }
  return reserve;
}

/// Some time before what follows has to start, as long as no member is booked to end later; from now on none is.
void state::set_answer_time(slot s) {
  call_entry& call = g.calls[s];
  const ns tail = tail_of_joins(call);
  if (tail == 0 || call.deadline >= far_off)
    return;
  const dag_entry& dag = g.dags[call.dag];
  const ns margin = std::clamp((call.deadline - call.arrival) / 20, least_margin, most_margin);
  ns members_end = now;
  for (const task_entry& t : call.tasks)
    if (t.batch != none && dag.stages[t.stage].optional)
      members_end = std::max(members_end, g.batches[t.batch].end());
  call.answer_at = std::max(call.deadline - tail - margin, members_end);
  g.touch_call(s);
}

/// Whether a member that waits stands past its latest start.
bool state::member_late(const call_entry& call) const {
  const dag_entry& dag = g.dags[call.dag];
  return std::any_of(call.tasks.begin(), call.tasks.end(), [&](const task_entry& t) {
    return t.batch != none && dag.stages[t.stage].optional && !g.batches[t.batch].running &&
           g.batches[t.batch].earliest > g.batches[t.batch].latest;
  });
}

/// The join runs now: what it did not wait for is not started any more.
void state::go_on_without(slot s, std::uint32_t join) {
  const dag_entry& dag = g.dags[g.calls[s].dag];
  for (const stage_index p : dag.stages[join].info.producers) {
    if (g.calls[s].stages[p].phase != stage_phase::done && needless(g.calls[s], p))
      leave_out(s, p);
  }
  g.touch_stage(s, join);
}

/// Whether all that reads the stage has gone on.
bool state::needless(const call_entry& call, std::uint32_t stage) const {
  const auto& consumers = g.dags[call.dag].stages[stage].consumers;
  return !consumers.empty() && std::none_of(consumers.begin(), consumers.end(), [&](std::uint32_t c) {
    return call.stages[c].phase == stage_phase::waiting;
  });
}

/// Takes what has not started of the stage out of the books for good. What runs of it ends as it would.
void state::leave_out(slot s, std::uint32_t index) {
  stage_entry& stage = g.calls[s].stages[index];
  const bool was_ready = stage.phase == stage_phase::ready;
  bool runs = false, ran = stage.left < stage.width;
  for (std::uint32_t i = 0; i < stage.width; ++i) {
    const task_ref ref{s, stage.first + i};
    task_entry& t = g.calls[s].tasks[ref.index];
    if (t.batch != none && g.batches[t.batch].running) {
      runs = true;
      continue;
    }
    if (t.done)
      continue;
    if (was_ready)
      forget_ready(ref, stage.variant);
    g.remove(ref);
    t.done = true;
    --stage.left;
  }
  if (!runs)
    stage.phase = stage_phase::done;
  if (!runs && !ran) {
    g.calls[s].cost -= g.variants[stage.variant].info.cost * stage.width;
    stage.width = 0;
  }
  dirty = true;
}

/// Members that have not started are left out one by one, the last first, as long as enough are left.
bool state::let_go(slot s) {
  const dag_entry& dag = g.dags[g.calls[s].dag];
  for (std::size_t j = dag.stages.size(); j-- > 0;) {
    const dag_stage& join = dag.stages[j];
    if (join.info.best_effort == 0 || g.calls[s].stages[j].phase != stage_phase::waiting)
      continue;
    const auto there = [&](stage_index p) {
      const stage_entry& stage = g.calls[s].stages[p];
      return stage.width > 0 && (stage.left > 0 || stage.phase == stage_phase::done);
    };
    auto left = std::count_if(join.info.producers.begin(), join.info.producers.end(), there);
    for (auto p = join.info.producers.rbegin(); p != join.info.producers.rend(); ++p) {
      if (left <= static_cast<std::ptrdiff_t>(join.info.best_effort))
        break;
      if (!dag.stages[*p].optional || fixed(g.calls[s], *p))
        continue;
      leave_out(s, *p);
      --left;
      if (replan(s))
        return true;
    }
  }
  return false;
}

bool state::place_again(slot s) { return replan(s) || let_go(s); }

} // namespace squall::policy::calendar
