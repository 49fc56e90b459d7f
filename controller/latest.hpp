#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace squall::controller {

/// The last `most` of a series. The oldest one's place is used again, so that adding allocates nothing once it is full.
template <class T>
class latest {
public:
  explicit latest(std::size_t most) : most_(most) {}

  void push(T one) {
    if (all_.size() < most_)
      all_.push_back(std::move(one));
    else if (most_ > 0)
      all_[next_] = std::move(one);
    else
      return;
    next_ = next_ + 1 == most_ ? 0 : next_ + 1;
  }

  [[nodiscard]] std::size_t size() const { return all_.size(); }
  /// 0 is the youngest, `size()` - 1 the oldest.
  [[nodiscard]] const T& operator[](std::size_t age) const {
    return all_[next_ > age ? next_ - 1 - age : all_.size() + next_ - 1 - age];
  }
  /// The youngest that fits; null if none does.
  template <class Predicate>
  [[nodiscard]] const T* find(const Predicate& fits) const {
    for (std::size_t age = 0; age < size(); ++age)
      if (fits((*this)[age]))
        return &(*this)[age];
    return nullptr;
  }

private:
  std::size_t most_;
  std::size_t next_ = 0; ///< where the next one goes
  std::vector<T> all_;
};

} // namespace squall::controller
