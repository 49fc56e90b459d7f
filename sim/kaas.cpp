#include "sim/kaas.hpp"

#include <algorithm>
#include <numeric>
#include <set>
#include <tuple>
#include <utility>

namespace squall::sim {

namespace {

result<> check(const kaas_problem& p) {
  const auto& names = policy::selection_names();
  if (std::find(names.begin(), names.end(), p.policy) == names.end())
    return {errc::invalid_argument, "policy: '" + p.policy + "' is none"};
  if (p.faithful && p.policy != "srtf" && p.policy != "mlfq")
    return {errc::invalid_argument, "mode: only SRTF and MLFQS know the faithful one"};
  if (p.gpus == 0)
    return {errc::invalid_argument, "gpus: must be at least 1"};
  for (const kaas_model& m : p.models)
    if (m.cold < 0 || m.exec < 0)
      return {errc::invalid_argument, "models." + m.name + ": times must not be below 0"};
  std::set<std::int64_t> seen;
  for (std::size_t i = 0; i < p.requests.size(); ++i) {
    const std::string at = "requests[" + std::to_string(i) + "]";
    if (p.requests[i].model >= p.models.size())
      return {errc::invalid_argument, at + "[2]: no such model"};
    if (p.requests[i].arrival < 0)
      return {errc::invalid_argument, at + "[1]: must not be below 0"};
    if (!seen.insert(p.requests[i].seq).second)
      return {errc::invalid_argument, at + "[0]: " + std::to_string(p.requests[i].seq) + " is there twice"};
  }
  return {};
}

/// The GPUs: what they have loaded and when they are free again.
class machine {
public:
  machine(const kaas_problem& problem, std::vector<kaas_request> requests)
      : p_(problem), requests_(std::move(requests)), has_(problem.gpus, std::vector<bool>(problem.models.size())) {
    out_.waited.resize(p_.models.size());
    out_.requests.resize(p_.models.size());
  }

  /// Runs a request, by its place in the order of submission, from `now` on.
  void start(std::int64_t now, std::size_t request, std::uint32_t gpu) {
    const kaas_request& r = requests_[request];
    const kaas_model& m = p_.models[r.model];
    const bool cold = !has_[gpu][r.model];
    has_[gpu][r.model] = true;
    const std::int64_t end = now + m.exec + (cold ? m.cold : 0);
    // Nothing ends before the step after the one in which it began.
    running_.insert({std::max(end, now + 1), out_.log.size(), gpu});
    out_.log.push_back({r.seq, now, gpu, cold});
    out_.total = std::max(out_.total, end);
    out_.cold += cold ? 1 : 0;
    out_.waited[r.model] += now - r.arrival;
    ++out_.requests[r.model];
  }

  /// The GPUs whose work has ended, in the order in which it was dispatched.
  std::vector<std::uint32_t> ended(std::int64_t now) {
    std::vector<std::pair<std::size_t, std::uint32_t>> out;
    for (; !running_.empty() && std::get<0>(*running_.begin()) <= now; running_.erase(running_.begin()))
      out.emplace_back(std::get<1>(*running_.begin()), std::get<2>(*running_.begin()));
    std::sort(out.begin(), out.end());
    std::vector<std::uint32_t> gpus;
    for (const auto& [order, gpu] : out)
      gpus.push_back(gpu);
    return gpus;
  }

