#include "sim/dag_model.hpp"

#include "base/random.hpp"
#include "policy/front.hpp"
#include "policy/node_queue.hpp"

#include <algorithm>
#include <deque>
#include <map>
#include <queue>

namespace squall::sim {

namespace placing = calls::placing;
namespace queueing = calls::queueing;
using functions::resource_type;

namespace {

enum class element_state : std::uint8_t { ready, ordered, ended };

struct stage_progress {
  std::uint32_t waits = 0; ///< producers that have not settled
  std::uint32_t left = 0;  ///< elements that have not ended
  std::uint32_t first = 0; ///< of its elements among the call's
  std::uint32_t width = 0; ///< 0 until it is ready
  bool begun = false;      ///< it was said to be ready
  bool settled = false;    ///< or a join went on without it
};

struct call_progress {
  bool asked = false;  ///< it was refused, and a ticket is redeemed now
  bool active = false; ///< admitted and not over
  bool redeemed = false;
  std::uint32_t unsettled = 0; ///< stages
  std::int64_t deadline = 0;   ///< ms
  std::optional<placing::micro_cost> max_cost;
  placing::micro_cost cost = 0;
  duration reserve{0};              ///< before the deadline best-effort joins go on
  std::vector<stage_index> without; ///< left out
  std::vector<stage_progress> stages;
  std::vector<element_state> elements;
};

struct running_batch {
  std::size_t node = 0;
  std::uint64_t life = 0; ///< of the node
  batch_id batch;         ///< the queue's name
  batch_id order;
  placing::micro_cost cost = 0; ///< of each task
  duration executed{0};
  std::vector<placing::task> tasks;
  bool used = false;
};

struct order_record {
  std::size_t node = 0;
  std::uint64_t first_item = 0; ///< of the node: its tasks are items in a row
  std::vector<placing::task> tasks;
};

struct modelled {
  std::unique_ptr<policy::node_queue> queue; ///< null while the node is lost
  std::uint64_t life = 0;
  std::uint64_t last_item = 0;
  std::uint64_t facts = 0;
  duration ahead{0};                 ///< its clock
  std::optional<std::int64_t> armed; ///< ns
};

/// What is planned, in the order within one moment.
enum class planned : std::uint8_t { batch_end, load_end, answer, change, policy, profile, message, redeem, wake };

struct happening {
  std::int64_t at = 0; ///< ns
  planned what = planned::wake;
  std::uint64_t count = 0; ///< ties: in the order of planning
  std::uint64_t a = 0;
  std::uint64_t b = 0;
  friend bool operator<(const happening& x, const happening& y) {
    return std::tie(y.at, y.what, y.count) < std::tie(x.at, x.what, x.count); // the queue gives its greatest first
  }
};

struct pending_ticket {
  std::size_t request = 0;
  placing::ticket_id ticket;
  run_observer::offered offer;
};

} // namespace

struct dag_model::state {
  const workload& input;
  dag_run_config config;
  run_observer& observer;
  std::unique_ptr<policy::scheduler> core;
  std::vector<modelled> nodes;
  std::vector<std::vector<std::vector<stage_index>>> consumers; ///< per DAG and stage
  std::vector<call_progress> calls;
  std::map<batch_id, order_record> orders; ///< that have not begun
  std::vector<running_batch> batches;
  std::vector<std::size_t> free_batches;
  std::vector<pending_ticket> tickets;
  std::map<replica_id, std::pair<std::size_t, variant_id>> replicas; ///< ordered and not evicted: node and variant
  std::priority_queue<happening> agenda;
  std::uint64_t planned_count = 0;
  std::deque<placing::event> inbox; ///< facts for the scheduler, of this moment
  std::deque<std::function<void()>> messages;
  std::size_t next_request = 0;
  std::size_t next_change = 0;
  time_point now{};
  std::string wrong; ///< what the policy ordered that cannot be done
  dag_run_summary summary;

