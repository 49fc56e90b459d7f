#include "client/spec/readers.hpp"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace squall::client::spec {

namespace {

using functions::predicate;
using op = predicate::op;

constexpr std::array<std::pair<std::string_view, op>, 6> comparisons{{{"below", op::below},
                                                                      {"above", op::above},
                                                                      {"at-most", op::at_most},
                                                                      {"at-least", op::at_least},
                                                                      {"equal", op::equal},
                                                                      {"not-equal", op::not_equal}}};

/// Reads a condition and counts its terms, so that aliases cannot make it endless.
class when_reader {
public:
  result<predicate> read(const yaml_view& at) {
    if (++terms_ > functions::max_when_terms)
      return at.fail(fmt::format("the condition has more than {} terms", functions::max_when_terms));
    SQUALL_ASSIGN(fields, at.mapping({"value", "below", "above", "at-most", "at-least", "equal", "not-equal", "present",
                                      "all", "any", "not"}));
    for (const auto& [word, operation] : {std::pair{"all", op::all}, std::pair{"any", op::any}})
      if (const auto terms = fields.find(word))
        return alone(at, word).ok() ? read_terms(*terms, operation) : alone(at, word).error();
    if (const auto term = fields.find("not")) {
      SQUALL_TRY(alone(at, "not"));
      SQUALL_ASSIGN(child, read(*term));
      return predicate{.operation = op::negate, .subject = {}, .operand = {}, .children = {std::move(child)}};
    }
    if (const auto subject = fields.find("present")) {
      SQUALL_TRY(alone(at, "present"));
      SQUALL_ASSIGN(reference, read_reference(*subject));
      return predicate{.operation = op::present, .subject = std::move(reference), .operand = {}, .children = {}};
    }
    return read_comparisons(fields);
  }

private:
  static result<> alone(const yaml_view& at, std::string_view word) {
    if (at.node().keys.size() != 1)
      return at.fail(fmt::format("'{}' stands alone; combine conditions with {{all: [...]}} or {{any: [...]}}", word));
    return {};
  }

  result<predicate> read_terms(const yaml_view& at, op operation) {
    SQUALL_ASSIGN(items, at.items());
    predicate out{.operation = operation, .subject = {}, .operand = {}, .children = {}};
    for (const yaml_view& item : items) {
      SQUALL_ASSIGN(child, read(item));
      out.children.push_back(std::move(child));
    }
    return out;
  }

  /// {value: a.b, above: 1, below: 2}: every comparison holds.
  result<predicate> read_comparisons(const yaml_mapping& fields) {
    SQUALL_ASSIGN(subject_view, fields.require("value"));
    SQUALL_ASSIGN(subject, read_reference(subject_view));
    predicate every{.operation = op::all, .subject = {}, .operand = {}, .children = {}};
    for (const auto& [word, operation] : comparisons) {
      const auto operand = fields.find(word);
      if (!operand)
        continue;
      predicate comparison{.operation = operation, .subject = subject, .operand = {}, .children = {}};
      const bool takes_text = operation == op::equal || operation == op::not_equal;
      if (const auto number = operand->maybe_number())
        comparison.operand = *number;
      else if (const auto flag = operand->maybe_boolean(); flag && takes_text)
        comparison.operand = *flag ? 1.0 : 0.0;
      else if (operand->is_scalar() && takes_text)
        comparison.operand = operand->node().text;
      else
        return operand->expected(takes_text ? "a number, a boolean or text" : "a number");
      every.children.push_back(std::move(comparison));
    }
    if (every.children.empty())
      return fields.view().fail("a comparison is missing: below, above, at-most, at-least, equal or not-equal");
    terms_ += every.children.size();
    if (every.children.size() > 1)
      return every;
    predicate only = std::move(every.children.front());
    return only;
  }

  std::size_t terms_ = 0;
};

} // namespace

result<functions::predicate> read_when(const yaml_view& at) { return when_reader{}.read(at); }

} // namespace squall::client::spec
