#include "client/detail/outbox.hpp"

#include "base/check.hpp"

#include <cerrno>

#include <sys/eventfd.h>
#include <unistd.h>

namespace squall::client::detail {

wake_up::wake_up() : fd_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) { SQUALL_CHECK(fd_ >= 0, errno); }
wake_up::~wake_up() { ::close(fd_); }

void wake_up::ring() const {
  const std::uint64_t one = 1;
  // It fails only when it is full, which wakes as well.
  [[maybe_unused]] const auto written = ::write(fd_, &one, sizeof one);
}

void wake_up::clear() const {
  std::uint64_t count = 0;
  [[maybe_unused]] const auto got = ::read(fd_, &count, sizeof count);
}

} // namespace squall::client::detail
