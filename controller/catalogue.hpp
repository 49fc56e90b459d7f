#pragma once

#include "base/ids.hpp"
#include "base/result.hpp"
#include "calls/placing.hpp"
#include "functions/dag.hpp"
#include "functions/rewrite.hpp"

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace squall::controller {

/// A DAG that calls can name. A function is callable too: as the DAG of one stage that runs it.
struct callable {
  std::shared_ptr<const functions::dag> dag;
  bool of_function = false; ///< made for a function
  /// As it was applied, with versions; `dag` is what the rules of its `optimize` made of it (functions/rewrite.hpp).
  functions::dag_spec spec;
};

/// What a change of the catalogue means for the others: facts for the scheduler and definitions for nodes follow from
/// these lists.
struct catalogue_change {
  std::vector<const functions::registered_function*> functions_added; ///< valid until the next change
  std::vector<calls::placing::function_removed> functions_removed;
  std::vector<std::shared_ptr<const functions::dag>> dags_added;
  std::vector<dag_id> dags_removed;

  [[nodiscard]] bool empty() const {
    return functions_added.empty() && functions_removed.empty() && dags_added.empty() && dags_removed.empty();
  }
};

/// Functions and DAGs by name and version. Pure bookkeeping: no I/O.
///
/// Ids follow from what they name (of a DAG: with the functions that it is bound to), so that every controller of a
/// cluster gives the same ones, and what nodes hold of a former controller's calls keeps its meaning.
///
/// The functions that rules make for a DAG come and go with it, and are nobody else's.
///
/// A DAG is bound to versions of its functions when it is applied. Replacing a function binds the DAGs that use it anew
/// (with new ids); calls in flight keep the old ones. A function that a DAG uses cannot be removed.
class catalogue {
public:
  catalogue() = default;
  catalogue(const catalogue&) = delete;
  catalogue& operator=(const catalogue&) = delete;

  /// Adds or replaces a function; the same spec again changes nothing. Errors: invalid_argument, already_exists
  /// (another spec, without `replace`).
  [[nodiscard]] result<catalogue_change> apply(functions::function_spec spec, bool replace);
  [[nodiscard]] result<catalogue_change> apply(functions::dag_spec spec, bool replace);

  /// Checks what apply() would do, without doing it, so that a change is stored before it takes effect; and fills in
  /// what a spec leaves out: the ports of builtins, the versions of a DAG's functions.
  [[nodiscard]] result<functions::function_spec> check(functions::function_spec spec, bool replace) const;
  [[nodiscard]] result<functions::dag_spec> check(functions::dag_spec spec, bool replace) const;

  /// version 0 = all versions. Errors: not_found, invalid_argument (a DAG uses the function; it is named).
  [[nodiscard]] result<catalogue_change> remove_function(std::string_view name, std::uint32_t version);
  [[nodiscard]] result<catalogue_change> remove_dag(std::string_view name, std::uint32_t version);

  /// version 0 = latest. DAGs hide functions of the same name. Null when there is none.
  [[nodiscard]] const callable* find_callable(std::string_view name, std::uint32_t version) const;
  [[nodiscard]] const functions::registered_function* find_function(std::string_view name, std::uint32_t version) const;
  [[nodiscard]] const functions::registered_function* find_function(function_id id) const;
  [[nodiscard]] std::shared_ptr<const functions::dag> find_dag(dag_id id) const; ///< null: it is not there (any more)

  /// The DAG that runs `target` and then each of `then` ("name" or "name@2") on the outputs of the one before
  /// (functions::sequel); made when it is first asked for, kept until one of its parts changes or `max_sequels` newer
  /// ones are known, and told to nodes like any other: `change` says what is new. Errors: not_found, invalid_argument.
  static constexpr std::size_t max_sequels = 256;
  [[nodiscard]] result<std::shared_ptr<const functions::dag>> find_sequel(const callable& target,
                                                                          const std::vector<std::string>& then,
                                                                          catalogue_change& change);

  /// A hash of the stored keys that a call reads, as far as its inputs (in the order of the DAG's) say them: calls that
  /// read the same ones agree. 0: none, or the DAG does not ask for the rule `locality`.
  [[nodiscard]] std::uint64_t affinity(const functions::dag& dag, const std::vector<functions::value>& inputs) const;

  /// In order of name and version.
  [[nodiscard]] std::vector<const functions::registered_function*> functions() const;
  [[nodiscard]] std::vector<const callable*> callables() const; ///< those of functions too
  [[nodiscard]] std::vector<std::shared_ptr<const functions::dag>> sequels() const;

  /// The name most like `name` among callables, for messages; empty when none is near.
  [[nodiscard]] std::string nearest(std::string_view name) const;

private:
  using key = std::pair<std::string, std::uint32_t>; ///< name and version
  /// Finds keys by names that are not copied.
  struct key_less {
    using is_transparent = void;
    using view = std::pair<std::string_view, std::uint32_t>;
    bool operator()(const view& a, const view& b) const { return a < b; }
  };
  template <class T>
  using by_version = std::map<key, T, key_less>;

  [[nodiscard]] functions::function_lookup lookup() const;
  [[nodiscard]] result<functions::dag_spec> pin_versions(functions::dag_spec spec) const;
  /// The DAG after its rules, checked; with functions of `lookup`.
  [[nodiscard]] static result<functions::rewritten_dag> rewritten(const functions::dag_spec& spec,
                                                                  const functions::function_lookup& lookup);
  [[nodiscard]] result<std::shared_ptr<const functions::dag>> compiled_dag(const functions::dag_spec& spec,
                                                                           std::uint64_t kind) const;
  result<> bind(callable& entry, catalogue_change& change);
  void drop_generated(const key& dag, catalogue_change& change);
  void drop_sequels(catalogue_change& change);
  [[nodiscard]] result<> check_not_generated(const key& function) const;
  functions::registered_function& add(functions::function_spec spec);
  void erase(by_version<functions::registered_function>::iterator it, catalogue_change& change);
  void erase_function(by_version<functions::registered_function>::iterator it, catalogue_change& change);

  by_version<functions::registered_function> functions_;
  std::unordered_map<function_id, const functions::registered_function*> functions_by_id_; ///< asked at every call
  by_version<callable> dags_;
  by_version<callable> function_dags_;
  by_version<std::vector<key>> generated_; ///< by DAG: the functions that rules made for it
  struct sequel_entry {
    std::shared_ptr<const functions::dag> dag;
    std::uint64_t number = 0; ///< in the order in which they were made
  };
  std::map<std::vector<dag_id>, sequel_entry> sequels_; ///< by their parts
  std::uint64_t last_sequel_ = 0;
};

/// What the scheduler is told of them.
[[nodiscard]] calls::placing::function_registered fact_of(const functions::registered_function& function);
[[nodiscard]] calls::placing::dag_registered fact_of(const functions::dag& dag);
/// The scheduler knows stages by number: "stage #3" becomes "stage 'slow'".
[[nodiscard]] std::string with_stage_names(std::string text, const functions::dag& dag);

} // namespace squall::controller
