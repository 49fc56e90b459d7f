#include "policy/reference/clockwork.hpp"

#include "policy/detail/snapshot.hpp"
#include "policy/reference/fleet.hpp"

#include <algorithm>
#include <map>

namespace squall::policy::reference {

namespace {

/// The rate of calls is an average that loses an eighth in each of these.
constexpr duration rate_period = std::chrono::milliseconds{100};
/// What one call adds to it, in calls per 1000 s.
constexpr std::int64_t one_call = 1000 * 1000 / 800;
/// So long a loaded model is kept.
constexpr duration least_stay = std::chrono::milliseconds{250};
/// A node that is busy all the time.
constexpr std::int64_t full = 1'000'000;

/// A call that waits, in the order of deadlines.
struct waiting_call {
  time_point deadline{};
  call_id id;
  friend auto operator<=>(const waiting_call&, const waiting_call&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("deadline", s.deadline);
    v("id", s.id);
  }
};

/// A DAG as one thing that is loaded and run.
struct model {
  std::size_t type = 1;
  std::vector<placing::variant_info> stages; ///< per stage the variant that it uses
  std::vector<std::uint32_t> widths;         ///< per stage the greatest
  std::uint32_t max_batch = 1;
  std::vector<duration> takes; ///< a batch of b calls, at [b - 1]
  std::uint64_t memory_bytes = 0;
  placing::micro_cost cost = 0;
  std::int64_t most_per_ks = 0; ///< calls per 1000 s that one lane runs in full batches

  // All that is kept of it beside the catalogue:
  std::vector<waiting_call> waiting; ///< ascending
  std::int64_t rate_per_ks = 0;      ///< of its calls
};

/// What a model would win on a host.
struct load_plan {
  std::int64_t gain = 0; ///< of calls per 1000 s, less what others lose
  dag_id dag;
  std::size_t host = 0;
  std::vector<std::size_t> victims; ///< descending
};

struct ready_stage {
  stage_index stage = 0;
  std::uint32_t next = 0; ///< the first element that was not dispatched
  std::uint32_t width = 0;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("stage", s.stage);
    v("next", s.next);
    v("width", s.width);
  }
};

struct served_call {
  dag_id dag;
  time_point deadline = never;
  bool running = false;           ///< part of an action
  std::vector<ready_stage> ready; ///< in the order of readiness
  void recycle() { *this = {}; }
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("dag", s.dag);
    v("deadline", s.deadline);
    v("running", s.running);
    v("ready", s.ready);
  }
};

/// A model on a node, and the action that it runs.
struct hosted {
  dag_id dag;
  std::vector<replica_id> replicas; ///< per stage
  std::uint32_t loading = 0;        ///< of these
  time_point since{};               ///< when its load began
  std::vector<call_id> action;      ///< its calls that have not ended; empty: it runs nothing
  batch_id running;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("dag", s.dag);
    v("replicas", s.replicas);
    v("loading", s.loading);
    v("since", s.since);
    v("action", s.action);
    v("running", s.running);
  }
};

struct host {
  node_id id;
  std::array<std::uint32_t, resource_count> lanes{};
  std::uint64_t free_bytes = 0;
  std::uint64_t memory_bytes = 0;
  std::vector<hosted> models; ///< in order of loading
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
    v("lanes_cpu", s.lanes[0]);
    v("lanes_gpu", s.lanes[1]);
    v("free_bytes", s.free_bytes);
    v("memory_bytes", s.memory_bytes);
    v("models", s.models);
  }
};

class clockwork final : public dispatch_policy {
public:
  explicit clockwork(const dispatch_policy_setup& setup) : last_replica_(setup.last_id), last_batch_(setup.last_id) {}

  [[nodiscard]] std::string_view name() const override { return "clockwork"; }

  void step(time_point now, const placing::event& fact, std::vector<placing::command>& out) override {
    now_ = now;
    std::visit([&](const auto& f) { on(f, out); }, fact);
  }

