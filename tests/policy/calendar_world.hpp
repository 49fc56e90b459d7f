#pragma once

#include "base/check.hpp"
#include "policy/calendar/calendar.hpp"

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

/// The calendar with exact executors around it: everything takes as long as profiled unless a test says otherwise, and
/// each order is judged by the rules of the physics. Times in milliseconds.
namespace squall::policy::calendar {

namespace placing = calls::placing;

struct world_variant {
  int function = 0;
  bool gpu = false;
  int exec = 1;     ///< ms
  int load = 1;     ///< ms
  int memory = 100; ///< MB
  int cost = 1;     ///< units
  int max_batch = 1;
  int growth = 100; ///< of a batch, per further task, in hundredths of exec
};

struct world_stage {
  int function = 0;
  std::vector<stage_index> after{};
  std::uint32_t chance_ppm = 1'000'000;
  std::uint32_t width_max = 1;
  std::uint32_t best_effort = 0;
  std::vector<stage_index> needs{};
};

/// What a call will do, unknown to the policy.
struct world_call {
  std::uint64_t dag = 1;
  int slo = 1'000; ///< ms; negative values stand for themselves
  placing::micro_cost max_cost = placing::no_cost_limit;
  std::uint32_t assurance_ppm = placing::firm_ppm;
  std::set<stage_index> skipped{};
  std::map<stage_index, std::uint32_t> widths{};
  std::uint32_t priority = 0;
  placing::preference preference = placing::preference::least_loaded;
  std::uint64_t client = 1;
  std::map<stage_index, int> stalled{}; ///< ms that a stage takes longer than profiled
};

class world {
public:
  explicit world(const calendar_config& config = {}) : config_(config) {
    policy_ = std::make_unique<calendar_policy>(config_);
  }

  // -- the catalogue and the cluster
  /// All variants that there are; the policy is told of those from `first` on.
  void functions(const std::vector<world_variant>& variants, std::size_t first = 0) {
    variants_ = variants;
    std::map<int, placing::function_registered> facts;
    for (std::size_t i = first; i < variants.size(); ++i) {
      const world_variant& v = variants[i];
      placing::variant_info info;
      info.id = variant_id{i + 1};
      info.resource = v.gpu ? functions::resource_type::gpu : functions::resource_type::cpu;
      info.max_batch = static_cast<std::uint32_t>(v.max_batch);
      info.memory_bytes = static_cast<std::uint64_t>(v.memory) * 1'000'000;
      info.expected = std::chrono::milliseconds{v.exec};
      info.load = std::chrono::milliseconds{v.load};
      info.cost = v.cost;
      for (int b = 1; measured && b <= v.max_batch; ++b)
        info.batch_times.push_back(std::chrono::milliseconds{time_of(v, b)});
      facts[v.function].id = function_id{static_cast<std::uint64_t>(v.function) + 1};
      facts[v.function].variants.push_back(info);
    }
    for (const auto& [id, fact] : facts)
      step(fact);
  }
  void dag(std::uint64_t id, const std::vector<world_stage>& stages) {
    dags_[id] = stages;
    placing::dag_registered fact{dag_id{id}, {}};
    for (const world_stage& s : stages) {
      placing::stage_info info;
      info.function = function_id{static_cast<std::uint64_t>(s.function) + 1};
      info.producers = s.after;
      info.conditional = s.chance_ppm < 1'000'000;
      info.chance_ppm = s.chance_ppm;
      info.map = s.width_max > 1;
      info.width_max = s.width_max;
      info.best_effort = s.best_effort;
      info.needs = s.needs;
      for (std::size_t i = 0; i < variants_.size(); ++i)
        if (variants_[i].function == s.function)
          info.variants.push_back(variant_id{i + 1});
      fact.stages.push_back(info);
    }
    step(fact);
  }
  void remove_dag(std::uint64_t id) { step(placing::dag_removed{dag_id{id}}); }
  void join(std::uint64_t id, bool gpu, int lanes, int memory) {
    nodes_[id] = {gpu, lanes, 0, memory, 0};
    placing::node_joined fact{node_id{id}, {}, static_cast<std::uint64_t>(memory) * 1'000'000};
    for (int l = 1; l <= lanes; ++l)
      fact.lanes.push_back({lane_id{static_cast<std::uint64_t>(l)},
                            gpu ? functions::resource_type::gpu : functions::resource_type::cpu});
    step(fact);
  }
  void lose(std::uint64_t id) {
    nodes_.erase(id);
    std::erase_if(running_, [&](const auto& r) {
      if (r.second.node != id)
        return false;
      for (const placing::task& t : r.second.tasks)
        calls_.at(t.call).started.erase(t);
      return true;
    });
    std::erase_if(replicas_, [&](const auto& r) { return r.second.node == id; });
    exact = false;
    step(placing::node_lost{node_id{id}});
  }

