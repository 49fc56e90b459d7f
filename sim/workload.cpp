#include "sim/workload.hpp"

#include <cmath>

namespace squall::sim {

namespace placing = calls::placing;
using functions::resource_type;

std::int64_t batch_ms(const workload_variant& variant, std::size_t items, double stretch) {
  const double alone = variant.exec * (1 + variant.beta * static_cast<double>(items - 1));
  return static_cast<std::int64_t>(std::ceil(alone * stretch - 1e-9));
}

const workload_variant& variant_of(const workload& w, variant_id id) {
  const workload_function& f = w.functions[function_of(id)];
  return resource_of(id) == resource_type::gpu ? *f.gpu : *f.cpu;
}

namespace {

placing::variant_info variant_fact(const workload& w, variant_id id, const workload_variant& v) {
  placing::variant_info out;
  out.id = id;
  out.resource = resource_of(id);
  out.max_batch = v.batch_max;
  out.memory_bytes = v.memory_bytes;
  out.load = v.load * w.tick;
  out.cost = v.cost;
  for (std::uint32_t b = 1; b <= v.batch_max; ++b)
    out.batch_times.push_back(batch_ms(v, b) * w.tick);
  out.expected = out.batch_times.front();
  return out;
}

} // namespace

namespace {

placing::function_registered fact_of(const workload& w, std::size_t function, const workload_function& f) {
  placing::function_registered out{id_of_function(function), false, {}};
  if (f.cpu)
    out.variants.push_back(variant_fact(w, id_of_variant(function, resource_type::cpu), *f.cpu));
  if (f.gpu)
    out.variants.push_back(variant_fact(w, id_of_variant(function, resource_type::gpu), *f.gpu));
  return out;
}

} // namespace

placing::function_registered function_fact(const workload& w, std::size_t function) {
  return fact_of(w, function, w.functions[function]);
}

placing::function_registered profile_fact(const workload& w, const workload_profile& profile) {
  return fact_of(w, profile.function, profile.believed);
}

placing::dag_registered dag_fact(const workload& w, std::size_t dag) {
  placing::dag_registered out{id_of_dag(dag), {}};
  for (const workload_stage& s : w.dags[dag].stages) {
    placing::stage_info& stage = out.stages.emplace_back();
    stage.function = id_of_function(s.function);
    for (const auto& v : function_fact(w, s.function).variants)
      stage.variants.push_back(v.id);
    stage.producers = s.after;
    stage.map = s.map;
    stage.width_max = s.width_max;
    stage.conditional = s.chance_ppm.has_value();
    stage.chance_ppm = s.chance_ppm.value_or(1'000'000);
    stage.best_effort = s.best_effort;
    stage.needs = s.needs;
  }
  return out;
}

placing::node_joined node_fact(const workload& w, std::size_t node) {
  const workload_node& n = w.nodes[node];
  placing::node_joined out{id_of_node(node), {}, n.memory_bytes};
  for (std::uint32_t lane = 1; lane <= n.lanes; ++lane)
    out.lanes.push_back({lane_id{lane}, n.resource});
  return out;
}

} // namespace squall::sim
