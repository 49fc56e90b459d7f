#include "cluster/core/supervision.hpp"

#include "base/check.hpp"

#include <algorithm>
#include <utility>

namespace squall::cluster {

supervisor::supervisor(const supervision_config& config, std::size_t processes, time_point now)
    : config_(config), processes_(processes) {
  for (process& p : processes_)
    p.started = now;
}

void supervisor::step(time_point now, const supervision_event& fact) {
  if (const auto* exit = std::get_if<process_exited>(&fact))
    exited(now, *exit);
  else if (std::holds_alternative<stop_wanted>(fact))
    stop(now);
  tick(now);
}

std::vector<supervision_command> supervisor::take_commands() { return std::exchange(commands_, {}); }

void supervisor::exited(time_point now, const process_exited& fact) {
  SQUALL_CHECK(fact.process < processes_.size(), fact.process);
  process& p = processes_[fact.process];
  p.running = false;
  p.kill_at.reset();
  if (stopping_)
    return;
  if (fact.wanted)
    return stop(now);
  if (fact.retired)
    return;
  p.deaths = now - p.started >= config_.stable_after ? 0 : p.deaths + 1;
  duration pause = config_.first_pause;
  for (std::uint32_t i = 1; i < p.deaths && pause < config_.longest_pause; ++i)
    pause *= 2;
  p.restart_at = now + std::min(pause, config_.longest_pause);
}

void supervisor::stop(time_point now) {
  if (stopping_)
    return;
  stopping_ = true;
  for (process_index i = processes_.size(); i-- > 0;) {
    processes_[i].restart_at.reset();
    if (!processes_[i].running)
      continue;
    commands_.push_back(ask_to_stop{i});
    processes_[i].kill_at = now + config_.stop_grace;
  }
}

void supervisor::tick(time_point now) {
  for (process_index i = 0; i < processes_.size(); ++i) {
    process& p = processes_[i];
    if (p.restart_at && *p.restart_at <= now) {
      p.restart_at.reset();
      p.running = true;
      p.started = now;
      commands_.push_back(start_process{i});
    }
    if (p.kill_at && *p.kill_at <= now) {
      p.kill_at.reset();
      commands_.push_back(kill_process{i});
    }
  }
  const bool any_running =
      std::any_of(processes_.begin(), processes_.end(), [](const process& p) { return p.running; });
  if (stopping_ && !any_running && !std::exchange(said_stopped_, true))
    commands_.push_back(all_stopped{});
}

std::optional<time_point> supervisor::next_deadline() const {
  std::optional<time_point> next;
  for (const process& p : processes_)
    for (const auto& at : {p.restart_at, p.kill_at})
      if (at && (!next || *at < *next))
        next = at;
  return next;
}

} // namespace squall::cluster
