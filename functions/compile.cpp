#include "functions/dag.hpp"
#include "functions/detail/binder.hpp"
#include "functions/detail/text.hpp"

#include <algorithm>
#include <set>

namespace squall::functions {

using detail::quoted;

namespace {

using index_set = std::set<stage_index>;

void add_producer(const resolved_source& source, index_set& out) {
  if (source.from == binding::source::stage_output)
    out.insert(source.stage);
}

bool is_connective(predicate::op operation) {
  return operation == predicate::op::all || operation == predicate::op::any || operation == predicate::op::negate;
}

/// Calls `visit` with each subject of a condition.
template <class Predicate, class Visit>
void for_each_subject(Predicate& p, const Visit& visit) {
  if (!is_connective(p.operation))
    visit(p.subject);
  for (auto& child : p.children)
    for_each_subject(child, visit);
}

/// The stages that a stage's inputs take from; those of `when` are not among them.
index_set input_producers(const stage& s) {
  index_set out;
  for (const auto& input : s.inputs)
    if (input.bound)
      add_producer(input.source, out);
  return out;
}

index_set all_producers(const stage& s) {
  auto out = input_producers(s);
  if (s.when)
    for_each_subject(*s.when, [&](const resolved_source& subject) { add_producer(subject, out); });
  return out;
}

// -- order
// ---------------------------------------------------------------------------------------------------------------

/// The cycle that is met when going back from the first stage that could not be ordered, in the direction of the data.
std::string describe_cycle(const dag_spec& spec, const std::vector<index_set>& producers,
                           const std::vector<bool>& ordered) {
  std::vector<stage_index> path;
  auto current = static_cast<stage_index>(std::find(ordered.begin(), ordered.end(), false) - ordered.begin());
  while (std::find(path.begin(), path.end(), current) == path.end()) {
    path.push_back(current);
    // A stage that is left over has a producer that is left over.
    current = *std::find_if(producers[current].begin(), producers[current].end(), [&](auto p) { return !ordered[p]; });
  }
  path.erase(path.begin(), std::find(path.begin(), path.end(), current));
  std::reverse(path.begin(), path.end());
  std::vector<std::string_view> names;
  for (const auto i : path)
    names.push_back(spec.stages[i].name);
  // Begin with the stage that comes first in the spec, where the reader looks first.
  const auto first = std::min_element(path.begin(), path.end()) - path.begin();
  std::rotate(names.begin(), names.begin() + first, names.end());
  std::string out;
  for (const auto name : names)
    out += std::string{name} + " -> ";
  return out + std::string{names.front()};
}

/// Indexes into the spec, producers first, ties by the order of the spec.
result<std::vector<stage_index>> topological_order(const dag_spec& spec, const std::vector<index_set>& producers) {
  const auto count = producers.size();
  std::vector<std::size_t> waiting_for(count);
  std::vector<std::vector<stage_index>> consumers(count);
  index_set ready;
  for (stage_index i = 0; i < count; ++i) {
    waiting_for[i] = producers[i].size();
    if (producers[i].empty())
      ready.insert(i);
    for (const auto p : producers[i])
      consumers[p].push_back(i);
  }
  std::vector<stage_index> order;
  std::vector<bool> ordered(count);
  while (!ready.empty()) {
    const auto next = *ready.begin();
    ready.erase(ready.begin());
    order.push_back(next);
    ordered[next] = true;
    for (const auto c : consumers[next])
      if (--waiting_for[c] == 0)
        ready.insert(c);
  }
  if (order.size() < count)
    return {errc::invalid_argument, "DAG " + quoted(spec.name) + " has a cycle: " +
                                        describe_cycle(spec, producers, ordered) + "; remove one of these edges"};
  return order;
}

/// Renames stages from their index in the spec to their place in the order.
class renumbering {
public:
  explicit renumbering(const std::vector<stage_index>& order) : place_(order.size()) {
    for (stage_index i = 0; i < order.size(); ++i)
      place_[order[i]] = i;
  }

