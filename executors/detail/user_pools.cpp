#include "executors/detail/user_pools.hpp"

#include "functions/dag.hpp"

#include <algorithm>

#include <sys/epoll.h>
#include <unistd.h>

/// The pools of the variants: which worker runs what, and when there are more or fewer of them.
namespace squall::executors::detail {

namespace {

using namespace std::chrono_literals;
using phase = user_worker::phase;

constexpr duration first_pause = 500ms;
constexpr duration longest_pause = 30s;

duration pause_after(std::uint32_t crashes) {
  const auto doublings = std::min<std::uint32_t>(crashes - std::min(crashes, user_pools::loop_of_crashes), 10);
  return std::min<duration>(first_pause * (1 << doublings), longest_pause);
}

std::string milliseconds(duration d) {
  return std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(d).count()) + " ms";
}

} // namespace

user_pools::user_pools(const user_worker_options& options, actors::post& post, user_worker_listener& listener,
                       outbox::maker make, logger& log)
    : options_(options),
      post_(post),
      listener_(listener),
      make_(std::move(make)),
      log_(log),
      gate_(epoll_create1(EPOLL_CLOEXEC)) {
  post_.watch(gate_.get(), [this] { on_events(); });
}

user_pools::~user_pools() {
  post_.watch(gate_.get(), {});
  workers_.clear();
  retired_.clear();
  zygotes_.clear(); // their ends are those of all workers
}

functions::worker_spec user_pools::completed(const functions::worker_spec& given) const {
  auto out = given;
  const auto fill = [](auto& field, auto by_operator, auto otherwise) {
    if (field == decltype(otherwise){})
      field = by_operator != decltype(otherwise){} ? by_operator : otherwise;
  };
  const auto& d = options_.defaults;
  fill(out.max_instances, d.max_instances, options_.lanes);
  out.max_instances = std::max(out.max_instances, out.min_instances);
  fill(out.keep_alive, d.keep_alive, duration{60s});
  fill(out.memory_limit_bytes, d.memory_limit_bytes, std::uint64_t{2} << 30);
  fill(out.scratch_bytes, d.scratch_bytes, std::uint64_t{64} << 20);
  fill(out.cpu_time, d.cpu_time, duration{10min});
  fill(out.processes, d.processes, std::uint32_t{64});
  fill(out.open_files, d.open_files, std::uint32_t{256});
  return out;
}

void user_pools::prepare(const functions::variant_spec& spec) {
  if (spec.parameters.contains("requirements"))
    return; // its packages come first
  wire::worker::load kind;
  kind.spec = spec;
  kind.spec.worker = completed(spec.worker);
  // What is wrong with it is said when it is loaded.
  if (const auto started = zygote_for(kind); !started.ok())
    log_.debug("workers", started.error().message);
}

result<> user_pools::load(const wire::worker::load& request, bool repeatable) {
  if (pools_.contains(request.variant))
    unload(request.variant);
  pool made;
  made.request = request;
  made.bounds = completed(request.spec.worker);
  made.request.spec.worker = made.bounds;
  made.repeatable = repeatable;
  SQUALL_TRY(open_files(made));
  auto& p = pools_[request.variant] = std::move(made);
  for (std::uint32_t i = 0; i < std::max(1U, p.bounds.min_instances); ++i)
    if (const auto launched = launch(request.variant, p); !launched.ok()) {
      if (i > 0)
        break; // what there is will do; more are started when they are needed
      pools_.erase(request.variant);
      return launched.error();
    }
  return {};
}

void user_pools::unload(variant_id variant) {
  const auto found = pools_.find(variant);
  if (found == pools_.end())
    return;
  fail_waiting(found->second, errc::unavailable, "its function is being unloaded");
  for (const auto id : std::set<std::uint64_t>(found->second.workers))
    if (auto* w = find(id))
      leave(*w);
  pools_.erase(variant);
}

result<> user_pools::run(const wire::worker::run& request) {
  const auto found = pools_.find(request.variant);
  if (found == pools_.end())
    return {errc::not_found, "variant " + to_string(request.variant) + " is not loaded"};
  for (const auto& item : request.items)
    for (const auto& value : item)
      if (value.byte_size() > wire::max_value_bytes)
        return {errc::too_large, "a value of " + std::to_string(value.byte_size()) + " bytes is beyond the limit of " +
                                     std::to_string(wire::max_value_bytes)};
  user_job job;
  job.request = request;
  if (request.remaining < never - post_.now())
    job.deadline = post_.now() + request.remaining;
  if (request.items.size() > 1 && takes_one(found->second))
    split(found->second, std::move(job));
  else
    found->second.waiting.push_back(std::move(job));
  pump(request.variant);
  return {};
}

