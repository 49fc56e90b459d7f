#include "bench/calls/caller.hpp"

#include "bench/calls/hops.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

namespace squall::bench {

namespace {

using clock = std::chrono::steady_clock;

/// One run. Kept alive by its calls' callbacks, so that an early end leaves nothing dangling.
class round : public std::enable_shared_from_this<round> {
public:
  round(client::cluster& cluster, const std::string& target, std::size_t count)
      : cluster_(cluster), target_(target), latencies_(count), inputs_{{"x", no_op_input()}} {}

  void start(std::size_t outstanding) {
    for (std::size_t i = 0; i < std::min(outstanding, latencies_.size()); ++i)
      call_next();
  }

  result<std::vector<duration>> wait() {
    std::unique_lock lock{mutex_};
    over_.wait(lock, [this] { return failure_ || ended_ == latencies_.size(); });
    if (failure_)
      return *failure_;
    return std::move(latencies_);
  }

private:
  void call_next() {
    const std::size_t index = next_++;
    if (index >= latencies_.size())
      return;
    cluster_.call_async(target_, inputs_, {},
                        [self = shared_from_this(), index, began = clock::now()](const client::call_result& r) {
                          self->on_done(index, clock::now() - began, r);
                        });
  }

  void on_done(std::size_t index, duration took, const client::call_result& r) {
    if (!r.ok()) {
      const std::lock_guard lock{mutex_};
      failure_ = error{r.outcome.code, r.outcome.message, {}};
      over_.notify_all();
      return;
    }
    latencies_[index] = took;
    if (++ended_ == latencies_.size()) {
      const std::lock_guard lock{mutex_};
      over_.notify_all();
      return;
    }
    call_next();
  }

  client::cluster& cluster_;
  const std::string target_;
  std::vector<duration> latencies_; ///< each element written once, by the callback of its call
  const std::vector<functions::named_value> inputs_;
  std::atomic<std::size_t> next_{0};
  std::atomic<std::size_t> ended_{0};
  std::mutex mutex_;
  std::condition_variable over_;
  std::optional<error> failure_;
};

} // namespace

result<std::vector<duration>> caller::run(std::size_t count, std::size_t outstanding) {
  const auto one = std::make_shared<round>(cluster_, target_, count);
  one->start(outstanding);
  return one->wait();
}

} // namespace squall::bench
