#include "executors/flow_graph.hpp"

#include <algorithm>

namespace squall::executors {

namespace {

using functions::binding;
using functions::predicate;
using functions::resolved_predicate;
using functions::resolved_source;

void insert_once(std::vector<stage_index>& row, stage_index s) {
  const auto at = std::lower_bound(row.begin(), row.end(), s);
  if (at == row.end() || *at != s)
    row.insert(at, s);
}

template <class Visit>
void for_each_subject(const resolved_predicate& p, const Visit& visit) {
  const bool connective =
      p.operation == predicate::op::all || p.operation == predicate::op::any || p.operation == predicate::op::negate;
  if (!connective)
    visit(p.subject);
  for (const auto& child : p.children)
    for_each_subject(child, visit);
}

class graph_builder {
public:
  explicit graph_builder(flow_graph& out) : out_(out), dag_(*out.dag) {}

  void add_stage(stage_index index, std::shared_ptr<const functions::registered_function> function) {
    const auto& s = dag_.stages[index];
    auto& facts = out_.stages[index];
    facts.first_output = out_.output_count;
    out_.output_count += s.output_count;
    facts.readers.resize(s.output_count);
    facts.waits_for_start = s.producers.empty();
    facts.stateful = !function->spec.state.empty();
    facts.function = std::move(function);
    for (std::uint32_t i = 0; i < s.inputs.size(); ++i)
      if (s.inputs[i].bound)
        add_input(index, i);
    if (s.when)
      for_each_subject(*s.when, [&](const resolved_source& subject) { add_subject(index, subject); });
  }

  void add_output(const resolved_source& source) {
    if (source.from == binding::source::dag_input)
      out_.exit_waits_for_start = true;
    else if (source.from == binding::source::stage_output)
      insert_once(out_.stages[source.stage].readers[source.port], dag_.exit());
  }

private:
  void add_input(stage_index index, std::uint32_t input) {
    auto& facts = out_.stages[index];
    const auto& source = dag_.stages[index].inputs[input].source;
    if (source.from == binding::source::constant)
      return;
    read(index, source);
    if (source.from == binding::source::stage_output)
      insert_once(facts.join_producers, source.stage);
    if (port_of(source).shape != facts.function->spec.inputs[input].shape)
      facts.inputs_to_check.push_back(input);
  }

  void add_subject(stage_index index, const resolved_source& subject) {
    auto& facts = out_.stages[index];
    read(index, subject);
    if (subject.from == binding::source::stage_output)
      insert_once(facts.when_producers, subject.stage);
    facts.when_by_element |= dag_.stages[index].map && is_list(subject);
  }

  void read(stage_index reader, const resolved_source& source) {
    if (source.from == binding::source::dag_input)
      out_.stages[reader].waits_for_start = true;
    else
      insert_once(out_.stages[source.stage].readers[source.port], reader);
  }

  [[nodiscard]] const functions::port& port_of(const resolved_source& source) const {
    return source.from == binding::source::dag_input ? dag_.spec.inputs[source.port]
                                                     : out_.stages[source.stage].function->spec.outputs[source.port];
  }

  [[nodiscard]] bool is_list(const resolved_source& source) const {
    return port_of(source).list || (source.from == binding::source::stage_output && dag_.stages[source.stage].map);
  }

  flow_graph& out_;
  const functions::dag& dag_;
};

} // namespace

result<std::shared_ptr<const flow_graph>> make_flow_graph(std::shared_ptr<const functions::dag> dag,
                                                          const find_function& find) {
  auto graph = std::make_shared<flow_graph>();
  graph->dag = std::move(dag);
  graph->stages.resize(graph->dag->stages.size());
  graph_builder builder{*graph};
  for (stage_index i = 0; i < graph->stages.size(); ++i) {
    auto function = find(graph->dag->stages[i].function);
    if (!function)
      return {errc::not_found, "DAG '" + graph->dag->spec.name + "', stage '" + graph->dag->stages[i].name +
                                   "': function " + to_string(graph->dag->stages[i].function) + " is not known here"};
    builder.add_stage(i, std::move(function));
  }
  for (const auto& output : graph->dag->outputs)
    builder.add_output(output);
  return std::shared_ptr<const flow_graph>{std::move(graph)};
}

} // namespace squall::executors
