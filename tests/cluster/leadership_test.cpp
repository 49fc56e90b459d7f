#include "cluster/core/leadership.hpp"

#include "base/random.hpp"
#include "sim/agenda.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>

namespace squall::cluster {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

time_point at(duration since) { return time_point{since}; }
using commands = std::vector<lease_command>;

leadership_config config_of(std::uint64_t self) {
  leadership_config config;
  config.self = self;
  config.endpoint = "at " + std::to_string(self);
  return config;
}

TEST(Leadership, TakesWhatNobodyHasAndRenewsIt) {
  candidate c{config_of(7), at(seconds{1})};
  c.step(at(seconds{1}), lease_tick{});
  EXPECT_EQ(c.take_commands(), commands{read_record{1}});
  c.step(at(seconds{1}), record_found{1, 0, {}});
  const lease_record mine{1, 7, 0, seconds{3}, "at 7"};
  EXPECT_EQ(c.take_commands(), (commands{write_record{2, 0, mine}}));
  EXPECT_FALSE(c.leads(at(seconds{1})));
  c.step(at(milliseconds{1010}), record_written{2, 5});
  EXPECT_EQ(c.take_commands(), commands{begin_to_lead{1}});
  EXPECT_TRUE(c.leads(at(milliseconds{1010})));
  EXPECT_LT(c.leads_until(), at(seconds{4})) << "counted from when it was sent, less what clocks may differ";
  ASSERT_EQ(c.next_deadline(), at(seconds{2}));
  c.step(at(seconds{2}), lease_tick{});
  lease_record renewed = mine;
  renewed.renewals = 1;
  EXPECT_EQ(c.take_commands(), (commands{write_record{3, 5, renewed}}));
}

TEST(Leadership, StopsByItselfWhenTheArbiterIsSilent) {
  candidate c{config_of(7), at(seconds{0})};
  c.step(at(seconds{0}), lease_tick{});
  c.step(at(seconds{0}), record_found{1, 0, {}});
  c.step(at(seconds{0}), record_written{2, 5});
  (void)c.take_commands();
  const time_point end = c.leads_until();
  bool stopped = false;
  while (!stopped) {
    const auto next = c.next_deadline();
    ASSERT_TRUE(next.has_value());
    ASSERT_LE(*next, end);
    c.step(*next, lease_tick{});
    for (const auto& command : c.take_commands())
      stopped |= std::holds_alternative<stop_leading>(command);
  }
  EXPECT_FALSE(c.leads(end));
}

TEST(Leadership, WaitsALeaseBeyondTheLastRenewalThatItSaw) {
  candidate c{config_of(7), at(seconds{0})};
  c.step(at(seconds{0}), lease_tick{});
  c.step(at(seconds{0}), record_found{1, 5, {3, 8, 0, seconds{3}, "at 8"}});
  EXPECT_EQ(c.take_commands().back(), lease_command{(other_leads{3, "at 8"})});
  c.step(at(seconds{2}), lease_tick{});
  c.step(at(seconds{2}), record_found{2, 6, {3, 8, 1, seconds{3}, "at 8"}});
  c.step(at(seconds{3}), lease_tick{});
  c.step(at(seconds{3}), record_found{3, 6, {3, 8, 1, seconds{3}, "at 8"}});
  (void)c.take_commands();
  c.step(at(seconds{5}), lease_tick{});
  EXPECT_EQ(c.take_commands(), commands{read_record{4}}) << "a lease after two, and the allowance";
  c.step(at(seconds{5}), record_found{4, 6, {3, 8, 1, seconds{3}, "at 8"}});
  c.step(at(milliseconds{5031}), lease_tick{});
  EXPECT_EQ(c.take_commands(), (commands{write_record{5, 6, {4, 7, 0, seconds{3}, "at 7"}}}));
}

TEST(Leadership, TakesAtOnceWhatWasGivenBack) {
  candidate c{config_of(7), at(seconds{0})};
  c.step(at(seconds{0}), lease_tick{});
  c.step(at(seconds{0}), record_found{1, 5, {3, 0, 0, seconds{3}, ""}});
  EXPECT_EQ(c.take_commands().back(), lease_command{(write_record{2, 5, {4, 7, 0, seconds{3}, "at 7"}})});
  c.step(at(seconds{0}), record_written{2, 6});
  (void)c.take_commands();
  c.step(at(seconds{1}), resign_wanted{});
  EXPECT_FALSE(c.leads(at(seconds{1})));
  EXPECT_EQ(c.take_commands(), (commands{write_record{3, 6, {4, 0, 0, seconds{3}, ""}}}));
  c.step(at(seconds{1}), record_written{3, 7});
  EXPECT_EQ(c.take_commands(), commands{given_back{}});
  EXPECT_FALSE(c.next_deadline().has_value());
}

TEST(Leadership, ALateAnswerDoesNotBringBackATermThatWasLeft) {
  candidate c{config_of(7), at(seconds{0})};
  c.step(at(seconds{0}), lease_tick{});
  c.step(at(seconds{0}), record_found{1, 0, {}});
  c.step(at(seconds{0}), record_written{2, 5});
  (void)c.take_commands();
  c.step(at(milliseconds{2900}), lease_tick{}); // it slept, and renews late
  EXPECT_TRUE(std::holds_alternative<write_record>(c.take_commands().back()));
  c.step(at(milliseconds{3100}), record_written{3, 6});
  const auto then = c.take_commands();
  EXPECT_TRUE(std::holds_alternative<stop_leading>(then.front()));
  EXPECT_FALSE(c.leads(at(milliseconds{3100})));
  ASSERT_TRUE(std::holds_alternative<write_record>(then.back()));
  EXPECT_EQ(std::get<write_record>(then.back()).record.term, 2u);
}

/// Candidates with clocks of their own and an arbiter, joined by a network that delays, loses and doubles messages;
/// processes die, sleep and come back.
class world {
public:
  world(std::uint64_t seed, std::size_t candidates, std::uint32_t drift_ppm) : random_(seed), drift_ppm_(drift_ppm) {
    places_.resize(candidates);
    for (std::size_t i = 0; i < candidates; ++i)
      be_born(i);
  }

