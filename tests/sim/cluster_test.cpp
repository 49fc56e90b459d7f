// Random small clusters under virtual time, with faults; every step of every core is checked (sim/checks.hpp).
#include "sim/cluster_model.hpp"
#include "sim/replay.hpp"

#include <gtest/gtest.h>

namespace squall::sim {
namespace {

using namespace std::chrono_literals;
using calls::placing::stage_info;
using functions::resource_type;

/// Three functions: one of a cpu variant that needs no load, one of a cpu variant that batches and is loaded, one with
/// a cpu and a gpu variant. DAGs: each function alone, a chain, a map, a cascade, an ensemble.
cluster_model_config small_cluster(const std::string& policy) {
  cluster_model_config c;
  c.scheduler.policy = policy;
  c.scheduler.max_calls = 300;
  c.scheduler.deadline_grace = 20ms;
  const auto variant = [&](std::uint64_t id, resource_type r, std::uint32_t batch, duration delay, std::uint64_t bytes,
                           duration execution) {
    c.variants.push_back({{variant_id{id}, r, batch, delay, bytes, bytes > 0},
                          execution,
                          300,
                          bytes > 0 ? duration{5ms} : duration{0},
                          10});
  };
  variant(1, resource_type::cpu, 1, 0ms, 0, 200us);
  variant(2, resource_type::cpu, 8, 2ms, 40, 1ms);
  variant(3, resource_type::cpu, 4, 0ms, 50, 3ms);
  variant(4, resource_type::gpu, 16, 1ms, 30, 500us);
  for (std::uint64_t f = 1; f <= 3; ++f) {
    calls::placing::function_registered fact{function_id{f}, f == 1, {}};
    for (const auto& v : c.variants)
      if (v.info.id.value == f || (f == 3 && v.info.id.value == 4))
        fact.variants.push_back({v.info.id, v.info.resource, v.info.max_batch, v.info.memory_bytes, {}});
    c.functions.push_back(fact);
  }
  const std::vector<variant_id> a{variant_id{1}};
  const std::vector<variant_id> b{variant_id{2}};
  const std::vector<variant_id> either{variant_id{3}, variant_id{4}};
  const stage_info s1{function_id{1}, a, {}, false, 1, false};
  const auto after = [](stage_info s, std::vector<stage_index> producers) {
    s.producers = std::move(producers);
    return s;
  };
  const stage_info s2{function_id{2}, b, {}, false, 1, false};
  const stage_info s3{function_id{3}, either, {}, false, 1, false};
  stage_info map = after(s2, {0});
  map.map = true;
  map.width_max = 64;
  stage_info maybe = after(s3, {1});
  maybe.conditional = true;
  c.dags = {{dag_id{1}, {s1}},
            {dag_id{2}, {s2}},
            {dag_id{3}, {s3}},
            {dag_id{4}, {s1, after(s2, {0}), after(s1, {1})}},
            {dag_id{5}, {s1, map, after(s1, {1})}},
            {dag_id{6}, {s1, after(s2, {0}), maybe, after(s1, {1, 2})}},
            {dag_id{7}, {s1, after(s2, {0}), after(s3, {0}), after(s1, {0}), after(s1, {1, 2, 3})}}};
  return c;
}

void add_calls(cluster_model& cluster, random_source& random, int count, duration mean_gap, bool deadlines) {
  time_point at = from_ns(1'000'000);
  for (int i = 1; i <= count; ++i) {
    at += duration{static_cast<std::int64_t>(random.exponential(static_cast<double>(mean_gap.count())))};
    modelled_call call;
    call.at = at;
    call.fact.id = call_id{random.next()};
    call.fact.client = client_id{1 + random.below(3)};
    call.fact.dag = dag_id{1 + random.below(7)};
    call.fact.priority = random.below(4) == 0 ? 1 : 0;
    if (deadlines || random.below(2) == 0)
      call.fact.deadline = from_ns(2'000'000 + static_cast<std::int64_t>(random.below(60'000'000)));
    if (random.below(10) == 0)
      call.fact.sequence = {sequence_id{1 + random.below(5)}, random.below(2) == 0, random.below(3) == 0};
    for (int s = 0; s < 5; ++s)
      call.stages.push_back({static_cast<std::uint32_t>(random.below(24)), random.below(3) > 0});
    cluster.submit(call);
    if (random.below(40) == 0)
      cluster.withdraw(at + 3ms, call.fact.id);
  }
}

void add_faults(cluster_model& cluster, random_source& random, duration span) {
  const auto moment = [&] {
    return from_ns(1 + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(span.count()))));
  };
  for (int i = 0; i < 6; ++i)
    cluster.kill_lane(moment(), node_id{1 + random.below(3)}, lane_id{1 + random.below(2)}, 2ms, random.below(2) == 0);
  cluster.kill_node(moment(), node_id{3});
  modelled_node spare;
  spare.cpu_lanes = 2;
  cluster.join(moment(), spare);
  cluster.set_policy(moment(), "rr");
  cluster.set_policy(moment(), "balance");
}

