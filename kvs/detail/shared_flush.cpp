#include "kvs/detail/shared_flush.hpp"

namespace squall::kvs::detail {

result<> shared_flush::wait() {
  std::unique_lock lock{mutex_};
  const std::uint64_t wanted = written_.load(std::memory_order_acquire);
  while (flushed_ < wanted) {
    // After a failed flush the kernel may report success for pages that it dropped, so those writes are never reported
    // durable.
    if (wanted <= lost_)
      return last_failure_;
    if (flushing_)
      done_.wait(lock);
    else
      flush_once(lock);
  }
  return {};
}

void shared_flush::flush_once(std::unique_lock<std::mutex>& lock) {
  flushing_ = true;
  const std::uint64_t covered = written_.load(std::memory_order_acquire);
  lock.unlock();
  auto flushed = flush_();
  lock.lock();
  flushing_ = false;
  if (flushed.ok()) {
    flushed_ = covered;
  } else {
    lost_ = covered;
    last_failure_ = std::move(flushed).error();
  }
  done_.notify_all();
}

} // namespace squall::kvs::detail
