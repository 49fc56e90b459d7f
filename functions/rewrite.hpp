#pragma once

#include "functions/dag.hpp"

#include <functional>
#include <optional>
#include <string_view>
#include <vector>

/// Rules that make a DAG into another one with the same results (Cloudflow, section 4). Pure.
namespace squall::functions {

/// What a rule needs to know of a variant that is a builtin.
struct builtin_facts {
  bool fusible = false; ///< may be a step of a chain
  bool light = false;
  std::vector<std::string> resources{}; ///< its parameters that are keys of the store
};

/// None for a variant that is no builtin.
using builtin_lookup = std::function<std::optional<builtin_facts>(const variant_spec&)>;

/// A rewritten DAG, and the functions that it runs beside those of the catalogue; they have the DAG's version.
struct rewritten_dag {
  dag_spec spec;
  std::vector<function_spec> functions;
};

/// The names for `optimize`, ascending.
[[nodiscard]] const std::vector<std::string_view>& rewrite_rules();

/// Applies the rules that the DAG names, whatever their order there:
/// - compete: a stage with `compete: k` becomes k replicas that may fail, and a join of the stage's name that hands on
///   the first answer (join count 1, `must`). Replicas that are not needed any more are cancelled (executors/flow.hpp).
/// - fuse: builtin stages one after the other become one stage that runs them in one go (functions/chain.hpp). A stage
///   joins the one before it when that has no other reader among the stages, both are maps or neither is, and
///   everything else that it reads is sure to be there before the first of them starts; and it has no condition, no
///   other join than `all`, and may not fail. So nothing starts later than it did, but for what the lanes were free
///   for.
/// - locality: leaves the DAG as it is; the controller places calls by what they read (controller/catalogue.hpp).
/// Errors: what compile() says of the DAG, an unknown rule, more than max_competitors, and replicas of a map or of a
/// stage with state.
[[nodiscard]] result<rewritten_dag> rewrite(const dag_spec& spec, const function_lookup& lookup,
                                            const builtin_lookup& builtins);

/// A DAG that runs `first`, and then `next` on the outputs of `last`, which are the first ones of `first` and have the
/// ports `outputs`; `last` is the DAG that ended `first`, or `first` itself. An input of `next` takes the output of
/// that name; if none of its inputs finds one, its only required input takes the only output. Inputs that find none
/// become inputs of the whole, shared by name. The outputs are those of `next`, and those before as "DAG.OUTPUT"; the
/// stages are named "DAG--STAGE" ("DAG.again.OUTPUT" and "DAG--again-STAGE" where a DAG runs twice). Errors name the
/// input that does not fit.
[[nodiscard]] result<dag_spec> sequel(const dag_spec& first, std::string_view last, const std::vector<port>& outputs,
                                      const dag_spec& next);

/// The port that an output of a DAG has: that of what it reads, under its own name. `get` finds its functions.
[[nodiscard]] port output_port(const dag& d, std::size_t output,
                               const std::function<const function_spec*(function_id)>& get);

} // namespace squall::functions
