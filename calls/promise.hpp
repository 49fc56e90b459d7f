#pragma once

#include "base/fields.hpp"
#include "base/ids.hpp"
#include "base/time.hpp"

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

/// What a caller can ask for beside a result, and what it is told about it.
namespace squall::calls {

using ticket_id = strong_id<struct ticket_tag>; ///< an offer that can be redeemed

/// Money in millionths of the configuration's unit.
using micro_cost = std::int64_t;
inline constexpr micro_cost no_cost_limit = std::numeric_limits<micro_cost>::max();

/// The assurance of a call that reserves every branch; less is a share of calls, in millionths.
inline constexpr std::uint32_t firm_ppm = 1'000'000;

/// Which of the plans that meet both SLOs a caller would rather have.
enum class preference : std::uint8_t { cheapest, fastest, least_loaded };
[[nodiscard]] std::string_view to_string(preference p);
[[nodiscard]] std::optional<preference> enum_from_string(std::string_view name, std::type_identity<preference>);

/// What could be promised instead of a call that is refused. Its booking is held until the ticket expires.
struct offer {
  ticket_id ticket;
  duration finish{0}; ///< from the arrival of the refused call
  micro_cost cost = 0;
  std::string how;       ///< what differs from the call as asked, for people; empty: only its SLOs
  duration valid_for{0}; ///< from now
  friend bool operator==(const offer&, const offer&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("ticket", s.ticket);
    v("finish_ns", s.finish);
    v("cost_micro", s.cost);
    v("how", s.how);
    v("valid_for_ns", s.valid_for);
  }
};

/// What an admitted call was promised. Without SLOs nothing is: `assurance_ppm` is 0 then.
struct promise {
  duration finish{0};              ///< from arrival: the latency SLO, or the finish of the redeemed offer
  micro_cost cost = no_cost_limit; ///< at most
  std::uint32_t assurance_ppm = 0; ///< `firm_ppm`, or the share of such calls that is kept
  duration expected{0};            ///< finish as planned at admission; zero = not known
  std::string why;                 ///< what decided, for people
  friend bool operator==(const promise&, const promise&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("finish_ns", s.finish);
    v("cost_micro", s.cost);
    v("assurance_ppm", s.assurance_ppm);
    v("expected_ns", s.expected);
    v("why", s.why);
  }
};

/// How long a batch of that size took in its function.
struct batch_time {
  std::uint32_t batch = 1;
  duration time{0};
  friend bool operator==(const batch_time&, const batch_time&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("batch", s.batch);
    v("time_ns", s.time);
  }
};

/// What a lane costs, in micro-cost for each millisecond of its time.
struct price_list {
  micro_cost cpu = 1'000'000;
  micro_cost gpu = 15'000'000;
  friend bool operator==(const price_list&, const price_list&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("cpu", s.cpu);
    v("gpu", s.gpu);
  }
};

/// What a call used.
struct receipt {
  duration cpu{0};               ///< of CPU lanes: its share of each batch
  duration device{0};            ///< of device lanes
  duration loading{0};           ///< waited for variants to become resident
  std::uint64_t bytes_moved = 0; ///< between hosts
  micro_cost cost = 0;
  std::uint32_t missing = 0; ///< stages whose results the answer went without, since they were not there in time
  friend bool operator==(const receipt&, const receipt&) = default;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("cpu_ns", s.cpu);
    v("device_ns", s.device);
    v("loading_ns", s.loading);
    v("bytes_moved", s.bytes_moved);
    v("cost_micro", s.cost);
    v("missing", s.missing);
  }
};

} // namespace squall::calls
