// The policies of chapter 6 as the scheduler runs them, against the thesis's setting and the physics of the model.
#include "base/random.hpp"
#include "policy/selection.hpp"
#include "sim/dag_model.hpp"
#include "sim/kaas.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace squall::sim {
namespace {

/// A workload that is the kaas problem: GPUs of one lane each with memory for all, DAGs of one stage.
workload as_workload(const kaas_problem& p) {
  workload w;
  for (std::uint32_t g = 0; g < p.gpus; ++g)
    w.nodes.push_back({"g" + std::to_string(g), functions::resource_type::gpu, 1, 1'000'000});
  for (const kaas_model& m : p.models) {
    workload_variant gpu;
    gpu.exec = static_cast<double>(m.exec);
    gpu.load = m.cold;
    gpu.memory_bytes = 1;
    w.dags.push_back({m.name, {{m.name, w.functions.size(), {}, {}, false, 1}}});
    w.functions.push_back({m.name, {}, gpu});
  }
  for (const kaas_request& r : p.requests) {
    workload_request request;
    request.id = static_cast<std::uint64_t>(r.seq);
    request.arrival = r.arrival;
    request.dag = r.model;
    request.latency_slo = 1'000'000;
    w.requests.push_back(request);
  }
  w.horizon = 1000;
  return w;
}

/// Request, start and GPU of each batch, in the order in which they began to run.
class run_recorder final : public run_observer {
public:
  void loading(std::int64_t, replica_id replica, node_id node, variant_id) override { nodes_[replica] = node; }
  void running(std::int64_t at, replica_id replica, std::span<const calls::placing::task> tasks,
               std::int64_t) override {
    for (const auto& task : tasks)
      runs.push_back({static_cast<std::int64_t>(index_of(task.call)), at,
                      static_cast<std::uint32_t>(index_of(nodes_.at(replica))), false});
  }
  std::vector<kaas_dispatch> runs;

private:
  std::map<replica_id, node_id> nodes_;
};

kaas_problem random_kaas(random_source& r, const std::string& policy) {
  kaas_problem p;
  p.policy = policy;
  p.gpus = 1 + static_cast<std::uint32_t>(r.below(4));
  p.seed = r.below(1000);
  p.rebalance = policy::rebalance_rule::none;
  const std::uint64_t models = 1 + r.below(policy == "exclusive" ? p.gpus : 4);
  for (std::uint64_t m = 0; m < models; ++m)
    p.models.push_back({"m" + std::to_string(m), 1 + static_cast<std::int64_t>(r.below(9)),
                        1 + static_cast<std::int64_t>(r.below(9))});
  std::int64_t at = 0;
  for (std::uint64_t i = r.below(40); i > 0; --i) {
    at += static_cast<std::int64_t>(r.below(6));
    p.requests.push_back(
        {static_cast<std::int64_t>(p.requests.size()), at, static_cast<std::uint32_t>(r.below(models))});
  }
  return p;
}

TEST(HeldPolicies, TheSchedulerDoesWhatTheThesisSettingDoes) {
  random_source r{21};
  for (const std::string& policy : policy::selection_names()) {
    for (int i = 0; i < 60; ++i) {
      const kaas_problem p = random_kaas(r, policy);
      const auto expected = run_kaas(p);
      ASSERT_TRUE(expected.ok()) << expected.error().message;
      const workload w = as_workload(p);
      run_recorder recorder;
      dag_run_config config;
      config.scheduler.policy = policy == "exclusive" ? "exclusive:rebalance=off" : policy;
      config.seed = p.seed;
      dag_model model{w, config, recorder};
      const auto ran = model.run();
      ASSERT_TRUE(ran.ok()) << ran.error().message;
      // There a start is when the GPU is taken, here when the load has ended.
      std::vector<kaas_dispatch> wanted = expected->log;
      for (kaas_dispatch& d : wanted) {
        if (d.cold)
          d.start += p.models[p.requests[static_cast<std::size_t>(d.seq)].model].cold;
        d.cold = false;
      }
      const auto by_request = [](const kaas_dispatch& a, const kaas_dispatch& b) { return a.seq < b.seq; };
      std::sort(wanted.begin(), wanted.end(), by_request);
      std::sort(recorder.runs.begin(), recorder.runs.end(), by_request);
      ASSERT_EQ(recorder.runs, wanted) << policy << " " << i;
      EXPECT_EQ(model.summary().loads, expected->cold) << policy << " " << i;
    }
  }
}

/// CPU and GPU nodes short of memory, DAGs with branches and maps, nodes that leave and come back.
workload random_workload(random_source& r, bool losses) {
  workload w;
  w.nodes = {{"c0", functions::resource_type::cpu, 3, 900},
             {"c1", functions::resource_type::cpu, 2, 500},
             {"g0", functions::resource_type::gpu, 1, 300},
             {"g1", functions::resource_type::gpu, 2, 400}};
  for (int f = 0; f < 6; ++f) {
    const auto variant = [&](double exec) {
      workload_variant v;
      v.exec = exec;
      v.load = static_cast<std::int64_t>(r.below(30));
      v.memory_bytes = 50 + r.below(250);
      v.cost = static_cast<std::int64_t>(r.below(100));
      v.batch_max = 4;
      v.beta = 0.3;
      return v;
    };
    workload_function function{"f" + std::to_string(f), {}, {}};
    if (f != 1)
      function.cpu = variant(10 + static_cast<double>(r.below(40)));
    if (f != 2)
      function.gpu = variant(1 + static_cast<double>(r.below(9)));
    w.functions.push_back(function);
  }
  for (int d = 0; d < 3; ++d) {
    workload_dag dag{"d" + std::to_string(d), {}};
    for (stage_index s = 0; s < 5; ++s) {
      workload_stage stage{"s" + std::to_string(s), r.below(6), {}, {}, s == 2, s == 2 ? 4U : 1U};
      for (stage_index before = 0; before < s; ++before)
        if (r.unit() < 0.5)
          stage.after.push_back(before);
      if (s == 3)
        stage.chance_ppm = 400'000;
      dag.stages.push_back(stage);
    }
    w.dags.push_back(dag);
  }
  std::int64_t at = 0;
  for (std::uint64_t i = 1; i <= 150; ++i) {
    workload_request request;
    request.id = i;
    request.arrival = at += static_cast<std::int64_t>(r.below(20));
    request.dag = r.below(3);
    request.latency_slo = 100'000;
    request.truths = {{2, true, 1, 1 + static_cast<std::uint32_t>(r.below(4))}, {3, r.unit() < 0.4, 1.5, 1}};
    w.requests.push_back(request);
  }
  w.horizon = at;
  if (losses)
    w.changes = {{200, true, 3}, {400, true, 0}, {600, false, 3}, {700, false, 0}};
  return w;
}

TEST(HeldPolicies, RandomDagsRunToTheirEndWithinThePhysics) {
  random_source r{22};
  for (int i = 0; i < 12; ++i) {
    const workload w = random_workload(r, i % 2 == 1);
    for (const std::string policy : {"rr", "balance", "srtf:aging=50", "mlfq", "exclusive",
                                     "exclusive:group-size=on,warmup=1", "balance:batch=4"}) {
      dag_run_summary first;
      for (const std::uint64_t restore_every : {0, 7}) {
        run_observer nobody;
        dag_run_config config;
        config.scheduler.policy = policy;
        config.restore_every = restore_every;
        dag_model model{w, config, nobody};
        const auto ran = model.run();
        ASSERT_TRUE(ran.ok()) << policy << ": " << ran.error().message;
        const dag_run_summary& s = model.summary();
        EXPECT_EQ(s.admitted, 150U) << policy;
        if (w.changes.empty())
          EXPECT_EQ(s.finished, 150U) << policy;
        else
          EXPECT_GT(s.finished, 100U) << policy;
        if (restore_every == 0)
          first = s;
        EXPECT_EQ(s.end, first.end) << policy << ": a snapshot changes nothing";
        EXPECT_EQ(s.loads, first.loads) << policy;
        EXPECT_EQ(s.finished, first.finished) << policy;
      }
    }
  }
}

TEST(HeldPolicies, BatchesJoinWaitingTasksOfOneFunction) {
  kaas_problem p;
  p.gpus = 1;
  p.models = {{"m", 5, 10}};
  for (std::int64_t i = 0; i < 8; ++i)
    p.requests.push_back({i, 0, 0});
  workload w = as_workload(p);
  w.functions[0].gpu->batch_max = 4;
  w.functions[0].gpu->beta = 0.1;
  for (const auto& [policy, batches] : {std::pair{"balance", 8U}, {"balance:batch=16", 2U}}) {
    run_observer nobody;
    dag_run_config config;
    config.scheduler.policy = policy;
    dag_model model{w, config, nobody};
    ASSERT_TRUE(model.run().ok());
    EXPECT_EQ(model.summary().batches_gpu, batches) << policy;
    EXPECT_EQ(model.summary().tasks_gpu, 8U) << policy;
  }
}

} // namespace
} // namespace squall::sim
