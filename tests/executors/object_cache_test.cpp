#include "executors/detail/object_cache.hpp"

#include <gtest/gtest.h>

#include <deque>

namespace squall::executors {

namespace {

using namespace std::chrono_literals;

/// Objects whose answers come when the test says so.
class slow_source final : public object_source {
public:
  void put(const std::string& key, const std::string& content) { objects_[key] = {++version_, content}; }

  void stat(const std::string& key, std::function<void(result<wire::store_entry>)> done) override {
    ++stats;
    answers_.push_back([this, key, done = std::move(done)] {
      const auto found = objects_.find(key);
      if (found == objects_.end())
        return done(error{errc::not_found, "no " + key, {}});
      wire::store_entry entry;
      entry.version = found->second.first;
      done(entry);
    });
  }
  void get(const std::string& key, std::function<void(result<shared_bytes>)> done) override {
    ++gets;
    answers_.push_back([this, key, done = std::move(done)] {
      const auto found = objects_.find(key);
      found == objects_.end() ? done(error{errc::not_found, "no " + key, {}})
                              : done(shared_bytes::copy_of(found->second.second));
    });
  }
  void put(const std::string&, shared_bytes, bool, std::function<void(result<>)>) override {}
  void erase(const std::string&, std::function<void(result<>)>) override {}
  void list(const std::string&, std::function<void(result<std::vector<std::string>>)>) override {}
  bool on_message(const actors::incoming&) override { return false; }
  void on_alarm() override {}
  [[nodiscard]] time_point next_alarm() const override { return never; }
  void reset(actors::peer_id) override {}

  void answer() {
    while (!answers_.empty()) {
      auto next = std::move(answers_.front());
      answers_.pop_front();
      next();
    }
  }

  int stats = 0;
  int gets = 0;

private:
  std::map<std::string, std::pair<std::uint64_t, std::string>> objects_;
  std::uint64_t version_ = 0;
  std::deque<std::function<void()>> answers_;
};

class ObjectCache : public ::testing::Test {
protected:
  /// What comes of it once the source has answered.
  std::string fetch(const std::string& key, duration max_age = 1s) {
    std::string out = "no answer";
    cache_.fetch(source_, key, now_, max_age, [&](const result<shared_bytes>& object) {
      out = object.ok() ? std::string{object->text()} : std::string{to_string(object.error().code)};
    });
    source_.answer();
    return out;
  }

  slow_source source_;
  object_cache cache_{100};
  time_point now_{10s};
};

} // namespace

TEST_F(ObjectCache, ReadsAnObjectOnceWhileItIsYoung) {
  source_.put("k", "one");
  EXPECT_EQ(fetch("k"), "one");
  source_.put("k", "two");
  now_ += 999ms;
  EXPECT_EQ(fetch("k"), "one");
  EXPECT_EQ(source_.stats, 1);
  now_ += 1ms;
  EXPECT_EQ(fetch("k"), "two");
  EXPECT_EQ(source_.gets, 2);
}

TEST_F(ObjectCache, AsksForTheVersionAloneWhenThatHasNotChanged) {
  source_.put("k", "one");
  fetch("k");
  now_ += 5s;
  EXPECT_EQ(fetch("k"), "one");
  EXPECT_EQ(source_.stats, 2);
  EXPECT_EQ(source_.gets, 1);
  EXPECT_EQ(fetch("k", 0s), "one");
  EXPECT_EQ(source_.stats, 3);
}

TEST_F(ObjectCache, ThoseWhoAskTogetherShareOneRead) {
  source_.put("k", "one");
  int answers = 0;
  for (int i = 0; i < 3; ++i)
    cache_.fetch(source_, "k", now_, 1s, [&](const result<shared_bytes>& object) { answers += object.ok(); });
  source_.answer();
  EXPECT_EQ(answers, 3);
  EXPECT_EQ(source_.gets, 1);
}

TEST_F(ObjectCache, WhatIsMissingIsAskedForAgain) {
  EXPECT_EQ(fetch("k"), "not_found");
  source_.put("k", "here");
  EXPECT_EQ(fetch("k"), "here");
}

TEST_F(ObjectCache, TheLeastRecentlyUsedGoAndLargeOnesDoNotStay) {
  for (const auto* key : {"a", "b", "c", "d"})
    source_.put(key, std::string(25, *key));
  source_.put("large", std::string(26, 'x'));
  for (const auto* key : {"a", "b", "c", "d", "a"})
    fetch(key);
  EXPECT_EQ(cache_.used_bytes(), 100U);
  EXPECT_EQ(fetch("large"), std::string(26, 'x'));
  EXPECT_EQ(cache_.used_bytes(), 100U);
  source_.put("e", std::string(25, 'e'));
  fetch("e"); // b is the oldest
  const int before = source_.gets;
  fetch("a");
  EXPECT_EQ(source_.gets, before);
  fetch("b");
  EXPECT_EQ(source_.gets, before + 1);
}

} // namespace squall::executors
