#pragma once

#include "base/time.hpp"
#include "executors/detail/line_splitter.hpp"
#include "executors/detail/unique_fd.hpp"

#include <cstdint>
#include <deque>
#include <functional>
#include <string>

namespace squall::executors::detail {

/// What a process prints: a pipe in an epoll set. Reads no faster than `bytes_per_second`, so that one that prints a
/// gigabyte waits for its own pipe and takes nobody's time; passes at most `lines_per_second` on, and keeps the last
/// ones.
class log_reader {
public:
  static constexpr std::size_t bytes_per_second = 1 << 20;
  static constexpr std::size_t lines_per_second = 100;
  static constexpr std::size_t kept_lines = 20;
  using on_line = std::function<void(const std::string&)>;

  log_reader(unique_fd pipe, int epoll, std::uint64_t tag);
  ~log_reader();
  log_reader(const log_reader&) = delete;
  log_reader& operator=(const log_reader&) = delete;

  void read(time_point now, const on_line& line);
  /// A line that came another way; it counts like one that was printed.
  void add(time_point now, const std::string& text, const on_line& line);
  /// What is left in the pipe of a process that has ended.
  void read_rest(const on_line& line);
  /// When it was read too fast it is read on from then; `never` otherwise.
  [[nodiscard]] time_point next_alarm() const { return paused_until_; }
  void on_alarm(time_point now);

  /// The last lines, each after "\n  ".
  [[nodiscard]] std::string tail() const;
  [[nodiscard]] std::string last_line() const { return last_.empty() ? std::string{} : last_.back(); }

private:
  void take(std::string_view text, const on_line& line);
  void watch(bool wanted);
  void begin_second(time_point now);

  unique_fd pipe_;
  const int epoll_;
  const std::uint64_t tag_;
  bool watched_ = false;
  line_splitter lines_;
  std::deque<std::string> last_;
  time_point second_began_{};
  std::size_t bytes_ = 0; ///< in this second
  std::size_t said_ = 0;  ///< lines, likewise
  std::size_t dropped_ = 0;
  time_point paused_until_ = never;
};

} // namespace squall::executors::detail
