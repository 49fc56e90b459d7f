#include "sim/cluster_model.hpp"

#include "policy/front.hpp"

#include <algorithm>
#include <set>

namespace squall::sim {

namespace placing = calls::placing;
namespace queueing = calls::queueing;
using functions::resource_type;

namespace {

constexpr std::uint64_t controller = 0; ///< its place in the network

/// A call on its way through the nodes.
struct flow {
  placing::dag_registered dag;
  placing::call_arrived fact;
  calls::plan plan;
  std::vector<stage_physics> physics;
  std::vector<std::size_t> waits;  ///< per stage, producers that have not settled
  std::vector<std::uint32_t> left; ///< per stage, elements that have not ended
  std::vector<duration> executed;  ///< per stage
  std::size_t unsettled = 0;       ///< stages
  bool over = false;               ///< ended, failed or abandoned
};

struct node {
  node_id id;
  modelled_node model;
  std::unique_ptr<policy::node_queue> queue;
  std::unique_ptr<queue_check> check;
  calls::log_encoder log;
  std::map<item_id, std::pair<call_id, stage_index>> items;
  std::map<batch_id, queueing::run> running;
  std::set<lane_id> open;
  std::uint64_t last_item = 0;
  std::uint64_t loads_seen = 0; ///< outcomes of loads from before the model host died are not reported
  std::optional<time_point> armed;
  bool alive = true;
};

} // namespace

struct cluster_model::state {
  cluster_model_config config;
  random_source random;
  agenda when;
  network net;
  policy::scheduler core;
  violations broken;
  scheduler_check check{broken};
  calls::log_encoder log;
  std::map<node_id, node> nodes;
  std::map<call_id, flow> flows;
  std::map<call_id, std::vector<stage_physics>> physics;
  std::map<call_id, time_point> arrived;
  cluster_report report;
  observer observed;
  std::optional<time_point> armed;

  state(const cluster_model_config& c, std::uint64_t seed)
      : config(c), random(seed), net(when, c.net, seed + 1), core(c.scheduler, seed) {
    begin_log(log, {}, core);
  }

  template <class Core>
  void begin_log(calls::log_encoder& of, const calls::log_header& header, const Core& c) {
    if (!config.record)
      return;
    of.begin(header);
    SQUALL_CHECK(of.snapshot(when.now(), c.save()));
  }

  // -- the scheduler's driver
  // -------------------------------------------------------------------------------------------------

  void step(const placing::event& fact) {
    core.step(when.now(), fact);
    const auto commands = core.take_commands();
    if (config.record)
      log.fact(when.now(), calls::digest(commands), fact);
    check.step(when.now(), fact, commands);
    if (observed)
      observed(&core, nullptr, {});
    for (const placing::command& c : commands)
      std::visit([this](const auto& command) { carry_out(command); }, c);
    arm(core, armed, [this] { step(placing::tick{}); });
  }

  /// Plans a tick for the core's deadline unless one is planned before; an early one plans the next.
  template <class Core, class Tick>
  void arm(const Core& of, std::optional<time_point>& slot, Tick tick) {
    const auto next = of.next_deadline();
    if (!next || (slot && *slot <= *next))
      return;
    slot = std::max(*next, when.now());
    when.at(*slot, [this, &of, &slot, tick, planned = *slot] {
      if (slot != planned)
        return; // another one was planned before this
      slot.reset();
      if (const auto due = of.next_deadline(); due && *due <= when.now())
        tick();
      else
        arm(of, slot, tick);
    });
  }

