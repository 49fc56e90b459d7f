#include "base/result.hpp"

#include <gtest/gtest.h>

namespace squall {
namespace {

result<int> half(int n) {
  if (n % 2 != 0)
    return {errc::invalid_argument, std::to_string(n) + " is odd"};
  return n / 2;
}

result<int> quarter(int n) {
  SQUALL_ASSIGN(h, half(n));
  SQUALL_TRY(half(h));
  return half(h);
}

TEST(Result, HoldsAValueOrAnError) {
  EXPECT_EQ(half(4).value(), 2);
  EXPECT_EQ(half(3).error(), (error{errc::invalid_argument, "3 is odd", {}}));
}

TEST(Result, TryAndAssignPassErrorsOn) {
  EXPECT_EQ(*quarter(8), 2);
  EXPECT_EQ(quarter(6).error().message, "3 is odd");
  EXPECT_EQ(quarter(5).error().message, "5 is odd");
}

TEST(Result, EveryCodeHasANameThatReadsBack) {
  for (int i = 0; i <= static_cast<int>(errc::internal); ++i) {
    const auto code = static_cast<errc>(i);
    EXPECT_EQ(errc_from_string(to_string(code)), code);
  }
  EXPECT_EQ(errc_from_string("nonsense"), errc::internal);
  EXPECT_EQ(to_string(static_cast<errc>(200)), "internal");
}

TEST(ResultDeathTest, ReadingTheWrongOneAborts) { EXPECT_DEATH((void)half(3).value(), "3 is odd"); }

} // namespace
} // namespace squall
