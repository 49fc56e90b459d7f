#include "policy/scheduler.hpp"

#include <gtest/gtest.h>

/// The policies that hold work back until a lane is free, among nodes that say what is not so.
namespace squall::policy {
namespace {

namespace placing = calls::placing;
using std::chrono::milliseconds;

/// One node with one lane, and what the scheduler orders of it.
class world {
public:
  explicit world(const std::string& policy) {
    scheduler_config config;
    config.policy = policy;
    config.late_placement = true;
    core_ = std::make_unique<scheduler>(config, 7);
    placing::function_registered function{function_id{1}, false, {}};
    placing::variant_info& variant = function.variants.emplace_back();
    variant.id = variant_id{1};
    variant.memory_bytes = 100;
    variant.expected = milliseconds{5};
    step(function);
    placing::dag_registered dag{dag_id{1}, {}};
    placing::stage_info& stage = dag.stages.emplace_back();
    stage.function = function_id{1};
    stage.variants = {variant_id{1}};
    step(dag);
    join(1);
  }
  void join(std::uint64_t id) {
    step(placing::node_joined{node_id{id}, {{lane_id{1}, functions::resource_type::cpu}}, 1'000});
  }
  void arrive(std::uint64_t id) {
    placing::call_arrived fact;
    fact.id = call_id{id};
    fact.client = client_id{1};
    fact.dag = dag_id{1};
    step(fact);
    step(placing::stage_ready{call_id{id}, 0, 1});
    tick();
  }
  void tick() {
    now_ += milliseconds{1};
    step(placing::tick{});
  }
  void step(const placing::event& fact) {
    core_->step(now_, fact);
    for (const placing::command& command : core_->take_commands()) {
      if (const auto* load = std::get_if<placing::load_replica>(&command))
        loads.push_back(*load);
      else if (const auto* batch = std::get_if<placing::dispatch>(&command))
        batches.push_back(*batch);
      else if (const auto* gone = std::get_if<placing::abandon>(&command))
        abandoned.push_back(gone->id);
    }
  }

  std::vector<placing::load_replica> loads;
  std::vector<placing::dispatch> batches;
  std::vector<call_id> abandoned;

private:
  std::unique_ptr<scheduler> core_;
  time_point now_ = from_ns(1);
};

class HeldPolicies : public ::testing::TestWithParam<const char*> {};

INSTANTIATE_TEST_SUITE_P(All, HeldPolicies, ::testing::Values("srtf", "mlfq", "exclusive"),
                         [](const auto& which) { return std::string{which.param}; });

TEST_P(HeldPolicies, AReplicaThatIsReportedAgainDisturbsNothing) {
  world w{GetParam()};
  w.arrive(1);
  ASSERT_EQ(w.loads.size(), 1u);
  const placing::load_replica load = w.loads.front();
  w.step(placing::replica_loaded{load.node, load.replica, errc::ok});
  w.tick();
  ASSERT_EQ(w.batches.size(), 1u);

  // The node takes it back while the batch runs, which is no answer to anything.
  w.step(placing::replica_loaded{load.node, load.replica, errc::failed});
  w.step(placing::replica_loaded{load.node, load.replica, errc::ok});
  w.tick();
  w.arrive(2);
  EXPECT_EQ(w.batches.size(), 1u) << "the only lane is at work";
  EXPECT_EQ(w.loads.size(), 1u);

  // A batch that ends when its node is gone is nobody's.
  w.step(placing::node_lost{node_id{1}});
  EXPECT_EQ(w.abandoned, std::vector{call_id{1}});
  w.step(placing::batch_done{node_id{1}, w.batches.front().batch, errc::ok, milliseconds{1}});
  w.tick();
  w.join(2);
  w.tick();
  ASSERT_EQ(w.loads.size(), 2u) << "the second call runs on the next node";
  EXPECT_EQ(w.loads.back().node, node_id{2});
}

TEST_P(HeldPolicies, AStageWiderThanAnyMapEndsItsCall) {
  world w{GetParam()};
  w.arrive(1);
  w.step(placing::stage_ready{call_id{1}, 0, 4'000'000'000});
  EXPECT_EQ(w.abandoned, std::vector{call_id{1}});
  w.step(placing::stage_ready{call_id{1}, 0, 1}); // nobody's
  w.arrive(2);
  ASSERT_EQ(w.loads.size(), 1u);
  w.step(placing::replica_loaded{w.loads.front().node, w.loads.front().replica, errc::ok});
  w.tick();
  ASSERT_EQ(w.batches.size(), 1u);
  EXPECT_EQ(w.batches.front().tasks.front().call, call_id{2});
}

} // namespace
} // namespace squall::policy
