#include "controller/statistics.hpp"

#include <cstdio>

namespace squall::controller {

void statistics::ended(const std::string& dag, errc code, duration elapsed, std::uint32_t skipped_stages) {
  per_dag& d = dags_[dag];
  const std::int64_t us = elapsed.count() / 1000;
  std::size_t bucket = 0;
  while (bucket < bounds_us.size() && us > bounds_us[bucket])
    ++bucket;
  ++d.buckets[bucket];
  ++d.count;
  d.sum_seconds += static_cast<double>(elapsed.count()) * 1e-9;
  ++d.by_code[code];
  d.skipped_stages += skipped_stages;
  ++ended_total_;
}

void statistics::collect(std::vector<metric_sample>& out) const {
  using kind = metric_sample::kind;
  for (const auto& [name, d] : dags_) {
    for (const auto& [code, n] : d.by_code)
      out.push_back({"squall_calls_total",
                     "Calls that ended, by outcome",
                     kind::counter,
                     {{"dag", name}, {"code", std::string{to_string(code)}}},
                     static_cast<double>(n)});
    std::uint64_t below = 0;
    for (std::size_t i = 0; i <= bounds_us.size(); ++i) {
      below += d.buckets[i];
      char bound[32] = "+Inf";
      if (i < bounds_us.size())
        std::snprintf(bound, sizeof bound, "%g", static_cast<double>(bounds_us[i]) * 1e-6);
      out.push_back({"squall_call_duration_seconds_bucket",
                     "Time from a call's arrival to its end",
                     kind::counter,
                     {{"dag", name}, {"le", bound}},
                     static_cast<double>(below)});
    }
    out.push_back({"squall_call_duration_seconds_sum", "", kind::counter, {{"dag", name}}, d.sum_seconds});
    out.push_back(
        {"squall_call_duration_seconds_count", "", kind::counter, {{"dag", name}}, static_cast<double>(d.count)});
    out.push_back({"squall_stages_skipped_total",
                   "Stages of ended calls that did not run",
                   kind::counter,
                   {{"dag", name}},
                   static_cast<double>(d.skipped_stages)});
  }
  for (const auto& [code, n] : refused_)
    out.push_back({"squall_calls_refused_total",
                   "Calls that were refused at arrival",
                   kind::counter,
                   {{"code", std::string{to_string(code)}}},
                   static_cast<double>(n)});
}

} // namespace squall::controller
