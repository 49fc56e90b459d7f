#include "sim/whatif.hpp"

#include "calls/event_log.hpp"

#include <gtest/gtest.h>

namespace squall::sim {
namespace {

namespace placing = calls::placing;
using functions::resource_type;
using std::chrono::milliseconds;

/// A recorded run of one function of 10 ms on a node of two lanes: a call every `gap`, each with a deadline.
class recorder {
public:
  recorder() {
    encoder_.begin({calls::log_core::scheduler, {}, 0});
    EXPECT_TRUE(encoder_.snapshot(now_, core_.save()));
    placing::function_registered function{function_id{1}, false, {}};
    placing::variant_info& v = function.variants.emplace_back();
    v.id = variant_id{1};
    v.expected = milliseconds{10};
    v.batch_times = {milliseconds{10}};
    v.cost = 10'000'000;
    fact(function);
    placing::dag_registered dag{dag_id{5}, {}};
    placing::stage_info& stage = dag.stages.emplace_back();
    stage.function = function_id{1};
    stage.variants = {variant_id{1}};
    fact(dag);
    fact(placing::node_joined{node_id{1}, {{lane_id{1}, resource_type::cpu}, {lane_id{2}, resource_type::cpu}}, 0});
  }

  void call(std::uint64_t id, duration deadline, duration takes) {
    placing::call_arrived arrived;
    arrived.id = call_id{id};
    arrived.client = client_id{1};
    arrived.dag = dag_id{5};
    arrived.deadline = now_ + deadline;
    fact(arrived);
    pass(takes);
    fact(placing::call_ended{call_id{id}, errc::ok, {{0, 1, takes}}});
  }
  void pass(duration d) { now_ += d; }

  std::vector<std::byte> take() {
    encoder_.flush();
    return encoder_.take();
  }

private:
  void fact(const placing::event& event) {
    core_.step(now_, event);
    encoder_.fact(now_, calls::digest(core_.take_commands()), event);
  }

  time_point now_{milliseconds{7}};
  policy::scheduler core_{{}, 1};
  calls::log_encoder encoder_;
};

std::vector<std::byte> quiet_run(std::uint64_t calls = 50) {
  recorder r;
  for (std::uint64_t id = 1; id <= calls; ++id) {
    r.call(id, milliseconds{30}, milliseconds{10});
    r.pass(milliseconds{5});
  }
  return r.take();
}

result<recorded_run> read(const std::vector<std::byte>& log) {
  recording out;
  if (const auto fed = out.feed(log); !fed.ok())
    return fed.error();
  return out.finish();
}

TEST(Recording, BecomesAWorkloadWithWhatHappened) {
  const auto run = read(quiet_run());
  ASSERT_TRUE(run.ok()) << run.error().message;
  ASSERT_EQ(run->input.requests.size(), 50u);
  EXPECT_EQ(run->input.nodes.size(), 1u);
  EXPECT_EQ(run->input.nodes[0].lanes, 2u);
  const attainment& live = run->live.at(5);
  EXPECT_EQ(live.offered, 50u);
  EXPECT_EQ(live.met, 50u);
  EXPECT_EQ(live.latency_sum, milliseconds{500});
  EXPECT_EQ(run->input.requests[1].arrival - run->input.requests[0].arrival, 1500) << "in ticks of 10 us";
  EXPECT_DOUBLE_EQ(run->input.requests[0].truths.at(0).stretch, 1.0);
}

TEST(Recording, WithoutCallsIsRefused) {
  const auto run = read(recorder{}.take());
  ASSERT_FALSE(run.ok());
  EXPECT_EQ(run.error().code, errc::not_found);
}

TEST(Recording, OfANodesQueueIsRefused) {
  calls::log_encoder encoder;
  encoder.begin({calls::log_core::node_queue, node_id{1}, 0});
  EXPECT_TRUE(encoder.snapshot({}, {}));
  const auto run = read(encoder.take());
  ASSERT_FALSE(run.ok());
  EXPECT_EQ(run.error().code, errc::invalid_argument);
}

TEST(Recording, CutShortIsReadAsFarAsItGoes) {
  auto log = quiet_run();
  log.resize(log.size() - 3);
  recording out;
  EXPECT_TRUE(out.feed(log).ok());
}

TEST(Whatif, OnTheSameConfigurationTheModelAttainsWhatHappened) {
  auto run = read(quiet_run());
  ASSERT_TRUE(run.ok());
  for (const char* policy : {"policy=fifo", "policy=srtf", "policy=calendar"}) {
    ASSERT_TRUE(apply_change(*run, policy).ok());
    const auto out = run_whatif(*run, 1);
    ASSERT_TRUE(out.ok()) << policy << ": " << out.error().message;
    EXPECT_NEAR(out->dags.at(5).share(), run->live.at(5).share(), 0.02) << policy;
  }
}

TEST(Whatif, TighterDeadlinesAreMissed) {
  auto run = read(quiet_run());
  ASSERT_TRUE(run.ok());
  ASSERT_TRUE(apply_change(*run, "policy=calendar").ok());
  ASSERT_TRUE(apply_change(*run, "slo.scale=0.2").ok()); // 6 ms for 10 ms of work
  const auto out = run_whatif(*run, 1);
  ASSERT_TRUE(out.ok());
  EXPECT_EQ(out->dags.at(5).met, 0u);
  EXPECT_EQ(out->dags.at(5).broken, 0u) << "they are refused, not broken";
}

TEST(Whatif, MoreArrivalsThanTheNodeCanServeAreServedByMoreNodes) {
  auto run = read(quiet_run(500));
  ASSERT_TRUE(run.ok());
  ASSERT_TRUE(apply_change(*run, "policy=calendar").ok());
  ASSERT_TRUE(apply_change(*run, "rate.scale=6").ok());
  const auto one = run_whatif(*run, 1);
  ASSERT_TRUE(apply_change(*run, "nodes.cpu+=3").ok());
  const auto four = run_whatif(*run, 1);
  ASSERT_TRUE(one.ok() && four.ok());
  EXPECT_LT(one->dags.at(5).share(), 0.9);
  EXPECT_GT(four->dags.at(5).share(), 0.95) << "the first ones come before enough is loaded";
}

TEST(Whatif, AChangeThatIsNoneIsRefused) {
  auto run = read(quiet_run());
  ASSERT_TRUE(run.ok());
  for (const char* change : {"", "policy", "policy=", "speed=3", "slo.scale=0", "slo.scale=-1", "slo.scale=nan",
                             "nodes.gpu+=1", "nodes.cpu-=1", "nodes.tpu+=1", "=3"})
    EXPECT_FALSE(apply_change(*run, change).ok()) << change;
}

TEST(Whatif, AnUnknownPolicyIsNamed) {
  auto run = read(quiet_run());
  ASSERT_TRUE(run.ok());
  ASSERT_TRUE(apply_change(*run, "policy=magic").ok());
  const auto out = run_whatif(*run, 1);
  ASSERT_FALSE(out.ok());
  EXPECT_NE(out.error().message.find("magic"), std::string::npos);
}

} // namespace
} // namespace squall::sim
