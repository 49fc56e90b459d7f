#include "controller/call_table.hpp"

#include <gtest/gtest.h>

namespace squall::controller {
namespace {

running_call call(std::uint64_t id) {
  running_call c;
  c.id = call_id{id};
  return c;
}

TEST(CallTable, RefusesASecondCallOfTheSameId) {
  call_table table{10};
  EXPECT_TRUE(table.add(call(1)));
  EXPECT_FALSE(table.add(call(1)));
}

TEST(CallTable, KeepsARecordOfAnEndedCall) {
  call_table table{10};
  table.add(call(1));
  calls::outcome outcome;
  outcome.code = errc::deadline_exceeded;
  table.end(call_id{1}, outcome, from_ns(5));
  EXPECT_EQ(table.find(call_id{1}), nullptr);
  ASSERT_NE(table.record(call_id{1}), nullptr);
  EXPECT_EQ(table.record(call_id{1})->outcome.code, errc::deadline_exceeded);
}

TEST(CallTable, ForgetsTheOldestRecordAtItsBound) {
  call_table table{2};
  for (std::uint64_t id = 1; id <= 3; ++id) {
    table.add(call(id));
    table.end(call_id{id}, {}, from_ns(static_cast<std::int64_t>(id)));
  }
  EXPECT_EQ(table.record(call_id{1}), nullptr);
  ASSERT_NE(table.record(call_id{2}), nullptr);
  ASSERT_NE(table.record(call_id{3}), nullptr);
  EXPECT_EQ(table.record(call_id{3})->id, call_id{3});
  EXPECT_EQ(table.records().size(), 2u);
}

TEST(CallTable, FindsTheLatestRecordOfAnIdThatCameTwice) {
  call_table table{2};
  for (const std::uint64_t id : {1, 1, 2}) {
    table.add(call(id));
    table.end(call_id{id}, {}, from_ns(static_cast<std::int64_t>(id)));
  }
  ASSERT_NE(table.record(call_id{1}), nullptr) << "the first record of it was dropped, the second is kept";
}

} // namespace
} // namespace squall::controller
