#include "executors/cpu/work_queue.hpp"

#include <pthread.h>

namespace squall::executors::cpu {

work_queue::work_queue(const std::string& name) : thread_([this] { work(); }) {
  pthread_setname_np(thread_.native_handle(), name.substr(0, 15).c_str());
}

work_queue::~work_queue() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    tasks_.clear();
  }
  wake_.notify_one();
  thread_.join();
}

bool work_queue::add(std::function<void()> task, std::size_t limit) {
  {
    const std::lock_guard lock(mutex_);
    if (tasks_.size() >= limit)
      return false;
    tasks_.push_back(std::move(task));
  }
  wake_.notify_one();
  return true;
}

void work_queue::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
    if (stopping_)
      return;
    auto task = std::move(tasks_.front());
    tasks_.pop_front();
    lock.unlock();
    task();
    task = nullptr; // what it holds goes before the lock is taken
    lock.lock();
  }
}

} // namespace squall::executors::cpu
