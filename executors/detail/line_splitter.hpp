#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace squall::executors::detail {

/// Cuts a stream of text into lines, however it arrives. A line longer than the limit is cut.
class line_splitter {
public:
  template <class OnLine>
  void take(std::string_view text, OnLine on_line) {
    for (const char c : text) {
      if (c != '\n')
        partial_ += c;
      if (c == '\n' || partial_.size() == limit)
        flush(on_line);
    }
  }

  /// The rest, which no newline ended.
  template <class OnLine>
  void flush(OnLine on_line) {
    if (!partial_.empty())
      on_line(std::exchange(partial_, {}));
  }

private:
  static constexpr std::size_t limit = 4096;
  std::string partial_;
};

} // namespace squall::executors::detail
