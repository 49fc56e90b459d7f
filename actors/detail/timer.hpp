#pragma once

#include "base/check.hpp"
#include "base/time.hpp"

#include <cerrno>
#include <cstdint>

#include <sys/timerfd.h>
#include <unistd.h>

namespace squall::actors::detail {

/// A descriptor that is readable once a time has come. Cheaper than a sleep that ends by itself, where a loop sleeps
/// many times before the time comes: a core's clock is set once, not for each sleep.
class timer {
public:
  timer() : fd_(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)) {
    SQUALL_CHECK(fd_ >= 0, "no timer: raise the limit of open files", errno);
  }
  ~timer() { ::close(fd_); }
  timer(const timer&) = delete;
  timer& operator=(const timer&) = delete;

  [[nodiscard]] int fd() const { return fd_; }

  /// It goes off at `at` at the latest; `now` is before that. A time that it was set to and that is no longer wanted is
  /// left: it goes off then, too.
  void set(time_point at, time_point now) {
    if (at >= set_to_)
      return;
    // Relative, since the clock that a program sees may be another than the kernel's.
    const duration left = at - now;
    const auto seconds = std::chrono::floor<std::chrono::seconds>(left);
    itimerspec spec{};
    spec.it_value = {static_cast<time_t>(seconds.count()), static_cast<long>((left - seconds).count())};
    SQUALL_CHECK(::timerfd_settime(fd_, 0, &spec, nullptr) == 0, errno);
    set_to_ = at;
  }

  /// It has gone off.
  void clear() {
    std::uint64_t times = 0;
    [[maybe_unused]] const auto got = ::read(fd_, &times, sizeof times);
    set_to_ = never;
  }

private:
  int fd_;
  time_point set_to_ = never;
};

} // namespace squall::actors::detail
