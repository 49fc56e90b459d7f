#include "calls/json.hpp"
#include "policy/scheduler.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

/// A second policy beside the one in force: as a shadow, or for a share of the calls.
namespace squall::policy {
namespace {

namespace placing = calls::placing;
using std::chrono::milliseconds;

/// Nodes with two lanes each; batches take as long as their variant is said to.
class cluster {
public:
  explicit cluster(std::uint64_t nodes, const std::string& policy = "fifo") {
    scheduler_config config;
    config.policy = policy;
    core_ = std::make_unique<scheduler>(config, 7);
    placing::function_registered function{function_id{1}, false, {}};
    placing::variant_info& variant = function.variants.emplace_back();
    variant.id = variant_id{1};
    variant.expected = milliseconds{10};
    step(function);
    placing::dag_registered dag{dag_id{1}, {}};
    for (const std::vector<stage_index>& producers : {std::vector<stage_index>{}, std::vector<stage_index>{0}}) {
      placing::stage_info& stage = dag.stages.emplace_back();
      stage.function = function_id{1};
      stage.variants = {variant_id{1}};
      stage.producers = producers;
    }
    step(dag);
    for (std::uint64_t n = 1; n <= nodes; ++n)
      join(n);
  }

  void join(std::uint64_t n) {
    step(placing::node_joined{
        node_id{n},
        {{lane_id{2 * n}, functions::resource_type::cpu}, {lane_id{2 * n + 1}, functions::resource_type::cpu}},
        1'000'000'000});
  }

  void arrive(std::uint64_t id, duration slo = std::chrono::seconds{10}) {
    placing::call_arrived fact;
    fact.id = call_id{id};
    fact.client = client_id{1};
    fact.dag = dag_id{1};
    fact.deadline = now_ + slo;
    fact.assurance_ppm = placing::firm_ppm;
    step(fact);
  }
  void share(const std::string& policy, std::uint32_t ppm) { step(placing::policy_set{policy, ppm, false}); }
  void shadow(const std::string& policy) { step(placing::policy_set{policy, 1'000'000, true}); }

  void step(const placing::event& fact) {
    core_->step(now_, fact);
    obey();
    while (core_->next_deadline().value_or(never) <= now_) {
      core_->step(now_, placing::tick{});
      obey();
    }
    if (restoring) {
      auto restored = scheduler::restore(core_->save());
      ASSERT_TRUE(restored.ok()) << restored.error().message;
      EXPECT_EQ((*restored)->hash(), core_->hash());
      core_ = std::move(restored).value();
    }
  }

  /// Lets time pass.
  void run(duration time) {
    const time_point until = now_ + time;
    for (;;) {
      const time_point event = agenda_.empty() ? never : agenda_.begin()->first;
      const time_point next = std::min(event, core_->next_deadline().value_or(never));
      if (next > until)
        break;
      now_ = std::max(now_, next);
      if (event <= now_) {
        const placing::event fact = agenda_.begin()->second;
        agenda_.erase(agenda_.begin());
        happen(fact);
      } else {
        step(placing::tick{});
      }
    }
    now_ = until;
  }

  [[nodiscard]] const scheduler& core() const { return *core_; }

  bool restoring = false; ///< the core is restored from its snapshot after each fact
  std::set<std::uint64_t> ended, refused;
  std::map<std::uint64_t, std::set<std::uint64_t>> nodes_of; ///< by call: where it ran
  std::set<std::uint64_t> dispatched;
  std::vector<std::string> refusals;

private:
  void later(duration in, const placing::event& fact) { agenda_.emplace(now_ + in, fact); }

  void happen(const placing::event& fact) {
    if (const auto* done = std::get_if<placing::batch_done>(&fact)) {
      const std::vector<placing::task> tasks = running_.at(done->batch);
      running_.erase(done->batch);
      step(fact);
      for (const placing::task& t : tasks) {
        if (t.stage == 0) {
          step(placing::stage_ready{t.call, 1, 1});
          continue;
        }
        ended.insert(t.call.value);
        step(placing::call_ended{t.call, errc::ok, {}});
      }
      return;
    }
    if (const auto* over = std::get_if<placing::call_ended>(&fact))
      ended.insert(over->id.value);
    step(fact);
  }

  void obey() {
    for (const placing::command& command : core_->take_commands()) {
      if (const auto* admit = std::get_if<placing::admit>(&command)) {
        if (admit->dispatched) {
          dispatched.insert(admit->id.value);
          later(duration{0}, placing::stage_ready{admit->id, 0, 1});
          continue;
        }
        for (const calls::placement& p : admit->plan.stages)
          nodes_of[admit->id.value].insert(p.home.value);
        later(milliseconds{20},
              placing::call_ended{admit->id, errc::ok, {{0, 1, milliseconds{10}}, {1, 1, milliseconds{10}}}});
      } else if (const auto* refuse = std::get_if<placing::refuse>(&command)) {
        refused.insert(refuse->id.value);
      } else if (const auto* abandon = std::get_if<placing::abandon>(&command)) {
        ADD_FAILURE() << "call " << to_string(abandon->id) << " was given up: " << abandon->message;
      } else if (const auto* load = std::get_if<placing::load_replica>(&command)) {
        later(milliseconds{1}, placing::replica_loaded{load->node, load->replica, errc::ok});
      } else if (const auto* batch = std::get_if<placing::dispatch>(&command)) {
        running_[batch->batch] = batch->tasks;
        for (const placing::task& t : batch->tasks)
          nodes_of[t.call.value].insert(batch->node.value);
        later(duration{0}, placing::batch_started{batch->node, batch->batch});
        later(milliseconds{10}, placing::batch_done{batch->node, batch->batch, errc::ok, milliseconds{10}});
      } else if (const auto* no = std::get_if<placing::policy_refused>(&command)) {
        refusals.push_back(no->message);
      }
    }
  }

  std::unique_ptr<scheduler> core_;
  time_point now_{std::chrono::seconds{1}};
  std::multimap<time_point, placing::event> agenda_;
  std::map<batch_id, std::vector<placing::task>> running_;
};

/// One call every `gap`.
void load(cluster& c, std::uint64_t from, std::uint64_t to, duration gap, duration slo = std::chrono::seconds{10}) {
  for (std::uint64_t id = from; id < to; ++id) {
    c.arrive(id, slo);
    c.run(gap);
  }
}

TEST(Shadow, DecidesNothingAndIsCompared) {
  cluster with{2}, without{2};
  with.shadow("calendar");
  load(with, 1, 101, milliseconds{20}, milliseconds{100});
  load(without, 1, 101, milliseconds{20}, milliseconds{100});
  with.run(std::chrono::seconds{1});
  without.run(std::chrono::seconds{1});
  EXPECT_EQ(with.nodes_of, without.nodes_of);
  EXPECT_EQ(with.ended.size(), 100U);
  EXPECT_TRUE(with.dispatched.empty());
  const shadow_report r = with.core().shadow_so_far();
  EXPECT_EQ(r.policy, "calendar");
  EXPECT_EQ(r.calls, 100U) << calls::to_json(r);
  EXPECT_EQ(r.open, 0U);
  EXPECT_EQ(r.met_in_force, 100U);
  EXPECT_GE(r.met_shadow, 90U) << "what is loaded first takes longer: " << calls::to_json(r);
  EXPECT_EQ(r.same_variant, r.stages);
}

TEST(Shadow, RefusesWhatItCouldNotKeepWhileTheOtherTakesAll) {
  cluster c{1};
  c.shadow("calendar");
  load(c, 1, 401, milliseconds{5}, milliseconds{60}); // twice what two lanes take
  c.run(std::chrono::seconds{10});
  const shadow_report r = c.core().shadow_so_far();
  EXPECT_EQ(r.calls, 400U);
  EXPECT_GT(r.only_in_force, 100U) << calls::to_json(r);
  EXPECT_EQ(r.met_shadow, r.admitted_by_both) << "it kept all of its promises in its model";
  EXPECT_EQ(r.admitted_by_both + r.only_in_force + r.only_shadow + r.refused_by_both, r.calls);
}

TEST(Shadow, OfTheSamePolicyDecidesTheSame) {
  cluster c{2, "calendar"};
  c.shadow("calendar");
  load(c, 1, 201, milliseconds{7}, milliseconds{80});
  c.run(std::chrono::seconds{2});
  const shadow_report r = c.core().shadow_so_far();
  EXPECT_EQ(r.calls, 200U);
  EXPECT_LE(r.only_in_force + r.only_shadow, 10U) << calls::to_json(r);
}

TEST(Shadow, IsInTheSnapshotAndEndsWhenTold) {
  cluster c{2};
  c.restoring = true;
  c.shadow("srtf:aging=50");
  load(c, 1, 20, milliseconds{3});
  c.run(std::chrono::seconds{1});
  EXPECT_EQ(c.core().shadow_so_far().calls, 19U);
  c.shadow("none");
  EXPECT_EQ(c.core().shadow_so_far().policy, "");
  c.shadow("nonsense");
  ASSERT_EQ(c.refusals.size(), 1U);
  EXPECT_NE(c.refusals[0].find("known:"), std::string::npos);
}

class Share : public testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(Share, RunsAPartOfTheCallsOnNodesOfItsOwnAndLosesNone) {
  const auto [first, second] = GetParam();
  cluster c{4, first};
  load(c, 1, 50, milliseconds{6});
  c.share(second, 250'000);
  EXPECT_TRUE(c.refusals.empty()) << c.refusals.front();
  load(c, 50, 450, milliseconds{6});
  const share_view during = c.core().share();
  EXPECT_EQ(during.state, "runs");
  EXPECT_EQ(during.nodes, std::vector{node_id{4}});
  EXPECT_NEAR(static_cast<double>(during.decided), 100, 40);
  c.share(second, 0);
  load(c, 450, 500, milliseconds{6});
  c.run(std::chrono::seconds{5});
  EXPECT_EQ(c.core().share().policy, "");
  load(c, 500, 560, milliseconds{6});
  c.run(std::chrono::seconds{5});
  EXPECT_EQ(c.refused.size(), 0U);
  EXPECT_EQ(c.ended.size(), 559U);
  std::size_t on_the_second = 0;
  for (std::uint64_t id = 100; id < 450; ++id) {
    EXPECT_TRUE(c.nodes_of[id].size() == 1 || !c.nodes_of[id].contains(4)) << "call " << id << " was on both sides";
    on_the_second += c.nodes_of[id].contains(4) ? 1 : 0;
  }
  EXPECT_NEAR(static_cast<double>(on_the_second), 87, 40);
  EXPECT_EQ(c.core().calls_in_flight(), 0U);
}

INSTANTIATE_TEST_SUITE_P(Pairs, Share,
                         testing::Values(std::pair{"fifo", "calendar"}, std::pair{"calendar", "srtf"},
                                         std::pair{"mlfq", "calendar"}, std::pair{"balance", "thesis"},
                                         std::pair{"calendar", "exclusive"}),
                         [](const auto& of) { return std::string{of.param.first} + "_" + of.param.second; });

TEST(Share, IsInTheSnapshot) {
  cluster c{2, "calendar"};
  c.restoring = true;
  c.share("srtf", 500'000);
  load(c, 1, 40, milliseconds{6});
  EXPECT_GT(c.core().share().decided, 5U);
  c.run(std::chrono::seconds{2});
  EXPECT_EQ(c.ended.size(), 39U);
}

TEST(Share, NeedsTwoNodesAndOneThatIsKnown) {
  cluster c{1};
  c.share("calendar", 200'000);
  c.share("nonsense", 200'000);
  ASSERT_EQ(c.refusals.size(), 2U);
  EXPECT_NE(c.refusals[0].find("needs two nodes"), std::string::npos);
  EXPECT_NE(c.refusals[1].find("known:"), std::string::npos);
  c.arrive(1);
  c.run(std::chrono::seconds{1});
  EXPECT_EQ(c.ended.size(), 1U);
}

TEST(Share, EndsWhenOneSideHasNoNodeLeftAndAllCallsGoOn) {
  cluster c{2};
  c.share("calendar", 500'000);
  load(c, 1, 30, milliseconds{6});
  c.run(std::chrono::seconds{1});
  EXPECT_EQ(c.core().share().nodes, std::vector{node_id{2}});
  c.step(placing::node_lost{node_id{2}});
  load(c, 30, 60, milliseconds{12});
  c.run(std::chrono::seconds{1});
  EXPECT_EQ(c.core().share().policy, "");
  EXPECT_EQ(c.ended.size(), 59U);
  c.join(3);
  c.share("calendar", 500'000);
  load(c, 60, 90, milliseconds{6});
  c.run(std::chrono::seconds{1});
  c.step(placing::node_lost{node_id{1}});
  load(c, 90, 120, milliseconds{12});
  c.run(std::chrono::seconds{1});
  EXPECT_EQ(c.ended.size(), 119U);
  EXPECT_EQ(c.core().calls_in_flight(), 0U);
}

} // namespace
} // namespace squall::policy
