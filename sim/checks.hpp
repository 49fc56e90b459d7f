#pragma once

#include "calls/placing.hpp"
#include "calls/queueing.hpp"

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

/// Observers that know what the cores promise and nothing of how they keep it. They see each fact and the commands that
/// it caused.
namespace squall::sim {

/// Broken promises, in words, the first few.
class violations {
public:
  void add(time_point at, const std::string& what) {
    ++count_;
    if (texts_.size() < 20)
      texts_.push_back(std::to_string(to_ns(at)) + " ns: " + what);
  }
  [[nodiscard]] std::uint64_t count() const { return count_; }
  [[nodiscard]] const std::vector<std::string>& texts() const { return texts_; }

private:
  std::uint64_t count_ = 0;
  std::vector<std::string> texts_;
};

/// Of one node's queue: no item runs twice or is forgotten, none starts after its latest start, a lane runs one batch,
/// batches are of one variant and within its limit, only what is resident runs, memory stays within its bound, and no
/// lane idles while something could run on it.
class queue_check {
public:
  queue_check(std::uint64_t memory_bytes, violations& out) : memory_bytes_(memory_bytes), out_(out) {}
  void step(time_point now, const calls::queueing::event& fact, const std::vector<calls::queueing::command>& commands);
  /// Nothing may be left when all is done.
  void end(time_point now);

private:
  struct item {
    calls::queueing::arrived fact;
    time_point arrived;
  };
  struct lane {
    functions::resource_type resource;
    batch_id batch;
  };
  struct variant {
    calls::queueing::variant_known info;
    bool loading = false;
    bool resident = false;
    std::set<batch_id> running;
  };
  struct batch {
    lane_id lane;
    variant_id variant;
    std::vector<item_id> items;
  };

  void see(const calls::queueing::variant_known& f);
  void see(const calls::queueing::lane_opened& f) { lanes_.emplace(f.id, lane{f.resource, {}}); }
  void see(const calls::queueing::lane_closed& f);
  void see(const calls::queueing::arrived& f) { queued_.emplace(f.id, item{f, now_}); }
  void see(const calls::queueing::batch_ended& f) { end_batch(f.id); }
  void see(const calls::queueing::loaded& f);
  void see(const calls::queueing::load_failed& f) { variants_[f.variant].loading = false; }
  void see(const calls::queueing::residents_lost& f);
  void see(const calls::queueing::call_withdrawn& f);
  template <class Other>
  void see(const Other&) {}

  void follow(const calls::queueing::run& c);
  void follow(const calls::queueing::load& c);
  void follow(const calls::queueing::evict& c);
  void follow(const calls::queueing::drop& c);
  template <class Other>
  void follow(const Other&) {}
  void end_batch(batch_id id);
  void check_work_conservation();
  [[nodiscard]] std::uint64_t used() const;
  void wrong(const std::string& what) { out_.add(now_, what); }

  std::uint64_t memory_bytes_;
  violations& out_;
  time_point now_{};
  std::map<item_id, item> queued_;
  std::set<item_id> dropped_running_; ///< of a lane that closed: the queue must drop them
  std::map<lane_id, lane> lanes_;
  std::map<variant_id, variant> variants_;
  std::map<batch_id, batch> running_;
};

/// Of the scheduler: each call that arrives is admitted or refused, once; each admitted call ends, once; plans name
/// nodes that live.
class scheduler_check {
public:
  explicit scheduler_check(violations& out) : out_(out) {}
  void step(time_point now, const calls::placing::event& fact, const std::vector<calls::placing::command>& commands);
  void end(time_point now);
  [[nodiscard]] std::size_t in_flight() const { return in_flight_.size(); }

private:
  void check_plan(const calls::placing::admit& c);

  violations& out_;
  time_point now_{};
  std::set<node_id> nodes_;
  std::set<call_id> in_flight_;
};

} // namespace squall::sim
