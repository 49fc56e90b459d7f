#include "policy/calendar/calendar.hpp"

#include "policy/calendar/plans.hpp"
#include "policy/calendar/state.hpp"

#include <algorithm>

#include <cstdio>
#include <cstdlib>
bool checking = false;
namespace squall::policy {

namespace calendar {

// -- the catalogue
// ------------------------------------------------------------------------------------------------------------

void state::on(const placing::function_registered& fact) {
  std::vector<slot> all;
  for (const placing::variant_info& info : fact.variants) {
    slot s = find(variant_slots, info.id);
    if (s == none) {
      s = static_cast<slot>(g.variants.size());
      g.variants.emplace_back();
      variant_slots.at(variant_slots.insert(info.id)).at = s;
    }
    variant_entry& v = g.variants[s];
    v.info = info;
    v.info.max_batch = std::max<std::uint32_t>(1, info.max_batch);
    v.times.clear();
    for (std::uint32_t b = 1; b <= v.info.max_batch; ++b) {
      ns time = info.expected.count() * b;
      if (b <= info.batch_times.size())
        time = info.batch_times[b - 1].count();
      else if (!info.batch_times.empty())
        time = info.batch_times.back().count() / static_cast<ns>(info.batch_times.size()) * b;
      v.times.push_back(std::max<ns>({1, time, v.times.empty() ? 1 : v.times.back()}));
    }
    all.push_back(s);
  }
  for (const slot s : all) {
    g.variants[s].siblings.clear();
    for (const slot other : all)
      if (other != s)
        g.variants[s].siblings.push_back(other);
  }
}

void state::on(const placing::dag_registered& fact) {
  dag_entry dag;
  dag.id = fact.id;
  for (const placing::stage_info& info : fact.stages) {
    dag_stage& stage = dag.stages.emplace_back();
    stage.info = info;
    stage.ran_q10 = info.chance_ppm / 1000 * 1024 / 1000;
    for (const variant_id v : info.variants)
      if (const slot s = find(variant_slots, v); s != none)
        stage.variants.push_back(s);
  }
  if (!derive(dag, g.variants))
    return;
  slot s = find(dag_slots, fact.id);
  if (s == none) {
    s = static_cast<slot>(g.dags.size());
    g.dags.emplace_back();
    dag_slots.at(dag_slots.insert(fact.id)).at = s;
  }
  g.dags[s] = std::move(dag);
}

void state::on(const placing::dag_removed& fact) {
  if (const slot s = find(dag_slots, fact.id); s != none)
    g.dags[s].removed = true;
}

// -- nodes
// --------------------------------------------------------------------------------------------------------------------

void state::on(const placing::node_joined& fact) {
  const auto s = static_cast<slot>(g.nodes.size());
  g.nodes.emplace_back();
  g.nodes[s].id = fact.id;
  g.nodes[s].memory = fact.memory_bytes;
  for (const placing::lane_info& lane : fact.lanes) {
    const auto l = static_cast<slot>(g.lanes.size());
    g.lanes.push_back({s, lane.resource, {}});
    g.nodes[s].lanes[index_of(lane.resource)].push_back(l);
    ++g.lane_count[index_of(lane.resource)];
  }
  node_slots.at(node_slots.insert(fact.id)).at = s;
}

void state::on(const placing::node_lost&) {}

// -- calls
// --------------------------------------------------------------------------------------------------------------------

void state::on(const placing::call_arrived& fact) {
  dirty = true;
  if (manage_at == far_off)
    manage_at = now;
  const slot dag = find(dag_slots, fact.dag);
  if (dag == none || g.dags[dag].removed) {
    out->emplace_back(placing::refuse{fact.id, errc::not_found, "the DAG is not registered", {}, {}});
    return;
  }
  const slot s = open_call(fact, dag);
  const verdict v = place_call(s);
  want_gpu(g.calls[s], v);
  if (v == verdict::admitted) {
    const call_entry& call = g.calls[s];
    call_slots.at(call_slots.insert(fact.id)).at = s;
    out->emplace_back(placing::admit{fact.id, {}, duration{finish_of(call) - now}, true, call.cost});
    return;
  }
  ++refused[static_cast<std::size_t>(v)];
  g.free_call(s);
  out->emplace_back(placing::refuse{fact.id, errc::overloaded, v == verdict::too_dear ? "too dear" : v == verdict::no_place ? "no place" : "impossible", {}, {}});
}

void state::on(const placing::call_ended& fact) {
  if (const slot s = find(call_slots, fact.id); s != none)
    drop_call(s);
  dirty = true;
}

void state::on(const placing::cancel_requested& fact) {
  if (const slot s = find(call_slots, fact.id); s != none)
    drop_call(s);
  dirty = true;
}

void state::drop_call(slot s) {
  call_entry& call = g.calls[s];
  for (std::uint32_t i = 0; i < call.tasks.size(); ++i) {
    const slot b = call.tasks[i].batch;
    if (b == none)
      continue;
    forget_ready({s, i}, call.stages[call.tasks[i].stage].variant);
    if (!g.batches[b].running)
      g.remove({s, i});
  }
  call_slots.erase(call_slots.find_slot(call.id));
  g.free_call(s);
}

void state::on(const placing::stage_ready& fact) {
  const slot s = find(call_slots, fact.call);
  if (s == none || fact.stage >= g.calls[s].stages.size())
    return;
  dirty = true;
  call_entry& call = g.calls[s];
  stage_entry& stage = call.stages[fact.stage];
  if (stage.phase != stage_phase::waiting)
    return;
  while (stage.width > fact.width) {
    g.remove({s, stage.first + stage.width - 1});
    --stage.width;
    --stage.left;
    call.cost -= g.variants[stage.variant].info.cost;
  }
  if (stage.width == 0) {
    stage.phase = stage_phase::done;
    g.touch_stage(s, fact.stage);
    return;
  }
  make_ready(s, fact.stage);
}

void state::make_ready(slot s, std::uint32_t index) {
  call_entry& call = g.calls[s];
  stage_entry& stage = call.stages[index];
  stage.phase = stage_phase::ready;
  for (std::uint32_t e = 0; e < stage.width; ++e)
    g.variants[stage.variant].ready.push_back({s, stage.first + e});
}

void state::on(const placing::batch_done& fact) {
  const auto at = batch_slots.find_slot(fact.batch);
  if (at == no_slot)
    return;
  dirty = true;
  const slot b = batch_slots.at(at).at;
  batch_slots.erase(at);
  for (const task_ref t : g.batches[b].tasks) {
    call_entry& call = g.calls[t.call];
    stage_entry& stage = call.stages[call.tasks[t.index].stage];
    if (--stage.left == 0)
      stage.phase = stage_phase::done;
  }
  g.finish(b);
}

void state::on(const placing::replica_loaded& fact) {
  const slot r = find(replica_slots, fact.replica);
  if (r == none)
    return;
  dirty = true;
  g.set_ready(r, true, now);
}

void state::on(const placing::ticket_redeemed&) {}

void state::on(const placing::tick&) {
  if (now >= manage_at) {
    manage();
    manage_at = call_slots.empty() ? far_off : now + config.manage_every.count();
  }
  for (slot r = 0; r < g.replicas.size(); ++r)
    if (g.replicas[r].variant != none && !g.replicas[r].ordered)
      order_load(r);
  if (dirty)
    run_idle();
  dirty = false;
  if (checking) for (auto& b : g.batches) if (b.variant != none && !b.running && b.earliest <= now && g.replicas[b.replica].ready) {
    fprintf(stderr, "UNSTARTED t=%ld batch %ld es %ld ls %ld dur %ld lane %d head %d replica %d head %d n %zu res %zu\n", now/1000000, &b-&g.batches[0], b.earliest, b.latest, b.duration, b.lane, b.lane_before, b.replica, b.replica_before, b.tasks.size(), g.variants[b.variant].resource());
    for (auto t : b.tasks) { auto& c = g.calls[t.call]; auto& st = c.stages[c.tasks[t.index].stage]; auto& rd=g.variants[st.variant].ready; fprintf(stderr, "   task call %ld stage %d phase %d inready %ld variant %d/%d le %ld\n", c.id.value, c.tasks[t.index].stage, (int)st.phase, std::count(rd.begin(), rd.end(), t), st.variant, b.variant, g.latest_end(t)); }
    abort(); }
}

} // namespace calendar

namespace {

class calendar_policy final : public dispatch_policy {
public:
  explicit calendar_policy(const calendar::calendar_config& config) { state_.config = config; }

  std::string_view name() const override { return "calendar"; }

  void step(time_point now, const calls::placing::event& fact, std::vector<calls::placing::command>& out) override {
    state_.now = to_ns(now);
    state_.g.set_now(state_.now);
    state_.out = &out;
    std::visit([this](const auto& f) { state_.on(f); }, fact);
    state_.out = nullptr;
    if (checking) { if (auto w = state_.g.check(true); !w.empty()) { fprintf(stderr, "CHECK t=%ld fact %zu: %s\n", (long)(state_.now/1000000), fact.index(), w.c_str()); abort(); } }
  }

  std::optional<time_point> next_deadline() const override {
    if (state_.dirty)
      return from_ns(state_.now);
    return state_.manage_at == calendar::far_off ? std::nullopt : std::optional{from_ns(state_.manage_at)};
  }

  void save(calls::binary_writer&) const override {}
  void restore(calls::binary_reader&) override {}

  calendar::state state_;
};

} // namespace

std::unique_ptr<dispatch_policy> make_calendar(const calendar::calendar_config& config) {
  return std::make_unique<calendar_policy>(config);
}

} // namespace squall::policy
