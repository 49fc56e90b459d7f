#include "policy/scheduler.hpp"

#include "input.hpp"
#include "policy/dispatch_policies.hpp"
#include "policy/placement_policy.hpp"
#include "sim/checks.hpp"

#include <set>

/// A byte string as the facts of a cluster's life, for the scheduler with every policy. The first byte chooses the
/// policy; then each byte says what happens next. Reports may come from nodes that are wrong or lie: late, twice, about
/// anything. Whatever happens, each call is answered once, those that were admitted end once, a snapshot is the whole
/// state, and when all is cancelled nothing is left.
namespace squall {
namespace {

namespace placing = calls::placing;
using functions::resource_type;

class world {
public:
  explicit world(fuzzing::input& in) : in_(in), core_(make(config_of(in))) { set_up(); }

  void run() {
    while (!in_.empty())
      act(in_.below(25));
    now_ += std::chrono::hours{1};
    const auto left = in_flight_;
    for (const call_id call : left)
      step(placing::cancel_requested{call});
    step(placing::tick{});
    check_.end(now_);
    fail_if_broken();
    if (core_->calls_in_flight() != 0)
      fuzzing::broken("calls are left when all were cancelled");
  }

private:
  static const std::vector<std::string>& policies() {
    static const auto names = [] {
      auto out = policy::placement_policy_names();
      const auto more = policy::dispatch_policy_names();
      out.insert(out.end(), more.begin(), more.end());
      return out;
    }();
    return names;
  }
  static policy::scheduler_config config_of(fuzzing::input& in) {
    policy::scheduler_config out;
    const auto which = in.below(32);
    out.policy = policies()[which % policies().size()];
    out.late_placement = which % policies().size() >= policy::placement_policy_names().size();
    out.max_calls = 40;
    out.max_calls_per_client = 20;
    return out;
  }
  static std::unique_ptr<policy::scheduler> make(const policy::scheduler_config& config) {
    return std::make_unique<policy::scheduler>(config, 7);
  }

