#pragma once

#include "base/check.hpp"

#include <atomic>
#include <cstdint>
#include <utility>

#include <sys/eventfd.h>
#include <unistd.h>

namespace squall::wire {

/// Hands things from any thread to the one that owns a poll loop. Lock-free; a push costs no system call while the
/// owner is awake.
///
/// The owner's loop: take_all(); do other work; if may_sleep(), poll() with fd() among the descriptors, then woke_up().
/// The order of one thread's pushes is kept.
template <class T>
class outbox {
public:
  outbox() : event_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    SQUALL_CHECK(event_ >= 0, "no eventfd: raise the limit of open files");
  }
  ~outbox() {
    take_all([](T&&) {});
    ::close(event_);
  }
  outbox(const outbox&) = delete;
  outbox& operator=(const outbox&) = delete;

  /// From any thread.
  void push(T thing) {
    auto* added = new node{std::move(thing), head_.load(std::memory_order_relaxed)};
    // Sequentially consistent, as is the owner's flag: either the owner sees the new head before it sleeps, or we see
    // that it sleeps.
    while (!head_.compare_exchange_weak(added->next, added, std::memory_order_seq_cst, std::memory_order_relaxed)) {
    }
    if (sleeping_.load(std::memory_order_seq_cst) && sleeping_.exchange(false, std::memory_order_seq_cst))
      wake();
  }

  /// Ends the owner's sleep. From any thread and from signal handlers.
  void wake() {
    const std::uint64_t one = 1;
    // A full counter is as good as a wake-up.
    [[maybe_unused]] const auto written = ::write(event_, &one, sizeof one);
  }

  /// Owner: gives everything that was pushed to `take`, oldest first; false when there was nothing.
  template <class F>
  bool take_all(F take) {
    if (head_.load(std::memory_order_relaxed) == nullptr)
      return false;
    node* newest = head_.exchange(nullptr, std::memory_order_acquire);
    node* oldest = nullptr;
    while (newest != nullptr) {
      node* next = newest->next;
      newest->next = oldest;
      oldest = std::exchange(newest, next);
    }
    while (oldest != nullptr) {
      node* next = oldest->next;
      take(std::move(oldest->thing));
      delete std::exchange(oldest, next);
    }
    return true;
  }

  /// Owner: announces sleep. False when something came meanwhile; else woke_up() must follow.
  bool may_sleep() {
    sleeping_.store(true, std::memory_order_seq_cst);
    if (head_.load(std::memory_order_seq_cst) == nullptr)
      return true;
    sleeping_.store(false, std::memory_order_relaxed);
    return false;
  }

  /// Owner: after poll(). `signalled`: fd() was readable.
  void woke_up(bool signalled) {
    sleeping_.store(false, std::memory_order_relaxed);
    std::uint64_t count = 0;
    if (signalled) [[maybe_unused]]
      const auto got = ::read(event_, &count, sizeof count);
  }

  [[nodiscard]] int fd() const { return event_; }

private:
  struct node {
    T thing;
    node* next;
  };
  // On cache lines of their own: the first is written by all threads, the second by the owner.
  alignas(64) std::atomic<node*> head_{nullptr};
  alignas(64) std::atomic<bool> sleeping_{false};
  int event_;
};

} // namespace squall::wire
