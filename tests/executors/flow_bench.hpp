#pragma once

#include "executors/flow.hpp"
#include "tests/functions/builders.hpp"

#include <algorithm>
#include <deque>
#include <map>
#include <string>
#include <vector>

/// Flows of one call on any number of nodes, with made-up functions and a made-up network, in one thread.
namespace squall::executors::testing {

namespace ft = functions::testing;
using functions::value;
using functions::value_list;

inline value number(float n) { return ft::floats({1}, {n}); }
inline float number_of(const value& v) { return static_cast<float>(functions::first_number(v).value()); }

inline value_list numbers(std::initializer_list<float> row) {
  value_list out;
  for (const auto n : row)
    out.push_back(number(n));
  return out;
}

inline functions::port port_of(std::string name, bool optional = false, bool list = false) {
  return {std::move(name), functions::datatype::fp32, {1}, list, optional};
}

/// add(a, b), id(a), first(a?, b?, c?), split(a) -> xs (a list), sum(xs) and state(a, s) -> x, t.
inline ft::catalogue make_catalogue() {
  ft::catalogue c;
  c.add(ft::function_of("id", {port_of("a")}, {port_of("x")}));
  c.add(ft::function_of("add", {port_of("a"), port_of("b")}, {port_of("x")}));
  c.add(ft::function_of("first", {port_of("a", true), port_of("b", true), port_of("c", true)}, {port_of("x")}));
  c.add(ft::function_of("split", {port_of("a")}, {port_of("xs", false, true), port_of("n")}));
  c.add(ft::function_of("sum", {port_of("xs", false, true)}, {port_of("x")}));
  return c;
}

/// A validated DAG. Aborts the test when it is not valid.
inline result<std::shared_ptr<const flow_graph>> try_graph(const functions::dag_spec& spec) {
  static const auto known = make_catalogue();
  SQUALL_ASSIGN(dag, functions::compile(spec, dag_id{1}, known.lookup()));
  return make_flow_graph(dag, [&](function_id id) {
    for (const auto* name : {"id", "add", "first", "split", "sum"})
      if (const auto* f = known.lookup()(name, 0); f->id == id)
        return std::make_shared<const functions::registered_function>(*f);
    return std::shared_ptr<const functions::registered_function>{};
  });
}

inline std::shared_ptr<const flow_graph> graph_of(const functions::dag_spec& spec) {
  auto graph = try_graph(spec);
  SQUALL_CHECK(graph.ok(), graph.error().message);
  return *graph;
}

/// What the made-up functions compute; an error when the result is a multiple of `fails_at`.
inline result<std::vector<value>> run_function(const std::string& name, const std::vector<value>& inputs,
                                               int fails_at = 0) {
  float x = 0;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const auto weight = static_cast<float>(i + 1);
    if (inputs[i].as_tensor())
      x += weight * number_of(inputs[i]);
    else if (const auto* list = inputs[i].as_list())
      for (std::size_t e = 0; e < list->size(); ++e)
        x += (*list)[e].absent() ? 7 : static_cast<float>(e + 1) * number_of((*list)[e]);
  }
  if (name == "id")
    x = number_of(inputs[0]);
  if (name == "first") {
    const auto here = std::find_if(inputs.begin(), inputs.end(), [](const value& v) { return !v.absent(); });
    x = here == inputs.end() ? -1 : number_of(*here);
  }
  x = static_cast<float>(static_cast<int>(x) % 1000);
  if (fails_at > 0 && static_cast<int>(x) % fails_at == 0)
    return {errc::failed, "made to fail"};
  if (name != "split")
    return std::vector{number(x)};
  value_list row;
  for (int i = 0; i < static_cast<int>(x) % 5; ++i)
    row.push_back(number(x + static_cast<float>(i)));
  return std::vector{value{row}, number(static_cast<float>(row.size()))};
}

inline functions::dag_spec dag_of(std::vector<functions::port> inputs, std::vector<functions::stage_spec> stages,
                                  std::vector<functions::dag_output> outputs) {
  functions::dag_spec spec;
  spec.name = "d";
  spec.inputs = std::move(inputs);
  spec.stages = std::move(stages);
  spec.outputs = std::move(outputs);
  return spec;
}

/// Every stage on node 1, or where `homes` says (by name), the exit on `exit`.
inline calls::plan plan_of(const flow_graph& graph, const std::map<std::string, std::uint64_t>& homes = {},
                           std::uint64_t exit = 1) {
  calls::plan plan;
  for (const auto& s : graph.dag->stages) {
    const auto at = homes.find(s.name);
    plan.stages.push_back({s.variants.front(), node_id{at == homes.end() ? 1 : at->second}, {}});
  }
  plan.exit = node_id{exit};
  return plan;
}

inline stage_index stage_named(const flow_graph& graph, const std::string& name) {
  for (stage_index s = 0; s < graph.dag->stages.size(); ++s)
    if (graph.dag->stages[s].name == name)
      return s;
  SQUALL_CHECK(false, name);
  return 0;
}

} // namespace squall::executors::testing
