#pragma once

#include "functions/rewrite.hpp"

#include <map>
#include <string>
#include <utility>

/// Parts of rewrite.cpp.
namespace squall::functions::detail {

/// Stages that become one.
struct fused_group {
  std::vector<std::string> members; ///< in their order
  stage_spec stage;
  function_spec function;
  std::map<std::pair<std::string, std::string>, std::string> renamed; ///< stage and output to the output of `stage`
};

/// The chains of a DAG that the rule `fuse` takes together; those of one stage are none. With `competing`, stages that
/// compete stay as they are.
[[nodiscard]] result<std::vector<fused_group>> find_groups(const dag& d, const function_lookup& lookup,
                                                           const builtin_lookup& builtins, bool competing);

/// The name of a function that a rule makes: "fused.DAG.STAGE", shortened when it is too long.
[[nodiscard]] std::string generated_name(std::string_view rule, const std::string& dag, const std::string& stage);

/// `wanted`, or with a number behind it when a stage has that name.
[[nodiscard]] std::string free_name(const dag_spec& spec, const std::string& wanted);

} // namespace squall::functions::detail