  void carry_out(const placing::admit& c) {
    ++report.admitted;
    flow& f = flows[c.id];
    f.plan = c.plan;
    f.physics = physics[c.id];
    const auto& stages = f.dag.stages;
    f.physics.resize(stages.size());
    f.left.resize(stages.size());
    f.executed.resize(stages.size());
    f.unsettled = stages.size();
    for (const placing::stage_info& s : stages)
      f.waits.push_back(s.producers.size());
    for (stage_index s = 0; s < stages.size(); ++s)
      if (stages[s].producers.empty())
        net.send(controller, c.plan.stages[s].home.value, [this, id = c.id, s] { ready(id, s); });
  }
  void carry_out(const placing::refuse& c) {
    ++report.refused;
    flows.erase(c.id);
  }
  void carry_out(const placing::abandon& c) {
    ++report.abandoned;
    drop_flow(c.id, c.nodes);
  }
  void carry_out(const placing::end_sequence&) {}
  // No policy of this model dispatches.
  void carry_out(const placing::load_replica&) {}
  void carry_out(const placing::evict_replica&) {}
  void carry_out(const placing::dispatch&) {}
  void carry_out(const placing::policy_refused&) {}
  void carry_out(const placing::preload&) {}
  void carry_out(const placing::compute& c) { step(placing::event{policy::find_front(c)}); }

  void drop_flow(call_id id, const std::vector<node_id>& on) {
    flows[id].over = true;
    for (const node_id n : on)
      net.deliver(controller, n.value, [this, n, id] { step(n, queueing::call_withdrawn{id}); });
  }

  // -- what nodes do with calls
  // -----------------------------------------------------------------------------------------------

  flow* live_flow(call_id id) {
    const auto at = flows.find(id);
    return at == flows.end() || at->second.over ? nullptr : &at->second;
  }

  /// At the home of a stage whose producers have all settled.
  void ready(call_id id, stage_index s) {
    flow* f = live_flow(id);
    if (f == nullptr || !nodes.at(f->plan.stages[s].home).alive)
      return;
    const std::uint32_t width = f->dag.stages[s].map ? f->physics[s].width : 1;
    if ((f->dag.stages[s].conditional && !f->physics[s].runs) || width == 0) {
      f->physics[s].width = 0;
      return settle(id, s);
    }
    f->left[s] = width;
    const calls::placement where = f->plan.stages[s];
    for (std::uint32_t i = 0; i < width; ++i) {
      const node_id to = where.spread.empty() ? where.home : where.spread[i % where.spread.size()];
      net.send(where.home.value, to.value, [this, to, id, s, lone = width == 1] { enqueue(to, id, s, lone); });
    }
  }

  void enqueue(node_id to, call_id id, stage_index s, bool lone) {
    node& n = nodes.at(to);
    const flow* f = live_flow(id);
    if (f == nullptr || !n.alive)
      return;
    const item_id item{++n.last_item};
    n.items[item] = {id, s};
    ++report.items;
    step(to, queueing::arrived{item, id, s, f->plan.stages[s].variant, f->fact.priority, f->fact.deadline,
                               lone && s % 2 == 1, f->fact.client});
  }

  void element_ended(node_id on, call_id id, stage_index s, duration share) {
    const flow* f = live_flow(id);
    if (f == nullptr)
      return;
    net.send(on.value, f->plan.stages[s].home.value, [this, id, s, share] {
      flow* at_home = live_flow(id);
      if (at_home == nullptr)
        return;
      at_home->executed[s] += share;
      if (--at_home->left[s] == 0)
        settle(id, s);
    });
  }

  void settle(call_id id, stage_index s) {
    flow& f = flows.at(id);
    for (stage_index c = s + 1; c < f.dag.stages.size(); ++c) {
      const auto& producers = f.dag.stages[c].producers;
      const auto edges = static_cast<std::size_t>(std::count(producers.begin(), producers.end(), s));
      if (edges > 0 && (f.waits[c] -= edges) == 0)
        net.send(f.plan.stages[s].home.value, f.plan.stages[c].home.value, [this, id, c] { ready(id, c); });
    }
    if (--f.unsettled == 0)
      end_call(id, f.plan.exit, errc::ok);
  }

