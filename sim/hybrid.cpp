#include "sim/hybrid.hpp"

#include <algorithm>
#include <deque>
#include <limits>

namespace squall::sim {

namespace {

constexpr double serial_ms = 21.5;
constexpr double core_ms = 36;
constexpr double most_cores = 4;
constexpr double overhead_ms = 60;
constexpr double cold_ms = 2500;
constexpr double kept_ms = 600'000;
/// Moments that are so near to each other are one: an end there comes before an arrival.
constexpr double same_ms = 1e-9;

/// All in service progress alike, so they end in the order of their arrival, one progress after it.
class machine {
public:
  explicit machine(const hybrid_problem& problem) : p_(problem) {}

  /// Lets time pass; who ends until then has left.
  void advance(double to, std::vector<double>& responses) {
    while (!in_service_.empty()) {
      const double response = hybrid_response(in_service_.size(), p_.cores);
      const double end = now_ + (in_service_.front().ends_at - progress_) * response;
      if (end > to + same_ms) {
        progress_ += (to - now_) / response;
        break;
      }
      progress_ = in_service_.front().ends_at;
      now_ = end;
      responses.push_back(end - in_service_.front().arrival);
      in_service_.pop_front();
    }
    if (in_service_.empty())
      progress_ = 0; // or the numbers would lose digits in time
    now_ = std::max(now_, to);
  }

  void take(double arrival) { in_service_.push_back({progress_ + 1, arrival}); }
  [[nodiscard]] std::size_t in_service() const { return in_service_.size(); }

  /// Whether one more leaves everyone within the SLA if nothing else comes.
  [[nodiscard]] bool would_fit() const {
    double now = now_;
    double progress = progress_;
    const std::size_t count = in_service_.size() + 1;
    for (std::size_t i = 0; i < count; ++i) {
      const bool last = i + 1 == count;
      const double ends_at = last ? progress_ + 1 : in_service_[i].ends_at;
      now += (ends_at - progress) * hybrid_response(count - i, p_.cores);
      progress = ends_at;
      if (now - (last ? now_ : in_service_[i].arrival) > p_.sla + same_ms)
        return false;
    }
    return true;
  }

private:
  struct request {
    double ends_at; ///< in progress
    double arrival;
  };
  const hybrid_problem& p_;
  double now_ = 0;
  double progress_ = 0; ///< of a request that was there all the time
  std::deque<request> in_service_;
};

class functions {
public:
  explicit functions(const hybrid_problem& problem) : always_warm_(problem.prewarmed) {
    free_since_.assign(always_warm_, -std::numeric_limits<double>::infinity());
  }

  double serve(double arrival, hybrid_answer& out) {
    // The instance used last of those that are free and still warm.
    std::size_t best = free_since_.size();
    for (std::size_t i = 0; i < free_since_.size(); ++i) {
      const bool warm = i < always_warm_ || arrival - free_since_[i] <= kept_ms;
      if (free_since_[i] <= arrival && warm && (best == free_since_.size() || free_since_[i] > free_since_[best]))
        best = i;
    }
    double response = hybrid_response(1, most_cores) + overhead_ms;
    if (best == free_since_.size()) {
      response += cold_ms;
      ++out.cold_starts;
      free_since_.push_back(0);
    }
    free_since_[best] = arrival + response;
    return response;
  }

private:
  std::size_t always_warm_;
  std::vector<double> free_since_; ///< per instance; in the future while it is busy
};

} // namespace

double hybrid_response(std::uint64_t at_once, double cores) {
  const auto n = static_cast<double>(at_once);
  // 36 / (c / n) in an order that keeps whole results whole.
  return serial_ms * n + (cores >= most_cores * n ? core_ms / most_cores : core_ms * n / cores);
}

std::uint64_t hybrid_threshold(double cores, double sla) {
  std::uint64_t n = 0;
  while (hybrid_response(n + 1, cores) <= sla)
    ++n;
  return n;
}

hybrid_answer run_hybrid(const hybrid_problem& problem) {
  std::vector<double> arrivals = problem.arrivals;
  std::sort(arrivals.begin(), arrivals.end());
  machine vm{problem};
  functions cloud{problem};
  hybrid_answer out;
  const std::uint64_t threshold =
      problem.rule == hybrid_rule::threshold ? hybrid_threshold(problem.cores, problem.sla) : 0;
  for (const double arrival : arrivals) {
    vm.advance(arrival, out.vm_responses);
    const bool here = problem.rule == hybrid_rule::vm ||
                      (problem.rule == hybrid_rule::threshold ? vm.in_service() < threshold : vm.would_fit());
    if (here)
      vm.take(arrival);
    else
      out.function_responses.push_back(cloud.serve(arrival, out));
  }
  vm.advance(std::numeric_limits<double>::max(), out.vm_responses);
  std::sort(out.vm_responses.begin(), out.vm_responses.end());
  std::sort(out.function_responses.begin(), out.function_responses.end());
  return out;
}

} // namespace squall::sim
