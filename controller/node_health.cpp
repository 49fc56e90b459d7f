#include "controller/node_health.hpp"

#include <algorithm>
#include <chrono>

namespace squall::controller {

duration wall_clock() { return std::chrono::system_clock::now().time_since_epoch(); }

void beat_record::beat(time_point now, std::optional<duration> ahead, duration round_trip) {
  beats_.push_back({last_ ? now - *last_ : duration{0}, ahead, round_trip});
  last_ = now;
  if (beats_.size() > kept)
    beats_.pop_front();
}

std::optional<clock_reading> beat_record::clock() const {
  // A beat that was under way for longer looks like one of a clock that is behind: the greatest is the nearest.
  std::optional<duration> ahead;
  duration round_trip = duration::max();
  for (const one& b : beats_) {
    if (b.ahead)
      ahead = std::max(ahead.value_or(duration::min()), *b.ahead);
    if (b.round_trip > duration{0})
      round_trip = std::min(round_trip, b.round_trip);
  }
  if (!ahead || round_trip == duration::max())
    return std::nullopt;
  return clock_reading{*ahead + round_trip / 2, round_trip / 2};
}

duration beat_record::slowest() const {
  duration out{0};
  for (const one& b : beats_)
    out = std::max(out, b.since_last);
  return out;
}

void paces::ran(variant_id variant, std::uint32_t batch, node_id node, duration executed) {
  average& of = times_[{variant, batch}][node];
  const auto ns = static_cast<double>(executed.count());
  of.ns = of.count == 0 ? ns : of.ns + (ns - of.ns) * weight;
  of.count = std::min(of.count + 1, enough);
}

void paces::forget(node_id node) {
  for (auto& [work, nodes] : times_)
    nodes.erase(node);
  std::erase_if(times_, [](const auto& entry) { return entry.second.empty(); });
}

std::optional<std::uint32_t> paces::permille_of(node_id node) const {
  double own = 0;
  double best = 0;
  for (const auto& [work, nodes] : times_) {
    const auto here = nodes.find(node);
    if (here == nodes.end() || here->second.count < enough)
      continue;
    const average* other = nullptr;
    for (const auto& [id, time] : nodes)
      if (id != node && time.count >= enough && (!other || time.ns < other->ns))
        other = &time;
    if (!other)
      continue;
    own += here->second.ns;
    best += other->ns;
  }
  if (best <= 0)
    return std::nullopt;
  if (own - best < worth_a_word_ns)
    return 1000;
  return static_cast<std::uint32_t>(std::min(own / best * 1000, 1e9));
}

} // namespace squall::controller
