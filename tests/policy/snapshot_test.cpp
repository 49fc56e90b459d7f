#include "base/random.hpp"
#include "policy/node_queue.hpp"
#include "policy/placement_policy.hpp"
#include "policy/scheduler.hpp"

#include <gtest/gtest.h>

namespace squall::policy {
namespace {

namespace placing = calls::placing;
namespace queueing = calls::queueing;

std::vector<std::byte> busy_scheduler() {
  scheduler s{{}, 1};
  s.step(from_ns(1), placing::function_registered{
                         function_id{1}, true, {{variant_id{1}, functions::resource_type::cpu, 1, 0, {}}}});
  s.step(from_ns(1), placing::dag_registered{dag_id{1}, {{function_id{1}, {variant_id{1}}, {}, false, 1, false}}});
  s.step(from_ns(1), placing::node_joined{node_id{1}, {{lane_id{1}, functions::resource_type::cpu}}, 0});
  for (std::uint64_t i = 1; i <= 5; ++i)
    s.step(from_ns(2), placing::call_arrived{
                           call_id{i}, client_id{i % 2}, dag_id{1}, from_ns(1000), 0, {sequence_id{i}, true, false}});
  return s.save();
}

std::vector<std::byte> busy_queue() {
  node_queue q{{}, 1};
  q.step(from_ns(1), queueing::variant_known{variant_id{1}, functions::resource_type::cpu, 2, duration{50}, 10, true});
  q.step(from_ns(1), queueing::variant_known{variant_id{2}, functions::resource_type::cpu, 2, duration{50}, 10, false});
  q.step(from_ns(1), queueing::lane_opened{lane_id{1}, functions::resource_type::cpu});
  for (std::uint64_t i = 1; i <= 8; ++i)
    q.step(from_ns(2), queueing::arrived{item_id{i}, call_id{1 + i % 3}, 0, variant_id{1 + i % 2}, 0, from_ns(900),
                                         false, client_id{i % 2}});
  q.step(from_ns(2), queueing::replica_wanted{replica_id{1}, variant_id{1}});
  q.step(from_ns(2), queueing::replica_wanted{replica_id{2}, variant_id{2}});
  q.step(from_ns(2), queueing::replica_loaded{replica_id{2}});
  for (std::uint64_t i = 1; i <= 3; ++i)
    q.step(from_ns(3), queueing::ordered{batch_id{i}, replica_id{i % 2 + 1}, {{item_id{8 + i}, call_id{i}}}, never});
  return q.save();
}

/// A damaged snapshot is refused, or gives a core that can be stepped: it never crashes.
template <class Core, class Step>
void damage(const std::vector<std::byte>& whole, Step step) {
  random_source random{1};
  for (int round = 0; round < 20'000; ++round) {
    auto bytes = whole;
    for (std::uint64_t k = random.below(3) + 1; k > 0; --k)
      bytes[random.below(bytes.size())] = static_cast<std::byte>(random.next());
    auto core = Core::restore(bytes);
    if (!core.ok())
      continue;
    step(**core);
    (void)(*core)->hash();
  }
  for (std::size_t size = 0; size < whole.size(); ++size)
    EXPECT_FALSE(Core::restore(std::span{whole}.first(size)).ok()) << size;
}

TEST(Snapshot, OfASchedulerMayBeDamaged) {
  damage<scheduler>(busy_scheduler(), [](scheduler& s) {
    const auto at = [&](int n) { return s.now() > never - duration{100} ? s.now() : s.now() + duration{n}; };
    s.step(at(1), placing::call_arrived{call_id{99}, client_id{1}, dag_id{1}, never, 0, {}});
    s.step(at(1), placing::call_ended{call_id{1}, errc::ok, {{0, 1, duration{5}}}});
    s.step(at(1), placing::node_lost{node_id{1}});
  });
}

TEST(Snapshot, OfANodeQueueMayBeDamaged) {
  damage<node_queue>(busy_queue(), [](node_queue& q) {
    const auto at = [&](int n) { return q.now() > never - duration{100} ? q.now() : q.now() + duration{n}; };
    q.step(at(1), queueing::batch_ended{batch_id{1}, errc::ok, duration{5}});
    q.step(at(1), queueing::loaded{variant_id{1}, 10});
    q.step(at(1), queueing::replica_loaded{replica_id{1}});
    q.step(at(1), queueing::call_withdrawn{call_id{1}});
    q.step(at(1), queueing::replica_unwanted{replica_id{2}});
    q.step(at(1), queueing::lane_closed{lane_id{1}});
  });
}

TEST(PlacementPolicy, NamesAreTheTable) {
  for (const std::string& name : placement_policy_names()) {
    const auto policy = make_placement_policy(name, 1);
    ASSERT_NE(policy, nullptr);
    EXPECT_EQ(policy->name(), name);
  }
  EXPECT_EQ(make_placement_policy("none", 1), nullptr);
}

} // namespace
} // namespace squall::policy
