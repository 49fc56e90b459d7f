#pragma once

#include "base/log.hpp"
#include "base/result.hpp"
#include "base/time.hpp"
#include "calls/event_log.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace squall::actors {

struct event_log_options {
  std::string folder; ///< made if missing, mode 0700
  calls::log_core core = calls::log_core::scheduler;
  node_id node;                         ///< zero for the scheduler
  std::size_t segment_bytes = 64 << 20; ///< a segment that has grown past this is followed by a new one
  std::size_t segments_kept = 8;        ///< older ones are deleted
  std::size_t max_unwritten_bytes =
      64 << 20; ///< when the disk is behind by more, facts are left out and a snapshot follows
};

/// Writes the event log of one core (docs/event-log.md). The owner of the core calls append() after each step and
/// flush() when due; a thread of this object's owns the file. Neither ever waits for the disk. Not thread-safe.
class event_log_file {
public:
  using snapshot_source = std::function<std::vector<std::byte>()>;

  /// `snapshot` gives the state of the core as it is when called; called inside create(), append() and flush().
  [[nodiscard]] static result<std::unique_ptr<event_log_file>> create(const event_log_options& options, time_point now,
                                                                      snapshot_source snapshot, logger& log);
  /// Writes what is left, then ends.
  ~event_log_file();
  event_log_file(const event_log_file&) = delete;
  event_log_file& operator=(const event_log_file&) = delete;

  /// A fact that the core has just been fed, with calls::digest() of the commands that it caused.
  template <class Event>
  void append(time_point at, std::uint64_t commands, const Event& fact) {
    if (!recording_)
      return skip(at);
    encoder_.fact(at, commands, fact);
    appended(at);
  }

  /// When flush() should be called; none while nothing waits.
  [[nodiscard]] std::optional<time_point> flush_due() const { return due_; }
  void flush(time_point now);

  /// Facts that were left out because the disk was behind, since the start.
  [[nodiscard]] std::uint64_t facts_left_out() const { return left_out_; }

private:
  class writer;

  event_log_file(const event_log_options& options, snapshot_source snapshot, logger& log, std::unique_ptr<writer> out);
  void begin_segment(time_point now);
  void appended(time_point at);
  void skip(time_point at);
  void hand_over();

  event_log_options options_;
  snapshot_source snapshot_;
  logger& log_;
  std::unique_ptr<writer> writer_;
  calls::log_encoder encoder_;
  std::optional<time_point> due_;
  bool recording_ = false; ///< false after a gap, until a snapshot could be handed over
  std::uint64_t left_out_ = 0;
};

/// The segments of a log's folder, ascending. not_found when there is none.
[[nodiscard]] result<std::vector<std::string>> event_log_segments(const std::string& folder);

} // namespace squall::actors
