#include "examples/demo/passes.hpp"

#include "base/check.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <mutex>
#include <optional>
#include <thread>

namespace squall::demo {

namespace {

using clock = std::chrono::steady_clock;

answer call_once(client::cluster& cluster, const std::string& dag, const call_inputs& inputs) {
  const auto began = clock::now();
  answer out;
  out.result = cluster.call(dag, inputs).get();
  out.latency = clock::now() - began;
  return out;
}

} // namespace

result<pass> run_pass(client::cluster& cluster, const std::string& dag, const std::vector<call_inputs>& inputs,
                      std::size_t outstanding) {
  pass out;
  out.answers.resize(inputs.size());
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  std::optional<error> failure;
  const auto work = [&] {
    for (std::size_t i = next++; i < inputs.size(); i = next++) {
      out.answers[i] = call_once(cluster, dag, inputs[i]);
      if (const auto& outcome = out.answers[i].result.outcome; !out.answers[i].result.ok()) {
        const std::lock_guard lock{mutex};
        failure = error{outcome.code, "call " + std::to_string(i + 1) + " of '" + dag + "': " + outcome.message,
                        outcome.retry_after};
        next = inputs.size();
      }
    }
  };
  const auto began = clock::now();
  std::vector<std::thread> callers;
  for (std::size_t i = 1; i < outstanding; ++i)
    callers.emplace_back(work);
  work();
  for (auto& caller : callers)
    caller.join();
  out.wall = clock::now() - began;
  if (failure)
    return *failure;
  return out;
}

double quantile_ms(const std::vector<answer>& answers, double share) {
  SQUALL_CHECK(!answers.empty());
  std::vector<duration> sorted;
  for (const auto& a : answers)
    sorted.push_back(a.latency);
  std::sort(sorted.begin(), sorted.end());
  const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(sorted.size())));
  return std::chrono::duration<double, std::milli>(sorted[std::max<std::size_t>(rank, 1) - 1]).count();
}

} // namespace squall::demo
