#include "controller/latest.hpp"

#include <gtest/gtest.h>

#include <string>

namespace squall::controller {
namespace {

std::string all_of(const latest<char>& series) {
  std::string out;
  for (std::size_t age = 0; age < series.size(); ++age)
    out += series[age];
  return out;
}

TEST(Latest, TheYoungestComesFirstAndTheOldestMakesRoom) {
  latest<char> series{3};
  std::vector<std::string> seen;
  for (const char c : std::string{"abcdefg"}) {
    series.push(c);
    seen.push_back(all_of(series));
  }
  EXPECT_EQ(seen, (std::vector<std::string>{"a", "ba", "cba", "dcb", "edc", "fed", "gfe"}));
  const auto is = [](char wanted) { return [wanted](char c) { return c == wanted; }; };
  ASSERT_NE(series.find(is('e')), nullptr);
  EXPECT_EQ(*series.find(is('e')), 'e');
  EXPECT_EQ(series.find(is('d')), nullptr);
}

TEST(Latest, OfNoneOrOne) {
  latest<char> none{0};
  none.push('a');
  EXPECT_EQ(none.size(), 0u);
  latest<char> one{1};
  one.push('a');
  one.push('b');
  EXPECT_EQ(all_of(one), "b");
}

} // namespace
} // namespace squall::controller
