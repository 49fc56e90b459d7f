#include "policy/scheduler.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>

/// Policies of both kinds in one scheduler, as a cluster has them.
namespace squall::policy {
namespace {

namespace placing = calls::placing;

/// A node that does at once what it is told.
class world {
public:
  world() {
    placing::function_registered function{function_id{1}, false, {}};
    placing::variant_info& variant = function.variants.emplace_back();
    variant.id = variant_id{1};
    variant.expected = std::chrono::milliseconds{1};
    step(function);
    placing::dag_registered dag{dag_id{1}, {}};
    placing::stage_info& stage = dag.stages.emplace_back();
    stage.function = function_id{1};
    stage.variants = {variant_id{1}};
    step(dag);
    step(placing::node_joined{node_id{1}, {{lane_id{1}, functions::resource_type::cpu}}, 0});
  }

  void arrive(std::uint64_t id, calls::sequence sequence = {}) {
    placing::call_arrived fact;
    fact.id = call_id{id};
    fact.client = client_id{1};
    fact.dag = dag_id{1};
    fact.deadline = now_ + std::chrono::seconds{10};
    fact.sequence = sequence;
    step(fact);
  }
  void end(std::uint64_t id) { step(placing::call_ended{call_id{id}, errc::ok, {}}); }
  void use(const std::string& policy) { step(placing::policy_set{policy}); }

  void step(const placing::event& fact) {
    now_ += std::chrono::microseconds{10};
    core_->step(now_, fact);
    obey();
  }

  /// Answers until nothing is wanted any more for the next 2 ms.
  void run() {
    for (int i = 0; i < 1000; ++i) {
      if (!answers_.empty()) {
        const placing::event fact = answers_.front();
        answers_.pop_front();
        step(fact);
      } else if (core_->next_deadline().value_or(never) <= now_ + std::chrono::milliseconds{2}) {
        step(placing::tick{});
      } else {
        return;
      }
    }
    FAIL() << "it does not come to rest";
  }

  void restore() {
    auto restored = scheduler::restore(core_->save());
    ASSERT_TRUE(restored.ok()) << restored.error().message;
    core_ = std::move(restored).value();
  }

  [[nodiscard]] const scheduler& core() const { return *core_; }

  std::vector<std::uint64_t> dispatched; ///< calls that were admitted to be dispatched
  std::vector<std::uint64_t> placed;
  std::vector<std::uint64_t> refused;
  std::size_t replicas = 0;

private:
  void obey() {
    for (const placing::command& command : core_->take_commands()) {
      if (const auto* admit = std::get_if<placing::admit>(&command)) {
        (admit->dispatched ? dispatched : placed).push_back(admit->id.value);
        if (admit->dispatched)
          answers_.push_back(placing::stage_ready{admit->id, 0, 1});
      } else if (const auto* refuse = std::get_if<placing::refuse>(&command)) {
        refused.push_back(refuse->id.value);
      } else if (const auto* load = std::get_if<placing::load_replica>(&command)) {
        ++replicas;
        answers_.push_back(placing::replica_loaded{load->node, load->replica, errc::ok});
      } else if (std::holds_alternative<placing::evict_replica>(command)) {
        --replicas;
      } else if (const auto* batch = std::get_if<placing::dispatch>(&command)) {
        answers_.push_back(placing::batch_started{batch->node, batch->batch});
        answers_.push_back(placing::batch_done{batch->node, batch->batch, errc::ok, std::chrono::milliseconds{1}});
        for (const placing::task& task : batch->tasks)
          answers_.push_back(placing::call_ended{task.call, errc::ok, {}});
      }
    }
  }

  std::unique_ptr<scheduler> core_ = std::make_unique<scheduler>(scheduler_config{}, 1);
  time_point now_{std::chrono::seconds{1}};
  std::deque<placing::event> answers_;
};

using ids = std::vector<std::uint64_t>;

TEST(Switching, GoesBetweenKindsAndForgetsNothing) {
  world w;
  std::uint64_t id = 0;
  for (const char* policy : {"srtf", "fifo", "calendar", "balance", "mlfq", "rr", "exclusive", "calendar", "fifo"}) {
    w.use(policy);
    EXPECT_EQ(w.core().policy_name(), policy);
    w.arrive(++id);
    w.run();
    if (!w.placed.empty() && w.placed.back() == id)
      w.end(id);
    EXPECT_EQ(w.core().calls_in_flight(), 0U) << "under " << policy;
  }
  EXPECT_EQ(w.dispatched, (ids{1, 3, 5, 7, 8}));
  EXPECT_EQ(w.placed, (ids{2, 4, 6, 9}));
  EXPECT_EQ(w.replicas, 0U) << "the last dispatch policy's replicas are gone";
}

TEST(Switching, CallsOfAnotherDispatchPolicyWaitForTheOldOnesToEnd) {
  world w;
  w.use("srtf");
  w.arrive(1); // not answered yet
  w.use("mlfq");
  w.arrive(2);
  EXPECT_EQ(w.dispatched, ids{1});
  w.run();
  EXPECT_EQ(w.dispatched, (ids{1, 2}));
  EXPECT_EQ(w.core().calls_in_flight(), 0U);
}

TEST(Switching, CallsThatWaitedArePlacedWhenPlacingIsWanted) {
  world w;
  w.use("srtf");
  w.arrive(1);
  w.use("mlfq");
  w.arrive(2);
  w.use("fifo");
  EXPECT_EQ(w.placed, ids{2});
  w.end(2);
  w.run();
  EXPECT_EQ(w.core().calls_in_flight(), 0U);
}

TEST(Switching, CallsOfASequenceArePlacedWhateverIsInForce) {
  world w;
  w.use("calendar");
  w.arrive(1, {sequence_id{7}, true, false});
  EXPECT_EQ(w.placed, ids{1});
  EXPECT_TRUE(w.dispatched.empty());
}

TEST(Switching, ASnapshotKeepsBothKinds) {
  world w;
  w.use("srtf");
  w.arrive(1);
  w.use("fifo");
  w.arrive(2);
  const auto before = w.core().hash();
  w.restore();
  EXPECT_EQ(w.core().hash(), before);
  w.end(2);
  w.run();
  EXPECT_EQ(w.core().calls_in_flight(), 0U);
}

TEST(Switching, AnUnknownNameKeepsTheOldPolicy) {
  world w;
  w.use("srtf");
  w.use("magic");
  EXPECT_EQ(w.core().policy_name(), "srtf");
}

} // namespace
} // namespace squall::policy
