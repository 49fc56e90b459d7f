#include "wire/zmq/ready_set.hpp"

#include "base/check.hpp"

#include <time.h>

#include <array>
#include <cerrno>

#include <sys/epoll.h>
#include <unistd.h>

namespace squall::wire {

ready_set::~ready_set() {
  if (epoll_ >= 0)
    ::close(epoll_);
}

void ready_set::watch(const std::vector<int>& fds) {
  if (epoll_ >= 0)
    ::close(epoll_);
  epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
  SQUALL_CHECK(epoll_ >= 0, errno);
  woke_.assign(fds.size(), 0);
  ready_.clear();
  for (std::size_t i = 0; i < fds.size(); ++i) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u32 = static_cast<std::uint32_t>(i);
    SQUALL_CHECK(::epoll_ctl(epoll_, EPOLL_CTL_ADD, fds[i], &event) == 0, fds[i], errno);
  }
}

std::size_t ready_set::wait(std::optional<duration> patience) {
  timespec limit{};
  if (patience) {
    const auto seconds = std::chrono::floor<std::chrono::seconds>(*patience);
    limit = {static_cast<time_t>(seconds.count()), static_cast<long>((*patience - seconds).count())};
  }
  for (const std::uint32_t place : ready_)
    woke_[place] = 0;
  ready_.clear();
  std::array<epoll_event, 64> events;
  const int count =
      ::epoll_pwait2(epoll_, events.data(), static_cast<int>(events.size()), patience ? &limit : nullptr, nullptr);
  for (int i = 0; i < count; ++i) {
    ready_.push_back(events[static_cast<std::size_t>(i)].data.u32);
    woke_[ready_.back()] = 1;
  }
  return ready_.size();
}

} // namespace squall::wire
