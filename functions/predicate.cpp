#include "functions/dag.hpp"

#include <algorithm>

namespace squall::functions {

namespace {

using op = predicate::op;

bool compare(op operation, double left, double right) {
  switch (operation) {
    case op::below:
      return left < right;
    case op::above:
      return left > right;
    case op::at_most:
      return left <= right;
    case op::at_least:
      return left >= right;
    case op::equal:
      return left == right;
    case op::not_equal:
      return left != right;
    default:
      return false;
  }
}

/// An empty or unreadable value compares like an absent one: not at all.
bool compare(const resolved_predicate& p, const value& subject) {
  if (const auto* text = std::get_if<std::string>(&p.operand)) {
    const auto found = first_text(subject);
    return found.ok() && (*found == *text) == (p.operation == op::equal);
  }
  const auto found = first_number(subject);
  return found.ok() && compare(p.operation, *found, std::get<double>(p.operand));
}

} // namespace

bool evaluate(const resolved_predicate& p, const std::function<const value*(const resolved_source&)>& get,
              std::optional<std::size_t> element) {
  const auto holds = [&](const resolved_predicate& child) { return evaluate(child, get, element); };
  if (p.operation == op::all)
    return std::all_of(p.children.begin(), p.children.end(), holds);
  if (p.operation == op::any)
    return std::any_of(p.children.begin(), p.children.end(), holds);
  if (p.operation == op::negate)
    return !holds(p.children.front());
  const auto* subject = get(p.subject);
  if (subject && element)
    if (const auto* list = subject->as_list())
      subject = *element < list->size() ? &(*list)[*element] : nullptr;
  if (!subject || subject->absent())
    return false;
  return p.operation == op::present || compare(p, *subject);
}

} // namespace squall::functions
