#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace squall::executors::cpu {

/// A thread that does one thing after another. What waits when it is destroyed is dropped; what runs is waited for.
class work_queue {
public:
  /// `name` is what tools show, at most 15 characters.
  explicit work_queue(const std::string& name);
  ~work_queue();
  work_queue(const work_queue&) = delete;
  work_queue& operator=(const work_queue&) = delete;

  /// False, and nothing happens, when `limit` tasks wait already.
  [[nodiscard]] bool add(std::function<void()> task, std::size_t limit);

private:
  void work();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> tasks_;
  bool stopping_ = false;
  std::thread thread_;
};

} // namespace squall::executors::cpu