  // -- calls
  call_id call(const world_call& c) {
    const call_id id{++last_call_};
    call_state& state = calls_[id];
    state.call = c;
    state.arrival = now;
    state.deadline = c.slo == no_slo ? std::int64_t{1} << 40 : now + c.slo;
    state.max_cost = c.max_cost;
    placing::call_arrived fact;
    fact.id = id;
    fact.client = client_id{c.client};
    fact.dag = dag_id{c.dag};
    fact.deadline = c.slo == no_slo ? never : from_ns((now + c.slo) * 1'000'000);
    fact.max_cost = c.max_cost;
    fact.assurance_ppm = c.assurance_ppm;
    fact.priority = c.priority;
    fact.preference = c.preference;
    step(fact);
    return id;
  }
  void redeem(placing::ticket_id ticket, call_id id, std::uint64_t client = 1) {
    for (const placing::offer& o : calls_.at(id).refusal.offers)
      if (o.ticket == ticket) {
        calls_.at(id).deadline = calls_.at(id).arrival + o.finish / std::chrono::milliseconds{1};
        calls_.at(id).max_cost = o.cost;
      }
    step(placing::ticket_redeemed{ticket, id, client_id{client}});
  }
  void answer(const placing::front_ready& front) { step(front); }
  void cancel(call_id id) { step(placing::cancel_requested{id}); }

