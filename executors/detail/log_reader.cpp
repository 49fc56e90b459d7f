#include "executors/detail/log_reader.hpp"

#include "base/check.hpp"

#include <algorithm>
#include <array>
#include <cerrno>

#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

namespace squall::executors::detail {

namespace {

constexpr duration second = std::chrono::seconds{1};
constexpr std::size_t rest_bytes = 1 << 20; ///< a pipe holds 64 KiB; a grandchild may go on filling it

/// UTF-8 or not, it goes into a log.
std::string printable(std::string line) {
  for (auto& c : line)
    if (static_cast<unsigned char>(c) < 0x20 && c != '\t')
      c = ' ';
  return line;
}

} // namespace

log_reader::log_reader(unique_fd pipe, int epoll, std::uint64_t tag)
    : pipe_(std::move(pipe)), epoll_(epoll), tag_(tag) {
  fcntl(pipe_.get(), F_SETFL, O_NONBLOCK);
  watch(true);
}

log_reader::~log_reader() { watch(false); }

void log_reader::watch(bool wanted) {
  if (wanted == watched_ || !pipe_)
    return;
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = tag_;
  epoll_ctl(epoll_, wanted ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, pipe_.get(), &event);
  watched_ = wanted;
}

void log_reader::begin_second(time_point now) {
  if (now < second_began_ + second)
    return;
  second_began_ = now;
  bytes_ = said_ = 0;
}

void log_reader::read(time_point now, const on_line& line) {
  begin_second(now);
  std::array<char, 16384> chunk;
  while (bytes_ < bytes_per_second) {
    const auto got = ::read(pipe_.get(), chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR)
      continue;
    if (got == 0) // closed, and would be readable for ever
      watch(false);
    if (got <= 0)
      return;
    bytes_ += static_cast<std::size_t>(got);
    take({chunk.data(), static_cast<std::size_t>(got)}, line);
    if (static_cast<std::size_t>(got) < chunk.size())
      return;
  }
  watch(false);
  paused_until_ = second_began_ + second;
}

void log_reader::add(time_point now, const std::string& text, const on_line& line) {
  begin_second(now);
  take(text + "\n", line);
}

void log_reader::read_rest(const on_line& line) {
  std::array<char, 16384> chunk;
  for (std::size_t total = 0; total < rest_bytes;) {
    const auto got = ::read(pipe_.get(), chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      break;
    total += static_cast<std::size_t>(got);
    take({chunk.data(), static_cast<std::size_t>(got)}, line);
  }
  take("\n", line);
  if (dropped_ > 0)
    line("... " + std::to_string(dropped_) + " lines were left out");
}

void log_reader::on_alarm(time_point now) {
  if (now < paused_until_)
    return;
  paused_until_ = never;
  watch(true);
}

void log_reader::take(std::string_view text, const on_line& line) {
  lines_.take(text, [&](std::string complete) {
    auto shown = printable(std::move(complete));
    if (said_ < lines_per_second)
      line(shown);
    else
      ++dropped_;
    ++said_;
    last_.push_back(std::move(shown));
    if (last_.size() > kept_lines)
      last_.pop_front();
  });
}

std::string log_reader::tail() const {
  std::string out;
  for (const auto& line : last_)
    out += "\n  " + line;
  return out;
}

} // namespace squall::executors::detail
