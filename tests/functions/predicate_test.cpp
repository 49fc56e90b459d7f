#include "builders.hpp"

#include <gtest/gtest.h>

#include <limits>

namespace squall::functions {
namespace {

using namespace testing;
using op = predicate::op;

/// Port n of the DAG's inputs is values[n].
struct world {
  std::vector<value> values;

  [[nodiscard]] bool holds(const resolved_predicate& p, std::optional<std::size_t> element = {}) const {
    return evaluate(
        p, [&](const resolved_source& s) { return s.port < values.size() ? &values[s.port] : nullptr; }, element);
  }
};

resolved_predicate test(std::uint32_t port, op operation, std::variant<double, std::string> operand = 0.0) {
  return {operation, {binding::source::dag_input, 0, port, {}}, std::move(operand), {}};
}

resolved_predicate combined(op operation, std::vector<resolved_predicate> children) {
  return {operation, {}, {}, std::move(children)};
}

TEST(Predicates, CompareNumbers) {
  const world w{{scalar_value(0.5)}};
  EXPECT_TRUE(w.holds(test(0, op::below, 0.97)));
  EXPECT_FALSE(w.holds(test(0, op::below, 0.5)));
  EXPECT_TRUE(w.holds(test(0, op::at_most, 0.5)));
  EXPECT_TRUE(w.holds(test(0, op::above, 0.4)));
  EXPECT_FALSE(w.holds(test(0, op::above, 0.5)));
  EXPECT_TRUE(w.holds(test(0, op::at_least, 0.5)));
  EXPECT_TRUE(w.holds(test(0, op::equal, 0.5)));
  EXPECT_FALSE(w.holds(test(0, op::not_equal, 0.5)));
  EXPECT_TRUE(w.holds(test(0, op::not_equal, 0.6)));
}

TEST(Predicates, CompareTexts) {
  const world w{{scalar_value("pdf")}};
  EXPECT_TRUE(w.holds(test(0, op::equal, "pdf")));
  EXPECT_FALSE(w.holds(test(0, op::equal, "png")));
  EXPECT_TRUE(w.holds(test(0, op::not_equal, "png")));
  EXPECT_FALSE(w.holds(test(0, op::equal, 1.0))) << "a text is no number";
}

TEST(Predicates, ComparisonsWithNothingAreFalse) {
  const world w{{value{}, floats({0}, {})}};
  for (const auto operation : {op::below, op::above, op::at_most, op::at_least, op::equal, op::not_equal})
    for (std::uint32_t port = 0; port < 3; ++port) // absent, empty, not known at all
      EXPECT_FALSE(w.holds(test(port, operation, 0.0))) << to_string(operation) << " " << port;
  EXPECT_FALSE(w.holds(test(0, op::not_equal, "x")));
  EXPECT_FALSE(w.holds(test(0, op::present)));
  EXPECT_TRUE(w.holds(test(1, op::present)));
  EXPECT_FALSE(w.holds(test(2, op::present)));
}

TEST(Predicates, NotANumberIsOnlyUnequal) {
  const world w{{scalar_value(std::numeric_limits<double>::quiet_NaN())}};
  EXPECT_FALSE(w.holds(test(0, op::below, 1.0)));
  EXPECT_FALSE(w.holds(test(0, op::equal, 1.0)));
  EXPECT_TRUE(w.holds(test(0, op::not_equal, 1.0)));
}

TEST(Predicates, Combine) {
  const world w{{scalar_value(1), value{}}};
  const auto yes = test(0, op::equal, 1.0);
  const auto no = test(1, op::present);
  EXPECT_TRUE(w.holds(combined(op::all, {})));
  EXPECT_FALSE(w.holds(combined(op::any, {})));
  EXPECT_FALSE(w.holds(combined(op::all, {yes, no})));
  EXPECT_TRUE(w.holds(combined(op::any, {no, yes})));
  EXPECT_TRUE(w.holds(combined(op::negate, {no})));
  EXPECT_FALSE(w.holds(combined(op::negate, {combined(op::any, {no, yes})})));
}

TEST(Predicates, LookAtTheElementOfAListInsideAMap) {
  const world w{{{value_list{scalar_value(0.5), value{}, scalar_value(0.99)}}, scalar_value(0.1)}};
  EXPECT_TRUE(w.holds(test(0, op::below, 0.97), 0));
  EXPECT_FALSE(w.holds(test(0, op::below, 0.97), 1));
  EXPECT_FALSE(w.holds(test(0, op::present), 1));
  EXPECT_FALSE(w.holds(test(0, op::below, 0.97), 2));
  EXPECT_FALSE(w.holds(test(0, op::present), 3)) << "past the end";
  EXPECT_TRUE(w.holds(test(1, op::below, 0.97), 2)) << "a single tensor is the same for every element";
}

TEST(Predicates, OutsideOfAMapAListIsOnlyPresent) {
  const world w{{{value_list{scalar_value(0.5)}}}};
  EXPECT_TRUE(w.holds(test(0, op::present)));
  EXPECT_FALSE(w.holds(test(0, op::below, 0.97)));
}

} // namespace
} // namespace squall::functions
