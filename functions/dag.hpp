#pragma once

#include "functions/spec.hpp"

#include <functional>
#include <memory>
#include <span>
#include <type_traits>

namespace squall::functions {

/// A function as the catalogue knows it.
struct registered_function {
  function_id id;
  function_spec spec;
  std::vector<variant_id> variants; ///< parallel to spec.variants

  template <class S, class V>
  static void fields(S& s, V& v) {
    v("id", s.id);
    v("spec", s.spec);
    v("variants", s.variants);
  }
};

/// Finds a function by name and version (0 = latest); null when there is none. Valid until the catalogue changes.
using function_lookup = std::function<const registered_function*(std::string_view name, std::uint32_t version)>;

/// A source with names resolved to indexes.
struct resolved_source {
  binding::source from = binding::source::dag_input;
  stage_index stage = 0;  ///< with stage_output
  std::uint32_t port = 0; ///< index of the DAG's input or of the stage's output
  functions::value constant;
};

struct resolved_input {
  resolved_source source;
  bool mapped = false; ///< its list is taken apart
  bool required =
      true;           ///< the function's port is not optional (state ports, which the sequence fills, are not required)
  bool bound = false; ///< false: an optional port that the stage leaves absent, or a state port
};

/// A predicate with its subject resolved.
struct resolved_predicate {
  predicate::op operation = predicate::op::present;
  resolved_source subject;
  std::variant<double, std::string> operand;
  std::vector<resolved_predicate> children;
};

/// A stage of a validated DAG.
struct stage {
  std::string name;
  function_id function;
  std::vector<variant_id> variants;   ///< of the function, those that the stage allows (all, or the pinned one)
  std::vector<resolved_input> inputs; ///< one per input port of the function, in its order
  std::uint32_t output_count = 0;
  bool map = false;
  std::uint32_t width_max = 0;
  std::optional<resolved_predicate> when;
  join_rule join;
  bool may_fail = false;
  std::vector<stage_index> producers; ///< stages whose outputs it reads, in inputs or `when`; ascending, each once
  std::vector<stage_index>
      consumers; ///< stages that read its outputs; ascending; the pseudo-stage stages.size() gathers the DAG's outputs
};

/// A validated DAG in topological order, immutable. The pseudo-stage `exit()` consumes every output and every stage
/// without a consumer.
struct dag {
  dag_id id;
  dag_spec spec;
  std::vector<stage> stages;               ///< topological order (ties: the order of the spec)
  std::vector<resolved_source> outputs;    ///< parallel to spec.outputs
  std::vector<stage_index> exit_producers; ///< ascending

  [[nodiscard]] stage_index exit() const { return static_cast<stage_index>(stages.size()); }
};

/// Validates a DAG against the catalogue and resolves its names. Errors name the DAG, the stage and what would fix it:
/// cycle, unknown function or version, missing, unknown or doubly bound input, datatype or shape mismatch along an
/// edge, list given where a tensor is wanted and the reverse, a stage that nothing can reach or that reads a value that
/// does not exist (also in `when`), bad join, an input of the DAG that nothing reads and that is not optional, limits.
/// A constant of INT64 or FP64 takes the datatype of its port if it fits there.
[[nodiscard]] result<std::shared_ptr<const dag>> compile(const dag_spec& spec, dag_id id,
                                                         const function_lookup& lookup);

/// The DAG of a single stage "run" that runs `function` with its own inputs and outputs, so that a function is called
/// like a DAG. State ports are not among them.
[[nodiscard]] dag_spec dag_of_function(const function_spec& function);

/// Fits inputs of a call to the ports: unknown and missing names, datatypes and shapes are errors that name the input
/// and say what was expected. The values come out in the order of the ports.
[[nodiscard]] result<std::vector<value>> bind_inputs(std::string_view what, const std::vector<port>& ports,
                                                     std::vector<named_value> inputs);

/// Checks one value against a port (used for a function's outputs too). `what` names it in the message. Every element
/// of a list must be there: only the results of a map have absent elements, and those are checked one by one.
[[nodiscard]] result<> check_value(std::string_view what, const port& p, const value& v);

/// The same where most values fit: `what` makes the name, only for the message.
template <class F>
requires std::is_invocable_r_v<std::string, F>
[[nodiscard]] result<> check_value(const F& what, const port& p, const value& v) {
  if (auto fits = check_value(std::string_view{}, p, v); fits.ok())
    return fits;
  return check_value(std::string_view{what()}, p, v);
}

/// Evaluates a condition. `get` gives the value of a source (null or absent when there is none); `element` selects the
/// element of lists inside a map (no value: not in a map). An element past the end of a list is absent.
[[nodiscard]] bool evaluate(const resolved_predicate& p, const std::function<const value*(const resolved_source&)>& get,
                            std::optional<std::size_t> element);

} // namespace squall::functions
