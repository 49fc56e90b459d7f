#pragma once

#include "base/ids.hpp"
#include "base/time.hpp"
#include "calls/placing.hpp"

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

namespace squall::controller {

/// A running estimate of the distribution of a time: counts in buckets whose bounds grow by an eighth of an octave
/// (9 %), halved whenever they reach `memory`, so that the last few hundred samples decide. Integers only.
class time_histogram {
public:
  static constexpr std::uint32_t memory = 256;

  void add(duration time);
  [[nodiscard]] std::uint32_t samples() const { return total_; }
  /// The upper bound of the bucket in which the given part of the samples, in thousandths, ends. Zero without samples.
  [[nodiscard]] duration quantile(std::uint32_t permille) const;

  template <class S, class V>
  static void fields(S& s, V& v) {
    v("counts", s.counts_);
    v("total", s.total_);
  }

private:
  static constexpr std::size_t steps = 8;
  static constexpr std::size_t buckets = 40 * steps; ///< from 1 us to 12 days
  [[nodiscard]] static std::size_t bucket_of(duration time);
  [[nodiscard]] static duration bound_of(std::size_t bucket);

  std::map<std::uint32_t, std::uint32_t> counts_; ///< by bucket; few are ever used
  std::uint32_t total_ = 0;
};

struct profile_options {
  std::uint32_t quantile_permille = 950;           ///< of execution times, that promises count on
  std::uint32_t margin_permille = 1100;            ///< by which the quantile is stretched
  duration unknown = std::chrono::milliseconds{1}; ///< taken for what was never measured
};

/// What a variant needs, as measured: the warm-up of each load, and every batch that ran. Warm-ups run the largest
/// shapes, and beside other loads: they count until there are a few batches.
struct profile {
  std::map<std::uint32_t, time_histogram> by_batch;
  std::map<std::uint32_t, time_histogram> warm;
  time_histogram loads;
  std::uint64_t memory_bytes = 0; ///< greatest measured

  template <class S, class V>
  static void fields(S& s, V& v) {
    v("by_batch", s.by_batch);
    v("warm", s.warm);
    v("loads", s.loads);
    v("memory_bytes", s.memory_bytes);
  }
};

/// A variant takes longer, or less, than what was booked for it when it was known well: the recent quantile left that
/// by more than the margin.
struct drift {
  variant_id variant;
  duration booked{0}; ///< for one item
  duration recent{0}; ///< the same quantile of the last batches, as for one item
  bool over = false;  ///< it came back
};

/// The profiles of all variants, and what the scheduler is told of them.
class profiles {
public:
  explicit profiles(profile_options options = {}) : options_(options) {}

  void ran(variant_id variant, std::uint32_t batch, duration executed);
  void loaded(variant_id variant, duration load_time, std::uint64_t memory_bytes,
              const std::vector<calls::batch_time>& measured);
  /// What was learned in an earlier life; what this one has measured already is newer and stays.
  void restore(variant_id variant, profile saved);
  void forget(variant_id variant) { known_.erase(variant); }

  [[nodiscard]] const profile* find(variant_id variant) const {
    const auto at = known_.find(variant);
    return at == known_.end() ? nullptr : &at->second.data;
  }
  [[nodiscard]] bool measured(variant_id variant) const;
  /// Execution time of one item by the slowest of these variants that is known, as promises count on it.
  [[nodiscard]] duration expected(const std::vector<variant_id>& variants) const;

  /// Fills times and memory of what the scheduler is told of a variant; `price` is per millisecond of a lane.
  void describe(calls::placing::variant_info& info, calls::micro_cost price);

  /// Variants whose times have moved by more than a tenth since they were described, ascending.
  [[nodiscard]] std::vector<variant_id> take_moved();
  /// Variants that have been measured since this was last asked, ascending: for whoever keeps profiles.
  [[nodiscard]] std::vector<variant_id> take_unsaved();

  /// Drifts that began or ended since this was last asked.
  [[nodiscard]] std::vector<drift> take_drifts();
  /// While the variant drifts.
  [[nodiscard]] std::optional<drift> drift_of(variant_id variant) const;

private:
  struct entry {
    profile data;
    std::vector<duration> told; ///< batch_times as last described
    bool moved = false;
    bool unsaved = false;
    std::vector<duration> known;       ///< booked when there were enough batches to know
    std::vector<std::uint32_t> lately; ///< the last batches, in thousandths of what was booked for them; a ring
    std::uint32_t batches = 0;         ///< seen in this life
    std::uint32_t drifts_permille = 0; ///< the recent quantile over what was booked, while that is a drift
  };
  static constexpr std::uint32_t window = 64; ///< batches that a drift is judged by
  void watch(variant_id variant, entry& e, std::uint32_t batch, duration executed);
  [[nodiscard]] static drift drift_in(variant_id variant, const entry& e, std::uint32_t permille);
  /// Those to believe.
  [[nodiscard]] static const std::map<std::uint32_t, time_histogram>& times_of(const profile& p);
  [[nodiscard]] duration estimate(const time_histogram& of) const;
  [[nodiscard]] std::vector<duration> batch_times(const profile& p, std::uint32_t max_batch) const;
  void check(entry& e);

  profile_options options_;
  std::map<variant_id, entry> known_;
  std::vector<drift> drifts_;
};

} // namespace squall::controller
