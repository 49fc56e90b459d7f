#include "actors/detail/hub.hpp"

#include <algorithm>
#include <ctime>

namespace squall::actors::detail {

namespace {

/// A loop that is never idle looks at descriptors and connections once in so many rounds.
constexpr std::uint32_t look_everywhere_every = 16;

time_point monotonic_now() {
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return time_point{std::chrono::seconds{t.tv_sec} + std::chrono::nanoseconds{t.tv_nsec}};
}

} // namespace

time_point hub::now() const { return in_loop() ? now_ : monotonic_now(); }

void hub::run() {
  owner_.store(std::this_thread::get_id(), std::memory_order_relaxed);
  now_ = monotonic_now();
  start_roles();
  while (stopped_roles_ < roles_.size() || !stopping_.load(std::memory_order_relaxed)) {
    if (!round()) {
      if (!look_again())
        sleep();
    } else if (++busy_rounds_ % look_everywhere_every == 0)
      look_everywhere();
  }
  close_everything();
}

void hub::start_roles() {
  stopping_role_ = roles_.size();
  for (auto& slot : roles_)
    tell(slot, {notice::kind::start, 0});
  unit_.run();
}

bool hub::round() {
  now_ = monotonic_now();
  bool more = outbox_.take_all([this](item&& one) { carry_out(std::move(one)); });
  // After the outbox: who may come in since another list of keys was set must not be turned away by the old one.
  if (std::exchange(server_news_, false))
    server_->pump();
  more |= drain_server();
  for (std::size_t i = 0; i < connections_.size(); ++i) // roles may connect meanwhile
    if (connections_[i]->ready)
      more |= drain(*connections_[i]);
  fire_alarms();
  unit_.run();
  drop_closed();
  if (stopping_.load(std::memory_order_relaxed))
    advance_stop();
  server_->flush();
  for (auto& c : connections_)
    c->socket->flush();
  return more;
}

/// Before a sleep, for a little while. False when it is time to sleep.
bool hub::look_again() {
  if (!linger_.wants(now_) || !linger_.yield(monotonic_now))
    return false;
  look_everywhere();
  return true;
}

void hub::sleep() {
  if (!outbox_.may_sleep())
    return;
  const time_point wake_at = next_alarm();
  const time_point now = wake_at == never ? time_point{} : monotonic_now();
  bool idle = server_->idle();
  server_news_ |= !idle;
  idle &= now < wake_at;
  for (auto& c : connections_) {
    if (c->socket->idle())
      continue;
    c->ready = true;
    idle = false;
  }
  if (!idle) {
    outbox_.woke_up(false);
    return;
  }
  if (fds_stale_)
    collect_fds();
  timer_.set(wake_at, now);
  const auto ready = fds_.wait({});
  outbox_.woke_up(fds_.woke(0));
  linger_.news(monotonic_now());
  if (ready > 0)
    after_wait();
}

void hub::look_everywhere() {
  for (auto& c : connections_)
    c->ready |= !c->socket->idle();
  if (fds_stale_)
    collect_fds();
  if (fds_.wait(duration{0}) > 0) {
    linger_.news(monotonic_now());
    after_wait();
  }
}

void hub::collect_fds() {
  std::vector<int> numbers{outbox_.fd(), timer_.fd()};
  server_->fds(numbers);
  server_fds_ = numbers.size() - 2;
  for (const auto& c : connections_)
    c->socket->fds(numbers);
  for (const auto& w : watches_)
    numbers.push_back(w.fd);
  fds_.watch(numbers);
  fds_stale_ = false;
}

void hub::after_wait() {
  const auto woke = [this](std::size_t i) { return fds_.woke(i); };
  if (woke(1))
    timer_.clear();
  std::size_t at = 2;
  // The first descriptor of a socket tells of messages, which the next round takes anyway; the others want pump().
  for (std::size_t i = 1; i < server_fds_; ++i)
    server_news_ |= woke(at + i);
  at += server_fds_;
  for (auto& c : connections_) {
    c->ready |= woke(at) || woke(at + 1);
    if (woke(at + 1))
      c->socket->pump();
    at += 2;
  }
  if (watches_.empty() || fds_.size() != at + watches_.size())
    return;
  now_ = monotonic_now();
  // What is called may watch and unwatch.
  std::vector<std::function<void()>> ready;
  for (std::size_t i = 0; i < watches_.size(); ++i)
    if (woke(at + i))
      ready.push_back(watches_[i].ready);
  for (const auto& call : ready)
    call();
  unit_.run();
}

void hub::watch(int fd, std::function<void()> ready) {
  SQUALL_CHECK(in_loop(), fd);
  std::erase_if(watches_, [fd](const watched& w) { return w.fd == fd; });
  if (ready)
    watches_.push_back({fd, std::move(ready)});
  fds_stale_ = true;
}

void hub::set_alarm(role_slot& slot, time_point at) {
  const std::uint64_t number = slot.alarm_number.fetch_add(1, std::memory_order_relaxed) + 1;
  if (!in_loop())
    return outbox_.push(alarm_item{&slot, at, number});
  slot.alarm = at;
  slot.alarm_armed = number;
}

void hub::fire_alarms() {
  for (auto& slot : roles_) {
    if (slot.alarm > now_)
      continue;
    slot.alarm = never;
    tell(slot, {notice::kind::alarm, slot.alarm_armed});
  }
}

time_point hub::next_alarm() const {
  time_point next = never;
  for (const auto& slot : roles_)
    next = std::min(next, slot.alarm);
  return next;
}

void hub::begin_drain() {
  if (std::exchange(draining_, true))
    return;
  if (roles_.empty())
    return stop();
  for (auto& slot : roles_)
    later(slot, [this, &slot] { slot.service->drain([this] { outbox_.push(drained_item{}); }); });
}

void hub::stop() {
  stopping_.store(true, std::memory_order_relaxed);
  outbox_.wake();
}

/// Tells the last role that still runs to stop, once those after it have.
void hub::advance_stop() {
  const bool others_done = stopped_roles_ == roles_.size() - stopping_role_;
  if (!others_done || stopping_role_ == 0)
    return;
  --stopping_role_;
  tell(roles_[stopping_role_], {notice::kind::stop, 0});
  unit_.run();
}

void hub::close_everything() {
  watches_.clear();
  connections_.clear();
  server_.reset();
  fds_stale_ = true;
  owner_.store({}, std::memory_order_relaxed);
}

} // namespace squall::actors::detail
