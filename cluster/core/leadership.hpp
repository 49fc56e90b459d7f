#pragma once

#include "base/fields.hpp"
#include "base/time.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

/// Who of several controllers leads. An arbiter keeps one record, which is replaced only by who names the version of
/// what is replaced; all else is decided here. Pure: facts in, commands out.
///
/// The leader renews its lease by writing the record again, and stops acting when the lease, counted from when the last
/// write that was confirmed was sent, is over. Another takes over when it has seen the record unchanged for a lease.
/// The first counts from before the write took effect and the second from after it, so no clock is compared with
/// another; both leave the allowance for clocks that do not run at the same speed. Each leader has a term of its own,
/// one more than the last: who obeys or stores may tell by it what is old (a fencing token).
namespace squall::cluster {

struct leadership_config {
  std::uint64_t self = 0; ///< one an incarnation, never used again; not 0
  std::string endpoint;   ///< where the leader is found
  duration lease = std::chrono::seconds{3};
  /// No clock gains or loses more than this against true time.
  std::uint32_t drift_ppm = 10'000;

  [[nodiscard]] duration renew_every() const { return lease / 3; }
  [[nodiscard]] duration look_every() const { return lease / 6; }
  [[nodiscard]] duration answer_within() const { return lease / 4; }
};

/// What the arbiter keeps.
struct lease_record {
  std::uint64_t term = 0;
  std::uint64_t holder = 0; ///< 0: it was given back
  std::uint64_t renewals = 0;
  duration lease{0};
  std::string endpoint;

  bool operator==(const lease_record&) const = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("term", s.term);
    v("holder", s.holder);
    v("renewals", s.renewals);
    v("lease_ns", s.lease);
    v("endpoint", s.endpoint);
  }
};

// Facts. Answers name the request; those that come too late are ignored.
struct lease_tick {};
struct record_found {
  std::uint64_t request = 0;
  std::uint64_t version = 0; ///< 0: there is no record
  lease_record record;
};
struct record_written {
  std::uint64_t request = 0;
  std::uint64_t version = 0;
};
struct record_differs { ///< nothing was written: another version was there
  std::uint64_t request = 0;
};
struct arbiter_failed { ///< whether something was written is not known
  std::uint64_t request = 0;
};
struct resign_wanted {};
using lease_event =
    std::variant<lease_tick, record_found, record_written, record_differs, arbiter_failed, resign_wanted>;

// Commands.
struct read_record {
  std::uint64_t request = 0;
  bool operator==(const read_record&) const = default;
};
struct write_record {
  std::uint64_t request = 0;
  std::uint64_t expected_version = 0;
  lease_record record;
  bool operator==(const write_record&) const = default;
};
struct begin_to_lead {
  std::uint64_t term = 0;
  bool operator==(const begin_to_lead&) const = default;
};
struct stop_leading { ///< nothing may be ordered any more
  std::string why;
  bool operator==(const stop_leading&) const = default;
};
struct other_leads {
  std::uint64_t term = 0;
  std::string endpoint; ///< empty: nobody is known to
  bool operator==(const other_leads&) const = default;
};
struct given_back { ///< after resign_wanted
  bool operator==(const given_back&) const = default;
};
using lease_command = std::variant<read_record, write_record, begin_to_lead, stop_leading, other_leads, given_back>;

/// One candidate.
class candidate {
public:
  candidate(const leadership_config& config, time_point now);

  void step(time_point now, const lease_event& fact); ///< `now` never goes back
  [[nodiscard]] std::vector<lease_command> take_commands();
  [[nodiscard]] std::optional<time_point> next_deadline() const;

  /// Whether it may act at this moment. Ask before acting: the command to stop comes only when somebody steps.
  [[nodiscard]] bool leads(time_point now) const { return leading_ && now < leads_until_; }
  [[nodiscard]] std::uint64_t term() const { return term_; } ///< while it leads
  [[nodiscard]] time_point leads_until() const { return leads_until_; }

private:
  struct request {
    std::uint64_t number = 0;
    time_point sent;
    std::optional<lease_record> writes; ///< none: it reads
  };

  [[nodiscard]] duration allowance(duration of) const;
  [[nodiscard]] bool answers(std::uint64_t number) const { return open_ && open_->number == number; }
  void found(time_point now, const record_found& fact);
  void written(time_point now, const record_written& fact);
  void look_again(time_point at);
  void resign(time_point now);
  void depose(std::string why);
  void advance(time_point now);
  void read(time_point now);
  void write(time_point now, lease_record record);
  [[nodiscard]] bool may_take(time_point now) const;
  void tell_who_leads();

  leadership_config config_;
  bool known_ = false; ///< the three below are what the arbiter had when it was last heard of
  std::uint64_t version_ = 0;
  lease_record record_;
  time_point free_at_; ///< when the lease of another is over for certain
  bool leading_ = false;
  std::uint64_t term_ = 0;
  time_point leads_until_;
  time_point renew_at_;
  time_point look_at_;
  bool resigning_ = false;
  bool gone_ = false;
  std::optional<request> open_; ///< one at a time
  std::uint64_t last_request_ = 0;
  other_leads told_;
  std::vector<lease_command> commands_;
};

} // namespace squall::cluster