  void apply(resolved_source& source) const {
    if (source.from == binding::source::stage_output)
      source.stage = place_[source.stage];
  }
  void apply(stage& s) const {
    for (auto& input : s.inputs)
      apply(input.source);
    if (s.when)
      for_each_subject(*s.when, [&](resolved_source& subject) { apply(subject); });
  }

private:
  std::vector<stage_index> place_;
};

// -- absence
// -------------------------------------------------------------------------------------------------------------

/// Whether a stage's outputs, or elements of them in a map, may be absent.
struct absence {
  bool whole = false;
  bool elements = false;
  bool skipped = false; ///< as `whole`, for another reason than a failure of the stage itself
};

/// Finds out what may be absent, stage by stage in topological order, and judges joins by it.
class absence_rules {
public:
  absence_rules(const dag_spec& spec, const std::vector<const registered_function*>& functions,
                const std::vector<stage>& stages)
      : spec_(spec), functions_(functions), stages_(stages) {}

  /// `function` is the one of the stage's spec. To be called in topological order.
  result<> add(const stage& s, const function_spec& function) {
    absence out;
    if (s.join.rule == join_rule::kind::all)
      out = after_all(s);
    else {
      SQUALL_TRY(check_join(s, function));
      out = after_some(s);
    }
    if (s.when) {
      const bool by_element = s.map && tests_a_list(s);
      (by_element ? out.elements : out.whole) = true;
    }
    out.skipped = out.whole;
    if (s.may_fail) {
      out.whole = true;
      out.elements |= s.map;
    }
    of_stage_.push_back(out);
    return {};
  }

private:
  [[nodiscard]] absence of(const resolved_source& source) const {
    switch (source.from) {
      case binding::source::dag_input:
        return {spec_.inputs[source.port].optional, false, spec_.inputs[source.port].optional};
      case binding::source::stage_output:
        return of_stage_[source.stage];
      case binding::source::constant:
        break;
    }
    return {};
  }

  [[nodiscard]] bool is_list(const resolved_source& source) const {
    if (source.from == binding::source::dag_input)
      return spec_.inputs[source.port].list;
    return stages_[source.stage].map || functions_[source.stage]->spec.outputs[source.port].list;
  }

  [[nodiscard]] bool tests_a_list(const stage& s) const {
    bool found = false;
    for_each_subject(*s.when, [&](const resolved_source& subject) { found |= is_list(subject); });
    return found;
  }

  /// Join `all`: what a required input lacks, the stage lacks.
  [[nodiscard]] absence after_all(const stage& s) const {
    absence out;
    for (const auto& input : s.inputs) {
      if (!input.bound || !input.required)
        continue;
      const auto from = of(input.source);
      out.whole |= from.whole;
      out.elements |= input.mapped && from.elements;
    }
    return out;
  }

  static std::uint32_t needed(const stage& s) { return s.join.rule == join_rule::kind::any ? 1 : s.join.count; }

  /// Join `any` or `count`: absent when too few producers are sure to come.
  [[nodiscard]] absence after_some(const stage& s) const {
    index_set sure, sure_in_elements;
    for (const auto& input : s.inputs) {
      if (!input.bound || input.source.from != binding::source::stage_output)
        continue;
      const auto from = of(input.source);
      if (s.join.must ? !from.skipped : !from.whole) // when those fail that must not, the call fails
        sure.insert(input.source.stage);
      if (!from.whole && !(input.mapped && from.elements))
        sure_in_elements.insert(input.source.stage);
    }
    return {sure.size() < needed(s), s.map && sure_in_elements.size() < needed(s), false};
  }

  [[nodiscard]] result<> check_join(const stage& s, const function_spec& function) const {
    const auto where = "DAG " + quoted(spec_.name) + ", stage " + quoted(s.name);
    const auto producers = input_producers(s).size();
    if (s.join.rule == join_rule::kind::count && s.join.count == 0)
      return {errc::invalid_argument, where + ": join counts 0 producers; use 1 or more"};
    if (producers < needed(s))
      return {errc::invalid_argument, where + ": join needs " + std::to_string(needed(s)) +
                                          " producer(s), but its inputs take from " + std::to_string(producers) +
                                          " stage(s)"};
    for (std::size_t i = 0; i < s.inputs.size(); ++i) {
      const auto& input = s.inputs[i];
      if (!input.bound || !input.required)
        continue;
      const auto from = of(input.source);
      if (from.whole || (input.mapped && from.elements))
        return {errc::invalid_argument, where + ": input " + quoted(function.inputs[i].name) +
                                            " may be absent under this join, because " + name_of(input.source) +
                                            " may be; make the port optional in function " + quoted(function.name) +
                                            ", or use join: all"};
    }
    return {};
  }

