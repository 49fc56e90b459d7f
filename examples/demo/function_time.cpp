#include "examples/demo/function_time.hpp"

#include "base/check.hpp"

#include <algorithm>
#include <set>
#include <string_view>
#include <vector>

namespace squall::demo {

namespace {

/// Adds the stages that the subjects of a condition come from.
void add_producers(const functions::predicate& when, std::set<std::string_view>& out) {
  if (when.subject.from == functions::binding::source::stage_output)
    out.insert(when.subject.stage);
  for (const auto& child : when.children)
    add_producers(child, out);
}

std::set<std::string_view> producers_of(const functions::stage_spec& stage) {
  std::set<std::string_view> out;
  for (const auto& input : stage.inputs)
    if (input.source.from == functions::binding::source::stage_output)
      out.insert(input.source.stage);
  if (stage.when)
    add_producers(*stage.when, out);
  return out;
}

} // namespace

duration function_time(const functions::dag_spec& dag, std::span<const calls::stage_trace> trace, std::size_t lanes) {
  std::vector<duration> own(dag.stages.size(), duration{0});
  duration total{0};
  for (const auto& t : trace) {
    SQUALL_CHECK(t.stage < own.size(), t.stage, own.size(), dag.name);
    own[t.stage] = t.executed / std::clamp<std::size_t>(t.width, 1, lanes);
    total += t.executed;
  }
  std::vector<duration> ended(dag.stages.size(), duration{0}); // of the longest path that ends with the stage
  duration longest{0};
  for (std::size_t i = 0; i < dag.stages.size(); ++i) {
    auto missing = producers_of(dag.stages[i]);
    for (std::size_t before = 0; before < i; ++before)
      if (missing.erase(dag.stages[before].name) > 0)
        ended[i] = std::max(ended[i], ended[before]);
    SQUALL_CHECK(missing.empty(), dag.name, dag.stages[i].name, "reads from a stage listed after it");
    ended[i] += own[i];
    longest = std::max(longest, ended[i]);
  }
  return std::max(longest, total / static_cast<std::int64_t>(lanes));
}

} // namespace squall::demo
