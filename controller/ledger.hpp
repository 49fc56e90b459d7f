#pragma once

#include "base/ids.hpp"
#include "base/result.hpp"
#include "calls/call.hpp"
#include "controller/latest.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace squall::controller {

/// What mostly made a promised call late.
enum class blame : std::uint8_t { none, queue, load, execution, network, node_lost, cost, failure, takeover };
[[nodiscard]] std::string_view to_string(blame b);

/// What came of one promise.
struct promise_record {
  call_id call;
  std::string dag;
  calls::promise promise;
  bool kept = false;
  duration finish{0}; ///< from arrival
  calls::micro_cost cost = 0;
  errc code = errc::ok;
  blame why = blame::none;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("call", s.call);
    v("dag", s.dag);
    v("promise", s.promise);
    v("kept", s.kept);
    v("finish_ns", s.finish);
    v("cost_micro", s.cost);
    v("code", s.code);
    std::string why{to_string(s.why)};
    v("why", why);
  }
};

/// Where the time of a call went, summed over its stages, and what is left of its latency.
struct time_split {
  duration queued{0}; ///< without loading
  duration loading{0};
  duration executed{0};
  duration elsewhere{0}; ///< on the way and in the controller; 0 where stages ran side by side for longer than the call
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("queued_ns", s.queued);
    v("loading_ns", s.loading);
    v("executed_ns", s.executed);
    v("elsewhere_ns", s.elsewhere);
  }
};
[[nodiscard]] time_split split_of(const calls::outcome& outcome);

/// Why a promise was broken. `expected` is the execution time that was planned with, of all stages that ran.
[[nodiscard]] blame blame_for(const calls::outcome& outcome, duration expected_execution);

/// The ledger's totals, as `squall promises` shows them.
struct ledger_view {
  std::uint64_t kept = 0;
  std::uint64_t broken = 0;
  std::uint64_t refused = 0;
  std::uint64_t refused_with_offers = 0;
  std::uint64_t redeemed = 0;
  std::map<std::string, std::uint64_t> broken_by;
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("kept", s.kept);
    v("broken", s.broken);
    v("refused", s.refused);
    v("refused_with_offers", s.refused_with_offers);
    v("redeemed", s.redeemed);
    v("broken_by", s.broken_by);
  }
};

/// Promises that ended: counts of all, records of the last ones. A call that its client withdrew counts as neither.
class ledger {
public:
  explicit ledger(std::size_t records_kept) : records_(records_kept) {}

  void settle(promise_record record);
  void refused(bool with_offers);
  void redeemed() { ++redeemed_; }

  [[nodiscard]] const latest<promise_record>& records() const { return records_; }
  /// Of a call whose promise was broken and is still among the records.
  [[nodiscard]] blame blame_of(call_id call) const;
  [[nodiscard]] std::uint64_t kept() const { return kept_; }
  [[nodiscard]] std::uint64_t broken() const { return broken_; }
  [[nodiscard]] std::uint64_t refusals() const { return refused_; }
  [[nodiscard]] std::uint64_t refusals_with_offers() const { return with_offers_; }
  [[nodiscard]] std::uint64_t redemptions() const { return redeemed_; }
  [[nodiscard]] const std::map<blame, std::uint64_t>& by_blame() const { return by_blame_; }

private:
  latest<promise_record> records_;
  std::uint64_t kept_ = 0;
  std::uint64_t broken_ = 0;
  std::uint64_t refused_ = 0;
  std::uint64_t with_offers_ = 0;
  std::uint64_t redeemed_ = 0;
  std::map<blame, std::uint64_t> by_blame_;
};

} // namespace squall::controller
