#pragma once

#include "base/result.hpp"
#include "base/time.hpp"
#include "calls/event_log.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace squall::sim {

/// Where a replay decided otherwise than the core that wrote the log.
struct replay_difference {
  std::size_t segment = 0; ///< the how-manieth that was fed, from 0
  std::size_t offset = 0;  ///< of the fact in its segment
  time_point at;
  std::string fact;                  ///< as JSON
  std::vector<std::string> commands; ///< of today's code, as JSON

  template <class S, class V>
  static void fields(S& s, V& v) {
    v("segment", s.segment);
    v("offset", s.offset);
    v("at_ns", s.at);
    v("fact", s.fact);
    v("commands", s.commands);
  }
};

struct replay_report {
  calls::log_header header; ///< of the first segment
  std::uint64_t segments = 0;
  std::uint64_t facts = 0;
  std::uint64_t snapshots = 0;
  std::uint64_t gaps =
      0; ///< snapshots that are not the state that the facts before them lead to: facts were left out there
  bool truncated = false;                      ///< the last segment ends in the middle of a record (a crash)
  std::optional<replay_difference> difference; ///< the first; the replay stops there

  template <class S, class V>
  static void fields(S& s, V& v) {
    v("segments", s.segments);
    v("facts", s.facts);
    v("snapshots", s.snapshots);
    v("gaps", s.gaps);
    v("truncated", s.truncated);
    v("difference", s.difference);
  }
};

/// Feeds a recorded event log (docs/event-log.md) to a core of today's code and compares the digests of the commands.
/// Either core: the first segment's header says which. Pure: the caller reads the files, one segment at a time.
class replayer {
public:
  replayer();
  ~replayer();
  replayer(const replayer&) = delete;
  replayer& operator=(const replayer&) = delete;

  /// Called after each fact with what today's code decides: both as JSON.
  using observer =
      std::function<void(time_point at, const std::string& fact, const std::vector<std::string>& commands)>;
  void observe(observer each);

  /// The next segment, in order. An error: the bytes are damaged, or of another version or core; `at byte` is in this
  /// segment.
  [[nodiscard]] result<> feed(std::span<const std::byte> segment);
  [[nodiscard]] const replay_report& report() const;
  /// Whether more segments would change the report.
  [[nodiscard]] bool done() const { return report().difference.has_value(); }

private:
  struct state;
  std::unique_ptr<state> state_;
};

} // namespace squall::sim
