#pragma once

#include "base/result.hpp"
#include "base/time.hpp"
#include "calls/binary.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <variant>
#include <vector>

/// The codec of docs/event-log.md: bytes in, bytes out, no files. The controller and the executors write logs of it,
/// `squall replay` reads them.
namespace squall::calls {

enum class log_core : std::uint8_t { scheduler = 1, node_queue = 2 };
[[nodiscard]] std::string_view to_string(log_core core);

/// How a segment begins.
struct log_header {
  log_core core = log_core::scheduler;
  node_id node;               ///< zero for the scheduler
  std::int64_t opened_ns = 0; ///< wall clock since 1970, for people only

  friend bool operator==(const log_header&, const log_header&) = default;
};

inline constexpr std::uint16_t log_version = 7;
inline constexpr std::size_t log_header_size = 25;
inline constexpr std::size_t log_record_header_size = 12;
inline constexpr std::size_t log_record_max = std::size_t{64} << 20;
inline constexpr std::size_t log_facts_target = std::size_t{64}
                                                << 10; ///< facts gather into one record up to about here

/// The digest of the commands that one fact caused; of no commands it is that of an empty run.
template <class Command>
[[nodiscard]] std::uint64_t digest(const std::vector<Command>& commands) {
  if (commands.empty())
    return fnv1a{}.value();
  binary_writer out{256};
  for (const Command& c : commands)
    out.write(c);
  fnv1a hash;
  hash.add(out.bytes());
  return hash.value();
}

/// Builds the bytes of one segment after the other. Not thread-safe. The first record after begin() must be a snapshot
/// (checked).
class log_encoder {
public:
  /// Begins a segment. Facts that were not flushed before belong to the old segment: flush() and take() first
  /// (checked).
  void begin(const log_header& header);

  /// Seals the facts so far and adds a snapshot: at the beginning of a segment, and after a gap. False, and nothing is
  /// written, if it is larger than a record may be.
  [[nodiscard]] bool snapshot(time_point core_time, std::span<const std::byte> saved);

  /// Adds a fact with the digest of its commands; `Event` is the core's event variant. Seals a record when enough have
  /// gathered.
  template <class Event>
  void fact(time_point at, std::uint64_t commands, const Event& event) {
    begin_fact(at, commands);
    pending_.write(event);
    if (pending_.size() >= log_facts_target)
      flush();
  }

  /// Seals the facts that have gathered, if any. The driver calls it 10 ms after the first of them.
  void flush();
  [[nodiscard]] bool gathering() const { return pending_.size() > 0; }     ///< whether flush() would write something
  [[nodiscard]] std::size_t segment_size() const { return segment_size_; } ///< bytes of this segment that are sealed

  /// Sealed bytes since the last call, to be appended to the segment's file.
  [[nodiscard]] std::vector<std::byte> take() { return sealed_.take(); }

private:
  void begin_fact(time_point at, std::uint64_t commands);
  void seal(std::span<const std::byte> payload);

  binary_writer sealed_;
  binary_writer pending_; ///< payload of the facts record being gathered
  time_point previous_{};
  bool ready_ = false; ///< the segment has its snapshot
  std::size_t segment_size_ = 0;
};

/// One entry of a log; views point into the segment's bytes.
template <class Event>
struct log_fact {
  time_point at;
  std::uint64_t commands = 0; ///< digest
  Event event;
  std::size_t offset = 0; ///< in the segment, of this fact
};
struct log_snapshot {
  time_point at;
  std::span<const std::byte> saved;
  std::size_t offset = 0; ///< in the segment, of its record
};
template <class Event>
using log_entry = std::variant<log_snapshot, log_fact<Event>>;

/// Reads the records of one segment; the bytes must outlive it.
class log_records {
public:
  /// Errors: `corrupt` if it is no log, `unsupported` if it is one of another version.
  [[nodiscard]] static result<log_records> open(std::span<const std::byte> segment);
  [[nodiscard]] const log_header& header() const { return header_; }

  struct record {
    std::span<const std::byte> payload; ///< checked against its checksum, not empty
    std::size_t offset = 0;             ///< of the payload
  };
  /// The next record; none at the end. A record that is cut off by the end is the trace of a crash and ends the log
  /// too: see truncated().
  [[nodiscard]] result<std::optional<record>> next();
  [[nodiscard]] bool truncated() const { return truncated_; }

private:
  log_records(std::span<const std::byte> segment, const log_header& header)
      : segment_(segment), at_(log_header_size), header_(header) {}

  std::span<const std::byte> segment_;
  std::size_t at_;
  log_header header_;
  bool truncated_ = false;
};

/// Reads the entries of one segment: a snapshot, then facts, and further snapshots where the log has gaps.
template <class Event>
class log_decoder {
public:
  [[nodiscard]] static result<log_decoder> open(std::span<const std::byte> segment) {
    SQUALL_ASSIGN(records, log_records::open(segment));
    return log_decoder{records};
  }
  [[nodiscard]] const log_header& header() const { return records_.header(); }
  [[nodiscard]] bool truncated() const { return records_.truncated(); }

  /// The next entry; none at the end. After an error, what follows cannot be trusted.
  [[nodiscard]] result<std::optional<log_entry<Event>>> next() {
    while (facts_.left() == 0) {
      SQUALL_ASSIGN(record, records_.next());
      if (!record)
        return std::optional<log_entry<Event>>{};
      base_ = record->offset;
      facts_ = binary_reader{record->payload};
      const std::uint8_t kind = facts_.byte();
      if (kind == 1)
        return read_snapshot();
      if (kind != 2 || !begun_)
        return {errc::corrupt,
                "event log: at byte " + std::to_string(base_) + " it holds " +
                    (kind == 2 ? "facts before the first snapshot" : "a record of kind " + std::to_string(kind))};
    }
    return read_fact();
  }

private:
  explicit log_decoder(const log_records& records) : records_(records) {}

  result<std::optional<log_entry<Event>>> read_snapshot() {
    log_snapshot out;
    out.offset = base_ - log_record_header_size;
    out.at = from_ns(facts_.zigzag());
    SQUALL_TRY(facts_.status("event log", base_));
    out.saved = facts_.raw(facts_.left());
    previous_ = out.at;
    begun_ = true;
    return std::optional<log_entry<Event>>{out};
  }

  result<std::optional<log_entry<Event>>> read_fact() {
    log_fact<Event> out;
    out.offset = base_ + facts_.offset();
    const auto step = static_cast<std::uint64_t>(facts_.zigzag());
    // Unsigned, so that a hostile step wraps instead of overflowing.
    out.at = previous_ = from_ns(static_cast<std::int64_t>(static_cast<std::uint64_t>(to_ns(previous_)) + step));
    out.commands = facts_.fixed(8);
    facts_.read(out.event);
    SQUALL_TRY(facts_.status("event log", base_));
    return std::optional<log_entry<Event>>{std::move(out)};
  }

  log_records records_;
  binary_reader facts_{{}};
  std::size_t base_ = 0; ///< offset of the payload being read
  time_point previous_{};
  bool begun_ = false;
};

} // namespace squall::calls
