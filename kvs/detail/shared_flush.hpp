#pragma once

#include "base/result.hpp"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>

namespace squall::kvs::detail {

/// Shares flushes of a log between the threads that wait for one: while one flush runs, everybody who comes waits
/// together for the next. Thread-safe.
class shared_flush {
public:
  /// `flush` puts everything that was written before its call on the disk. Called by one thread at a time.
  /// One that succeeds after a failed one must cover what that one left (the engine writes its tables before it goes
  /// on).
  explicit shared_flush(std::function<result<>()> flush) : flush_(std::move(flush)) {}

  /// A write has reached the log.
  void wrote() { written_.fetch_add(1, std::memory_order_release); }

  /// Every write that was announced before the call is on the disk when this returns; costs nothing when all are
  /// already. The error is that of the flush that should have covered them.
  [[nodiscard]] result<> wait();

private:
  void flush_once(std::unique_lock<std::mutex>& lock);

  const std::function<result<>()> flush_;
  std::atomic<std::uint64_t> written_{0}; // writes so far; the others count in it too
  std::mutex mutex_;
  std::condition_variable done_;
  bool flushing_ = false;
  std::uint64_t flushed_ = 0;
  std::uint64_t lost_ = 0; // a flush that covered these failed
  error last_failure_;
};

} // namespace squall::kvs::detail