  [[nodiscard]] std::optional<time_point> next_deadline() const override {
    std::optional<time_point> next;
    if (dirty_)
      return now_;
    for (const auto& [id, m] : models_)
      if (!m.waiting.empty() && m.waiting.front().deadline != never) {
        const time_point drop = m.waiting.front().deadline - m.takes.front() + duration{1};
        next = next ? std::min(*next, drop) : drop;
      }
    return next;
  }

  void save(calls::binary_writer& out) const override {
    out.write(functions_);
    out.write(dags_);
    for (const auto& [id, m] : models_) {
      out.write(m.waiting);
      out.write(m.rate_per_ks);
    }
    out.write(rated_);
    out.write(hosts_);
    detail::write_map(out, calls_);
    out.write(last_replica_);
    out.write(last_batch_);
    out.write(dirty_);
    out.write(now_);
  }
  void restore(calls::binary_reader& in) override {
    in.read(functions_);
    in.read(dags_);
    for (const auto& [id, fact] : dags_) {
      derive(id);
      in.read(models_[id].waiting);
      in.read(models_[id].rate_per_ks);
    }
    in.read(rated_);
    in.read(hosts_);
    detail::read_map(in, calls_);
    in.read(last_replica_);
    in.read(last_batch_);
    in.read(dirty_);
    in.read(now_);
  }

private:
  // Facts.
  template <class Fact>
  void on(const Fact&, std::vector<placing::command>&) {}
  void on(const placing::function_registered& fact, std::vector<placing::command>&) { functions_[fact.id] = fact; }
  void on(const placing::dag_registered& fact, std::vector<placing::command>&) {
    dags_[fact.id] = fact;
    derive(fact.id);
  }
  void on(const placing::node_joined& fact, std::vector<placing::command>& out);
  void on(const placing::node_lost& fact, std::vector<placing::command>& out);
  void on(const placing::call_arrived& fact, std::vector<placing::command>& out);
  void on(const placing::stage_ready& fact, std::vector<placing::command>& out);
  void on(const placing::replica_loaded& fact, std::vector<placing::command>& out);
  void on(const placing::batch_done& fact, std::vector<placing::command>& out);
  void on(const placing::call_ended& fact, std::vector<placing::command>&) { forget(fact.id); }
  void on(const placing::cancel_requested& fact, std::vector<placing::command>& out) {
    if (calls_.find(fact.id) != nullptr)
      drop(fact.id, errc::cancelled, "the client withdrew the call", out);
  }
  void on(const placing::tick&, std::vector<placing::command>& out);

  // The catalogue.
  void derive(dag_id id);
  /// Chooses the variants of one type; false when a stage has none.
  [[nodiscard]] bool fill(model& m, const placing::dag_registered& dag, std::size_t type) const;
  [[nodiscard]] bool fits_somewhere(const model& m) const;

  // Calls.
  void forget(call_id id);
  void drop(call_id id, errc code, std::string why, std::vector<placing::command>& out);
  void drop_late(std::vector<placing::command>& out);

  // Actions.
  void start_actions(host& h, std::vector<placing::command>& out);
  void go_on(host& h, std::vector<placing::command>& out);
  bool start_stage(host& h, hosted& m, time_point latest, std::vector<placing::command>& out);
  [[nodiscard]] std::pair<std::size_t, std::size_t> batch_now(const model& m) const;
  [[nodiscard]] std::uint32_t busy(const host& h, std::size_t type) const;

  // Loads.
  void let_rates_fall();
  void load_by_demand(std::vector<placing::command>& out);
  /// How busy each host is by the demand for its models, and what of each model's demand is not served.
  void weigh(std::vector<std::int64_t>& use, std::map<dag_id, std::int64_t>& unserved) const;
  [[nodiscard]] std::optional<load_plan> plan_load(dag_id dag, std::size_t on, std::int64_t use,
                                                   std::int64_t unserved) const;
  void carry_out(const load_plan& plan, std::vector<placing::command>& out);
  [[nodiscard]] std::int64_t holders(dag_id dag) const;
  void unload(host& h, std::size_t at, std::vector<placing::command>& out);

