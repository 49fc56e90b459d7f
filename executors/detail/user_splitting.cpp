#include "executors/detail/user_pools.hpp"

#include <algorithm>
#include <bit>

/// Functions that take one item at a time and take less time for it than the way to their worker: several items come as
/// one batch and go to the worker at once, each as a job of its own. So what one of them does is its own affair: its
/// result leaves at once; those behind it are taken back when it waits for others or dies.
namespace squall::executors::detail {

namespace {

using namespace std::chrono_literals;

/// The jobs' ids; batches of the queue count from 1.
constexpr std::uint64_t item_bit = std::uint64_t{1} << 63;
/// How long the last of several may wait for those before it.
constexpr duration longest_wait = 500us;
constexpr std::uint32_t most_together = 16;
/// So many runs since the last change, before more come together.
constexpr std::uint32_t runs_wanted = 64;
constexpr std::uint32_t runs_between_news = 4096;
/// What one counts for that asks others for something: its time is not its own.
constexpr duration long_run = 32ms;
/// The mean of about so many runs.
constexpr std::int64_t mean_of = 32;

bool travels_inline(const user_job& job) {
  return std::ranges::all_of(job.request.items, [](const auto& item) {
    return std::ranges::all_of(item, [](const auto& value) { return value.byte_size() < wire::share_threshold_bytes; });
  });
}

} // namespace

void user_pools::split(pool& p, user_job job) {
  split_[job.request.batch] = {job.request.items.size(), 0, duration{0}};
  for (std::uint32_t i = 0; i < job.request.items.size(); ++i) {
    user_job one;
    one.request = job.request;
    one.request.batch = batch_id{item_bit | ++last_item_};
    one.request.items = {job.request.items[i]};
    one.request.calls = {i < job.request.calls.size() ? job.request.calls[i] : call_id{}};
    one.deadline = job.deadline;
    one.whole = job.request.batch;
    one.place = i;
    p.waiting.push_back(std::move(one));
  }
}

/// The rest of the batch that the worker has begun, unless it needs the memory that the first item lies in.
void user_pools::send_ahead(user_worker& w, pool& p) {
  const auto follows = [&] {
    return w.job && w.job->whole && !p.waiting.empty() && p.waiting.front().whole == w.job->whole &&
           travels_inline(p.waiting.front());
  };
  if (!follows())
    return;
  w.socket->hold();
  while (follows()) {
    auto job = std::move(p.waiting.front());
    p.waiting.pop_front();
    const auto request = placed_request(w, job);
    if (const auto sent = w.send(request, request_id{request.batch.value}); sent.ok()) {
      w.ahead.push_back(std::move(job));
    } else {
      p.waiting.push_front(std::move(job));
      break;
    }
  }
  w.socket->let_go();
}

/// Items of one batch go to one worker.
std::size_t user_pools::wanted_workers(const pool& p) {
  std::size_t count = 0;
  batch_id last;
  for (const auto& job : p.waiting) {
    count += job.whole && job.whole == last ? 0 : 1;
    last = job.whole;
  }
  return count;
}

/// It waits, so it has refused what was sent ahead. False: that is not what this is.
bool user_pools::take_back(user_worker& w, const wire::worker::done& message) {
  const auto found = std::ranges::find(w.ahead, message.batch, [](const user_job& job) { return job.request.batch; });
  if (found == w.ahead.end() || message.code != errc::overloaded || !message.items.empty())
    return false;
  auto job = std::move(*found);
  w.ahead.erase(found);
  if (const auto in_pool = pools_.find(w.variant); in_pool != pools_.end())
    in_pool->second.waiting.push_front(std::move(job));
  else
    fail_job(job, errc::unavailable, "its function is being unloaded");
  return true;
}

/// Its process is gone: it has begun none of these.
void user_pools::take_all_back(user_worker& w, pool& p) {
  for (; !w.ahead.empty(); w.ahead.pop_back())
    p.waiting.push_front(std::move(w.ahead.back()));
}

/// What was cancelled on its way to a worker that did not begin it.
void user_pools::drop_cancelled(variant_id variant) {
  const auto found = pools_.find(variant);
  if (found == pools_.end())
    return;
  std::vector<user_job> gone;
  for (const auto& job : found->second.waiting)
    if (job.cancelled)
      gone.push_back(job);
  std::erase_if(found->second.waiting, [](const user_job& job) { return job.cancelled; });
  for (const auto& job : gone)
    fail_job(job, errc::cancelled, "it was cancelled");
}

void user_pools::next_ahead(user_worker& w) {
  if (w.ahead.empty())
    return;
  auto job = std::move(w.ahead.front());
  w.ahead.pop_front();
  const bool cancelled = job.cancelled;
  begin(w, std::move(job));
  if (cancelled)
    cancel_running(w);
}

/// By the mean, not the longest: on a busy machine any run may stand still for milliseconds.
void user_pools::note_pace(variant_id variant, pool& p, duration executed, bool asked) {
  if (!takes_one(p))
    return;
  p.usual += ((asked ? std::max(executed, long_run) : executed) - p.usual) / mean_of;
  ++p.runs;
  const auto many = longest_wait / std::max(p.usual, duration{1});
  const auto together = std::bit_floor(static_cast<std::uint32_t>(std::clamp<std::int64_t>(many, 1, most_together)));
  // Now and then anew: the queue may have been told of the variant again. Fewer at once, more when that has lasted.
  if (together == p.together ? together == 1 || p.runs < runs_between_news
                             : together > p.together && p.runs < runs_wanted)
    return;
  p.together = together;
  p.runs = 0;
  listener_.on_user_pace(variant, together);
}

} // namespace squall::executors::detail