/// Gives what waits to idle workers, and starts more where that helps.
void user_pools::pump(variant_id variant) {
  drop_cancelled(variant);
  const auto found = pools_.find(variant);
  if (found == pools_.end())
    return;
  auto& p = found->second;
  std::size_t loading = 0, occupied = 0;
  for (const auto id : p.workers) {
    auto& w = *workers_.at(id);
    if (w.ended)
      continue;
    if (w.state == phase::idle && !p.waiting.empty()) {
      auto job = std::move(p.waiting.front());
      p.waiting.pop_front();
      start_job(w, std::move(job));
      send_ahead(w, p);
    }
    loading += w.state == phase::loading ? 1 : 0;
    occupied += w.state != phase::leaving && !w.waiting ? 1 : 0; // one that waits could wait for one of these
  }
  while (loading < wanted_workers(p) && occupied < p.bounds.max_instances) {
    if (p.crashes >= loop_of_crashes && post_.now() < p.retry_at) {
      if (occupied == 0)
        fail_waiting(p, errc::unavailable,
                     "function '" + p.request.function + "' has crashed " + std::to_string(p.crashes) +
                         " times in a row and is started again in " + milliseconds(p.retry_at - post_.now()) +
                         "; the last time: " + p.problem);
      return;
    }
    if (const auto launched = launch(variant, p); !launched.ok()) {
      if (occupied == 0)
        fail_waiting(p, launched.error().code, launched.error().message);
      return;
    }
    ++loading;
    ++occupied;
  }
}

void user_pools::keep_minimum(variant_id variant, pool& p) {
  if (!p.announced || (p.crashes >= loop_of_crashes && post_.now() < p.retry_at))
    return;
  while (p.workers.size() < p.bounds.min_instances)
    if (const auto launched = launch(variant, p); !launched.ok()) {
      p.retry_at = post_.now() + first_pause;
      return log_.warn("workers", launched.error().message);
    }
}

wire::worker::run user_pools::placed_request(user_worker& w, const user_job& job) const {
  auto request = job.request;
  for (auto& item : request.items)
    for (auto& value : item)
      value = w.in->place(value);
  if (job.deadline != never)
    request.remaining = std::max<duration>(job.deadline - post_.now(), duration{0});
  request.lane = 0;
  return request;
}

void user_pools::start_job(user_worker& w, user_job job) {
  w.in->reset();
  const auto request = placed_request(w, job);
  begin(w, std::move(job));
  if (const auto sent = w.send(request, request_id{request.batch.value}); !sent.ok()) {
    const auto failed = *std::exchange(w.job, std::nullopt);
    w.state = phase::idle;
    w.kill_at = never;
    fail_job(failed, sent.error().code, sent.error().message);
  }
}

/// The worker has the job and does nothing else now.
void user_pools::begin(user_worker& w, user_job job) {
  w.job = std::move(job);
  w.state = phase::busy;
  w.cancelled = false;
  w.kill_at = w.job->deadline < never - options_.grace ? w.job->deadline + options_.grace : never;
  w.killed_as = errc::deadline_exceeded;
  w.why_killed = "it ran on after its deadline and was killed";
}

/// A job has ended. Nothing of a worker or a pool may be held on to: the listener may start others.
void user_pools::report(const user_job& job, wire::worker::done message) {
  const auto found = split_.find(job.whole);
  if (found == split_.end())
    return listener_.on_user_done(std::move(message));
  found->second.executed += message.executed;
  const bool last = --found->second.left == 0;
  wire::worker::done all;
  all.batch = job.whole;
  all.executed = found->second.executed;
  if (last)
    split_.erase(found);
  listener_.on_user_item(job.whole, job.place, std::move(message.items.at(0)), message.executed);
  if (last)
    listener_.on_user_done(std::move(all));
}

/// A batch waits for as long as one of its items does.
void user_pools::report_waiting(const user_job& job, bool waits) {
  const auto found = split_.find(job.whole);
  if (found == split_.end())
    return listener_.on_user_waiting(job.request.batch, waits);
  const auto before = found->second.waiting;
  found->second.waiting = waits ? before + 1 : before - 1;
  if (before == 0 || found->second.waiting == 0)
    listener_.on_user_waiting(job.whole, waits);
}

void user_pools::fail_job(const user_job& job, errc code, const std::string& message) {
  wire::worker::done out;
  out.batch = job.request.batch;
  wire::worker::item_result failed;
  failed.code = code;
  failed.message = message;
  out.items.assign(job.request.items.size(), failed);
  report(job, std::move(out));
}

void user_pools::fail_waiting(pool& p, errc code, const std::string& message) {
  for (const auto& job : std::exchange(p.waiting, {}))
    fail_job(job, code, message);
}