  void run_until(time_point end) {
    while (agenda_.now() < end && agenda_.run_next())
      check();
  }
  void stop_trouble() { trouble_ = false; }

  [[nodiscard]] time_point now() const { return agenda_.now(); }
  [[nodiscard]] std::optional<std::size_t> leader() const {
    for (std::size_t i = 0; i < places_.size(); ++i)
      if (leads(i))
        return i;
    return {};
  }
  void kill(std::size_t i) { be_born(i); }
  [[nodiscard]] std::size_t terms() const { return led_.size(); }
  [[nodiscard]] duration lease() const { return seconds{3}; }

  void cause_trouble() {
    if (!trouble_)
      return;
    const std::size_t i = random_.below(places_.size());
    switch (random_.below(4)) {
      case 0:
        be_born(i);
        break;
      case 1:
        places_[i].asleep_until = agenda_.now() + some(milliseconds{6000});
        break;
      case 2:
        cut_off_ = i;
        break;
      default:
        cut_off_ = places_.size();
        break;
    }
    agenda_.after(some(milliseconds{4000}), [this] { cause_trouble(); });
  }

private:
  struct place {
    std::unique_ptr<candidate> self;
    std::uint64_t incarnation = 0;
    duration offset{0};
    std::int64_t drift_ppm = 0;
    time_point asleep_until;
    std::uint64_t alarm = 0;
  };

