#include "policy/scheduler.hpp"

#include "input.hpp"
#include "policy/dispatch_policies.hpp"
#include "policy/placement_policy.hpp"

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
    // The end of one may begin another that was held back.
    for (std::uint64_t round = 0; round <= last_call_ && !(in_flight_.empty() && waiting_.empty()); ++round)
      step(placing::cancel_requested{in_flight_.empty() ? *waiting_.begin() : *in_flight_.begin()});
    step(placing::tick{});
    for (const auto& left : {waiting_, in_flight_})
      if (!left.empty())
        fuzzing::broken("call " + to_string(*left.begin()) + " neither ended nor was cancelled under " +
                        core_->policy_name());
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
    register_all();
    join(node_id{1});
    join(node_id{2});
  }

  void register_all() {
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
  }

  /// The second function and what uses it go, in any order, or all is registered again.
  void change_catalogue() {
    switch (in_.below(4)) {
      case 0:
        return step(placing::dag_removed{dag_id{2}});
      case 1:
        return step(placing::dag_removed{dag_id{3}});
      case 2:
        return step(placing::function_removed{function_id{2}, {variant_id{3}}});
      default:
        return register_all();
    }
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
  /// What a node may say at any time, about anything, or now and then another catalogue.
  void any_report() {
    const auto what = in_.byte();
    if (what >= 240)
      return change_catalogue();
    switch (what % 5) {
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
    if (const auto* arrived = std::get_if<placing::call_arrived>(&fact))
      waiting_.insert(arrived->id);
    if (const auto* redeemed = std::get_if<placing::ticket_redeemed>(&fact))
      redeemed_ = redeemed->call;
    core_->step(now_, fact);
    for (const auto& command : core_->take_commands())
      std::visit([this](const auto& c) { follow(c); }, command);
    redeemed_ = {};
  }

  /// Answered once: at once, or, if a change of policies holds it back, later.
  void answered(call_id call) {
    if (waiting_.erase(call) == 0 && call != redeemed_)
      fuzzing::broken("call " + to_string(call) + " is answered and waits for no answer");
  }
  void there(node_id node) const {
    if (!nodes_.contains(node))
      fuzzing::broken("something is ordered of node " + to_string(node) + ", which is not there");
  }
  void follow(const placing::admit& c) {
    answered(c.id);
    if (!in_flight_.insert(c.id).second)
      fuzzing::broken("call " + to_string(c.id) + " is admitted twice");
    if (c.dispatched)
      return;
    there(c.plan.exit);
    for (const calls::placement& p : c.plan.stages) {
      there(p.home);
      for (const node_id node : p.spread)
        there(node);
    }
  }
  void follow(const placing::refuse& c) {
    answered(c.id);
    for (const auto& offer : c.offers)
      keep(offers_, std::pair{offer.ticket, c.id});
  }
  void follow(const placing::abandon& c) {
    if (waiting_.erase(c.id) + in_flight_.erase(c.id) != 1)
      fuzzing::broken("call " + to_string(c.id) + " is abandoned and is not in flight");
    for (const node_id node : c.nodes)
      there(node);
  }
  void follow(const placing::dispatch& c) {
    there(c.node);
    if (c.tasks.empty())
      fuzzing::broken("a batch is empty");
    keep(batches_, c);
  }
  void follow(const placing::load_replica& c) {
    there(c.node);
    keep(loads_, c);
  }
  template <class Other>
  void follow(const Other&) {}

  template <class T>
  static void keep(std::vector<T>& list, T entry) {
    if (list.size() == 64)
      list.erase(list.begin());
    list.push_back(std::move(entry));
  }

  fuzzing::input& in_;
  time_point now_ = from_ns(1);
  std::unique_ptr<policy::scheduler> core_;
  std::set<node_id> nodes_;
  std::set<call_id> waiting_;   ///< for an answer
  std::set<call_id> in_flight_; ///< admitted
  call_id redeemed_;            ///< by the fact that is being stepped
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
