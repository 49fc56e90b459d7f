#include "policy/calendar/plans.hpp"

#include <algorithm>
#include <tuple>

namespace squall::policy::calendar {

namespace {

const variant_entry& chosen(const dag_stage& stage, std::size_t choice, const std::vector<variant_entry>& variants) {
  return variants[stage.variants[choice]];
}

ns widest(const dag_stage& stage) { return std::max<ns>(1, stage.info.width_max); }

/// Latency on an empty cluster and cost, if all branches run.
void measure(const dag_entry& dag, const std::vector<variant_entry>& variants, plan_entry& plan) {
  std::vector<ns> ends(dag.stages.size(), 0);
  plan.latency = 0;
  plan.cost = 0;
  for (std::size_t s = 0; s < dag.stages.size(); ++s) {
    const dag_stage& stage = dag.stages[s];
    const variant_entry& v = chosen(stage, plan.choice[s], variants);
    ns start = 0;
    for (const stage_index p : stage.info.producers)
      start = std::max(start, ends[p]);
    ends[s] = start + v.times.front();
    plan.latency = std::max(plan.latency, ends[s]);
    plan.cost += v.info.cost * widest(stage);
  }
}

void add_plan(dag_entry& dag, const std::vector<variant_entry>& variants, plan_entry plan) {
  for (const plan_entry& p : dag.plans)
    if (p.choice == plan.choice)
      return;
  measure(dag, variants, plan);
  dag.plans.push_back(std::move(plan));
}

void add_all(dag_entry& dag, const std::vector<variant_entry>& variants) {
  plan_entry plan;
  plan.choice.assign(dag.stages.size(), 0);
  for (;;) {
    plan_entry copy = plan;
    measure(dag, variants, copy);
    dag.plans.push_back(std::move(copy));
    std::size_t s = 0;
    while (s < dag.stages.size() && ++plan.choice[s] == dag.stages[s].variants.size())
      plan.choice[s++] = 0;
    if (s == dag.stages.size())
      return;
  }
}

/// The choice of each stage is best by itself for one set of weights.
void add_swept(dag_entry& dag, const std::vector<variant_entry>& variants) {
  constexpr std::int64_t levels[] = {0, 1, 4, 16, 64};
  for (const std::int64_t time : levels)
    for (const std::int64_t cost : levels)
      for (const std::int64_t gpu : levels) {
        if (dag.plans.size() >= max_plans)
          return;
        plan_entry plan;
        for (const dag_stage& stage : dag.stages) {
          std::int64_t best_score = 0;
          std::uint8_t best = 0;
          for (std::size_t i = 0; i < stage.variants.size(); ++i) {
            const variant_entry& v = chosen(stage, i, variants);
            const ns t = v.times.front() / 1000;
            const ns lane = v.times.back() / 1000 / static_cast<ns>(v.times.size());
            const std::int64_t score =
                t * time + v.info.cost / 1000 * cost + lane * (v.resource() == 1 ? gpu : 1) + static_cast<ns>(i);
            if (i == 0 || score < best_score) {
              best_score = score;
              best = static_cast<std::uint8_t>(i);
            }
          }
          plan.choice.push_back(best);
        }
        add_plan(dag, variants, std::move(plan));
      }
}

void derive_times(dag_entry& dag, const std::vector<variant_entry>& variants) {
  const auto fastest = [&](const dag_stage& stage) {
    ns least = far_off;
    for (const slot v : stage.variants)
      least = std::min(least, variants[v].times.front());
    return least;
  };
  std::vector<ns> head(dag.stages.size(), 0);
  for (std::size_t s = 0; s < dag.stages.size(); ++s) {
    ns start = 0;
    for (const stage_index p : dag.stages[s].info.producers)
      start = std::max(start, head[p]);
    head[s] = start + fastest(dag.stages[s]);
  }
  dag.least_latency = 0;
  for (std::size_t s = dag.stages.size(); s-- > 0;) {
    dag_stage& stage = dag.stages[s];
    ns after = 0;
    for (const std::uint32_t c : stage.consumers)
      after = std::max(after, dag.stages[c].tail);
    stage.tail = after + fastest(stage);
    stage.share = 1024 * head[s] / std::max<ns>(1, head[s] + after);
    dag.least_latency = std::max(dag.least_latency, head[s] + after);
  }
}

} // namespace

bool derive(dag_entry& dag, const std::vector<variant_entry>& variants) {
  std::size_t count = 1;
  for (std::uint32_t s = 0; s < dag.stages.size(); ++s) {
    dag.stages[s].consumers.clear();
    if (dag.stages[s].variants.empty())
      return false;
    for (const stage_index p : dag.stages[s].info.producers) {
      if (p >= s)
        return false;
      dag.stages[p].consumers.push_back(s);
    }
    count = std::min<std::size_t>(count * dag.stages[s].variants.size(), max_plans + 1);
  }
  for (dag_stage& stage : dag.stages)
    stage.optional =
        !stage.consumers.empty() && std::all_of(stage.consumers.begin(), stage.consumers.end(),
                                                [&](std::uint32_t c) { return dag.stages[c].info.best_effort > 0; });
  derive_times(dag, variants);
  dag.plans.clear();
  dag.listed = count <= max_plans;
  if (dag.listed) {
    add_all(dag, variants);
  } else {
    for (const auto& choice : dag.front)
      add_plan(dag, variants, {choice, 0, 0});
    add_swept(dag, variants);
  }
  std::sort(dag.plans.begin(), dag.plans.end(), [](const plan_entry& a, const plan_entry& b) {
    return std::tie(a.cost, a.latency, a.choice) < std::tie(b.cost, b.latency, b.choice);
  });
  dag.least_cost = dag.plans.empty() ? 0 : dag.plans.front().cost;
  return true;
}

placing::compute front_problem(const dag_entry& dag, const std::vector<variant_entry>& variants) {
  placing::compute out{dag.id, {}};
  for (const dag_stage& stage : dag.stages) {
    placing::front_stage& of = out.stages.emplace_back();
    of.producers = stage.info.producers;
    for (const slot s : stage.variants) {
      const variant_entry& v = variants[s];
      const duration lane{v.times.back() / static_cast<ns>(v.times.size()) * widest(stage)};
      placing::front_stage::option& o = of.options.emplace_back();
      o.latency = duration{v.times.front()};
      o.cost = v.info.cost * widest(stage);
      (v.resource() == 1 ? o.gpu : o.cpu) = lane;
      o.gpu_bytes = v.resource() == 1 ? v.info.memory_bytes : 0;
    }
  }
  return out;
}

} // namespace squall::policy::calendar