  [[nodiscard]] std::string name_of(const resolved_source& source) const {
    return source.from == binding::source::dag_input ? "input " + quoted(spec_.inputs[source.port].name) + " of the DAG"
                                                     : "stage " + quoted(stages_[source.stage].name);
  }

  const dag_spec& spec_;
  const std::vector<const registered_function*>& functions_; ///< in topological order
  const std::vector<stage>& stages_;
  std::vector<absence> of_stage_;
};

// -- graph
// ---------------------------------------------------------------------------------------------------------------

/// Fills producers, consumers and exit_producers of stages in their final order.
void connect(dag& d) {
  index_set exits;
  for (const auto& output : d.outputs)
    add_producer(output, exits);
  for (stage_index i = 0; i < d.stages.size(); ++i) {
    const auto producers = all_producers(d.stages[i]);
    d.stages[i].producers.assign(producers.begin(), producers.end());
    for (const auto p : producers)
      d.stages[p].consumers.push_back(i);
  }
  for (stage_index i = 0; i < d.stages.size(); ++i) {
    auto& s = d.stages[i];
    if (s.consumers.empty())
      exits.insert(i);
    if (exits.contains(i))
      s.consumers.push_back(d.exit());
  }
  d.exit_producers.assign(exits.begin(), exits.end());
}

} // namespace

result<std::shared_ptr<const dag>> compile(const dag_spec& spec, dag_id id, const function_lookup& lookup) {
  SQUALL_TRY(validate(spec));
  SQUALL_ASSIGN(functions, detail::find_functions(spec, lookup));
  const detail::binder names{spec, functions};
  std::vector<stage> in_spec_order;
  std::vector<index_set> producers;
  for (std::size_t i = 0; i < spec.stages.size(); ++i) {
    SQUALL_ASSIGN(bound, names.bind_stage(i));
    producers.push_back(all_producers(bound));
    in_spec_order.push_back(std::move(bound));
  }
  SQUALL_ASSIGN(order, topological_order(spec, producers));
  SQUALL_ASSIGN(outputs, names.bind_outputs());
  SQUALL_TRY(names.check_all_inputs_read(in_spec_order, outputs));

  auto out = std::make_shared<dag>();
  out->id = id;
  out->spec = spec;
  out->outputs = std::move(outputs);
  const renumbering places{order};
  std::vector<const registered_function*> ordered_functions;
  for (const auto i : order) {
    out->stages.push_back(std::move(in_spec_order[i]));
    places.apply(out->stages.back());
    ordered_functions.push_back(functions[i]);
  }
  for (auto& output : out->outputs)
    places.apply(output);
  absence_rules rules{spec, ordered_functions, out->stages};
  for (std::size_t i = 0; i < out->stages.size(); ++i)
    SQUALL_TRY(rules.add(out->stages[i], ordered_functions[i]->spec));
  connect(*out);
  return std::shared_ptr<const dag>{std::move(out)};
}

dag_spec dag_of_function(const function_spec& function) {
  dag_spec out;
  out.name = function.name;
  out.version = function.version;
  stage_spec run;
  run.name = "run";
  run.function = function.name;
  run.version = function.version;
  for (const auto& p : function.inputs) {
    if (std::any_of(function.state.begin(), function.state.end(), [&](const auto& s) { return s.input == p.name; }))
      continue;
    out.inputs.push_back(p);
    run.inputs.push_back({p.name, {binding::source::dag_input, {}, p.name, {}}});
  }
  for (const auto& p : function.outputs) {
    if (std::any_of(function.state.begin(), function.state.end(), [&](const auto& s) { return s.output == p.name; }))
      continue;
    out.outputs.push_back({p.name, {binding::source::stage_output, run.name, p.name, {}}});
  }
  out.stages.push_back(std::move(run));
  return out;
}

} // namespace squall::functions
