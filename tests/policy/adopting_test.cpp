#include "policy/scheduler.hpp"

#include <gtest/gtest.h>

#include <algorithm>

/// Calls that another scheduler placed or dispatched.
namespace squall::policy {
namespace {

namespace placing = calls::placing;
using namespace std::chrono_literals;

/// Two nodes of one lane, and a DAG of one function of 10 ms.
class Adopting : public ::testing::Test {
protected:
  void make(const std::string& policy) {
    scheduler_config config;
    config.policy = policy;
    core_ = std::make_unique<scheduler>(config, 7);
    placing::function_registered function{function_id{1}, false, {}};
    placing::variant_info& variant = function.variants.emplace_back();
    variant.id = variant_id{1};
    variant.expected = 10ms;
    step(function);
    placing::dag_registered dag{dag_id{1}, {}};
    placing::stage_info& stage = dag.stages.emplace_back();
    stage.function = function_id{1};
    stage.variants = {variant_id{1}};
    step(dag);
    for (std::uint64_t n : {1, 2})
      step(placing::node_joined{node_id{n}, {{lane_id{1}, functions::resource_type::cpu}}, 1 << 30});
  }
  static placing::adopted_call placed(std::uint64_t id, std::uint64_t node) {
    placing::adopted_call found;
    found.call.id = call_id{id};
    found.call.client = client_id{1};
    found.call.dag = dag_id{1};
    found.plan.stages.push_back({variant_id{1}, node_id{node}, {}});
    found.plan.exit = node_id{node};
    return found;
  }
  std::vector<placing::command> step(const placing::event& fact) {
    now_ += 1us;
    core_->step(now_, fact);
    return core_->take_commands();
  }
  std::vector<placing::command> arrive(std::uint64_t id) {
    placing::call_arrived fact;
    fact.id = call_id{id};
    fact.client = client_id{1};
    fact.dag = dag_id{1};
    return step(fact);
  }
  template <class Command>
  static const Command* only(const std::vector<placing::command>& commands) {
    return commands.size() == 1 ? std::get_if<Command>(&commands.front()) : nullptr;
  }