  void end_call(call_id id, node_id from, errc code) {
    placing::call_ended fact{id, code, {}};
    const flow& f = flows.at(id);
    for (stage_index s = 0; s < f.dag.stages.size(); ++s)
      if (code == errc::ok)
        fact.stages.push_back(
            {s, f.dag.stages[s].map || f.physics[s].width == 0 ? f.physics[s].width : 1, f.executed[s]});
    net.send(from.value, controller, [this, fact] {
      flow* live = live_flow(fact.id);
      if (live == nullptr)
        return;
      live->over = true;
      if (fact.code == errc::ok) {
        ++report.ended_ok;
        report.latency[fact.id] = when.now() - arrived[fact.id];
      } else {
        ++report.failed;
        std::set<node_id> holders{live->plan.exit};
        for (const calls::placement& p : live->plan.stages) {
          holders.insert(p.home);
          holders.insert(p.spread.begin(), p.spread.end());
        }
        drop_flow(fact.id, {holders.begin(), holders.end()});
      }
      step(placing::event{fact});
    });
  }

  // -- a node's driver
  // --------------------------------------------------------------------------------------------------------

  void step(node_id id, const queueing::event& fact) {
    node& n = nodes.at(id);
    if (!n.alive)
      return;
    n.queue->step(when.now(), fact);
    const auto commands = n.queue->take_commands();
    if (config.record)
      n.log.fact(when.now(), calls::digest(commands), fact);
    n.check->step(when.now(), fact, commands);
    if (observed)
      observed(nullptr, n.queue.get(), id);
    for (const queueing::command& c : commands)
      std::visit([&](const auto& command) { carry_out(n, command); }, c);
    arm(*n.queue, n.armed, [this, id] { step(id, queueing::tick{}); });
  }

  const modelled_variant& variant(variant_id id) const {
    return *std::find_if(config.variants.begin(), config.variants.end(),
                         [&](const modelled_variant& v) { return v.info.id == id; });
  }

  void carry_out(node& n, const queueing::run& c) {
    ++report.batches;
    n.running[c.id] = c;
    const modelled_variant& v = variant(c.variant);
    const std::int64_t size = std::ssize(c.items);
    const duration takes = v.execution + v.execution * (size - 1) * v.beta_permille / 1000;
    when.after(takes, [this, id = n.id, batch = c.id, takes, size] {
      node& at = nodes.at(id);
      const auto running = at.running.find(batch);
      if (!at.alive || running == at.running.end())
        return;
      const auto items = running->second.items;
      at.running.erase(running);
      step(id, queueing::batch_ended{batch, errc::ok, takes});
      for (const item_id item : items) {
        const auto [call, s] = nodes.at(id).items.at(item);
        element_ended(id, call, s, takes / size);
      }
    });
  }
  void carry_out(node& n, const queueing::load& c) {
    ++report.loads;
    const modelled_variant& v = variant(c.variant);
    const bool fails = random.below(1000) < v.load_fails_permille;
    when.after(v.load, [this, id = n.id, era = n.loads_seen, info = v.info, fails] {
      if (nodes.at(id).loads_seen != era)
        return;
      if (fails)
        return step(id, queueing::load_failed{info.id, errc::failed, "the model does not load"});
      step(id, queueing::loaded{info.id, info.memory_bytes});
      net.deliver(id.value, controller, [this, id, v = info.id] {
        step(placing::event{placing::residency_changed{id, v, true}});
      });
    });
  }
  void carry_out(node& n, const queueing::evict& c) {
    net.deliver(n.id.value, controller, [this, id = n.id, v = c.variant] {
      step(placing::event{placing::residency_changed{id, v, false}});
    });
  }
  void carry_out(node&, const queueing::run_order&) {}
  void carry_out(node&, const queueing::drop_order&) {}
  void carry_out(node&, const queueing::load_replica&) {}
  void carry_out(node&, const queueing::evict_replica&) {}
  void carry_out(node&, const queueing::replica_failed&) {}
  void carry_out(node& n, const queueing::drop& c) {
    const auto [call, s] = n.items.at(c.item);
    if (live_flow(call) != nullptr)
      end_call(call, n.id, c.code);
  }

  // -- joining and dying
  // ------------------------------------------------------------------------------------------------------