  std::map<function_id, placing::function_registered> functions_;
  std::map<dag_id, placing::dag_registered> dags_;
  std::map<dag_id, model> models_; ///< follows from the two above, but for those that wait
  std::vector<host> hosts_;        ///< ascending
  slot_map<call_id, served_call> calls_;
  std::uint64_t last_replica_;
  std::uint64_t last_batch_;
  bool dirty_ = false; ///< something happened since the last tick
  time_point rated_{}; ///< when the rates fell last
  time_point now_{};
};

// -- the catalogue and the cluster
// -----------------------------------------------------------------------------------------

bool clockwork::fill(model& m, const placing::dag_registered& dag, std::size_t type) const {
  m = {};
  m.type = type;
  m.max_batch = std::numeric_limits<std::uint32_t>::max();
  for (const placing::stage_info& stage : dag.stages) {
    const auto function = functions_.find(stage.function);
    if (function == functions_.end())
      return false;
    const auto& variants = function->second.variants;
    const auto v = std::find_if(variants.begin(), variants.end(), [&](const placing::variant_info& info) {
      return index_of(info.resource) == type &&
             std::find(stage.variants.begin(), stage.variants.end(), info.id) != stage.variants.end();
    });
    if (v == variants.end())
      return false;
    m.stages.push_back(*v);
    m.widths.push_back(stage.map ? stage.width_max : 1);
    m.max_batch = std::min(m.max_batch, v->max_batch);
    m.memory_bytes += v->memory_bytes;
    m.cost += v->cost * m.widths.back();
  }
  for (std::uint32_t b = 1; b <= m.max_batch; ++b) {
    duration takes{0};
    for (std::size_t s = 0; s < m.stages.size(); ++s)
      for (std::size_t left = std::size_t{b} * m.widths[s]; left > 0;) {
        const std::size_t now = std::min<std::size_t>(left, m.stages[s].max_batch);
        takes += batch_time(m.stages[s], now);
        left -= now;
      }
    m.takes.push_back(takes);
  }
  m.most_per_ks = std::int64_t{m.max_batch} * 1'000'000'000'000 / std::max<std::int64_t>(1, m.takes.back().count());
  return true;
}

/// A DAG that is registered again keeps the calls that wait for it.
void clockwork::derive(dag_id id) {
  model& known = models_[id];
  model m;
  if (!fill(m, dags_[id], 1) && !fill(m, dags_[id], 0))
    m = {};
  if (!known.waiting.empty() && m.takes.empty())
    return;
  m.waiting = std::move(known.waiting);
  m.rate_per_ks = known.rate_per_ks;
  known = std::move(m);
}

bool clockwork::fits_somewhere(const model& m) const {
  return std::any_of(hosts_.begin(), hosts_.end(),
                     [&](const host& h) { return h.lanes[m.type] > 0 && h.memory_bytes >= m.memory_bytes; });
}

void clockwork::on(const placing::node_joined& fact, std::vector<placing::command>&) {
  const auto at =
      std::lower_bound(hosts_.begin(), hosts_.end(), fact.id, [](const host& h, node_id i) { return h.id < i; });
  if (at != hosts_.end() && at->id == fact.id)
    return; // a node changes what it has by leaving and joining
  host h;
  h.id = fact.id;
  h.memory_bytes = h.free_bytes = fact.memory_bytes;
  for (const placing::lane_info& lane : fact.lanes)
    ++h.lanes[index_of(lane.resource)];
  hosts_.insert(at, std::move(h));
  dirty_ = true;
}

void clockwork::on(const placing::node_lost& fact, std::vector<placing::command>& out) {
  const auto at = std::find_if(hosts_.begin(), hosts_.end(), [&](const host& h) { return h.id == fact.id; });
  if (at == hosts_.end())
    return;
  std::vector<call_id> hit;
  for (const hosted& m : at->models)
    hit.insert(hit.end(), m.action.begin(), m.action.end());
  hosts_.erase(at);
  for (const call_id id : hit)
    drop(id, errc::unavailable, "node " + to_string(fact.id) + ", which ran the call, was lost", out);
  dirty_ = true;
}

// -- calls
// --------------------------------------------------------------------------------------------------------------------