  duration some(duration most) {
    return duration{static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(most.count())))};
  }
  [[nodiscard]] time_point local(const place& p, time_point t) const {
    const std::int64_t passed = t.time_since_epoch().count();
    return time_point{p.offset + duration{passed + passed / 1'000'000 * p.drift_ppm}};
  }
  [[nodiscard]] duration real(const place& p, duration d) const {
    return duration{d.count() - d.count() / 1'000'000 * p.drift_ppm};
  }
  [[nodiscard]] bool leads(std::size_t i) const {
    return places_[i].self && places_[i].self->leads(local(places_[i], agenda_.now()));
  }

  /// A new process takes the place of the one that was there.
  void be_born(std::size_t i) {
    place& p = places_[i];
    p.incarnation = ++incarnations_;
    p.offset = seconds{1'000} + some(seconds{1'000'000});
    p.drift_ppm = static_cast<std::int64_t>(random_.below(2 * drift_ppm_ + 1)) - drift_ppm_;
    p.asleep_until = {};
    p.self = std::make_unique<candidate>(config_of(p.incarnation), local(p, agenda_.now()));
    step(i, p.incarnation, lease_tick{});
  }

  void step(std::size_t i, std::uint64_t incarnation, const lease_event& fact) {
    place& p = places_[i];
    if (p.incarnation != incarnation)
      return;
    if (agenda_.now() < p.asleep_until)
      return agenda_.at(p.asleep_until, [this, i, incarnation, fact] { step(i, incarnation, fact); });
    p.self->step(local(p, agenda_.now()), fact);
    for (const lease_command& command : p.self->take_commands())
      carry_out(i, command);
    if (const auto next = p.self->next_deadline()) {
      const duration wait = std::max(duration{0}, real(p, *next - local(p, agenda_.now())));
      agenda_.after(wait + some(milliseconds{20}), [this, i, incarnation, alarm = ++p.alarm] {
        if (places_[i].alarm == alarm)
          step(i, incarnation, lease_tick{});
      });
    }
  }

  void carry_out(std::size_t i, const lease_command& command) {
    if (const auto* begin = std::get_if<begin_to_lead>(&command)) {
      EXPECT_TRUE(led_.empty() || led_.rbegin()->first < begin->term) << "terms only grow";
      led_[begin->term] = places_[i].incarnation;
    }
    if (!std::holds_alternative<read_record>(command) && !std::holds_alternative<write_record>(command))
      return;
    const int copies = trouble_ && random_.below(20) == 0 ? 2 : 1;
    for (int n = 0; n < copies; ++n)
      travel(i, [this, i, incarnation = places_[i].incarnation, command] { arbitrate(i, incarnation, command); });
  }

  void travel(std::size_t i, std::function<void()> arrive) {
    if (trouble_ && (cut_off_ == i || random_.below(10) == 0))
      return;
    const bool slow = trouble_ && random_.below(20) == 0;
    agenda_.after(milliseconds{1} + some(slow ? milliseconds{5000} : milliseconds{50}), std::move(arrive));
  }

  void arbitrate(std::size_t i, std::uint64_t incarnation, const lease_command& command) {
    lease_event answer;
    if (const auto* wanted = std::get_if<read_record>(&command)) {
      answer = record_found{wanted->request, version_, record_};
    } else {
      const auto& write = std::get<write_record>(command);
      if (write.expected_version != version_) {
        answer = record_differs{write.request};
      } else {
        record_ = write.record;
        answer = record_written{write.request, ++version_};
      }
    }
    travel(i, [this, i, incarnation, answer] { step(i, incarnation, answer); });
  }

  void check() {
    std::size_t leaders = 0;
    for (std::size_t i = 0; i < places_.size(); ++i)
      leaders += leads(i) ? 1 : 0;
    ASSERT_LE(leaders, 1u) << "at " << agenda_.now().time_since_epoch().count();
  }

  random_source random_;
  std::int64_t drift_ppm_;
  sim::agenda agenda_;
  std::vector<place> places_;
  std::uint64_t incarnations_ = 0;
  std::uint64_t version_ = 0;
  lease_record record_;
  std::map<std::uint64_t, std::uint64_t> led_;
  bool trouble_ = true;
  std::size_t cut_off_ = ~std::size_t{0};
};

TEST(LeadershipSimulation, NeverHasTwoLeadersWhateverHappens) {
  std::size_t terms = 0;
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    world w{seed, 2 + seed % 3, 10'000};
    w.cause_trouble();
    w.run_until(at(seconds{120}));
    if (HasFatalFailure() || HasNonfatalFailure())
      return;
    terms += w.terms();
  }
  EXPECT_GT(terms, 300u * 5) << "leadership changed hands";
}

TEST(LeadershipSimulation, HasALeaderWithinTwoLeasesOfTheLastOnesDeath) {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    world w{seed, 3, 10'000};
    w.cause_trouble();
    w.run_until(at(seconds{30}));
    w.stop_trouble();
    w.run_until(w.now() + seconds{15}); // whoever sleeps has woken, what was slow has come
    const auto leader = w.leader();
    ASSERT_TRUE(leader.has_value());
    const time_point died = w.now();
    w.kill(*leader);
    while (!w.leader()) {
      w.run_until(w.now() + milliseconds{10});
      ASSERT_LE(w.now(), died + 2 * w.lease());
    }
  }
}

} // namespace
} // namespace squall::cluster
