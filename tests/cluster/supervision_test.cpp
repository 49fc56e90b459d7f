#include "cluster/core/supervision.hpp"

#include <gtest/gtest.h>

namespace squall::cluster {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

time_point at(duration since) { return time_point{since}; }
using commands = std::vector<supervision_command>;

TEST(Supervision, StartsADeadProcessAgainAfterAPause) {
  supervisor s{{}, 2, at(seconds{0})};
  s.step(at(seconds{1}), process_exited{1, false});
  EXPECT_TRUE(s.take_commands().empty());
  ASSERT_EQ(s.next_deadline(), at(seconds{1} + milliseconds{100}));
  s.step(*s.next_deadline(), supervision_tick{});
  EXPECT_EQ(s.take_commands(), commands{start_process{1}});
}

TEST(Supervision, DoublesThePauseWithEachDeathInARowUpToTheLongest) {
  supervisor s{{}, 1, at(seconds{0})};
  time_point now = at(seconds{0});
  std::vector<duration> pauses;
  for (int i = 0; i < 10; ++i) {
    s.step(now, process_exited{0, false});
    pauses.push_back(*s.next_deadline() - now);
    now = *s.next_deadline();
    s.step(now, supervision_tick{});
    (void)s.take_commands();
  }
  EXPECT_EQ(pauses[0], milliseconds{100});
  EXPECT_EQ(pauses[1], milliseconds{200});
  EXPECT_EQ(pauses[2], milliseconds{400});
  EXPECT_EQ(pauses[9], seconds{10});
}

TEST(Supervision, LeavesADrainedProcessAlone) {
  supervisor s{{}, 2, at(seconds{0})};
  s.step(at(seconds{1}), process_exited{1, false, true});
  EXPECT_FALSE(s.next_deadline().has_value());
  s.step(at(seconds{2}), stop_wanted{});
  EXPECT_EQ(s.take_commands(), commands{ask_to_stop{0}});
}

TEST(Supervision, ForgivesDeathsAfterAStableTime) {
  supervisor s{{}, 1, at(seconds{0})};
  s.step(at(seconds{1}), process_exited{0, false});
  s.step(at(seconds{2}), supervision_tick{});
  s.step(at(seconds{3}), process_exited{0, false});
  EXPECT_EQ(*s.next_deadline() - at(seconds{3}), milliseconds{200});
  s.step(at(seconds{4}), supervision_tick{});
  s.step(at(seconds{60}), process_exited{0, false});
  EXPECT_EQ(*s.next_deadline() - at(seconds{60}), milliseconds{100});
}

TEST(Supervision, StopsInReverseOrderAndKillsWhatStays) {
  supervisor s{{}, 2, at(seconds{0})};
  s.step(at(seconds{1}), stop_wanted{});
  EXPECT_EQ(s.take_commands(), (commands{ask_to_stop{1}, ask_to_stop{0}}));
  s.step(at(seconds{2}), process_exited{1, true});
  EXPECT_TRUE(s.take_commands().empty());
  s.step(at(seconds{11}), supervision_tick{});
  EXPECT_EQ(s.take_commands(), commands{kill_process{0}});
  s.step(at(seconds{11}), process_exited{0, false});
  EXPECT_EQ(s.take_commands(), commands{all_stopped{}});
}

TEST(Supervision, StopsAllWhenOneEndsInGoodOrder) {
  supervisor s{{}, 2, at(seconds{0})};
  s.step(at(seconds{1}), process_exited{0, true});
  EXPECT_EQ(s.take_commands(), commands{ask_to_stop{1}});
}

TEST(Supervision, SaysThatAllIsStoppedOnce) {
  supervisor s{{}, 1, at(seconds{0})};
  s.step(at(seconds{1}), process_exited{0, false});
  s.step(at(seconds{1}), stop_wanted{});
  EXPECT_EQ(s.take_commands(), commands{all_stopped{}});
  s.step(at(seconds{60}), supervision_tick{});
  EXPECT_TRUE(s.take_commands().empty());
}

} // namespace
} // namespace squall::cluster