void clockwork::on(const placing::call_arrived& fact, std::vector<placing::command>& out) {
  const auto refuse = [&](errc code, std::string why) {
    out.emplace_back(placing::refuse{fact.id, code, std::move(why), duration{0}, {}});
  };
  let_rates_fall();
  model& m = models_[fact.dag];
  if (m.stages.empty() || !fits_somewhere(m))
    return refuse(errc::unavailable, "no node can hold all stages of the DAG on one resource");
  if (m.cost > fact.max_cost)
    return refuse(errc::overloaded, "the DAG costs more on its node");
  if (fact.deadline != never && now_ + m.takes.front() > fact.deadline)
    return refuse(errc::deadline_exceeded, "the DAG takes longer on its node");
  m.rate_per_ks += one_call;
  served_call& call = calls_.at(calls_.insert(fact.id));
  call.dag = fact.dag;
  call.deadline = fact.deadline;
  const waiting_call w{fact.deadline, fact.id};
  m.waiting.insert(std::upper_bound(m.waiting.begin(), m.waiting.end(), w), w);
  out.emplace_back(placing::admit{fact.id, {}, duration{0}, true, m.cost});
  dirty_ = true;
}

void clockwork::on(const placing::stage_ready& fact, std::vector<placing::command>&) {
  served_call* call = calls_.find(fact.call);
  if (call == nullptr || fact.width == 0)
    return;
  call->ready.push_back({fact.stage, 0, fact.width});
  dirty_ = true;
}

/// Takes a call out of whatever holds it.
void clockwork::forget(call_id id) {
  const slot_index slot = calls_.find_slot(id);
  if (slot == no_slot)
    return;
  const served_call& call = calls_.at(slot);
  if (call.running) {
    for (host& h : hosts_)
      for (hosted& m : h.models)
        std::erase(m.action, id);
  } else {
    auto& waiting = models_[call.dag].waiting;
    const waiting_call w{call.deadline, id};
    waiting.erase(std::lower_bound(waiting.begin(), waiting.end(), w));
  }
  calls_.erase(slot);
  dirty_ = true;
}

void clockwork::drop(call_id id, errc code, std::string why, std::vector<placing::command>& out) {
  forget(id);
  out.emplace_back(placing::abandon{id, code, std::move(why), {}});
}

void clockwork::drop_late(std::vector<placing::command>& out) {
  for (auto& [id, m] : models_)
    while (!m.waiting.empty() && m.waiting.front().deadline != never &&
           now_ + m.takes.front() > m.waiting.front().deadline)
      drop(m.waiting.front().id, errc::deadline_exceeded, "the call could not end in time any more", out);
}

// -- actions
// ------------------------------------------------------------------------------------------------------------------

void clockwork::on(const placing::tick&, std::vector<placing::command>& out) {
  dirty_ = false;
  drop_late(out);
  for (host& h : hosts_) {
    go_on(h, out);
    start_actions(h, out);
  }
  load_by_demand(out);
  dirty_ = false;
}

std::uint32_t clockwork::busy(const host& h, std::size_t type) const {
  std::uint32_t out = 0;
  for (const hosted& m : h.models)
    out += models_.at(m.dag).type == type && (!m.action.empty() || m.running) ? 1 : 0;
  return out;
}

/// The greatest batch of waiting calls that end in time in it: the first of those, as a range of them.
std::pair<std::size_t, std::size_t> clockwork::batch_now(const model& m) const {
  for (std::size_t b = std::min<std::size_t>(m.waiting.size(), m.max_batch);; --b) {
    const auto first = std::lower_bound(m.waiting.begin(), m.waiting.end(), waiting_call{now_ + m.takes[b - 1], {}});
    const auto begin = static_cast<std::size_t>(first - m.waiting.begin());
    if (m.waiting.size() - begin >= b || b == 1)
      return {std::min(begin, m.waiting.size() - 1), b};
  }
}