  void set_up() {
    const auto ms = [](int n) { return std::chrono::milliseconds{n}; };
    step(placing::function_registered{
        function_id{1},
        false,
        {{variant_id{1}, resource_type::cpu, 4, 100, ms(5), ms(20), 5, {ms(5), ms(7), ms(9), ms(10)}},
         {variant_id{2}, resource_type::gpu, 8, 300, ms(1), ms(50), 15}}});
    step(placing::function_registered{function_id{2}, false, {{variant_id{3}, resource_type::cpu, 2, 50, ms(2)}}});
    step(placing::function_registered{function_id{3}, true, {{variant_id{4}, resource_type::cpu, 1, 0, ms(1)}}});
    step(placing::dag_registered{dag_id{1}, {{function_id{1}, {variant_id{1}, variant_id{2}}, {}}}});
    step(placing::dag_registered{dag_id{2},
                                 {{function_id{1}, {variant_id{1}}, {}},
                                  {function_id{2}, {variant_id{3}}, {0}, true, 4},
                                  {function_id{1}, {variant_id{1}, variant_id{2}}, {1}}}});
    step(placing::dag_registered{dag_id{3},
                                 {{function_id{2}, {variant_id{3}}, {}},
                                  {function_id{1}, {variant_id{1}}, {0}, false, 1, true, 300'000},
                                  {function_id{2}, {variant_id{3}}, {0, 1}, false, 1, false, 1'000'000, 1}}});
    step(placing::dag_registered{dag_id{4}, {{function_id{3}, {variant_id{4}}, {}}}});
    join(node_id{1});
    join(node_id{2});
  }

  void join(node_id id) {
    if (!nodes_.insert(id).second)
      return;
    placing::node_joined fact{id, {{lane_id{1}, resource_type::cpu}, {lane_id{2}, resource_type::cpu}}, 400};
    if (id.value % 2 == 0)
      fact.lanes.push_back({lane_id{3}, resource_type::gpu});
    step(fact);
  }

  void act(std::uint32_t what) {
    switch (what) {
      case 0:
      case 1:
        return wait();
      case 2:
      case 3:
        return tick();
      case 4:
        return join(node_id{++last_node_});
      case 5:
        if (const node_id node{1 + in_.below(static_cast<std::uint32_t>(last_node_))}; nodes_.erase(node) > 0)
          step(placing::node_lost{node});
        return;
      case 6:
      case 7:
      case 8:
      case 9:
        return arrive();
      case 10:
        return end_call();
      case 11:
        return step(placing::cancel_requested{some_call()});
      case 12:
      case 13:
      case 14:
        return step(placing::stage_ready{some_call(), in_.below(4), in_.below(6)});
      case 15:
        return with_batch([&](const placing::dispatch& b) { step(placing::batch_started{b.node, b.batch}); });
      case 16:
      case 17:
        return with_batch([&](const placing::dispatch& b) {
          step(placing::batch_done{b.node, b.batch, in_.below(6) == 0 ? errc::failed : errc::ok, in_.pause()});
        });
      case 18:
      case 19:
        return load();
      case 20:
        return step(placing::policy_set{policies()[in_.below(32) % policies().size()]});
      case 21:
        return redeem();
      case 22:
        return snapshot();
      case 23:
        return step(placing::node_draining{node_id{1 + in_.below(static_cast<std::uint32_t>(last_node_))}});
      default:
        return any_report();
    }
  }

  void wait() { now_ += in_.pause(); }
  void tick() {
    if (const auto due = core_->next_deadline(); due && *due != never)
      now_ = std::max(now_, *due);
    step(placing::tick{});
  }
  void arrive() {
    placing::call_arrived fact;
    fact.id = call_id{++last_call_};
    fact.client = client_id{1 + in_.below(3)};
    fact.dag = dag_id{1 + in_.below(4)};
    const auto asks = in_.byte();
    if (asks & 1)
      fact.deadline = now_ + in_.pause();
    if (asks & 2)
      fact.assurance_ppm = asks & 4 ? calls::firm_ppm : 970'000;
    if (asks & 8)
      fact.max_cost = in_.below(200);
    if (asks & 16)
      fact.priority = in_.below(4);
    if (fact.dag == dag_id{4})
      fact.sequence = {sequence_id{1 + in_.below(3)}, (asks & 32) != 0, (asks & 64) != 0};
    step(fact);
  }
  void end_call() {
    placing::call_ended fact{some_call(), in_.below(8) == 0 ? errc::failed : errc::ok, {}};
    in_.fill(fact.stages);
    in_flight_.erase(fact.id);
    step(fact);
  }
  void load() {
    if (loads_.empty())
      return;
    const auto at = in_.below(static_cast<std::uint32_t>(std::min<std::size_t>(loads_.size(), 256)));
    step(placing::replica_loaded{loads_[at].node, loads_[at].replica, in_.below(6) == 0 ? errc::failed : errc::ok});
  }
  void redeem() {
    if (offers_.empty())
      return;
    const auto at = in_.below(static_cast<std::uint32_t>(std::min<std::size_t>(offers_.size(), 256)));
    const auto offer = offers_[at];
    offers_.erase(offers_.begin() + at);
    placing::ticket_redeemed fact{offer.first, offer.second, client_id{1 + in_.below(3)}};
    step(fact);
  }
  /// What a node may say at any time, about anything.
  void any_report() {
    switch (in_.below(5)) {
      case 0:
        return report<placing::residency_changed>();
      case 1:
        return report<placing::batch_started>();
      case 2:
        return report<placing::batch_done>();
      case 3:
        return report<placing::replica_loaded>();
      default:
        return report<placing::stage_ready>();
    }
  }
  template <class Fact>
  void report() {
    Fact fact;
    in_.fill(fact);
    step(fact);
  }
  void snapshot() {
    auto restored = policy::scheduler::restore(core_->save());
    if (!restored.ok())
      fuzzing::broken("a snapshot cannot be restored: " + restored.error().message);
    if ((*restored)->hash() != core_->hash())
      fuzzing::broken("a snapshot is not the whole state");
    core_ = std::move(*restored);
  }

  call_id some_call() {
    if (in_flight_.empty())
      return call_id{in_.below(12)};
    auto at = in_flight_.begin();
    std::advance(at, in_.byte() % in_flight_.size());
    return *at;
  }
  template <class F>
  void with_batch(F f) {
    if (batches_.empty())
      return;
    const auto at = in_.below(static_cast<std::uint32_t>(std::min<std::size_t>(batches_.size(), 256)));
    f(placing::dispatch{batches_[at]});
  }

  void step(const placing::event& fact) {
    core_->step(now_, fact);
    const auto commands = core_->take_commands();
    // A redeemed ticket is answered as an arrival is.
    placing::event seen = fact;
    if (const auto* redeemed = std::get_if<placing::ticket_redeemed>(&fact)) {
      seen = placing::tick{};
      for (const auto& command : commands)
        if (const auto* c = std::get_if<placing::admit>(&command); c != nullptr && c->id == redeemed->call)
          seen = placing::call_arrived{c->id, {}, {}};
        else if (const auto* r = std::get_if<placing::refuse>(&command); r != nullptr && r->id == redeemed->call)
          seen = placing::call_arrived{r->id, {}, {}};
    }
    for (const auto& command : commands)
      follow(command);
    check_.step(now_, seen, dispatched_plans_left_out(commands));
    fail_if_broken();
  }

  void follow(const placing::command& command) {
    if (const auto* c = std::get_if<placing::admit>(&command))
      in_flight_.insert(c->id);
    else if (const auto* a = std::get_if<placing::abandon>(&command))
      in_flight_.erase(a->id);
    else if (const auto* d = std::get_if<placing::dispatch>(&command)) {
      if (!nodes_.contains(d->node) || d->tasks.empty())
        fuzzing::broken("a batch is empty, or goes to a node that is not there");
      keep(batches_, *d);
    } else if (const auto* l = std::get_if<placing::load_replica>(&command)) {
      if (!nodes_.contains(l->node))
        fuzzing::broken("a load goes to a node that is not there");
      keep(loads_, *l);
    } else if (const auto* r = std::get_if<placing::refuse>(&command))
      for (const auto& offer : r->offers)
        keep(offers_, std::pair{offer.ticket, r->id});
  }
  template <class T>
  static void keep(std::vector<T>& list, T entry) {
    if (list.size() == 64)
      list.erase(list.begin());
    list.push_back(std::move(entry));
  }

  /// The check of plans is for calls that are placed when they arrive.
  [[nodiscard]] std::vector<placing::command> dispatched_plans_left_out(std::vector<placing::command> commands) const {
    for (auto& command : commands)
      if (auto* c = std::get_if<placing::admit>(&command); c != nullptr && c->dispatched && !nodes_.empty())
        c->plan.exit = *nodes_.begin();
      else if (c != nullptr && c->dispatched)
        return without_admissions(commands);
    return commands;
  }
  [[nodiscard]] static std::vector<placing::command> without_admissions(const std::vector<placing::command>&) {
    fuzzing::broken("a call is admitted where there is no node");
  }

  void fail_if_broken() const {
    if (broken_.count() > 0)
      fuzzing::broken(broken_.texts().front());
  }

  fuzzing::input& in_;
  time_point now_ = from_ns(1);
  std::unique_ptr<policy::scheduler> core_;
  sim::violations broken_;
  sim::scheduler_check check_{broken_};
  std::set<node_id> nodes_;
  std::set<call_id> in_flight_;
  std::vector<placing::dispatch> batches_;
  std::vector<placing::load_replica> loads_;
  std::vector<std::pair<calls::ticket_id, call_id>> offers_;
  std::uint64_t last_node_ = 2;
  std::uint64_t last_call_ = 0;
};

void fuzz(fuzzing::input& in) { world{in}.run(); }

} // namespace
} // namespace squall

SQUALL_FUZZ_TARGET(squall::fuzz)
