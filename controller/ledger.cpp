#include "controller/ledger.hpp"

#include <utility>

namespace squall::controller {

std::string_view to_string(blame b) {
  switch (b) {
    case blame::none:
      return "";
    case blame::queue:
      return "queue";
    case blame::load:
      return "load";
    case blame::execution:
      return "execution";
    case blame::network:
      return "network";
    case blame::node_lost:
      return "node lost";
    case blame::cost:
      return "cost";
    case blame::failure:
      return "failure";
    case blame::takeover:
      return "controller lost";
  }
  return "";
}

time_split split_of(const calls::outcome& outcome) {
  time_split out;
  for (const calls::stage_trace& t : outcome.trace) {
    const std::int64_t width = std::max<std::uint32_t>(1, t.width); // figures are sums over elements
    out.loading += t.loading / width;
    out.queued += std::max(t.queued - t.loading, duration{0}) / width;
    out.executed += t.executed / width;
  }
  out.elsewhere = std::max(outcome.elapsed - out.loading - out.queued - out.executed, duration{0});
  return out;
}

blame blame_for(const calls::outcome& outcome, duration expected_execution) {
  if (outcome.code == errc::unavailable)
    return blame::node_lost;
  if (outcome.code != errc::ok && outcome.code != errc::deadline_exceeded)
    return blame::failure;
  if (outcome.code == errc::ok && outcome.elapsed <= outcome.promise.finish)
    return outcome.receipt.cost > outcome.promise.cost ? blame::cost : blame::none;
  const time_split split = split_of(outcome);
  const duration stretched = std::max(split.executed - expected_execution, duration{0});
  const std::pair<duration, blame> parts[] = {{stretched, blame::execution},
                                              {split.loading, blame::load},
                                              {split.queued, blame::queue},
                                              {split.elsewhere, blame::network}};
  return std::max_element(std::begin(parts), std::end(parts),
                          [](const auto& a, const auto& b) { return a.first < b.first; })
      ->second;
}

void ledger::settle(promise_record record) {
  ++(record.kept ? kept_ : broken_);
  if (!record.kept)
    ++by_blame_[record.why];
  records_.push(std::move(record));
}

blame ledger::blame_of(call_id call) const {
  const promise_record* found = records_.find([call](const promise_record& r) { return r.call == call; });
  return found == nullptr ? blame::none : found->why;
}

void ledger::refused(bool with_offers) {
  ++refused_;
  with_offers_ += with_offers ? 1 : 0;
}

} // namespace squall::controller
