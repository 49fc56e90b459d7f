#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

namespace squall::client::detail {

/// A descriptor that wakes a thread out of poll().
class wake_up {
public:
  wake_up();
  ~wake_up();
  wake_up(const wake_up&) = delete;
  wake_up& operator=(const wake_up&) = delete;

  [[nodiscard]] int fd() const { return fd_; }
  void ring() const;
  void clear() const;

private:
  int fd_;
};

/// What other threads hand to the one that owns the sockets: many producers, one consumer, in one order for all. A
/// producer makes a system call only when the consumer sleeps.
///
/// The consumer calls take() until it gives nothing, then prepare_sleep(); if that says true it may poll() on fd(), and
/// calls woken() afterwards.
template <class T>
class outbox {
public:
  outbox() = default;
  outbox(const outbox&) = delete;
  outbox& operator=(const outbox&) = delete;
  ~outbox() {
    take([](T&&) {});
  }

  void push(T value) {
    auto* fresh = new node{std::move(value), nullptr};
    node* head = head_.load(std::memory_order_relaxed);
    do {
      fresh->next = head;
    } while (!head_.compare_exchange_weak(head, fresh, std::memory_order_seq_cst, std::memory_order_relaxed));
    if (sleeping_.load(std::memory_order_seq_cst) && sleeping_.exchange(false))
      wake_.ring();
  }

  /// Hands over what is there, oldest first; returns how many.
  template <class Use>
  std::size_t take(Use&& use) {
    node* list = reversed(head_.exchange(nullptr, std::memory_order_seq_cst));
    std::size_t count = 0;
    while (list) {
      const std::unique_ptr<node> one{std::exchange(list, list->next)};
      use(std::move(one->value));
      ++count;
    }
    return count;
  }

  /// False when something came meanwhile.
  [[nodiscard]] bool prepare_sleep() {
    sleeping_.store(true, std::memory_order_seq_cst);
    if (head_.load(std::memory_order_seq_cst) == nullptr)
      return true;
    sleeping_.store(false, std::memory_order_seq_cst);
    return false;
  }
  /// `rang`: fd() was readable.
  void woken(bool rang) {
    sleeping_.store(false, std::memory_order_seq_cst);
    if (rang)
      wake_.clear();
  }
  [[nodiscard]] int fd() const { return wake_.fd(); }

private:
  struct node {
    T value;
    node* next;
  };

  /// The list grows at its head, so it is read from its end.
  static node* reversed(node* list) {
    node* out = nullptr;
    while (list) {
      node* next = list->next;
      list->next = out;
      out = std::exchange(list, next);
    }
    return out;
  }

  // Producers write the first, the consumer the second; apart, so that they do not share a cache line.
  alignas(64) std::atomic<node*> head_{nullptr};
  alignas(64) std::atomic<bool> sleeping_{false};
  wake_up wake_;
};

} // namespace squall::client::detail