  state(const workload& w, const dag_run_config& c, run_observer& o) : input(w), config(c), observer(o) {
    config.scheduler.late_placement = true;
    config.scheduler.max_calls = config.scheduler.max_calls_per_client = std::numeric_limits<std::uint32_t>::max();
    core = std::make_unique<policy::scheduler>(config.scheduler, config.seed);
    random_source random{config.seed ^ 0x736b6577ULL};
    nodes.resize(input.nodes.size());
    for (modelled& n : nodes)
      n.ahead = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(config.skew) + 1)) * input.tick;
    calls.resize(input.requests.size());
    for (const workload_dag& d : input.dags) {
      auto& of_dag = consumers.emplace_back(d.stages.size());
      for (stage_index s = 0; s < d.stages.size(); ++s)
        for (const stage_index p : d.stages[s].after)
          of_dag[p].push_back(s);
    }
  }

  [[nodiscard]] std::int64_t now_ms() const { return to_ns(now) / input.tick.count(); }
  [[nodiscard]] const workload_dag& dag_of(std::size_t request) const {
    return input.dags[input.requests[request].dag];
  }

  void plan(time_point at, planned what, std::uint64_t a, std::uint64_t b = 0) {
    agenda.push({to_ns(std::max(at, now)), what, ++planned_count, a, b});
  }
  void fail(const std::string& what) {
    if (wrong.empty())
      wrong = "at " + std::to_string(now_ms()) + " ms policy '" + core->policy_name() + "' " + what;
  }

  // -- the scheduler
  // ----------------------------------------------------------------------------------------------------------

  /// To the scheduler, from where it is: at once, or as a message of a node.
  void tell(placing::event fact) { inbox.push_back(std::move(fact)); }
  void tell_from_node(placing::event fact) {
    if (config.delay == 0)
      return tell(std::move(fact));
    send([this, f = std::move(fact)] { tell(f); });
  }
  void send(std::function<void()> what) {
    messages.push_back(std::move(what));
    plan(now + config.delay * input.tick, planned::message, 0);
  }
  /// To a node as it is now: what arrives after it was lost, or has come back, is lost with it.
  template <class What>
  void send_to_node(std::size_t n, What what) {
    if (config.delay == 0)
      return what();
    send([this, n, life = nodes[n].life, what] {
      if (nodes[n].queue && nodes[n].life == life)
        what();
    });
  }

  void step(const placing::event& fact) {
    const bool timed = config.clock && (std::holds_alternative<placing::call_arrived>(fact) ||
                                        std::holds_alternative<placing::tick>(fact) ||
                                        std::holds_alternative<placing::ticket_redeemed>(fact));
    const std::int64_t begin = timed ? config.clock() : 0;
    core->step(now, fact);
    if (timed)
      summary.decision_ns.push_back(config.clock() - begin);
    ++summary.facts;
    if (config.restore_every > 0 && summary.facts % config.restore_every == 0)
      replace(core);
    for (const placing::command& c : core->take_commands())
      std::visit([this](const auto& command) { carry_out(command); }, c);
  }

  template <class Core>
  void replace(std::unique_ptr<Core>& of) {
    auto restored = Core::restore(of->save());
    SQUALL_CHECK(restored.ok());
    SQUALL_CHECK((*restored)->hash() == of->hash());
    of = std::move(*restored);
  }

  void drain_inbox() {
    while (!inbox.empty() && wrong.empty()) {
      const placing::event fact = std::move(inbox.front());
      inbox.pop_front();
      step(fact);
    }
  }

  // -- what the scheduler wants
  // -----------------------------------------------------------------------------------------------

  void carry_out(const placing::admit& c) {
    const std::size_t r = index_of(c.id);
    call_progress& call = calls[r];
    if (!c.dispatched || call.active)
      return fail("admitted request " + std::to_string(input.requests[r].id) + " in a way that cannot be");
    ++summary.admitted;
    call.active = true;
    call.reserve = c.reserve;
    call.without = c.without;
    if (call.asked) {
      call.redeemed = true;
      --summary.refused;
      ++summary.redeemed;
      observer.redeemed(now_ms(), r, {call.deadline, call.max_cost.value_or(0)});
    } else {
      const auto expected = (now + c.expected).time_since_epoch() / input.tick;
      observer.admitted(now_ms(), r, c.expected.count() > 0 ? std::optional<std::int64_t>{expected} : std::nullopt,
                        c.cost);
    }
    begin(r);
  }

  void carry_out(const placing::refuse& c) {
    const std::size_t r = index_of(c.id);
    if (calls[r].asked)
      return; // the ticket came too late; it was counted when it was refused
    ++summary.refused;
    std::vector<run_observer::offered> offers;
    for (const placing::offer& o : c.offers)
      offers.push_back({input.requests[r].arrival + o.finish / input.tick, o.cost});
    observer.refused(now_ms(), r, offers);
    if (!input.requests[r].redeem || offers.empty())
      return;
    const bool cheapest = input.requests[r].redeem->cheapest;
    std::size_t best = 0;
    for (std::size_t i = 1; i < offers.size(); ++i) {
      const auto key = [&](const run_observer::offered& o) {
        return cheapest ? std::pair{o.cost, o.finish} : std::pair{o.finish, o.cost};
      };
      if (key(offers[i]) < key(offers[best]))
        best = i;
    }
    tickets.push_back({r, c.offers[best].ticket, offers[best]});
    plan(now + input.requests[r].redeem->delay * input.tick, planned::redeem, tickets.size() - 1);
  }

  void carry_out(const placing::abandon& c) {
    const std::size_t r = index_of(c.id);
    if (!calls[r].active && config.delay > 0)
      return; // it ended while the news of that were on their way
    if (!calls[r].active)
      return fail("abandoned request " + std::to_string(input.requests[r].id) + ", which is not in flight");
    calls[r].active = false;
    ++summary.broken;
    summary.redeemed_broken += calls[r].redeemed ? 1 : 0;
    observer.dropped(now_ms(), r, c.message);
    if (!orders.empty())
      for (std::size_t n = 0; n < nodes.size(); ++n)
        send_to_node(n, [this, n, id = c.id] { feed(n, queueing::call_withdrawn{id}); });
  }

  void carry_out(const placing::load_replica& c) {
    const std::size_t n = index_of(c.node);
    if (n >= nodes.size() || !replicas.emplace(c.replica, std::pair{n, c.variant}).second)
      return fail("loads replica " + to_string(c.replica) + " in a way that cannot be");
    send_to_node(n, [this, n, c] { feed(n, queueing::replica_wanted{c.replica, c.variant}); });
  }
  void carry_out(const placing::evict_replica& c) {
    const auto at = replicas.find(c.replica);
    if (at == replicas.end() || at->second.first != index_of(c.node))
      return fail("evicts replica " + to_string(c.replica) + ", which is not there");
    replicas.erase(at);
    send_to_node(index_of(c.node), [this, n = index_of(c.node), c] { feed(n, queueing::replica_unwanted{c.replica}); });
  }

  void carry_out(const placing::dispatch& c) {
    const std::size_t n = index_of(c.node);
    if (n >= nodes.size())
      return fail("dispatches to a node that is not there");
    for (const placing::task& t : c.tasks) {
      element_state* const e = element_of(t);
      if (e == nullptr || *e != element_state::ready)
        return fail("dispatches stage " + std::to_string(t.stage) + " of request " + name_of(t.call) +
                    ", which is not ready or was dispatched before");
      *e = element_state::ordered;
    }
    orders.emplace(c.batch, order_record{n, 0, c.tasks});
    send_to_node(n, [this, n, c] {
      queueing::ordered fact{c.batch, c.replica, {}, c.latest_start};
      if (fact.latest_start != never)
        fact.latest_start += nodes[n].ahead;
      if (const auto order = orders.find(c.batch); order != orders.end())
        order->second.first_item = nodes[n].last_item + 1;
      for (const placing::task& t : c.tasks)
        fact.items.push_back({item_id{++nodes[n].last_item}, t.call});
      feed(n, fact);
    });
  }

  void carry_out(const placing::policy_refused& c) { fail("is not known: " + c.message); }
  void carry_out(const placing::preload&) { fail("preloads"); }
  void carry_out(const placing::end_sequence&) {}
  void carry_out(const placing::compute& c) { tell(policy::find_front(c)); }

  // -- calls
  // ------------------------------------------------------------------------------------------------------------------

  [[nodiscard]] std::string name_of(call_id id) const { return std::to_string(input.requests[index_of(id)].id); }

  [[nodiscard]] element_state* element_of(const placing::task& t) {
    if (index_of(t.call) >= calls.size())
      return nullptr;
    call_progress& call = calls[index_of(t.call)];
    if (!call.active || t.stage >= call.stages.size() || t.element >= call.stages[t.stage].width)
      return nullptr;
    return &call.elements[call.stages[t.stage].first + t.element];
  }

  void arrive(std::size_t r) {
    const workload_request& request = input.requests[r];
    call_progress& call = calls[r];
    ++summary.offered;
    call.deadline = request.arrival + request.latency_slo;
    if (config.cost_slos)
      call.max_cost = request.cost_slo;
    placing::call_arrived fact;
    fact.id = id_of_request(r);
    fact.client = client_id{1};
    fact.dag = id_of_dag(request.dag);
    fact.deadline = from_ns(call.deadline * input.tick.count());
    fact.priority = request.priority;
    fact.max_cost = call.max_cost.value_or(placing::no_cost_limit);
    fact.assurance_ppm = request.assurance_ppm.value_or(config.assurance_ppm);
    fact.preference = request.prefer;
    tell(fact);
  }

  void begin(std::size_t r) {
    const workload_dag& dag = dag_of(r);
    call_progress& call = calls[r];
    call.unsettled = static_cast<std::uint32_t>(dag.stages.size());
    call.stages.resize(dag.stages.size());
    for (std::size_t s = 0; s < dag.stages.size(); ++s)
      call.stages[s].waits = static_cast<std::uint32_t>(dag.stages[s].after.size());
    if (call.reserve.count() > 0)
      plan(answer_at(call), planned::answer, r);
    for (stage_index s = 0; s < dag.stages.size(); ++s)
      if (dag.stages[s].after.empty())
        ready(r, s);
  }

  [[nodiscard]] time_point answer_at(const call_progress& call) const {
    return from_ns(call.deadline * input.tick.count()) - call.reserve;
  }

  /// Best-effort joins go on with what is there, if that is enough.
  void go_on(std::size_t r) {
    const workload_dag& dag = dag_of(r);
    for (stage_index s = 0; s < dag.stages.size() && calls[r].active; ++s) {
      const workload_stage& join = dag.stages[s];
      if (join.best_effort == 0 || calls[r].stages[s].begun)
        continue;
      const auto there = std::count_if(join.after.begin(), join.after.end(), [&](stage_index p) {
        return calls[r].stages[p].settled && calls[r].stages[p].width > 0;
      });
      if (there < static_cast<std::ptrdiff_t>(join.best_effort))
        continue;
      ready(r, s);
      for (const stage_index p : join.after)
        if (!calls[r].stages[p].settled && consumers[input.requests[r].dag][p].size() == 1) {
          calls[r].stages[p].settled = true;
          --calls[r].unsettled;
        }
    }
  }

  void ready(std::size_t r, stage_index s) {
    if (std::exchange(calls[r].stages[s].begun, true))
      return;
    const stage_truth truth = truth_of(r, s);
    std::uint32_t width = truth.runs ? truth.width : 0;
    if (std::binary_search(calls[r].without.begin(), calls[r].without.end(), s))
      width = 0;
    tell_from_node(placing::stage_ready{id_of_request(r), s, width});
    call_progress& call = calls[r];
    if (width == 0) {
      observer.skipped(now_ms(), r, s);
      return settle(r, s);
    }
    stage_progress& stage = call.stages[s];
    stage.width = stage.left = width;
    stage.first = static_cast<std::uint32_t>(call.elements.size());
    call.elements.resize(call.elements.size() + width, element_state::ready);
  }

  void settle(std::size_t r, stage_index s) {
    call_progress& call = calls[r];
    if (std::exchange(call.stages[s].settled, true))
      return;
    --call.unsettled;
    for (const stage_index c : consumers[input.requests[r].dag][s])
      if (--call.stages[c].waits == 0)
        ready(r, c);
    if (call.active && call.reserve.count() > 0 && answer_at(call) <= now)
      go_on(r);
    if (call.unsettled == 0 && call.active)
      finish(r);
  }

  void finish(std::size_t r) {
    call_progress& call = calls[r];
    call.active = false;
    // Of a live run the controller's clock says when a call ended.
    const std::int64_t at = now_ms() + (config.measured ? config.delay : 0);
    const bool in_time = at <= call.deadline;
    const bool in_budget = !call.max_cost || call.cost <= *call.max_cost;
    ++summary.finished;
    summary.met_latency += in_time ? 1 : 0;
    summary.met_cost += in_budget ? 1 : 0;
    summary.met_both += in_time && in_budget ? 1 : 0;
    summary.broken += in_time && in_budget ? 0 : 1;
    summary.redeemed_broken += call.redeemed && !(in_time && in_budget) ? 1 : 0;
    observer.finished(at, r, call.cost, in_time && in_budget);
    tell_from_node(placing::call_ended{id_of_request(r), errc::ok, {}});
    call.stages = {};
    call.elements = {};
  }

  void end_task(const placing::task& t, placing::micro_cost cost) {
    element_state* const e = element_of(t);
    if (e == nullptr)
      return; // its call was dropped
    *e = element_state::ended;
    call_progress& call = calls[index_of(t.call)];
    call.cost +=
        config.measured ? static_cast<placing::micro_cost>(static_cast<double>(cost) * truth_of(t).charged) : cost;
    if (--call.stages[t.stage].left == 0)
      settle(index_of(t.call), t.stage);
  }

  void ready_again(const std::vector<placing::task>& tasks) {
    for (const placing::task& t : tasks)
      if (element_state* const e = element_of(t))
        *e = element_state::ready;
  }

  // -- nodes
  // ------------------------------------------------------------------------------------------------------------------

  void join(std::size_t n) {
    modelled& node = nodes[n];
    if (node.queue)
      return;
    policy::node_queue_config c;
    c.memory_bytes = input.nodes[n].memory_bytes;
    node.queue = std::make_unique<policy::node_queue>(c, n);
    ++node.life;
    node.armed.reset();
    for (std::size_t f = 0; f < input.functions.size(); ++f)
      for (const placing::variant_info& v : function_fact(input, f).variants)
        if (v.resource == input.nodes[n].resource)
          feed(n, queueing::variant_known{v.id, v.resource, v.max_batch, duration{0}, v.memory_bytes, true});
    const placing::node_joined fact = node_fact(input, n);
    for (const placing::lane_info& lane : fact.lanes)
      feed(n, queueing::lane_opened{lane.id, lane.resource});
    tell(fact);
  }

  void lose(std::size_t n) {
    modelled& node = nodes[n];
    if (!node.queue)
      return;
    node.queue.reset();
    observer.lost(now_ms(), id_of_node(n));
    for (running_batch& b : batches)
      if (b.used && b.node == n && b.life == node.life)
        ready_again(b.tasks);
    std::erase_if(orders, [&](const auto& o) {
      if (o.second.node == n)
        ready_again(o.second.tasks);
      return o.second.node == n;
    });
    std::erase_if(replicas, [&](const auto& r) { return r.second.first == n; });
    tell(placing::node_lost{id_of_node(n)});
  }

  void feed(std::size_t n, const queueing::event& fact) {
    modelled& node = nodes[n];
    if (!node.queue)
      return;
    node.queue->step(now + node.ahead, fact);
    ++summary.facts;
    if (config.restore_every > 0 && ++node.facts % config.restore_every == 0)
      replace(node.queue);
    for (const queueing::command& c : node.queue->take_commands())
      std::visit([&](const auto& command) { carry_out(n, command); }, c);
    if (const auto next = node.queue->next_deadline()) {
      const std::int64_t at = std::max(to_ns(*next - node.ahead), to_ns(now));
      if (!node.armed || at < *node.armed) {
        node.armed = at;
        plan(from_ns(at), planned::wake, n, node.life);
      }
    }
  }

  [[nodiscard]] stage_truth truth_of(std::size_t r, stage_index s) const {
    for (const stage_truth& truth : input.requests[r].truths)
      if (truth.stage == s)
        return truth;
    return {};
  }
  [[nodiscard]] stage_truth truth_of(const placing::task& t) const { return truth_of(index_of(t.call), t.stage); }
  [[nodiscard]] double stretch_of(const std::vector<placing::task>& tasks) const {
    double most = tasks.empty() ? 1 : 0;
    double sum = 0;
    for (const placing::task& t : tasks) {
      const double one = truth_of(t).stretch;
      most = std::max(most, one);
      sum += one;
    }
    return config.measured && !tasks.empty() ? sum / static_cast<double>(tasks.size()) : most;
  }

  void carry_out(std::size_t n, const queueing::run_order& c) {
    const auto order = orders.extract(c.order);
    const workload_variant& v = variant_of(input, c.variant);
    std::vector<placing::task> tasks; // without those of calls that were withdrawn
    for (const item_id i : c.items)
      tasks.push_back(order.mapped().tasks[i.value - order.mapped().first_item]);
    const std::int64_t takes = batch_ms(v, tasks.size(), stretch_of(tasks));
    if (resource_of(c.variant) == resource_type::gpu) {
      ++summary.batches_gpu;
      summary.tasks_gpu += tasks.size();
    }
    observer.running(now_ms(), c.replica, tasks, now_ms() + takes);
    std::size_t slot = batches.size();
    if (free_batches.empty()) {
      batches.emplace_back();
    } else {
      slot = free_batches.back();
      free_batches.pop_back();
    }
    const duration executed = takes * input.tick;
    batches[slot] = {n, nodes[n].life, c.id, c.order, v.cost, executed, std::move(tasks), true};
    plan(now + executed, planned::batch_end, slot);
    tell_from_node(placing::batch_started{id_of_node(n), c.order});
  }
  void carry_out(std::size_t n, const queueing::drop_order& c) {
    const auto order = orders.extract(c.order);
    if (order)
      ready_again(order.mapped().tasks);
    tell_from_node(placing::batch_done{id_of_node(n), c.order, c.code, duration{0}});
  }
  void carry_out(std::size_t n, const queueing::load_replica& c) {
    ++summary.loads;
    observer.loading(now_ms(), c.replica, id_of_node(n), c.variant);
    plan(now + variant_of(input, c.variant).load * input.tick, planned::load_end, n, c.replica.value);
  }
  void carry_out(std::size_t, const queueing::evict_replica& c) { observer.evicted(now_ms(), c.replica); }
  void carry_out(std::size_t n, const queueing::replica_failed& c) {
    replicas.erase(c.replica);
    tell_from_node(placing::replica_loaded{id_of_node(n), c.replica, c.code});
  }
  void carry_out(std::size_t, const queueing::run&) {}
  void carry_out(std::size_t, const queueing::load&) {}
  void carry_out(std::size_t, const queueing::evict&) {}
  void carry_out(std::size_t, const queueing::drop&) {}

  void end_batch(std::size_t slot) {
    const running_batch b = std::move(batches[slot]);
    batches[slot].used = false;
    free_batches.push_back(slot);
    if (!nodes[b.node].queue || nodes[b.node].life != b.life)
      return; // the node was lost
    feed(b.node, queueing::batch_ended{b.batch, errc::ok, b.executed});
    tell_from_node(placing::batch_done{id_of_node(b.node), b.order, errc::ok, b.executed});
    for (const placing::task& t : b.tasks)
      end_task(t, b.cost);
  }

  void end_load(std::size_t n, replica_id replica) {
    // Of a node that came back, loads of its former life have replicas that it does not know.
    const auto known = replicas.find(replica);
    if (known == replicas.end() || known->second.first != n)
      return;
    feed(n, queueing::replica_loaded{replica, errc::ok});
    tell_from_node(placing::replica_loaded{id_of_node(n), replica, errc::ok});
  }

  // -- time
  // -------------------------------------------------------------------------------------------------------------------

  void happen(const happening& h) {
    switch (h.what) {
      case planned::batch_end:
        return end_batch(h.a);
      case planned::load_end:
        return end_load(h.a, replica_id{h.b});
      case planned::answer:
        return calls[h.a].active ? go_on(h.a) : void();
      case planned::message: {
        const auto what = std::move(messages.front()); // all take equally long: they arrive in order
        messages.pop_front();
        return what();
      }
      case planned::change: {
        const workload_change& c = input.changes[h.a];
        return c.lose ? lose(c.node) : join(c.node);
      }
      case planned::policy:
        return tell(placing::policy_set{config.policies[h.a].second});
      case planned::profile:
        return tell(profile_fact(input, input.profiles[h.a]));
      case planned::redeem: {
        const pending_ticket& t = tickets[h.a];
        call_progress& call = calls[t.request];
        call.asked = true;
        call.deadline = t.offer.finish;
        call.max_cost = t.offer.cost;
        return tell(placing::ticket_redeemed{t.ticket, id_of_request(t.request), client_id{1}});
      }
      case planned::wake:
        if (nodes[h.a].life == h.b && nodes[h.a].armed == h.at) {
          nodes[h.a].armed.reset();
          feed(h.a, queueing::tick{});
        }
    }
  }

  /// The next moment at which something happens.
  [[nodiscard]] std::optional<time_point> next_moment() const {
    std::optional<time_point> next;
    const auto consider = [&](time_point t) { next = next ? std::min(*next, t) : t; };
    if (!agenda.empty())
      consider(from_ns(agenda.top().at));
    if (next_request < input.requests.size())
      consider(from_ns(input.requests[next_request].arrival * input.tick.count()));
    if (const auto due = core->next_deadline())
      consider(std::max(*due, now));
    return next;
  }

  /// Ends and what nodes say, then arrivals, then the tick; again while that leads to more in the same moment.
  void moment() {
    constexpr int most_rounds = 100'000;
    for (int round = 0; wrong.empty(); ++round) {
      if (round == most_rounds)
        return fail("comes to no end");
      bool any = false;
      while (!agenda.empty() && agenda.top().at <= to_ns(now) && agenda.top().what < planned::redeem) {
        const happening h = agenda.top();
        agenda.pop();
        happen(h);
        drain_inbox();
        any = true;
      }
      while (next_request < input.requests.size() &&
             input.requests[next_request].arrival * input.tick.count() <= to_ns(now)) {
        arrive(next_request++);
        drain_inbox();
        any = true;
      }
      while (!agenda.empty() && agenda.top().at <= to_ns(now)) {
        const happening h = agenda.top();
        agenda.pop();
        happen(h);
        drain_inbox();
        any = true;
      }
      if (const auto due = core->next_deadline(); due && *due <= now) {
        step(placing::tick{});
        drain_inbox();
        any = true;
      }
      if (!any)
        return;
    }
  }

  result<> run() {
    for (std::size_t f = 0; f < input.functions.size(); ++f)
      step(function_fact(input, f));
    for (std::size_t d = 0; d < input.dags.size(); ++d)
      step(dag_fact(input, d));
    for (std::size_t n = 0; n < nodes.size(); ++n)
      join(n);
    drain_inbox();
    for (std::size_t c = 0; c < input.changes.size(); ++c)
      plan(from_ns(input.changes[c].at * input.tick.count()), planned::change, c);
    for (std::size_t p = 0; p < config.policies.size(); ++p)
      plan(from_ns(config.policies[p].first * input.tick.count()), planned::policy, p);
    for (std::size_t p = 0; p < input.profiles.size(); ++p)
      plan(from_ns(input.profiles[p].at * input.tick.count()), planned::profile, p);
    std::uint64_t reported = 0;
    for (auto next = next_moment(); next && wrong.empty(); next = next_moment()) {
      now = *next;
      moment();
      if (config.progress && summary.facts - reported > 100'000) {
        reported = summary.facts;
        config.progress(over());
      }
    }
    summary.end = now_ms();
    if (!wrong.empty())
      return {errc::failed, wrong};
    if (over() != summary.offered)
      return {errc::failed, "policy '" + core->policy_name() + "' forgot " + std::to_string(summary.offered - over()) +
                                " requests: nothing is left to happen, and they have not ended"};
    return {};
  }

  /// Calls that finished, were refused or were dropped; those that finished and broke their promise count once.
  [[nodiscard]] std::uint64_t over() const { return summary.refused + summary.broken + summary.met_both; }
};

dag_model::dag_model(const workload& input, const dag_run_config& config, run_observer& observer)
    : state_(std::make_unique<state>(input, config, observer)) {}
dag_model::~dag_model() = default;

result<> dag_model::run() { return state_->run(); }
const dag_run_summary& dag_model::summary() const { return state_->summary; }

} // namespace squall::sim
