#pragma once

#include "base/time.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace squall::wire {

/// The descriptors that a loop waits for, by their place in a list. The kernel keeps the list, so that a wait costs as
/// much as there is news, not as there are descriptors.
class ready_set {
public:
  ready_set() = default;
  ~ready_set();
  ready_set(const ready_set&) = delete;
  ready_set& operator=(const ready_set&) = delete;

  /// Another list. All are open, none is there twice.
  void watch(const std::vector<int>& fds);
  [[nodiscard]] std::size_t size() const { return woke_.size(); }

  /// Waits until one can be read, or that long (without end if none is given). How many can.
  std::size_t wait(std::optional<duration> patience);
  /// Whether the one at this place could be read when the last wait ended.
  [[nodiscard]] bool woke(std::size_t place) const { return woke_[place] != 0; }

private:
  int epoll_ = -1;
  std::vector<char> woke_;
  std::vector<std::uint32_t> ready_; ///< the places that are set in woke_
};

} // namespace squall::wire