struct run_options {
  std::string policy = "fifo";
  bool faults = false;
  bool loss = false;
  bool record = false;
  int calls = 500;
};

std::unique_ptr<cluster_model> make_run(const run_options& o, std::uint64_t seed) {
  random_source random{seed};
  auto config = small_cluster(o.policy);
  config.record = o.record;
  config.net = {duration{static_cast<std::int64_t>(random.below(200'000))},
                duration{static_cast<std::int64_t>(random.below(100'000))}, o.loss ? 5U : 0U};
  auto cluster = std::make_unique<cluster_model>(config, seed);
  for (const std::uint32_t gpus : {0U, 1U, 0U}) {
    modelled_node n;
    n.cpu_lanes = 2;
    n.gpu_lanes = gpus;
    n.queue.memory_bytes = random.below(2) == 0 ? 100 : 0;
    n.queue.load_backoff = 10ms;
    n.queue.max_queued_per_variant = 200;
    cluster->join(time_point{}, n);
  }
  const duration gap{static_cast<std::int64_t>(200'000 + random.below(2'000'000))};
  add_calls(*cluster, random, o.calls, gap, o.loss);
  if (o.faults)
    add_faults(*cluster, random, gap * o.calls);
  return cluster;
}

void expect_sound(const cluster_model& cluster, std::uint64_t seed, int calls) {
  const auto& r = cluster.report();
  EXPECT_EQ(cluster.broken().count(), 0U)
      << "seed " << seed << ": " << (cluster.broken().texts().empty() ? "" : cluster.broken().texts().front());
  EXPECT_EQ(r.admitted + r.refused, static_cast<std::uint64_t>(calls)) << seed;
  EXPECT_EQ(r.ended_ok + r.failed + r.abandoned, r.admitted) << seed;
  EXPECT_EQ(cluster.scheduler().calls_in_flight(), 0U) << seed;
}

TEST(Cluster, KeepsItsPromisesWithoutFaults) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    const char* const policies[] = {"fifo", "rr", "balance"};
    auto cluster = make_run({policies[seed % 3]}, seed);
    cluster->run();
    expect_sound(*cluster, seed, 500);
    EXPECT_GT(cluster->report().ended_ok, 50U) << seed;
  }
}

TEST(Cluster, KeepsItsPromisesUnderFaults) {
  for (std::uint64_t seed = 1001; seed <= 1100; ++seed) {
    auto cluster = make_run({"balance", true}, seed);
    cluster->run();
    expect_sound(*cluster, seed, 500);
  }
}

TEST(Cluster, EndsEveryCallWhenMessagesAreLost) {
  for (std::uint64_t seed = 2001; seed <= 2040; ++seed) {
    auto cluster = make_run({"fifo", true, true}, seed);
    cluster->run();
    expect_sound(*cluster, seed, 500);
  }
}

TEST(Cluster, TheSameSeedGivesTheSameRun) {
  const auto run = [] {
    auto cluster = make_run({"balance", true, false, true}, 77);
    cluster->run();
    return cluster->take_log();
  };
  EXPECT_EQ(run(), run());
}

/// Feeds a log to a core that is replaced by a restored one at every seventh step, and counts the facts.
template <class Core, class Event>
int replay_with_restores(const std::vector<std::byte>& bytes) {
  auto log = calls::log_decoder<Event>::open(bytes);
  EXPECT_TRUE(log.ok());
  std::unique_ptr<Core> core;
  int facts = 0;
  for (;;) {
    const auto entry = log->next();
    EXPECT_TRUE(entry.ok());
    if (!entry->has_value())
      return facts;
    if (const auto* snapshot = std::get_if<calls::log_snapshot>(&**entry)) {
      core = Core::restore(snapshot->saved).value();
      continue;
    }
    const auto& fact = std::get<calls::log_fact<Event>>(**entry);
    core->step(fact.at, fact.event);
    EXPECT_EQ(calls::digest(core->take_commands()), fact.commands) << "fact " << facts;
    if (++facts % 7 != 0)
      continue;
    auto twin = Core::restore(core->save());
    EXPECT_TRUE(twin.ok()) << twin.error().message;
    EXPECT_EQ((*twin)->hash(), core->hash());
    EXPECT_EQ((*twin)->next_deadline(), core->next_deadline());
    core = std::move(*twin);
  }
}

TEST(Cluster, RestoredCoresDecideTheSame) {
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    auto cluster = make_run({"rr", true, false, true, 300}, seed);
    cluster->run();
    EXPECT_GT((replay_with_restores<policy::scheduler, calls::placing::event>(cluster->take_log())), 300);
    for (std::uint64_t n = 1; n <= cluster->nodes(); ++n)
      EXPECT_GT((replay_with_restores<policy::node_queue, calls::queueing::event>(cluster->take_log(node_id{n}))), 4);
  }
}

TEST(Replay, ARecordedRunReplaysBitForBit) {
  auto cluster = make_run({"balance", true, false, true}, 5);
  cluster->run();
  for (std::uint64_t n = 0; n <= cluster->nodes(); ++n) {
    replayer replay;
    const auto fed = replay.feed(cluster->take_log(n == 0 ? std::nullopt : std::optional{node_id{n}}));
    ASSERT_TRUE(fed.ok()) << fed.error().message;
    EXPECT_FALSE(replay.done());
    EXPECT_EQ(replay.report().snapshots, 1U);
    EXPECT_EQ(replay.report().gaps, 0U);
    EXPECT_FALSE(replay.report().truncated);
  }
}

TEST(Replay, TheFirstDifferenceIsReportedWithItsFactAndCommands) {
  policy::scheduler core{{}, 1};
  calls::log_encoder log;
  log.begin({});
  ASSERT_TRUE(log.snapshot(from_ns(5), core.save()));
  const calls::placing::event fact = calls::placing::call_arrived{call_id{7}, client_id{1}, dag_id{1}, never, 0, {}};
  log.fact(from_ns(6), 12345, fact);
  log.fact(from_ns(7), 12345, fact);
  log.flush();
  const auto bytes = log.take();
  replayer replay;
  ASSERT_TRUE(replay.feed(bytes).ok());
  ASSERT_TRUE(replay.done());
  const replay_difference& d = *replay.report().difference;
  EXPECT_EQ(replay.report().facts, 1U);
  EXPECT_EQ(d.at, from_ns(6));
  EXPECT_TRUE(d.fact.starts_with("{\"call_arrived\"")) << d.fact;
  ASSERT_EQ(d.commands.size(), 1U);
  EXPECT_TRUE(d.commands[0].starts_with("{\"refuse\"")) << d.commands[0];
}

TEST(Replay, DamagedLogsAreErrorsNotCrashes) {
  auto cluster = make_run({"balance", false, false, true, 40}, 9);
  cluster->run();
  const auto whole = cluster->take_log();
  random_source random{4};
  for (int round = 0; round < 300; ++round) {
    auto bytes = whole;
    bytes[random.below(bytes.size())] ^= static_cast<std::byte>(1 + random.below(255));
    bytes.erase(bytes.end() - static_cast<std::ptrdiff_t>(random.below(bytes.size() / 2)), bytes.end());
    replayer replay;
    (void)replay.feed(bytes).ok();
  }
}

TEST(Replay, SegmentsOfDifferentCoresDoNotMix) {
  auto cluster = make_run({"balance", false, false, true, 20}, 9);
  cluster->run();
  replayer replay;
  ASSERT_TRUE(replay.feed(cluster->take_log()).ok());
  EXPECT_FALSE(replay.feed(cluster->take_log(node_id{1})).ok());
}

TEST(Cluster, ANarrowCallIsNotHeldUpByAWideMap) {
  cluster_model_config config = small_cluster("fifo");
  config.dags[4].stages[1].width_max = 1000;
  cluster_model cluster{config, 1};
  modelled_node n;
  n.cpu_lanes = 1;
  cluster.join(time_point{}, n);
  modelled_call wide;
  wide.at = from_ns(1'000'000);
  wide.fact.id = call_id{1};
  wide.fact.dag = dag_id{5};
  wide.stages = {{}, {1000, true}, {}};
  cluster.submit(wide);
  modelled_call narrow;
  narrow.at = from_ns(30'000'000);
  narrow.fact.id = call_id{2};
  narrow.fact.dag = dag_id{2};
  cluster.submit(narrow);
  cluster.run();
  EXPECT_EQ(cluster.broken().count(), 0U);
  // One full batch of 8 that runs already takes 3.1 ms; then the narrow call has its turn, in a batch with others.
  EXPECT_LE(cluster.report().latency.at(call_id{2}), 2 * 3100us);
  EXPECT_GT(cluster.report().latency.at(call_id{1}), 100ms);
}

} // namespace
} // namespace squall::sim
