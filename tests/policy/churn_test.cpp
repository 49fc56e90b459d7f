#include "policy/scheduler.hpp"

#include <gtest/gtest.h>

/// A catalogue that changes all the time leaves nothing behind.
namespace squall::policy {
namespace {

namespace placing = calls::placing;

struct churn {
  explicit churn(const scheduler_config& config, const std::string& shadow) : core(config, 1) {
    core.step(from_ns(now), placing::node_joined{node_id{1}, {{lane_id{1}, functions::resource_type::cpu}}, 1'000'000});
    if (!shadow.empty())
      core.step(from_ns(now), placing::policy_set{.name = shadow, .shadow = true});
  }

  /// A function and a DAG of it come, are called once, and go.
  void round(std::uint64_t i) {
    step(placing::function_registered{
        function_id{i},
        false,
        {{variant_id{i}, functions::resource_type::cpu, 1, 1000, std::chrono::milliseconds{1}}}});
    step(placing::dag_registered{dag_id{i}, {{function_id{i}, {variant_id{i}}, {}}}});
    step(placing::residency_changed{node_id{1}, variant_id{i}, true});
    step(placing::call_arrived{call_id{i}, client_id{1}, dag_id{i}, never, 0, {}});
    step(placing::call_ended{call_id{i}, errc::ok, {{0, 1, std::chrono::milliseconds{1}}}});
    step(placing::dag_removed{dag_id{i}});
    step(placing::function_removed{function_id{i}, {variant_id{i}}});
    for (int ticks = 0; ticks < 20; ++ticks) // for the shadow's model to end its call, too
      step(placing::tick{});
  }
  void step(const placing::event& fact) {
    now += 10'000'000;
    core.step(from_ns(now), fact);
    for (const placing::command& c : core.take_commands())
      admitted += std::holds_alternative<placing::admit>(c) ? 1 : 0;
  }

  scheduler core;
  std::int64_t now = 1;
  int admitted = 0;
};

void expect_no_growth(const scheduler_config& config, const std::string& shadow) {
  churn c{config, shadow};
  std::uint64_t i = 1;
  for (; i <= 20; ++i)
    c.round(i);
  const std::size_t few = c.core.save().size();
  for (; i <= 400; ++i)
    c.round(i);
  EXPECT_EQ(c.admitted, 400) << "the rounds do what they say";
  EXPECT_LE(c.core.save().size(), few + 64) << "numbers grow a little longer";
  EXPECT_EQ(c.core.known_facts().size(), 1u) << "the node";
}

TEST(Churn, OfFunctionsAndDagsDoesNotGrowTheScheduler) { expect_no_growth({}, {}); }

TEST(Churn, NorTheCalendarThatOnlyComputes) { expect_no_growth({}, "calendar"); }

TEST(Churn, VariantsThatADagNamesStay) {
  churn c{{}, {}};
  c.step(placing::function_registered{function_id{1}, false, {{variant_id{1}, functions::resource_type::cpu, 1, 0}}});
  c.step(placing::dag_registered{dag_id{1}, {{function_id{1}, {variant_id{1}}, {}}}});
  c.step(placing::function_removed{function_id{1}, {variant_id{1}}});
  c.step(placing::call_arrived{call_id{1}, client_id{1}, dag_id{1}, never, 0, {}});
  EXPECT_EQ(c.admitted, 1);
}

} // namespace
} // namespace squall::policy
