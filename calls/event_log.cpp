#include "calls/event_log.hpp"

#include <algorithm>
#include <array>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace squall::calls {

namespace {

constexpr std::string_view magic{"SQLOG\0", 6};
constexpr std::uint8_t snapshot_kind = 1;
constexpr std::uint8_t facts_kind = 2;

std::uint64_t checksum(std::span<const std::byte> payload) { return XXH3_64bits(payload.data(), payload.size()); }

} // namespace

std::string_view to_string(log_core core) {
  switch (core) {
    case log_core::scheduler:
      return "scheduler";
    case log_core::node_queue:
      return "node_queue";
  }
  return "unknown";
}

// -- writing
// ------------------------------------------------------------------------------------------------------------------

void log_encoder::begin(const log_header& header) {
  SQUALL_CHECK(pending_.size() == 0 && sealed_.size() == 0, pending_.size(), sealed_.size());
  sealed_.raw(std::as_bytes(std::span{magic}));
  sealed_.fixed(log_version, 2);
  sealed_.byte(static_cast<std::uint8_t>(header.core));
  sealed_.fixed(header.node.value, 8);
  sealed_.fixed(static_cast<std::uint64_t>(header.opened_ns), 8);
  segment_size_ = log_header_size;
  ready_ = false;
}

bool log_encoder::snapshot(time_point core_time, std::span<const std::byte> saved) {
  flush();
  binary_writer payload;
  payload.byte(snapshot_kind);
  payload.zigzag(to_ns(core_time));
  payload.raw(saved);
  if (payload.size() > log_record_max)
    return false;
  seal(payload.bytes());
  previous_ = core_time;
  ready_ = true;
  return true;
}

void log_encoder::begin_fact(time_point at, std::uint64_t commands) {
  SQUALL_CHECK(ready_);
  if (pending_.size() == 0)
    pending_.byte(facts_kind);
  pending_.zigzag((at - previous_).count());
  pending_.fixed(commands, 8);
  previous_ = at;
}

void log_encoder::flush() {
  if (pending_.size() == 0)
    return;
  seal(pending_.bytes());
  pending_.clear();
}

void log_encoder::seal(std::span<const std::byte> payload) {
  sealed_.fixed(payload.size(), 4);
  sealed_.fixed(checksum(payload), 8);
  sealed_.raw(payload);
  segment_size_ += log_record_header_size + payload.size();
}

// -- reading
// ------------------------------------------------------------------------------------------------------------------

result<log_records> log_records::open(std::span<const std::byte> segment) {
  if (segment.size() < log_header_size)
    return {errc::corrupt, "event log: at byte " + std::to_string(segment.size()) + " it ends inside its header"};
  const auto name = std::as_bytes(std::span{magic});
  if (!std::equal(name.begin(), name.end(), segment.begin()))
    return {errc::corrupt, "event log: at byte 0 it does not begin as an event log does"};
  binary_reader in{segment.subspan(magic.size())};
  const std::uint64_t version = in.fixed(2);
  if (version != log_version)
    return {errc::unsupported, "event log: is of format version " + std::to_string(version) +
                                   ", this program reads version " + std::to_string(log_version)};
  log_header header;
  header.core = static_cast<log_core>(in.byte());
  header.node.value = in.fixed(8);
  header.opened_ns = static_cast<std::int64_t>(in.fixed(8));
  if (header.core != log_core::scheduler && header.core != log_core::node_queue)
    return {errc::corrupt, "event log: at byte 8 it names a core that does not exist"};
  return log_records{segment, header};
}

result<std::optional<log_records::record>> log_records::next() {
  const auto left = segment_.subspan(at_);
  if (left.empty())
    return std::optional<record>{};
  binary_reader in{left};
  const std::uint64_t length = in.fixed(4);
  const std::uint64_t sum = in.fixed(8);
  if (in.ok() && (length == 0 || length > log_record_max))
    return {errc::corrupt, "event log: at byte " + std::to_string(at_) + " it holds a record of " +
                               std::to_string(length) + " bytes; 1 to " + std::to_string(log_record_max) +
                               " are possible"};
  const auto payload = in.raw(length);
  if (!in.ok()) {
    truncated_ = true;
    at_ = segment_.size();
    return std::optional<record>{};
  }
  if (checksum(payload) != sum)
    return {errc::corrupt,
            "event log: at byte " + std::to_string(at_) + " it holds a record whose checksum does not match"};
  const record out{payload, at_ + log_record_header_size};
  at_ = out.offset + length;
  return std::optional{out};
}

} // namespace squall::calls