void clockwork::start_actions(host& h, std::vector<placing::command>& out) {
  for (const std::size_t type : {std::size_t{0}, std::size_t{1}})
    while (busy(h, type) < h.lanes[type]) {
      hosted* best = nullptr;
      time_point latest = never;
      for (hosted& hosted_model : h.models) {
        const model& m = models_[hosted_model.dag];
        if (m.type != type || hosted_model.loading > 0 || !hosted_model.action.empty() || hosted_model.running ||
            m.waiting.empty())
          continue;
        const auto [first, size] = batch_now(m);
        const time_point deadline = m.waiting[first].deadline;
        const time_point start = deadline == never ? never : deadline - m.takes[size - 1];
        if (best == nullptr || start < latest) {
          best = &hosted_model;
          latest = start;
        }
      }
      if (best == nullptr)
        break;
      model& m = models_[best->dag];
      const auto [first, size] = batch_now(m);
      const auto begin = m.waiting.begin() + static_cast<std::ptrdiff_t>(first);
      const auto end = begin + static_cast<std::ptrdiff_t>(size);
      for (auto w = begin; w != end; ++w) {
        best->action.push_back(w->id);
        calls_.find(w->id)->running = true;
      }
      m.waiting.erase(begin, end);
      if (!start_stage(h, *best, latest, out))
        break; // the sources are not known to be ready yet
    }
}

void clockwork::go_on(host& h, std::vector<placing::command>& out) {
  for (hosted& m : h.models)
    if (!m.action.empty() && !m.running)
      start_stage(h, m, never, out);
}

/// Runs what is ready of the action's first stage that is; not after `latest`.
bool clockwork::start_stage(host& h, hosted& on, time_point latest, std::vector<placing::command>& out) {
  const model& m = models_[on.dag];
  stage_index first = static_cast<stage_index>(m.stages.size());
  for (const call_id id : on.action)
    for (const ready_stage& r : calls_.find(id)->ready)
      if (r.next < r.width)
        first = std::min(first, r.stage);
  if (first == m.stages.size())
    return false;
  on.running = batch_id{++last_batch_};
  placing::dispatch order{on.running, h.id, on.replicas[first], m.stages[first].id, {}, latest};
  for (const call_id id : on.action)
    for (ready_stage& r : calls_.find(id)->ready)
      while (r.stage == first && r.next < r.width && order.tasks.size() < m.stages[first].max_batch)
        order.tasks.push_back({id, first, r.next++});
  out.emplace_back(std::move(order));
  return true;
}

void clockwork::on(const placing::batch_done& fact, std::vector<placing::command>& out) {
  for (host& h : hosts_)
    for (hosted& m : h.models) {
      if (m.running != fact.batch)
        continue;
      m.running = {};
      dirty_ = true;
      if (fact.code != errc::ok)
        for (const call_id id : std::vector<call_id>{m.action})
          drop(id, fact.code, "a batch of the call was not run", out);
      return;
    }
}

// -- loads
// --------------------------------------------------------------------------------------------------------------------

void clockwork::on(const placing::replica_loaded& fact, std::vector<placing::command>&) {
  for (host& h : hosts_)
    for (hosted& m : h.models)
      if (fact.code == errc::ok && std::find(m.replicas.begin(), m.replicas.end(), fact.replica) != m.replicas.end()) {
        --m.loading;
        dirty_ = true;
      }
}

void clockwork::let_rates_fall() {
  while (now_ - rated_ >= rate_period) {
    rated_ += rate_period;
    bool any = false;
    for (auto& [id, m] : models_) {
      m.rate_per_ks -= (m.rate_per_ks + 7) / 8;
      any = any || m.rate_per_ks > 0;
    }
    if (!any)
      rated_ = std::max(rated_, now_ - (now_ - rated_) % rate_period);
  }
}

std::int64_t clockwork::holders(dag_id dag) const {
  std::int64_t out = 0;
  for (const host& h : hosts_)
    out += std::count_if(h.models.begin(), h.models.end(), [&](const hosted& m) { return m.dag == dag; });
  return out;
}

void clockwork::weigh(std::vector<std::int64_t>& use, std::map<dag_id, std::int64_t>& unserved) const {
  const auto share = [&](const hosted& on) { return models_.at(on.dag).rate_per_ks / holders(on.dag); };
  for (const host& h : hosts_) {
    use.push_back(0);
    for (const hosted& on : h.models) {
      const model& m = models_.at(on.dag);
      use.back() += share(on) * full / (m.most_per_ks * h.lanes[m.type] + 1);
    }
  }
  for (const auto& [id, m] : models_)
    unserved[id] = m.rate_per_ks;
  for (std::size_t h = 0; h < hosts_.size(); ++h)
    for (const hosted& on : hosts_[h].models)
      unserved[on.dag] -= use[h] <= full ? share(on) : share(on) * full / use[h];
}

