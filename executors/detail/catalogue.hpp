#pragma once

#include "calls/queueing.hpp"
#include "executors/flow_graph.hpp"
#include "functions/builtin/builtin.hpp"

#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

namespace squall::executors {

/// A variant of a known function.
struct node_variant {
  variant_id id;
  std::shared_ptr<const functions::registered_function> function;
  std::size_t index = 0;                                    ///< in the function's variants
  std::vector<functions::builtins::resource_key> resources; ///< to be fetched before a load
  bool may_be_light = false;                                ///< a light, stateless builtin that reads no foreign bytes
  const functions::builtins::builtin* reads_objects = nullptr; ///< set: each run reads objects of the store
  bool hands_on = false;                                       ///< light whatever the size of its inputs
  std::unique_ptr<functions::builtins::instance> light; ///< set: small runs happen right here, in the node's own thread

  [[nodiscard]] const functions::variant_spec& spec() const { return function->spec.variants[index]; }
};

/// What the controller has told this node about functions and DAGs. Forgotten functions stay until the last DAG that
/// uses them and the last of its calls are gone.
class catalogue {
public:
  /// The variants that are new by it; those of a function that is known already are not.
  std::vector<const node_variant*> define(const functions::registered_function& function);
  result<> define(dag_id id, const functions::dag_spec& spec);
  void forget(function_id function);
  void forget(dag_id dag) { graphs_.erase(dag); }

  /// Forgets all functions and DAGs that are not in the lists, or are other ones under the same id.
  void keep_only(const std::vector<functions::registered_function>& functions);

  /// Null when it is not known.
  [[nodiscard]] std::shared_ptr<const flow_graph> graph(dag_id id) const;
  [[nodiscard]] node_variant* variant(variant_id id);
  [[nodiscard]] std::shared_ptr<const functions::registered_function> function(function_id id) const;

  /// Variants of forgotten functions that nothing uses any more; they are unknown from now on.
  [[nodiscard]] std::vector<variant_id> take_unused();

private:
  std::map<function_id, std::shared_ptr<const functions::registered_function>> functions_;
  std::vector<std::shared_ptr<const functions::registered_function>> forgotten_;
  std::unordered_map<dag_id, std::shared_ptr<const flow_graph>> graphs_;
  std::unordered_map<variant_id, std::unique_ptr<node_variant>> variants_;
};

} // namespace squall::executors