  [[nodiscard]] std::optional<std::int64_t> next_end() const {
    return running_.empty() ? std::nullopt : std::optional{std::get<0>(*running_.begin())};
  }
  [[nodiscard]] const std::vector<kaas_request>& requests() const { return requests_; }
  [[nodiscard]] kaas_answer& answer() { return out_; }

private:
  const kaas_problem& p_;
  std::vector<kaas_request> requests_;
  std::vector<std::vector<bool>> has_;                                     ///< per GPU, per model
  std::set<std::tuple<std::int64_t, std::size_t, std::uint32_t>> running_; ///< end, place in the log, GPU
  kaas_answer out_;
};

policy::selection_config selection_for(const kaas_problem& p) {
  return {.policy = p.policy,
          .aging_ppm = p.aging_ppm,
          .rebalance = p.rebalance,
          .rebalance_from = from_ns(p.warmup),
          .make_room = p.models.size() > p.gpus,
          .seed = p.seed,
          .draws = p.draws.value_or(std::vector<std::uint64_t>{})};
}

result<> check_draws(const kaas_problem& p, std::uint64_t taken) {
  if (p.draws && taken > p.draws->size())
    return {errc::invalid_argument, "draws: the run takes " + std::to_string(taken) + " and more, there are " +
                                        std::to_string(p.draws->size())};
  return {};
}

/// A step is a nanosecond here; only steps in which something can change are looked at.
result<> run_live(const kaas_problem& p, machine& m) {
  policy::selection line{selection_for(p)};
  for (const kaas_model& model : p.models)
    line.add_group(duration{model.exec}, 1);
  for (std::uint32_t g = 0; g < p.gpus; ++g)
    line.add_executor(1);
  const auto always = [](policy::group_index, policy::executor_index) { return true; };
  const auto& requests = m.requests();
  std::size_t arrived = 0;
  std::optional<std::int64_t> warm = p.warmup; // a step in which rebalancing begins is one in which things change
  while (arrived < requests.size() || line.waiting() > 0) {
    std::optional<std::int64_t> now = m.next_end();
    if (arrived < requests.size() && (!now || requests[arrived].arrival < *now))
      now = requests[arrived].arrival;
    if (warm && (!now || *warm < *now))
      now = *warm;
    if (now && warm && *warm <= *now)
      warm.reset();
    if (!now)
      return {errc::invalid_argument, "gpus: a model has none, so its requests never run"};
    for (const std::uint32_t gpu : m.ended(*now))
      line.release(gpu);
    for (; arrived < requests.size() && requests[arrived].arrival <= *now; ++arrived)
      line.enqueue(requests[arrived].model, arrived, from_ns(*now));
    line.settle(from_ns(*now));
    while (const auto c = line.next(always))
      m.start(*now, c->task, c->executor);
    SQUALL_TRY(check_draws(p, line.draws_taken()));
  }
  return {};
}

/// The order in which a queue that holds everything from the start is emptied.
result<std::vector<std::size_t>> faithful_order(const kaas_problem& p, const std::vector<kaas_request>& requests) {
  std::vector<std::size_t> order(requests.size());
  std::iota(order.begin(), order.end(), 0);
  if (p.policy == "srtf") {
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return p.models[requests[a].model].exec < p.models[requests[b].model].exec;
    });
    return order;
  }
  policy::selection line{selection_for(p)};
  for (const kaas_model& model : p.models)
    line.add_group(duration{model.exec}, 1);
  const policy::executor_index any = line.add_executor(1);
  for (const std::size_t r : order)
    line.enqueue(requests[r].model, r, {});
  order.clear();
  while (const auto c = line.next([](policy::group_index, policy::executor_index) { return true; })) {
    order.push_back(c->task);
    line.release(any);
  }
  SQUALL_TRY(check_draws(p, line.draws_taken()));
  return order;
}

result<> run_faithful(const kaas_problem& p, machine& m) {
  SQUALL_ASSIGN(order, faithful_order(p, m.requests()));
  std::vector<std::uint32_t> row(p.gpus); // free GPUs, free longest first
  std::iota(row.begin(), row.end(), 0);
  std::int64_t now = 0;
  for (const std::size_t r : order) {
    now = std::max(now, m.requests()[r].arrival);
    if (row.empty())
      now = std::max(now, *m.next_end());
    // GPUs that became free in an earlier step stand before those of a later one.
    while (m.next_end() && *m.next_end() <= now)
      for (const std::uint32_t gpu : m.ended(*m.next_end()))
        row.push_back(gpu);
    m.start(now, r, row.front());
    row.erase(row.begin());
  }
  return {};
}

} // namespace

double kaas_answer::mean_wait() const {
  const auto count = std::accumulate(requests.begin(), requests.end(), std::uint64_t{0});
  const auto sum = std::accumulate(waited.begin(), waited.end(), std::int64_t{0});
  return count == 0 ? 0 : static_cast<double>(sum) / static_cast<double>(count);
}

double kaas_answer::mean_wait(std::uint32_t model) const {
  return requests[model] == 0 ? 0 : static_cast<double>(waited[model]) / static_cast<double>(requests[model]);
}

result<kaas_answer> run_kaas(const kaas_problem& problem) {
  SQUALL_TRY(check(problem));
  std::vector<kaas_request> requests = problem.requests;
  std::sort(requests.begin(), requests.end(), [](const kaas_request& a, const kaas_request& b) {
    return std::tuple{a.arrival, a.seq} < std::tuple{b.arrival, b.seq};
  });
  machine m{problem, std::move(requests)};
  SQUALL_TRY(problem.faithful ? run_faithful(problem, m) : run_live(problem, m));
  return std::move(m.answer());
}

} // namespace squall::sim
