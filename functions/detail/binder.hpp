#pragma once

#include "functions/dag.hpp"

#include <map>

namespace squall::functions::detail {

/// What flows along an edge: tensors in `depth` lists, one inside the other (a map adds one to what its function
/// gives).
struct edge_type {
  datatype type = datatype::fp32;
  functions::shape shape;
  int depth = 0;
};

/// "FP32 [1,-1]", "a list of lists of BYTES [1]".
[[nodiscard]] std::string describe(const edge_type& t);

/// A function of the catalogue for each stage of a spec, in its order; errors name the stage.
[[nodiscard]] result<std::vector<const registered_function*>> find_functions(const dag_spec& spec,
                                                                             const function_lookup& lookup);

/// Turns the names in a DAG's spec into indexes and checks types along the edges. Stages have their index in the spec
/// here; compile() puts them into topological order afterwards. `spec` and `functions` must outlive the binder.
class binder {
public:
  binder(const dag_spec& spec, const std::vector<const registered_function*>& functions);

  /// The stage without its producers and consumers.
  [[nodiscard]] result<stage> bind_stage(std::size_t index) const;
  [[nodiscard]] result<std::vector<resolved_source>> bind_outputs() const;
  /// An error that names the first input of the DAG that nothing reads and that is not optional.
  [[nodiscard]] result<> check_all_inputs_read(const std::vector<stage>& stages,
                                               const std::vector<resolved_source>& outputs) const;

private:
  struct typed_source {
    resolved_source source;
    edge_type type;
  };

  [[nodiscard]] std::string at(std::size_t index) const;
  [[nodiscard]] result<std::vector<variant_id>> bind_variants(std::size_t index) const;
  [[nodiscard]] result<typed_source> resolve(const std::string& where, const binding& b) const;
  [[nodiscard]] result<resolved_source> resolve_for(const std::string& where, const binding& b, const port& p,
                                                    bool mapped) const;
  [[nodiscard]] result<> bind_inputs_of(std::size_t index, stage& out) const;
  [[nodiscard]] result<> check_bound(std::size_t index, const stage& out) const;
  [[nodiscard]] result<resolved_predicate> bind_predicate(const std::string& where, bool in_map,
                                                          const predicate& p) const;

  const dag_spec& spec_;
  const std::vector<const registered_function*>& functions_;
  std::map<std::string_view, std::size_t> stage_at_;
};

/// Gives a constant the datatype of its port when it was written as a number (INT64 or FP64, one or more elements) and
/// is representable there; a single number also takes the port's rank. Other values are returned as they are, for
/// check_value() to judge.
[[nodiscard]] value fit_constant(const value& constant, const port& p);

} // namespace squall::functions::detail
