#include "controller/profiles.hpp"

#include <algorithm>
#include <bit>
#include <utility>

namespace squall::controller {

// -- one distribution

std::size_t time_histogram::bucket_of(duration time) {
  const auto us = static_cast<std::uint64_t>(std::max<std::int64_t>(1, (time.count() + 999) / 1000));
  const auto octave = static_cast<std::size_t>(std::bit_width(us)) - 1;
  const std::uint64_t above = us - (std::uint64_t{1} << octave);
  const auto step = static_cast<std::size_t>((above * steps) >> octave);
  return std::min(buckets - 1, octave * steps + step);
}

duration time_histogram::bound_of(std::size_t bucket) {
  const std::size_t octave = bucket / steps;
  const std::uint64_t base = std::uint64_t{1} << octave;
  const std::uint64_t us = base + (base * (bucket % steps + 1) + steps - 1) / steps;
  return std::chrono::microseconds{us};
}

void time_histogram::add(duration time) {
  ++counts_[static_cast<std::uint32_t>(bucket_of(time))];
  if (++total_ < memory)
    return;
  total_ = 0;
  for (auto at = counts_.begin(); at != counts_.end();) {
    at->second /= 2;
    total_ += at->second;
    at = at->second == 0 ? counts_.erase(at) : std::next(at);
  }
}

duration time_histogram::quantile(std::uint32_t permille) const {
  // Of a few samples the longest is not what most are like.
  const std::uint64_t wanted = std::max<std::uint64_t>(total_ > 0 ? 1 : 0, std::uint64_t{total_} * permille / 1000);
  std::uint64_t seen = 0;
  for (const auto& [bucket, count] : counts_) {
    seen += count;
    if (seen >= wanted)
      return bound_of(bucket);
  }
  return duration{0};
}

// -- variants

duration profiles::estimate(const time_histogram& of) const {
  return of.quantile(options_.quantile_permille) * options_.margin_permille / 1000;
}

bool profiles::measured(variant_id variant) const {
  const profile* p = find(variant);
  return p && !times_of(*p).empty();
}

const std::map<std::uint32_t, time_histogram>& profiles::times_of(const profile& p) {
  constexpr std::uint32_t few = 4;
  std::uint32_t samples = 0;
  for (const auto& [batch, histogram] : p.by_batch)
    samples += histogram.samples();
  return samples >= few || p.warm.empty() ? p.by_batch : p.warm;
}

duration profiles::expected(const std::vector<variant_id>& variants) const {
  duration out{0};
  for (const variant_id v : variants)
    if (const profile* p = find(v); p && !times_of(*p).empty())
      out = std::max(out, estimate(times_of(*p).begin()->second));
  return out;
}

void profiles::ran(variant_id variant, std::uint32_t batch, duration executed) {
  if (batch == 0)
    return;
  entry& e = known_[variant];
  e.data.by_batch[batch].add(executed);
  e.unsaved = true;
  check(e);
  watch(variant, e, batch, executed);
}

/// What was booked when the variant became known well stays the measure, so that a slow change is noticed too.
void profiles::watch(variant_id variant, entry& e, std::uint32_t batch, duration executed) {
  ++e.batches;
  if (e.known.empty()) {
    if (e.batches >= window)
      e.known = batch_times(e.data, std::max<std::uint32_t>(1, static_cast<std::uint32_t>(e.told.size())));
    return;
  }
  if (batch > e.known.size())
    return;
  const auto ratio = static_cast<std::uint32_t>(std::clamp<std::int64_t>(
      executed.count() * 1000 / std::max<std::int64_t>(1, e.known[batch - 1].count()), 1, 1'000'000));
  e.lately.size() < window ? e.lately.push_back(ratio) : void(e.lately[e.batches % window] = ratio);
  if (e.lately.size() < window || e.batches % (window / 4) != 0)
    return;
  std::vector<std::uint32_t> sorted = e.lately;
  const auto at = sorted.begin() + static_cast<std::ptrdiff_t>((window - 1) * options_.quantile_permille / 1000);
  std::nth_element(sorted.begin(), at, sorted.end());
  // What is booked is the quantile with the margin on it.
  const std::uint32_t most = options_.margin_permille;
  const std::uint32_t least = 1'000'000'000 / options_.margin_permille * 1000 / options_.margin_permille * 1000 /
                              options_.margin_permille / 1000;
  const bool drifts = *at > most || *at < least;
  const bool back = *at <= 1000 && *at >= least + (1000 - least) / 4;
  if (e.drifts_permille == 0 && drifts) {
    drifts_.push_back(drift_in(variant, e, *at));
  } else if (e.drifts_permille > 0 && back) {
    drifts_.push_back(drift_in(variant, e, *at));
    drifts_.back().over = true;
    e.drifts_permille = 0;
  }
  if (drifts || e.drifts_permille > 0)
    e.drifts_permille = *at;
}

drift profiles::drift_in(variant_id variant, const entry& e, std::uint32_t permille) {
  return {variant, e.known.front(), e.known.front() * permille / 1000, false};
}

std::vector<drift> profiles::take_drifts() { return std::exchange(drifts_, {}); }

std::optional<drift> profiles::drift_of(variant_id variant) const {
  const auto at = known_.find(variant);
  if (at == known_.end() || at->second.drifts_permille == 0)
    return {};
  return drift_in(variant, at->second, at->second.drifts_permille);
}

void profiles::loaded(variant_id variant, duration load_time, std::uint64_t memory_bytes,
                      const std::vector<calls::batch_time>& measured) {
  entry& e = known_[variant];
  e.data.loads.add(load_time);
  e.data.memory_bytes = std::max(e.data.memory_bytes, memory_bytes);
  for (const calls::batch_time& m : measured)
    if (m.batch > 0)
      e.data.warm[m.batch].add(m.time);
  e.moved = e.unsaved = true;
}

void profiles::restore(variant_id variant, profile saved) {
  entry& e = known_[variant];
  if (!e.data.by_batch.empty() || !e.data.warm.empty())
    return;
  e.data = std::move(saved);
  e.batches = window; // it was known well in its former life
  e.moved = true;
}

/// Between measured sizes on a line, beyond them with the last known slope; a batch never takes less than a smaller
/// one.
std::vector<duration> profiles::batch_times(const profile& p, std::uint32_t max_batch) const {
  std::vector<duration> out;
  const auto& times = times_of(p);
  if (times.empty())
    return out;
  const auto first = times.begin();
  const duration one =
      std::max(duration{1}, first->first == 1 ? estimate(first->second) : estimate(first->second) / first->first);
  std::uint32_t at = 1;
  duration time = one;
  duration slope = one; // nothing gained by company until it was seen
  out.push_back(one);
  for (const auto& [batch, histogram] : times) {
    if (batch <= at)
      continue;
    const duration there = std::max(time, estimate(histogram));
    slope = (there - time) / (batch - at);
    for (std::uint32_t b = at + 1; b <= batch && b <= max_batch; ++b)
      out.push_back(time + slope * (b - at));
    at = batch;
    time = there;
  }
  while (out.size() < max_batch)
    out.push_back(out.back() + slope);
  return out;
}

void profiles::describe(calls::placing::variant_info& info, calls::micro_cost price) {
  const auto at = known_.find(info.id);
  duration one = options_.unknown;
  if (at != known_.end()) {
    entry& e = at->second;
    info.batch_times = batch_times(e.data, info.max_batch);
    info.load = estimate(e.data.loads);
    if (info.memory_bytes == 0)
      info.memory_bytes = e.data.memory_bytes;
    e.told = info.batch_times;
    e.moved = false;
    if (!info.batch_times.empty())
      one = info.batch_times.front();
  }
  info.expected = one;
  info.cost = one.count() * price / 1'000'000;
}

void profiles::check(entry& e) {
  if (e.moved)
    return;
  const auto fresh = batch_times(e.data, static_cast<std::uint32_t>(std::max<std::size_t>(1, e.told.size())));
  if (e.told.empty()) {
    e.moved = true;
    return;
  }
  for (std::size_t i = 0; i < fresh.size(); ++i)
    e.moved |= std::abs((fresh[i] - e.told[i]).count()) * 10 > e.told[i].count();
}

std::vector<variant_id> profiles::take_moved() {
  std::vector<variant_id> out;
  for (auto& [id, e] : known_)
    if (std::exchange(e.moved, false))
      out.push_back(id);
  return out;
}

std::vector<variant_id> profiles::take_unsaved() {
  std::vector<variant_id> out;
  for (auto& [id, e] : known_)
    if (std::exchange(e.unsaved, false))
      out.push_back(id);
  return out;
}

} // namespace squall::controller