  /// Lets time pass: what ends, what comes due, and a tick at the end of each moment.
  void run_until(std::int64_t until) {
    for (;;) {
      tick();
      std::int64_t next = until + 1;
      for (const auto& [batch, r] : running_)
        next = std::min(next, r.end);
      for (const auto& [id, r] : replicas_)
        if (!r.ready)
          next = std::min(next, r.end);
      for (const auto& [id, c] : calls_)
        if (c.answer_at >= now && c.finish < 0 && !c.dropped)
          next = std::min(next, std::max(now + 1, c.answer_at));
      if (const auto due = policy_->next_deadline())
        next = std::min(next, std::max(now + 1, (to_ns(*due) + 999'999) / 1'000'000));
      if (next > until)
        break;
      now = next;
      end_what_ends();
      for (auto& [id, c] : calls_)
        if (c.answer_at >= 0 && c.answer_at <= now && c.finish < 0 && !c.dropped)
          go_on(id);
    }
    now = until;
    tick();
  }

  /// The policy is lost with its scheduler. Another one hears of the catalogue and the nodes, and of what they hold;
  /// what was being loaded is dropped there. Not for maps of which a part has ended.
  void take_over() {
    policy_ = std::make_unique<calendar_policy>(config_, ++lives_ << 40);
    functions(std::vector<world_variant>{variants_});
    for (const auto& [id, stages] : std::map{dags_})
      dag(id, stages);
    for (const auto& [id, n] : nodes_) {
      placing::node_joined fact{node_id{id}, {}, static_cast<std::uint64_t>(n.memory) * 1'000'000};
      for (int l = 1; l <= n.lanes; ++l)
        fact.lanes.push_back({lane_id{static_cast<std::uint64_t>(l)},
                              n.gpu ? functions::resource_type::gpu : functions::resource_type::cpu});
      step(fact);
    }
    std::erase_if(replicas_, [&](const auto& r) {
      if (!r.second.ready)
        nodes_.at(r.second.node).used -= variants_[r.second.variant].memory;
      return !r.second.ready;
    });
    step(held());
  }
  [[nodiscard]] placing::plans_adopted held() const {
    placing::plans_adopted fact;
    for (const auto& [id, r] : replicas_)
      fact.replicas.push_back({node_id{r.node}, id, variant_id{r.variant + 1}});
    for (const auto& [id, c] : calls_) {
      if (!c.admitted || c.dropped || c.finish >= 0)
        continue;
      placing::adopted_call& found = fact.calls.emplace_back();
      found.call.id = id;
      found.call.client = client_id{c.call.client};
      found.call.dag = dag_id{c.call.dag};
      found.call.deadline = c.call.slo == no_slo ? never : from_ns(c.deadline * 1'000'000);
      found.call.max_cost = c.max_cost;
      found.call.assurance_ppm = c.call.assurance_ppm;
      found.call.priority = c.call.priority;
      found.call.preference = c.call.preference;
      found.arrived = from_ns(c.arrival * 1'000'000);
      for (const stage_index s : c.begun)
        found.come.push_back(
            {s, c.settled.contains(s) ? c.call.skipped.contains(s) ? 0u : 1u : static_cast<std::uint32_t>(c.left[s]),
             c.settled.contains(s)});
    }
    for (const auto& [id, r] : running_)
      fact.batches.push_back({node_id{r.node}, id, r.replica, variant_id{replicas_.at(r.replica).variant + 1}, r.tasks,
                              std::chrono::milliseconds{now - r.start}});
    return fact;
  }
  void tell(const placing::event& fact) { step(fact); }

  /// Goes on with a policy that was saved and restored.
  void save_and_restore() {
    calls::binary_writer out;
    policy_->save(out);
    const auto bytes = out.take();
    auto restored = std::make_unique<calendar_policy>(config_);
    calls::binary_reader in{bytes};
    restored->restore(in);
    SQUALL_CHECK(in.finish("calendar").ok(), in.finish("calendar").error().message);
    calls::binary_writer again;
    restored->save(again);
    SQUALL_CHECK(again.take() == bytes);
    policy_ = std::move(restored);
  }

  // -- what came of it
  [[nodiscard]] bool admitted(call_id id) const { return calls_.at(id).admitted; }
  [[nodiscard]] bool finished(call_id id) const { return calls_.at(id).finish >= 0; }
  [[nodiscard]] std::int64_t finish(call_id id) const { return calls_.at(id).finish; }
  [[nodiscard]] bool abandoned(call_id id) const { return calls_.at(id).dropped; }
  [[nodiscard]] std::string why(call_id id) const { return calls_.at(id).why; }
  [[nodiscard]] const placing::refuse& refusal(call_id id) const { return calls_.at(id).refusal; }
  [[nodiscard]] placing::micro_cost cost(call_id id) const { return calls_.at(id).cost; }
  /// Admitted calls that did not end within both SLOs.
  [[nodiscard]] int broken() const {
    int count = 0;
    for (const auto& [id, c] : calls_)
      count += c.admitted && (c.dropped || c.finish < 0 || c.finish > c.deadline || c.cost > c.max_cost) ? 1 : 0;
    return count;
  }
  [[nodiscard]] std::string first_broken() const {
    for (const auto& [id, c] : calls_)
      if (c.admitted && (c.dropped || c.finish < 0 || c.finish > c.deadline || c.cost > c.max_cost))
        return "call " + to_string(id) + " of DAG " + std::to_string(c.call.dag) + " ended at " +
               std::to_string(c.finish) + " of " + std::to_string(c.deadline) + " and cost " + std::to_string(c.cost) +
               " of " + std::to_string(c.max_cost) + " " + c.why;
    return {};
  }
  [[nodiscard]] const std::set<stage_index>& missing(call_id id) const { return calls_.at(id).let_go; }
  [[nodiscard]] int admitted() const {
    return static_cast<int>(
        std::count_if(calls_.begin(), calls_.end(), [](const auto& c) { return c.second.admitted; }));
  }
  [[nodiscard]] std::size_t resident() const { return replicas_.size(); }
  [[nodiscard]] const std::vector<world_stage>& dag_of(std::uint64_t id) const { return dags_.at(id); }
  [[nodiscard]] calendar_policy& policy() { return *policy_; }

  static constexpr int no_slo = -1'000'000;
  std::int64_t now = 0;
  bool measured = true; ///< functions() has times of batches, not only what is expected
  bool exact = true;    ///< the certificate has to hold after every fact
  std::function<int(const world_variant&, int profiled)> takes; ///< when executions differ from the profile
  int dispatched = 0, loads = 0, largest_batch = 0, let_go = 0;
  std::vector<placing::compute> wanted;                   ///< fronts; not answered by itself
  std::vector<std::pair<time_point, placing::event>> log; ///< all that the policy was told, with when

private:
  struct node_state {
    bool gpu;
    int lanes, busy, memory, used;
  };
  struct replica_state {
    std::uint64_t node = 0;
    std::size_t variant = 0;
    bool ready = false, busy = false;
    std::int64_t end = 0;
  };
  struct run_state {
    std::uint64_t node = 0;
    replica_id replica;
    std::vector<placing::task> tasks;
    std::int64_t start = 0, end = 0;
  };
  struct call_state {
    world_call call;
    std::int64_t arrival = 0, deadline = 0, finish = -1;
    placing::micro_cost max_cost = 0, cost = 0;
    bool admitted = false, dropped = false;
    placing::refuse refusal;
    std::string why;
    std::vector<int> waits, left;
    std::set<stage_index> begun, settled, let_go; ///< let go: a join went on without it
    std::int64_t answer_at = -1;                  ///< when best-effort joins go on
    int unsettled = 0;
    std::set<placing::task> started;
  };

  static int time_of(const world_variant& v, int count) {
    return v.exec + (v.exec * v.growth * (count - 1) + 99) / 100;
  }

  void tick() {
    for (int rounds = 0; policy_->next_deadline() && to_ns(*policy_->next_deadline()) <= now * 1'000'000; ++rounds) {
      SQUALL_CHECK(rounds < 100, rounds, now);
      step(placing::tick{});
    }
  }

  void step(const placing::event& fact) {
    std::vector<placing::command> out;
    log.emplace_back(from_ns(now * 1'000'000), fact);
    policy_->step(from_ns(now * 1'000'000), fact, out);
    const std::string wrong = policy_->check(exact);
    SQUALL_CHECK(wrong.empty(), wrong, now, fact.index());
    for (const placing::command& c : out)
      std::visit([this](const auto& command) { carry_out(command); }, c);
  }

  void end_what_ends() {
    for (auto& [id, r] : replicas_)
      if (!r.ready && r.end <= now) {
        r.ready = true;
        step(placing::replica_loaded{node_id{r.node}, id, errc::ok});
      }
    std::vector<batch_id> ended;
    for (const auto& [id, r] : running_)
      if (r.end <= now)
        ended.push_back(id);
    for (const batch_id id : ended) {
      const run_state r = running_.at(id);
      running_.erase(id);
      --nodes_.at(r.node).busy;
      replica_state& replica = replicas_.at(r.replica);
      replica.busy = false;
      step(placing::batch_done{node_id{r.node}, id, errc::ok, std::chrono::milliseconds{now - r.start}});
      for (const placing::task& t : r.tasks) {
        call_state& c = calls_.at(t.call);
        if (c.dropped)
          continue;
        c.cost += variants_[replica.variant].cost;
        if (--c.left[t.stage] == 0 && !c.let_go.contains(t.stage))
          settle(t.call, t.stage);
      }
    }
  }

  void begin(call_id id) {
    call_state& c = calls_.at(id);
    const auto& stages = dags_.at(c.call.dag);
    c.unsettled = static_cast<int>(stages.size());
    c.left.assign(stages.size(), 0);
    c.waits.clear();
    for (const world_stage& s : stages)
      c.waits.push_back(static_cast<int>(s.after.size()));
    for (stage_index s = 0; s < stages.size(); ++s)
      if (stages[s].after.empty())
        ready(id, s);
  }
  void ready(call_id id, stage_index s) {
    call_state& c = calls_.at(id);
    if (!c.begun.insert(s).second)
      return;
    const auto known = c.call.widths.find(s);
    const std::uint32_t width = c.call.skipped.contains(s) ? 0 : known == c.call.widths.end() ? 1 : known->second;
    c.left[s] = static_cast<int>(width);
    step(placing::stage_ready{id, s, width});
    if (width == 0 && !calls_.at(id).dropped)
      settle(id, s);
  }
  void settle(call_id id, stage_index s) {
    call_state& c = calls_.at(id);
    const auto& stages = dags_.at(c.call.dag);
    c.settled.insert(s);
    if (--c.unsettled == 0) {
      c.finish = now;
      step(placing::call_ended{id, errc::ok, {}});
      return;
    }
    for (stage_index n = 0; n < stages.size(); ++n)
      for (const stage_index p : stages[n].after)
        if (p == s && !c.begun.contains(n) && --c.waits[n] == 0 && !c.dropped)
          ready(id, n);
    if (c.answer_at >= 0 && c.answer_at <= now && !c.dropped)
      go_on(id);
  }
  /// Best-effort joins that have enough go on.
  void go_on(call_id id) {
    call_state& c = calls_.at(id);
    const auto& stages = dags_.at(c.call.dag);
    for (stage_index n = 0; n < stages.size(); ++n) {
      const auto there = std::count_if(stages[n].after.begin(), stages[n].after.end(), [&](stage_index p) {
        return c.settled.contains(p) && !c.call.skipped.contains(p);
      });
      if (stages[n].best_effort == 0 || c.begun.contains(n) || there < static_cast<int>(stages[n].best_effort))
        continue;
      c.waits[n] = 0;
      ready(id, n);
      const auto needed = [&](stage_index p) {
        for (stage_index reader = 0; reader < stages.size(); ++reader)
          if (!c.begun.contains(reader) && std::ranges::count(stages[reader].after, p) > 0)
            return true;
        return false;
      };
      for (const stage_index p : stages[n].after)
        if (!c.dropped && !c.settled.contains(p) && !needed(p) && c.let_go.insert(p).second) {
          --c.unsettled;
          ++let_go;
        }
    }
  }

  void carry_out(const placing::admit& a) {
    call_state& c = calls_.at(a.id);
    SQUALL_CHECK(a.dispatched && !c.admitted);
    c.admitted = true;
    if (a.reserve.count() > 0)
      c.answer_at = c.deadline - (a.reserve.count() + 999'999) / 1'000'000;
    c.call.skipped.insert(a.without.begin(), a.without.end());
    begin(a.id);
  }
  void carry_out(const placing::refuse& r) { calls_.at(r.id).refusal = r; }
  void carry_out(const placing::abandon& a) {
    calls_.at(a.id).dropped = true;
    calls_.at(a.id).why = a.message;
  }
  void carry_out(const placing::load_replica& l) {
    const std::size_t v = l.variant.value - 1;
    node_state& n = nodes_.at(l.node.value);
    n.used += variants_[v].memory;
    SQUALL_CHECK(n.used <= n.memory && n.gpu == variants_[v].gpu, n.used, n.memory);
    replicas_[l.replica] = {l.node.value, v, false, false, now + variants_[v].load};
    ++loads;
  }
  void carry_out(const placing::evict_replica& e) {
    const replica_state& r = replicas_.at(e.replica);
    SQUALL_CHECK(!r.busy);
    nodes_.at(r.node).used -= variants_[r.variant].memory;
    replicas_.erase(e.replica);
  }
  void carry_out(const placing::dispatch& d) {
    replica_state& r = replicas_.at(d.replica);
    node_state& n = nodes_.at(d.node.value);
    const world_variant& v = variants_[r.variant];
    SQUALL_CHECK(r.ready && !r.busy && r.node == d.node.value && r.variant == d.variant.value - 1);
    SQUALL_CHECK(++n.busy <= n.lanes, n.busy);
    SQUALL_CHECK(!d.tasks.empty() && static_cast<int>(d.tasks.size()) <= v.max_batch, d.tasks.size());
    SQUALL_CHECK(d.latest_start >= from_ns(now * 1'000'000));
    for (const placing::task& t : d.tasks) {
      call_state& c = calls_.at(t.call);
      SQUALL_CHECK(c.admitted && !c.dropped && c.waits[t.stage] == 0 && c.started.insert(t).second);
      SQUALL_CHECK(dags_.at(c.call.dag)[t.stage].function == v.function);
    }
    r.busy = true;
    const int profiled = time_of(v, static_cast<int>(d.tasks.size()));
    std::int64_t took = takes ? takes(v, profiled) : profiled;
    for (const placing::task& t : d.tasks)
      if (const auto& stalled = calls_.at(t.call).call.stalled; stalled.contains(t.stage))
        took += stalled.at(t.stage);
    running_[d.batch] = {d.node.value, d.replica, d.tasks, now, now + took};
    ++dispatched;
    largest_batch = std::max(largest_batch, static_cast<int>(d.tasks.size()));
  }
  void carry_out(const placing::compute& c) { wanted.push_back(c); }
  template <class Other>
  void carry_out(const Other&) {
    SQUALL_CHECK(false);
  }

  calendar_config config_;
  std::unique_ptr<calendar_policy> policy_;
  std::vector<world_variant> variants_;
  std::map<std::uint64_t, std::vector<world_stage>> dags_;
  std::map<std::uint64_t, node_state> nodes_;
  std::map<replica_id, replica_state> replicas_;
  std::map<batch_id, run_state> running_;
  std::map<call_id, call_state> calls_;
  std::uint64_t last_call_ = 0;
  std::uint64_t lives_ = 0;
};

} // namespace squall::policy::calendar