void user_pools::cancel_items(batch_id batch, std::optional<std::uint32_t> item) {
  const auto meant = [&](const user_job& job) {
    return job.whole ? job.whole == batch && (!item || job.place == *item) : job.request.batch == batch && !item;
  };
  for (auto& [id, w] : workers_) {
    if (w->job && meant(*w->job))
      cancel_running(*w);
    for (auto& job : w->ahead)
      job.cancelled = job.cancelled || meant(job);
  }
  std::vector<user_job> gone;
  for (auto& [id, p] : pools_)
    for (auto it = p.waiting.begin(); it != p.waiting.end();)
      if (meant(*it)) {
        gone.push_back(std::move(*it));
        it = p.waiting.erase(it);
      } else {
        ++it;
      }
  for (const auto& job : gone)
    fail_job(job, errc::cancelled, "it was cancelled");
}

void user_pools::cancel_running(user_worker& w) {
  w.cancelled = true;
  w.in->cancel(w.job->request.batch);
  wire::worker::cancel message;
  message.batch = w.job->request.batch;
  (void)w.send(message); // the word in its memory says it, too
  w.kill_at = std::min(w.kill_at, post_.now() + options_.grace);
  w.killed_as = errc::cancelled;
  w.why_killed = "it was cancelled, did not stop, and was killed";
}

void user_pools::note_crash(pool& p, const std::string& why) {
  ++p.crashes;
  p.usual = std::max<duration>(p.usual, 1s); // one at a time for a while
  p.problem = why.substr(0, why.find('\n'));
  if (p.crashes < loop_of_crashes)
    return;
  p.retry_at = post_.now() + pause_after(p.crashes);
  log_.warn("workers", "a function crashes in a loop; it is started again after a pause",
            {{"function", p.request.function},
             {"crashes", std::to_string(p.crashes)},
             {"pause", milliseconds(p.retry_at - post_.now())},
             {"why", p.problem}});
}

/// Nothing that a worker says is taken for granted.
void user_pools::check_outputs(const pool& p, const user_job& job, wire::worker::done& message) const {
  const auto size = job.request.items.size();
  if (message.code == errc::ok && message.items.size() != size) {
    message.code = errc::failed;
    message.message =
        "the function gave " + std::to_string(message.items.size()) + " results for " + std::to_string(size) + " items";
  }
  if (message.code != errc::ok) {
    wire::worker::item_result failed;
    failed.code = message.code;
    failed.message = message.message;
    message.items.assign(size, failed);
    return;
  }
  const auto& ports = p.request.outputs;
  for (auto& item : message.items) {
    if (item.code != errc::ok)
      continue;
    std::string wrong;
    if (item.outputs.size() != ports.size())
      wrong =
          "it gave " + std::to_string(item.outputs.size()) + " outputs, registered are " + std::to_string(ports.size());
    for (std::size_t i = 0; wrong.empty() && i < ports.size(); ++i)
      if (const auto fits =
              functions::check_value([&] { return "output '" + ports[i].name + "'"; }, ports[i], item.outputs[i]);
          !fits.ok())
        wrong = fits.error().message;
    if (wrong.empty())
      continue;
    item.outputs.clear();
    item.code = errc::failed;
    item.message = "function '" + p.request.function + "': " + wrong;
  }
}

// -- time

void user_pools::on_alarm() {
  const auto now = post_.now();
  std::vector<std::uint64_t> ids;
  for (const auto& [id, w] : workers_)
    ids.push_back(id);
  for (const auto id : ids)
    if (auto* w = find(id))
      see_to(*w);
  for (auto& [variant, p] : pools_)
    if (p.retry_at <= now)
      keep_minimum(variant, p);
  for (auto& [name, slot] : zygotes_) {
    if (slot.process && slot.process->next_alarm() <= now)
      slot.process->on_alarm();
    if (kept_until(name, slot) <= now)
      retire(slot);
    else if (slot.process && slot.spare_due <= now)
      launch_spare(slot);
  }
}

/// What is due for one worker.
void user_pools::see_to(user_worker& w) {
  const auto now = post_.now();
  if (w.log->next_alarm() <= now)
    w.log->on_alarm(now);
  if (w.kill_at <= now)
    return kill(w, w.killed_as, w.why_killed);
  const auto found = pools_.find(w.variant);
  if (w.state != phase::idle || found == pools_.end())
    return;
  auto& p = found->second;
  if (p.workers.size() > p.bounds.min_instances && w.idle_since + p.bounds.keep_alive <= now)
    leave(w);
}

time_point user_pools::next_alarm() const {
  auto at = never;
  for (const auto& [id, w] : workers_) {
    at = std::min({at, w->kill_at, w->log->next_alarm()});
    const auto found = pools_.find(w->variant);
    if (w->state == phase::idle && found != pools_.end() &&
        found->second.workers.size() > found->second.bounds.min_instances)
      at = std::min(at, w->idle_since + found->second.bounds.keep_alive);
  }
  for (const auto& [variant, p] : pools_)
    if (p.announced && p.workers.size() < p.bounds.min_instances)
      at = std::min(at, p.retry_at);
  for (const auto& [name, slot] : zygotes_)
    if (slot.process)
      at = std::min({at, slot.process->next_alarm(), slot.spare_due, kept_until(name, slot)});
  return at;
}

} // namespace squall::executors::detail