std::optional<load_plan> clockwork::plan_load(dag_id dag, std::size_t on, std::int64_t use,
                                              std::int64_t unserved) const {
  const host& h = hosts_[on];
  const model& m = models_.at(dag);
  if (m.stages.empty() || h.lanes[m.type] == 0 || h.memory_bytes < m.memory_bytes)
    return std::nullopt;
  std::vector<std::pair<std::int64_t, std::size_t>> victims; // the least demand first
  for (std::size_t i = 0; i < h.models.size(); ++i) {
    const hosted& there = h.models[i];
    if (there.dag == dag || there.loading > 0)
      return std::nullopt;
    if (there.action.empty() && !there.running && now_ - there.since >= least_stay)
      victims.emplace_back(models_.at(there.dag).rate_per_ks / holders(there.dag), i);
  }
  std::sort(victims.begin(), victims.end());
  load_plan out{0, dag, on, {}};
  std::uint64_t room = h.free_bytes;
  std::int64_t loss = 0;
  std::int64_t left = use;
  for (const auto& [share, i] : victims) {
    if (room >= m.memory_bytes)
      break;
    const model& victim = models_.at(h.models[i].dag);
    room += victim.memory_bytes;
    loss += use <= full ? share : share * full / use;
    left -= share * full / (victim.most_per_ks * h.lanes[victim.type] + 1);
    out.victims.push_back(i);
  }
  if (room < m.memory_bytes)
    return std::nullopt;
  const std::int64_t spare = std::max<std::int64_t>(0, full - left);
  const std::int64_t gain = std::min(unserved, m.most_per_ks * h.lanes[m.type] / 1000 * spare / (full / 1000));
  out.gain = gain - loss - loss / 4;
  std::sort(out.victims.rbegin(), out.victims.rend());
  return out.gain > 0 ? std::optional{out} : std::nullopt;
}

void clockwork::load_by_demand(std::vector<placing::command>& out) {
  for (;;) {
    std::vector<std::int64_t> use;
    std::map<dag_id, std::int64_t> unserved;
    weigh(use, unserved);
    std::optional<load_plan> best;
    for (const auto& [id, lack] : unserved)
      for (std::size_t h = 0; h < hosts_.size() && lack > 0; ++h)
        if (auto plan = plan_load(id, h, use[h], lack); plan && (!best || plan->gain > best->gain))
          best = std::move(plan);
    if (!best)
      return;
    carry_out(*best, out);
  }
}

void clockwork::carry_out(const load_plan& plan, std::vector<placing::command>& out) {
  host& h = hosts_[plan.host];
  const model& m = models_[plan.dag];
  for (const std::size_t i : plan.victims)
    unload(h, i, out);
  hosted& fresh = h.models.emplace_back();
  fresh.dag = plan.dag;
  fresh.since = now_;
  fresh.loading = static_cast<std::uint32_t>(m.stages.size());
  h.free_bytes -= m.memory_bytes;
  for (const placing::variant_info& v : m.stages) {
    fresh.replicas.push_back(replica_id{++last_replica_});
    out.emplace_back(placing::load_replica{fresh.replicas.back(), h.id, v.id});
  }
}

void clockwork::unload(host& h, std::size_t at, std::vector<placing::command>& out) {
  for (const replica_id r : h.models[at].replicas)
    out.emplace_back(placing::evict_replica{r, h.id});
  h.free_bytes += models_[h.models[at].dag].memory_bytes;
  h.models.erase(h.models.begin() + static_cast<std::ptrdiff_t>(at));
}

} // namespace

result<std::unique_ptr<dispatch_policy>> make_clockwork(const dispatch_policy_setup& setup) {
  option_reader options{setup};
  SQUALL_TRY(options.finish());
  return std::unique_ptr<dispatch_policy>{std::make_unique<clockwork>(setup)};
}

} // namespace squall::policy::reference
