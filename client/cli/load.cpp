#include "client/cli/load.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace squall::client::cli {

namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

/// Shared by the thread that sends and the one that brings results.
class recorder {
public:
  void expect() {
    const std::lock_guard lock{mutex_};
    ++outstanding_;
  }
  void record(clock::time_point intended, bool counted, const call_result& ended) {
    const auto latency = duration{clock::now() - intended}.count();
    const std::lock_guard lock{mutex_};
    --outstanding_;
    changed_.notify_one();
    if (!counted)
      return;
    if (ended.ok()) {
      report_.latencies_ns.push_back(latency);
      return;
    }
    const std::string code{to_string(ended.outcome.code)};
    ++report_.errors[code];
    report_.examples.try_emplace(code, ended.outcome.message);
  }
  /// Waits until fewer than `bound` are outstanding, or until a moment.
  bool wait_below(std::size_t bound, clock::time_point until) {
    std::unique_lock lock{mutex_};
    return changed_.wait_until(lock, until, [&] { return outstanding_ < bound; });
  }
  template <class Use>
  void look(const Use& use) {
    const std::lock_guard lock{mutex_};
    use(report_);
  }
  [[nodiscard]] load_report take() {
    const std::lock_guard lock{mutex_};
    return std::move(report_);
  }

private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t outstanding_ = 0;
  load_report report_;
};

class generator {
public:
  generator(cluster& target, const load_plan& plan, const std::function<void(const load_report&)>& tick)
      : target_(target), plan_(plan), tick_(tick), random_(plan.seed) {}

  load_report run() {
    const auto begin = clock::now();
    counting_from_ = begin + plan_.warmup;
    end_ = counting_from_ + plan_.duration;
    plan_.arrivals == arrivals::closed ? send_closed() : send_open(begin);
    const auto sent = clock::now();
    while (!recorder_->wait_below(1, clock::now() + 200ms))
      report_progress(clock::now());
    load_report report = recorder_->take();
    std::ranges::sort(report.latencies_ns);
    report.sent = sent_;
    report.latest_send_ns = latest_send_.count();
    report.sending_s = std::chrono::duration<double>(sent - counting_from_).count();
    report.total_s = std::chrono::duration<double>(clock::now() - counting_from_).count();
    return report;
  }

private:
  void send(clock::time_point intended) {
    const bool counted = intended >= counting_from_;
    sent_ += counted;
    recorder_->expect();
    target_.call_async(plan_.target, plan_.inputs, plan_.options,
                       [recorder = recorder_, intended, counted](const call_result& ended) { recorder->record(intended, counted, ended); });
  }

  duration next_gap() {
    const double mean_ns = 1e9 / plan_.rate;
    return duration{std::llround(plan_.arrivals == arrivals::poisson ? random_.exponential(mean_ns) : mean_ns)};
  }

  /// Keeps to the schedule whatever the results do.
  void send_open(clock::time_point begin) {
    for (auto intended = begin + next_gap(); intended < end_; intended += next_gap()) {
      for (auto now = clock::now(); now < intended; now = clock::now()) {
        report_progress(now);
        std::this_thread::sleep_until(std::min(intended, now + 200ms));
      }
      if (intended >= counting_from_)
        latest_send_ = std::max(latest_send_, duration{clock::now() - intended});
      send(intended);
    }
  }

  void send_closed() {
    for (auto now = clock::now(); now < end_; now = clock::now()) {
      report_progress(now);
      if (recorder_->wait_below(plan_.concurrency, std::min(end_, now + 200ms)))
        send(clock::now());
    }
  }

  void report_progress(clock::time_point now) {
    if (!tick_ || now < next_tick_)
      return;
    next_tick_ = now + 200ms;
    recorder_->look([&](const load_report& so_far) { tick_(so_far); });
  }

  cluster& target_;
  const load_plan& plan_;
  const std::function<void(const load_report&)>& tick_;
  random_source random_;
  std::shared_ptr<recorder> recorder_ = std::make_shared<recorder>();
  clock::time_point counting_from_;
  clock::time_point end_;
  clock::time_point next_tick_;
  duration latest_send_{0};
  std::uint64_t sent_ = 0;
};

} // namespace

std::int64_t load_report::percentile_ns(double share) const {
  if (latencies_ns.empty())
    return 0;
  const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(latencies_ns.size())));
  return latencies_ns[std::clamp<std::size_t>(rank, 1, latencies_ns.size()) - 1];
}

load_report run_load(cluster& target, const load_plan& plan, const std::function<void(const load_report&)>& tick) {
  return generator{target, plan, tick}.run();
}

} // namespace squall::client::cli