  std::unique_ptr<scheduler> core_;
  time_point now_{};
};

TEST_F(Adopting, APlacedCallCountsAsLoadOfItsNodeUntilItEnds) {
  make("balance");
  EXPECT_TRUE(step(placing::plans_adopted{{}, {placed(5, 1), placed(6, 1)}, {}}).empty());
  EXPECT_EQ(core_->calls_in_flight(), 2u);
  for (std::uint64_t id : {10, 11}) {
    const auto commands = arrive(id);
    const auto* admitted = only<placing::admit>(commands);
    ASSERT_TRUE(admitted);
    EXPECT_EQ(admitted->plan.exit, node_id{2}) << "node 1 has two calls already";
  }
  step(placing::call_ended{call_id{5}, errc::ok, {}});
  step(placing::call_ended{call_id{6}, errc::ok, {}});
  const auto commands = arrive(12);
  ASSERT_TRUE(only<placing::admit>(commands));
  EXPECT_EQ(only<placing::admit>(commands)->plan.exit, node_id{1});
}

TEST_F(Adopting, ADoubledReportChangesNothing) {
  make("fifo");
  const placing::plans_adopted fact{{}, {placed(5, 1), placed(5, 1)}, {}};
  EXPECT_TRUE(step(fact).empty());
  EXPECT_TRUE(step(fact).empty());
  EXPECT_EQ(core_->calls_in_flight(), 1u);
}

TEST_F(Adopting, WhatCannotGoOnIsAbandonedAndNamed) {
  make("fifo");
  auto unknown = placed(1, 1), short_plan = placed(2, 1), strange = placed(3, 1), lost = placed(4, 9),
       held = placed(5, 1);
  unknown.call.dag = dag_id{99};
  short_plan.plan.stages.push_back(short_plan.plan.stages.front());
  strange.plan.stages.front().variant = variant_id{77};
  held.plan.stages.clear();
  const auto commands = step(placing::plans_adopted{{}, {unknown, short_plan, strange, lost, held}, {}});
  ASSERT_EQ(commands.size(), 5u);
  const std::pair<errc, const char*> wanted[] = {{errc::not_found, "DAG 99"},
                                                 {errc::corrupt, "2 stages"},
                                                 {errc::corrupt, "variant 77"},
                                                 {errc::unavailable, "node 9"},
                                                 {errc::unavailable, "policy 'fifo'"}};
  for (std::size_t i = 0; i < 5; ++i) {
    const auto* a = std::get_if<placing::abandon>(&commands[i]);
    ASSERT_TRUE(a);
    EXPECT_EQ(a->id, call_id{i + 1});
    EXPECT_EQ(a->code, wanted[i].first);
    EXPECT_NE(a->message.find(wanted[i].second), std::string::npos) << a->message;
  }
  EXPECT_EQ(core_->calls_in_flight(), 0u);
}

TEST_F(Adopting, ItsClientMayWithdrawItAndItsNodeMayBeLost) {
  make("fifo");
  step(placing::plans_adopted{{}, {placed(5, 1), placed(6, 2)}, {}});
  auto commands = step(placing::cancel_requested{call_id{5}});
  ASSERT_TRUE(only<placing::abandon>(commands));
  EXPECT_EQ(only<placing::abandon>(commands)->nodes, std::vector{node_id{1}});
  commands = step(placing::node_lost{node_id{2}});
  ASSERT_TRUE(only<placing::abandon>(commands));
  EXPECT_EQ(only<placing::abandon>(commands)->id, call_id{6});
  EXPECT_EQ(core_->calls_in_flight(), 0u);
}

TEST_F(Adopting, ItsDeadlineHolds) {
  make("fifo");
  auto call = placed(5, 1);
  call.call.deadline = now_ + 1s;
  step(placing::plans_adopted{{}, {call}, {}});
  ASSERT_TRUE(core_->next_deadline());
  now_ = *core_->next_deadline();
  const auto commands = step(placing::tick{});
  ASSERT_TRUE(only<placing::abandon>(commands));
  EXPECT_EQ(only<placing::abandon>(commands)->code, errc::deadline_exceeded);
}

TEST_F(Adopting, ASequenceGoesOnWhereItsStateIs) {
  make("fifo");
  auto call = placed(5, 2);
  call.call.sequence = {sequence_id{3}, true, false};
  step(placing::plans_adopted{{}, {call}, {}});
  placing::call_arrived next;
  next.id = call_id{6};
  next.client = client_id{1};
  next.dag = dag_id{1};
  next.sequence = {sequence_id{3}, false, false};
  EXPECT_TRUE(only<placing::admit>(step(next)));
}

/// A restored scheduler and the one that was saved go on alike, and the calendar's books hold what runs.
TEST_F(Adopting, ReplaysToTheSameCommands) {
  make("calendar");
  placing::plans_adopted fact;
  fact.replicas.push_back({node_id{1}, replica_id{70}, variant_id{1}});
  placing::adopted_call runs, waits;
  runs.call.id = call_id{5};
  waits.call.id = call_id{6};
  for (auto* c : {&runs, &waits}) {
    c->call.dag = dag_id{1};
    c->call.client = client_id{1};
    c->call.assurance_ppm = placing::firm_ppm;
    c->call.deadline = now_ + 1s;
    c->come.push_back({0, 1, false});
    fact.calls.push_back(*c);
  }
  fact.batches.push_back({node_id{1}, batch_id{80}, replica_id{70}, variant_id{1}, {{call_id{5}, 0, 0}}, 4ms});
  const auto before = core_->save();
  auto other = scheduler::restore(before);
  ASSERT_TRUE(other.ok());
  const auto both = [&](const placing::event& f) {
    const auto commands = step(f);
    (*other)->step(now_, f);
    EXPECT_EQ((*other)->take_commands(), commands);
    EXPECT_EQ((*other)->hash(), core_->hash());
    return commands;
  };
  both(fact);
  EXPECT_EQ(core_->calls_in_flight(), 2u);
  for (int i = 0; i < 5 && core_->next_deadline().value_or(never) <= now_; ++i)
    for (const auto& c : both(placing::tick{}))
      if (const auto* d = std::get_if<placing::dispatch>(&c)) {
        EXPECT_EQ(d->tasks.front().call, call_id{6}) << "the other one runs";
      }
  both(placing::batch_done{node_id{1}, batch_id{80}, errc::ok, 10ms});
  both(placing::call_ended{call_id{5}, errc::ok, {}});
  EXPECT_EQ(core_->calls_in_flight(), 1u);
  auto third = scheduler::restore(core_->save());
  ASSERT_TRUE(third.ok());
  EXPECT_EQ((*third)->hash(), core_->hash());
}

/// What two schedulers of one cluster name is told apart.
TEST_F(Adopting, EachLifeHasIdsOfItsOwn) {
  std::vector<batch_id> batches;
  for (std::uint32_t life : {0u, 3u, 0xffffu}) {
    scheduler_config config;
    config.policy = "srtf";
    config.life = life;
    core_ = std::make_unique<scheduler>(config, 7);
    placing::function_registered function{function_id{1}, false, {}};
    function.variants.emplace_back().id = variant_id{1};
    function.variants.back().expected = 1ms;
    step(function);
    placing::dag_registered dag{dag_id{1}, {}};
    dag.stages.emplace_back().function = function_id{1};
    dag.stages.back().variants = {variant_id{1}};
    step(dag);
    step(placing::node_joined{node_id{1}, {{lane_id{1}, functions::resource_type::cpu}}, 1 << 30});
    arrive(1);
    step(placing::stage_ready{call_id{1}, 0, 1});
    for (int i = 0; i < 20; ++i) {
      now_ = std::max(now_, core_->next_deadline().value_or(now_));
      for (const auto& c : step(placing::tick{})) {
        if (const auto* l = std::get_if<placing::load_replica>(&c))
          step(placing::replica_loaded{l->node, l->replica, errc::ok});
        if (const auto* d = std::get_if<placing::dispatch>(&c))
          batches.push_back(d->batch);
      }
    }
  }
  ASSERT_EQ(batches.size(), 3u);
  EXPECT_EQ(batches[0], batch_id{1});
  EXPECT_NE(batches[1], batches[0]);
  EXPECT_GT(batches[2], batches[1]);
}

} // namespace
} // namespace squall::policy