  void join(const modelled_node& model) {
    const node_id id{nodes.size() + 1};
    node& n = nodes[id];
    n.id = id;
    n.model = model;
    n.queue = std::make_unique<policy::node_queue>(model.queue, id.value);
    n.check = std::make_unique<queue_check>(model.queue.memory_bytes, broken);
    begin_log(n.log, {calls::log_core::node_queue, id, 0}, *n.queue);
    placing::node_joined fact{id, {}, model.queue.memory_bytes};
    for (const modelled_variant& v : config.variants)
      step(id, v.info);
    for (std::uint32_t l = 1; l <= model.cpu_lanes + model.gpu_lanes; ++l) {
      const resource_type resource = l <= model.cpu_lanes ? resource_type::cpu : resource_type::gpu;
      fact.lanes.push_back({lane_id{l}, resource});
      step(id, queueing::lane_opened{lane_id{l}, resource});
    }
    step(placing::event{fact});
  }

  void kill_lane(node_id id, lane_id lane, duration down, bool model_host) {
    node& n = nodes.at(id);
    if (!n.alive)
      return;
    const resource_type resource = lane.value <= n.model.cpu_lanes ? resource_type::cpu : resource_type::gpu;
    std::erase_if(n.running, [&](const auto& entry) { return entry.second.lane == lane; });
    step(id, queueing::lane_closed{lane});
    if (model_host) {
      ++n.loads_seen;
      step(id, queueing::residents_lost{resource});
    }
    when.after(down, [this, id, lane, resource] { step(id, queueing::lane_opened{lane, resource}); });
  }

  void kill_node(node_id id) {
    nodes.at(id).alive = false;
    when.after(config.detection, [this, id] { step(placing::event{placing::node_lost{id}}); });
  }
};

cluster_model::cluster_model(const cluster_model_config& config, std::uint64_t seed)
    : state_(std::make_unique<state>(config, seed)) {
  for (const auto& f : config.functions)
    state_->step(placing::event{f});
  for (const auto& d : config.dags)
    state_->step(placing::event{d});
}
cluster_model::~cluster_model() = default;

void cluster_model::join(time_point at, const modelled_node& node) {
  state_->when.at(at, [s = state_.get(), node] { s->join(node); });
}

void cluster_model::submit(const modelled_call& call) {
  state_->when.at(call.at, [s = state_.get(), call] {
    auto fact = call.fact;
    fact.deadline = fact.deadline == never ? never : call.at + fact.deadline.time_since_epoch();
    const auto dag =
        std::find_if(s->config.dags.begin(), s->config.dags.end(), [&](const auto& d) { return d.id == fact.dag; });
    SQUALL_CHECK(dag != s->config.dags.end(), fact.dag.value);
    s->physics[fact.id] = call.stages;
    s->arrived[fact.id] = call.at;
    flow& f = s->flows[fact.id];
    f.dag = *dag;
    f.fact = fact;
    s->step(placing::event{fact});
  });
}

void cluster_model::withdraw(time_point at, call_id call) {
  state_->when.at(at, [s = state_.get(), call] { s->step(placing::event{placing::cancel_requested{call}}); });
}
void cluster_model::set_policy(time_point at, const std::string& name) {
  state_->when.at(at, [s = state_.get(), name] { s->step(placing::event{placing::policy_set{name}}); });
}
void cluster_model::kill_node(time_point at, node_id node) {
  state_->when.at(at, [s = state_.get(), node] { s->kill_node(node); });
}
void cluster_model::kill_lane(time_point at, node_id node, lane_id lane, duration down, bool model_host) {
  state_->when.at(at, [=, s = state_.get()] { s->kill_lane(node, lane, down, model_host); });
}
void cluster_model::observe(observer o) { state_->observed = std::move(o); }

void cluster_model::run() {
  while (state_->when.run_next()) {
  }
  state_->check.end(state_->when.now());
  for (const auto& [id, n] : state_->nodes)
    if (n.alive)
      n.check->end(state_->when.now());
}

const cluster_report& cluster_model::report() const { return state_->report; }
const violations& cluster_model::broken() const { return state_->broken; }
const policy::scheduler& cluster_model::scheduler() const { return state_->core; }
std::size_t cluster_model::nodes() const { return state_->nodes.size(); }
std::vector<std::byte> cluster_model::take_log(std::optional<node_id> node) {
  calls::log_encoder& log = node ? state_->nodes.at(*node).log : state_->log;
  log.flush();
  return log.take();
}

} // namespace squall::sim
